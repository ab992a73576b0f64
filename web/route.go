// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Route is one entry of a package's table of routes. Deny by default: a route that is neither Open nor names what it Needs is
// refused to everybody.
type Route struct {
	Pattern string // as of http.ServeMux: "POST /a/{authority}/alarms"
	// Open routes are for strangers too. Whoever is signed in is known to the handler all the same.
	Open bool
	// Need is the permission that the route takes, in the authority of the path, or in the sender's own where the path has none.
	Need access.Permission
	// Deed is how the audit calls what the route does, where that is not what it Needs.
	Deed string
	// Sealed marks a page that shows what is stored sealed (names, addresses): who reads it is noted in the audit.
	Sealed bool
	Handle func(http.ResponseWriter, *http.Request) error
}

// Judge decides whether a principal may do something in an authority: an access.Service.
type Judge interface {
	Judge(ctx context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error)
}

// Recorder writes the audit: an audit.Service. Record returns when the entry is on the disk; Gather returns at once.
type Recorder interface {
	Record(ctx context.Context, authority event.AuthorityID, e audit.Entry) error
	Gather(authority event.AuthorityID, e audit.Entry)
}

// Guard stands before all routes: it finds out who asks, judges, and has the audit note what was done, refused, and read. Fill
// all fields. It is safe for concurrent use.
type Guard struct {
	Auth   Authenticator
	Judge  Judge
	Audit  Recorder
	Errors *Errors
	// Refuse answers strangers at routes that are not open.
	Refuse func(http.ResponseWriter, *http.Request, error)
}

// Mount adds the routes to mux.
func (g *Guard) Mount(mux *http.ServeMux, routes []Route) {
	for _, route := range routes {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, route) })
	}
}

func (g *Guard) serve(w http.ResponseWriter, r *http.Request, route Route) {
	actor, err := g.Auth.Authenticate(r)
	if route.Open {
		if err == nil {
			r = r.WithContext(WithActor(r.Context(), actor))
		}
		g.answer(w, r, route.Handle(w, r))
		return
	}
	if err != nil {
		g.stranger(r, err)
		g.Refuse(w, r, err)
		return
	}
	authority := event.AuthorityID(r.PathValue("authority"))
	actor.Verdict, err = g.Judge.Judge(r.Context(), actor.Principal, authority, route.Need)
	if err != nil {
		// Another authority is not there for whoever asks, and asking is noted like every refusal.
		g.note(r, actor, route, err, fault.KindOf(err) != fault.Internal)
		g.Errors.Write(w, r.WithContext(WithActor(r.Context(), actor)), err)
		return
	}
	if renewer, ok := g.Auth.(interface {
		Renew(http.ResponseWriter, *http.Request, Actor)
	}); ok && actor.due {
		renewer.Renew(w, r, actor)
	}
	r = r.WithContext(context.WithValue(WithActor(r.Context(), actor), objectKey{}, new(object)))
	answered := &answer{ResponseWriter: w}
	err = route.Handle(answered, r)
	if err == nil && answered.status >= http.StatusBadRequest {
		return // a form came back with its mistakes, and nothing was done
	}
	kind := fault.KindOf(err)
	g.note(r, actor, route, err, kind == fault.Forbidden || kind == fault.Unauthenticated)
	g.answer(w, r, err)
}

// answer remembers the status of an answer.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the real writer.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// stranger has the audit gather that a program's token was refused. Whose session has run out has not tried anything.
func (g *Guard) stranger(r *http.Request, err error) {
	if r.Header.Get("Authorization") == "" {
		return
	}
	e := EntryOf(r, Actor{})
	e.Deed, e.Outcome, e.Object, e.Way, e.Code = DeedSignIn, audit.Refused, "", string(access.ByToken), fault.Of(err).Code
	g.Audit.Gather("", e)
}

func (g *Guard) answer(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		g.Errors.Write(w, r, err)
	}
}

// note has the audit write down a deed, a refusal, or that sealed data was read. Deeds are facts with actor and grant already
// when they come here; the audit adds the way in and where from. Reads and refusals are gathered, so that nobody floods it.
//
// Whoever hangs up does not escape it: a deed whose sender has gone may have been done, and says that it broke off.
func (g *Guard) note(r *http.Request, a Actor, route Route, err error, refused bool) {
	changes := r.Method != http.MethodGet && r.Method != http.MethodHead
	brokeOff := changes && errors.Is(err, context.Canceled)
	if err == nil && !changes && !route.Sealed || err != nil && !refused && !brokeOff {
		return
	}
	e := EntryOf(r, a)
	e.Deed, e.Grant, e.Outcome = string(route.Need), a.Verdict.Grant, audit.Done
	if route.Deed != "" {
		e.Deed = route.Deed
	}
	authority := event.AuthorityID(r.PathValue("authority"))
	if authority == "" {
		authority = a.Authority
	}
	switch {
	case refused:
		// What a stranger asked for in another authority is that stranger's own authority's business.
		e.Outcome, e.Code, authority = audit.Refused, fault.Of(err).Code, a.Authority
		g.Audit.Gather(authority, e)
	case changes:
		if brokeOff {
			e.Code = ErrStopped.Code
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), noteWithin)
		defer cancel()
		if err := g.Audit.Record(ctx, authority, e); err != nil {
			g.Errors.Logger.ErrorContext(ctx, "a deed is missing in the audit", "deed", e.Deed, "error", err)
		}
	default:
		g.Audit.Gather(authority, e)
	}
}

// noteWithin is how long the disk may take for a line of the audit.
const noteWithin = 10 * time.Second

// EntryOf returns an entry of the audit with who sent the request, how they came in, and from where; and with what it was about:
// what the handler has said with About, else the path.
func EntryOf(r *http.Request, a Actor) audit.Entry {
	e := audit.Entry{Actor: a.ID, Way: string(a.Way), From: senderOf(r), Object: r.URL.Path}
	if o, ok := r.Context().Value(objectKey{}).(*object); ok && *o != "" {
		e.Object = string(*o)
	}
	return e
}

type objectKey struct{}

type object string

// About has the audit say what a deed is about, where the path does not tell: "administrator person/12c0". It holds ids, never
// names or secrets. Call it in the handler's own goroutine.
func About(ctx context.Context, what ...string) {
	if o, ok := ctx.Value(objectKey{}).(*object); ok {
		*o = object(strings.Join(what, " "))
	}
}
