// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"net/http"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/fault"
)

// Actor is whoever a request comes from: the principal, and what its right to this request rests on.
type Actor struct {
	// ID is the name under which facts record the actor ("operator", "person/12c0"), never a person's name.
	ID string
	access.Principal
	// Verdict is how the guard has judged the request; zero before.
	Verdict access.Verdict
	// due is set when the session's token should be renewed with this answer.
	due bool
}

// ActorFor returns the actor that a principal is.
func ActorFor(p access.Principal) Actor { return Actor{ID: p.Actor(), Principal: p} }

// Authenticator finds out who sends a request. It returns an error of kind Unauthenticated for a stranger.
type Authenticator interface {
	Authenticate(r *http.Request) (Actor, error)
}

// Fixed is an Authenticator for a door that only one may use, such as the operator's socket, which the file system guards.
type Fixed access.Principal

// Authenticate returns the fixed actor and never an error.
func (f Fixed) Authenticate(*http.Request) (Actor, error) { return ActorFor(access.Principal(f)), nil }

// ErrSignIn is returned for a request whose sender is not known.
var ErrSignIn = fault.New(fault.Unauthenticated, "web.sign_in", "you are not signed in", "sign in at /signin and try again")

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
