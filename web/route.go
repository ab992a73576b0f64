// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"cmp"
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
	r = r.WithContext(context.WithValue(WithActor(r.Context(), actor), noteKey{}, new(note)))
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

// note has the audit write down a deed, a refusal, or that sealed data was seen. Deeds are facts with actor and grant already
// when they come here; the audit adds the way in and where from. Reads and refusals are gathered, so that nobody floods it.
// What a handler has called Unchanged was no deed. Whoever opens the form of a deed has seen it, and done nothing.
//
// Whoever hangs up does not escape it: a deed whose sender has gone may have been done, and says that it broke off.
func (g *Guard) note(r *http.Request, a Actor, route Route, err error, refused bool) {
	said := noteOf(r.Context())
	changes := !said.unchanged && (said.deed != "" || r.Method != http.MethodGet && r.Method != http.MethodHead)
	brokeOff := changes && errors.Is(err, context.Canceled)
	if err == nil && !changes && !route.Sealed || err != nil && !refused && !brokeOff {
		return
	}
	e := EntryOf(r, a)
	e.Deed, e.Grant, e.Outcome = string(route.Need), a.Verdict.Grant, audit.Done
	if deed := cmp.Or(said.deed, route.Deed); deed != "" {
		e.Deed = deed
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
		e.Outcome = audit.Seen
		g.Audit.Gather(authority, e)
	}
}

// noteWithin is how long the disk may take for a line of the audit.
const noteWithin = 10 * time.Second

// EntryOf returns an entry of the audit with who sent the request, how they came in, and from where; and with what it was about:
// what the handler has said with About, else the path.
func EntryOf(r *http.Request, a Actor) audit.Entry {
	object := cmp.Or(noteOf(r.Context()).about, r.URL.Path)
	return audit.Entry{Actor: a.ID, Way: string(a.Way), From: senderOf(r), Object: object}
}

type noteKey struct{}

// note is what a handler tells the audit.
type note struct {
	about, deed string
	unchanged   bool
}

// noteOf returns what the handler has told so far; outside of a guarded route nobody hears what is told.
func noteOf(ctx context.Context) *note {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		return n
	}
	return new(note)
}

// About has the audit say what a deed is about, where the path does not tell: "administrator person/12c0". It holds ids, never
// names or secrets. Call it in the handler's own goroutine.
func About(ctx context.Context, what ...string) { noteOf(ctx).about = strings.Join(what, " ") }

// Did has the audit say which deed was really done, where that is not what the route is for: who asks for a second person has
// asked, and who approves has done the deed. about is as of About.
func Did(ctx context.Context, deed string, about ...string) {
	noteOf(ctx).deed = deed
	About(ctx, about...)
}

// Unchanged has the audit leave the request out, because nothing was changed and nobody told anything: a trial of a file, a form
// that is shown again. Refusals are noted all the same.
func Unchanged(ctx context.Context) { noteOf(ctx).unchanged = true }
