// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
)

// Actor is whoever a request comes from, as it is recorded in facts ("operator", "person/12c0"), never a name.
type Actor struct {
	ID string `json:"id"`
}

// Authenticator finds out who sends a request. It returns ErrSignIn for a stranger. This is the seam where the identity
// domain comes in: passkeys, recovery codes and grants end in an Actor as well.
type Authenticator interface {
	Authenticate(r *http.Request) (Actor, error)
}

// Fixed is an Authenticator for a door that only one may use, such as the operator's socket, which the file system guards.
type Fixed Actor

// Authenticate returns the fixed actor and never an error.
func (f Fixed) Authenticate(*http.Request) (Actor, error) { return Actor(f), nil }

// ErrSignIn is returned for a request whose sender is not known.
var ErrSignIn = fault.New(fault.Unauthenticated, "web.sign_in", "you are not signed in at this site",
	"open a sign-in link; the operator prints one with: holdfast signin-link")

// ErrLinkUsed is returned for a sign-in secret that is unknown, used or expired; it does not say which.
var ErrLinkUsed = fault.New(fault.Unauthenticated, "web.link_used", "this sign-in link was used already or has expired",
	"ask the operator for a new link: holdfast signin-link")

type actorKey struct{}

// WithActor returns a context that carries who acts.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf returns who acts, and false if nobody was authenticated.
func ActorOf(ctx context.Context) (Actor, bool) {
	a, ok := ctx.Value(actorKey{}).(Actor)
	return a, ok
}

// Require lets only known senders through to next, with the Actor in the context. Strangers are given to refuse.
func Require(auth Authenticator, refuse func(http.ResponseWriter, *http.Request, error), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor, err := auth.Authenticate(r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithActor(r.Context(), actor)))
	})
}

// Store is what sessions need of the local store. Take is atomic: of two callers one gets the value. Get and Take
// return a fault of kind NotFound for a key that is not there or has expired.
type Store interface {
	Put(ctx context.Context, bucket, key string, value []byte, expires time.Time) error
	Get(ctx context.Context, bucket, key string) ([]byte, error)
	Take(ctx context.Context, bucket, key string) ([]byte, error)
	Delete(ctx context.Context, bucket, key string) error
}

const (
	bucketSignIn  = "web.signin"
	bucketSession = "web.session"
	// SessionLife is how long a session lasts: one long shift.
	SessionLife = 12 * time.Hour
	// LinkLife is how long a sign-in link may be used unless another life is asked for.
	LinkLife = 24 * time.Hour
)

// Sessions keeps sign-in links and browser sessions. Fill all fields; Secure is false only on a plain loopback port.
type Sessions struct {
	Store  Store
	Rand   io.Reader
	Now    func() time.Time
	Secure bool
}

var _ Authenticator = (*Sessions)(nil)

// NewLink returns the path of a fresh sign-in link for the actor, valid once, for the given life (0 is LinkLife).
func (s *Sessions) NewLink(ctx context.Context, actor Actor, life time.Duration) (path string, expires time.Time, err error) {
	if life <= 0 {
		life = LinkLife
	}
	secret, expires, err := s.issue(ctx, bucketSignIn, actor, life)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a sign-in link: %w", err)
	}
	return "/signin/" + secret, expires, nil
}

// SignIn uses up the secret of a sign-in link and gives the browser a session. It returns ErrLinkUsed if the link is
// worth nothing.
func (s *Sessions) SignIn(ctx context.Context, w http.ResponseWriter, secret string) (Actor, error) {
	value, err := s.Store.Take(ctx, bucketSignIn, digest(secret))
	actor, err := actorIn(value, err, ErrLinkUsed)
	if err != nil {
		return Actor{}, fmt.Errorf("use a sign-in link: %w", err)
	}
	token, expires, err := s.issue(ctx, bucketSession, actor, SessionLife)
	if err != nil {
		return Actor{}, fmt.Errorf("begin a session: %w", err)
	}
	http.SetCookie(w, s.cookie(token, expires))
	return actor, nil
}

// Authenticate returns the actor of the session whose cookie the request carries, or ErrSignIn.
func (s *Sessions) Authenticate(r *http.Request) (Actor, error) {
	c, err := r.Cookie(s.cookieName())
	if err != nil || len(c.Value) > 100 {
		return Actor{}, ErrSignIn
	}
	value, err := s.Store.Get(r.Context(), bucketSession, digest(c.Value))
	actor, err := actorIn(value, err, ErrSignIn)
	if err != nil {
		return Actor{}, fmt.Errorf("look up a session: %w", err)
	}
	return actor, nil
}

// actorIn reads a stored actor. It returns stranger where there is none.
func actorIn(value []byte, err error, stranger error) (Actor, error) {
	if fault.KindOf(err) == fault.NotFound {
		return Actor{}, stranger
	}
	if err != nil {
		return Actor{}, err
	}
	var actor Actor
	if json.Unmarshal(value, &actor) != nil || actor.ID == "" {
		return Actor{}, stranger
	}
	return actor, nil
}

// SignOut ends the request's session, if it has one.
func (s *Sessions) SignOut(w http.ResponseWriter, r *http.Request) error {
	c, err := r.Cookie(s.cookieName())
	if err != nil {
		return nil
	}
	gone := s.cookie("", s.Now().Add(-time.Hour))
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	if err := s.Store.Delete(r.Context(), bucketSession, digest(c.Value)); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}

// issue stores the actor under the hash of a fresh secret and returns the secret.
func (s *Sessions) issue(ctx context.Context, bucket string, actor Actor, life time.Duration) (string, time.Time, error) {
	var b [24]byte
	if _, err := io.ReadFull(s.Rand, b[:]); err != nil {
		return "", time.Time{}, err
	}
	secret := base64.RawURLEncoding.EncodeToString(b[:])
	value, err := json.Marshal(actor)
	if err != nil {
		return "", time.Time{}, err
	}
	expires := s.Now().Add(life)
	return secret, expires, s.Store.Put(ctx, bucket, digest(secret), value, expires)
}

// cookieName has the __Host- prefix where the connection is safe; browsers refuse that prefix on plain HTTP.
func (s *Sessions) cookieName() string {
	if s.Secure {
		return "__Host-holdfast"
	}
	return "holdfast"
}

func (s *Sessions) cookie(value string, expires time.Time) *http.Cookie {
	return &http.Cookie{Name: s.cookieName(), Value: value, Path: "/", Expires: expires, HttpOnly: true, Secure: s.Secure,
		SameSite: http.SameSiteLaxMode}
}

func digest(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}
