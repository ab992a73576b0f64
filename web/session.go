// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// ErrLinkUsed is returned for a sign-in secret that is unknown, used or expired; it does not say which.
var ErrLinkUsed = fault.New(fault.Unauthenticated, "web.link_used", "this sign-in link was used already or has expired",
	"ask whoever gave it to you for a new one; an operator prints one with: holdfast signin-link")

// Store is what links need of the local store. Take is atomic: of two callers one gets the value. Take returns a fault of kind
// NotFound for a key that is not there or has expired.
type Store interface {
	Put(ctx context.Context, bucket, key string, value []byte, expires time.Time) error
	Take(ctx context.Context, bucket, key string) ([]byte, error)
}

// Tokens makes and checks the tokens that cookies carry: a session.Service.
type Tokens interface {
	Issue(ctx context.Context, p access.Principal) (token string, expires time.Time, err error)
	Verify(ctx context.Context, token string) (p access.Principal, due bool, err error)
	Renew(ctx context.Context, p access.Principal) (token string, expires time.Time, err error)
	End(ctx context.Context, p access.Principal) (eventlog.Receipt, error)
}

const (
	bucketSignIn = "web.signin"
	// LinkLife is how long a sign-in link may be used unless another life is asked for.
	LinkLife = 24 * time.Hour
	// maxToken bounds what is taken for a token.
	maxToken = 2000
)

// Sessions gives browsers their sessions. Fill all fields.
type Sessions struct {
	Store  Store
	Tokens Tokens
	Audit  Recorder
	Self   access.Principal // who a console's link signs in
	Rand   io.Reader
	Now    func() time.Time
	// BehindTLS is true if a proxy in front speaks TLS.
	BehindTLS bool
}

var _ Authenticator = (*Sessions)(nil)

// NewLink returns the path of a fresh sign-in link for whoever holds this machine, valid once, at this site, for the given life
// (0 is LinkLife).
func (s *Sessions) NewLink(ctx context.Context, life time.Duration) (path string, expires time.Time, err error) {
	if life <= 0 {
		life = LinkLife
	}
	var b [24]byte
	if _, err := io.ReadFull(s.Rand, b[:]); err != nil {
		return "", time.Time{}, fmt.Errorf("make a sign-in link: %w", err)
	}
	secret := base64.RawURLEncoding.EncodeToString(b[:])
	expires = s.Now().Add(life)
	if err := s.Store.Put(ctx, bucketSignIn, digest(secret), []byte("1"), expires); err != nil {
		return "", time.Time{}, fmt.Errorf("make a sign-in link: %w", err)
	}
	return "/signin/" + secret, expires, nil
}

// UseLink uses up the secret of a console's sign-in link. It returns ErrLinkUsed if the link is worth nothing.
func (s *Sessions) UseLink(ctx context.Context, secret string) (access.Principal, error) {
	_, err := s.Store.Take(ctx, bucketSignIn, digest(secret))
	if fault.KindOf(err) == fault.NotFound {
		return access.Principal{}, ErrLinkUsed
	}
	if err != nil {
		return access.Principal{}, fmt.Errorf("use a sign-in link: %w", err)
	}
	p := s.Self
	p.Way = access.ByLink
	return p, nil
}

// Begin begins a session of the principal in the browser that sent r, and ends the one that the browser had. The audit has it
// before the browser does, unless the disk is full.
func (s *Sessions) Begin(w http.ResponseWriter, r *http.Request, p access.Principal) error {
	token, expires, err := s.Tokens.Issue(r.Context(), p)
	if err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	e := EntryOf(r, ActorFor(p))
	e.Deed, e.Outcome, e.Object = DeedSignIn, audit.Done, ""
	err = s.Audit.Record(r.Context(), p.Authority, e)
	if fault.KindOf(err) == fault.Exhausted {
		// A full disk must not keep people out of what can still be read; the line is written when there is room.
		s.Audit.Gather(p.Authority, e)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	if before, err := s.Authenticate(r); err == nil && before.Session != p.Session {
		// Whoever was signed in here before is so no longer: nobody expects two people in one browser.
		_, _ = s.Tokens.End(r.Context(), before.Principal)
	}
	http.SetCookie(w, s.cookie(r, token, expires))
	return nil
}

// DeedSignIn is how the audit calls a sign-in.
const DeedSignIn = "signin"

// Refused has the audit gather that somebody unknown was refused a way in.
func (s *Sessions) Refused(r *http.Request, way access.Way, err error) {
	e := EntryOf(r, Actor{})
	e.Deed, e.Outcome, e.Object, e.Way, e.Code = DeedSignIn, audit.Refused, "", string(way), fault.Of(err).Code
	s.Audit.Gather("", e)
}

// Authenticate returns the actor of the session whose cookie the request carries. Its errors are of kind Unauthenticated.
func (s *Sessions) Authenticate(r *http.Request) (Actor, error) {
	c, err := r.Cookie(s.cookieName(r))
	if err != nil || c.Value == "" || len(c.Value) > maxToken {
		return Actor{}, ErrSignIn
	}
	p, due, err := s.Tokens.Verify(r.Context(), c.Value)
	if err != nil {
		return Actor{}, err
	}
	a := ActorFor(p)
	a.due = due
	return a, nil
}

// Renew gives the browser a younger token of the same session. If that fails the old one stays good for its time.
func (s *Sessions) Renew(w http.ResponseWriter, r *http.Request, a Actor) {
	if token, expires, err := s.Tokens.Renew(r.Context(), a.Principal); err == nil {
		http.SetCookie(w, s.cookie(r, token, expires))
	}
}

// End ends the request's session at every site, if it has one, and takes the cookie away.
func (s *Sessions) End(w http.ResponseWriter, r *http.Request) error {
	a, err := s.Authenticate(r)
	s.Forget(w, r)
	if err != nil {
		return nil // there is none that could be ended
	}
	if _, err := s.Tokens.End(r.Context(), a.Principal); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	e := EntryOf(r, a)
	e.Deed, e.Outcome, e.Object = "signout", audit.Done, ""
	return s.Audit.Record(r.Context(), a.Authority, e)
}

// Forget takes the cookie away and leaves the session as it is.
func (s *Sessions) Forget(w http.ResponseWriter, r *http.Request) {
	gone := s.cookie(r, "", s.Now().Add(-time.Hour))
	gone.MaxAge = -1
	http.SetCookie(w, gone)
}

// Secure reports whether the browser that sent r talks to us through TLS.
func (s *Sessions) Secure(r *http.Request) bool { return s.BehindTLS || r.TLS != nil }

// cookieName has the __Host- prefix where the connection is safe; browsers refuse that prefix on plain HTTP.
func (s *Sessions) cookieName(r *http.Request) string {
	if s.Secure(r) {
		return "__Host-holdfast"
	}
	return "holdfast"
}

// cookie is Lax, not Strict: an alarm's link in a message must open the board for somebody who is signed in.
func (s *Sessions) cookie(r *http.Request, value string, expires time.Time) *http.Cookie {
	return &http.Cookie{Name: s.cookieName(r), Value: value, Path: "/", Expires: expires, HttpOnly: true, Secure: s.Secure(r),
		SameSite: http.SameSiteLaxMode}
}

func digest(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}
