// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

func (a *API) status(w http.ResponseWriter, r *http.Request) error {
	s := Status{Lag: lags(a.cfg.Copies.Lag()), BehindPages: a.cfg.Model.Behind(), Forks: len(a.cfg.Forks())}
	var err error
	if s.Status, err = a.cfg.Sites.Status(r.Context()); err != nil {
		return err
	}
	s.Members, s.Authorities = orEmpty(s.Members), seen(r, s.Authorities)
	if s.Warnings, err = a.warnings(r.Context(), s.Authorities); err != nil {
		return err
	}
	s.Warnings = append(s.Warnings, surplusWarnings(s.Surplus)...)
	s.Conditions = a.conditions(r)
	return ok(w, s)
}

func surplusWarnings(list []site.Surplus) (out []string) {
	for _, n := range list {
		out = append(out, fmt.Sprintf("site %s has founded %d authorities more than count: see whether it is hostile", n.Site.Short(), n.Authorities))
	}
	return out
}

func lags(list []eventlog.PeerLag) []Lag {
	out := make([]Lag, 0, len(list))
	for _, l := range list {
		out = append(out, Lag{Site: l.Peer, LastHeard: l.LastHeard, BehindPages: l.Behind, AheadPages: l.Ahead,
			OffsetSeconds: l.Offset.Seconds(), Trouble: l.Trouble})
	}
	return out
}

// state tells how far it is behind before it computes the hash, so that a client that sees 0 knows what the hash covers.
func (a *API) state(w http.ResponseWriter, r *http.Request) error {
	status, err := a.cfg.Sites.Status(r.Context())
	if err != nil {
		return err
	}
	s := State{Site: status.Self, BehindPages: a.cfg.Model.Behind()}
	if s.Hash, err = a.cfg.Model.StateHash(r.Context()); err != nil {
		return err
	}
	return ok(w, s)
}

func (a *API) merges(w http.ResponseWriter, r *http.Request) error {
	list, err := a.cfg.Model.Merges(r.Context())
	if err != nil {
		return err
	}
	out := make([]Merge, 0, len(list))
	for _, m := range list {
		if !sees(r, m.Authority) {
			continue
		}
		out = append(out, Merge{Authority: m.Authority, From: m.From, FirstWall: m.FirstWall, LastWall: m.LastWall,
			ArrivedAt: m.ArrivedAt, Events: m.Events, Late: m.Late, FirstCopy: m.FirstCopy})
	}
	return ok(w, out)
}

func (a *API) troubles(w http.ResponseWriter, r *http.Request) error {
	list, err := a.cfg.Model.SetAside(r.Context())
	if err != nil {
		return err
	}
	out := make([]Trouble, 0, len(list))
	for _, t := range list {
		if whose := cmp.Or(t.Authority, t.Branch.Authority); !sees(r, whose) {
			continue
		}
		trouble := Trouble{Authority: t.Authority, Subject: t.Subject, Kind: t.Kind, Reason: t.Reason}
		if t.Subject == "" {
			trouble.Log = t.Branch.String()
		}
		out = append(out, trouble)
	}
	held, err := a.heldBack(r)
	if err != nil {
		return err
	}
	return ok(w, append(append(out, a.storeTroubles(r)...), held...))
}

// scrub reads every stored page back, which may take minutes.
func (a *API) scrub(w http.ResponseWriter, r *http.Request) error {
	if err := http.NewResponseController(w).SetWriteDeadline(a.cfg.Now().Add(time.Hour)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	out := []Damage{}
	for _, d := range a.cfg.Scrub(r.Context()) {
		if !sees(r, d.Branch.Authority) {
			continue
		}
		damage := Damage{Log: d.Branch.String(), Page: d.Page, FetchedAgain: d.Deleted}
		if d.Err != nil {
			damage.Reason = d.Err.Error()
		}
		out = append(out, damage)
	}
	return ok(w, out)
}

// maxWait bounds how long a request may wait for a write to be secured.
const maxWait = 30_000

// secured tells how safe a write is, after waiting for it if asked to.
func (a *API) secured(w http.ResponseWriter, r *http.Request) error {
	receipt, err := web.ParseReceipt(r.URL.Query().Get("receipt"))
	if err != nil {
		return err
	}
	if !sees(r, receipt.Log.Authority) {
		return access.ErrNoAuthority
	}
	wait, err := number(r, "waitMillis", 0, maxWait)
	if err != nil {
		return err
	}
	operators, err := number(r, "operators", 2, 100)
	if err != nil {
		return err
	}
	if wait > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(wait)*time.Millisecond)
		defer cancel()
		if err := a.cfg.Copies.Wait(ctx, receipt.Log, receipt.At, operators); err != nil && fault.KindOf(err) != fault.Unavailable {
			return err
		}
	}
	return ok(w, a.written(receipt))
}

func (a *API) signInLink(w http.ResponseWriter, r *http.Request) error {
	link, err := a.cfg.SignInLink(r.Context())
	if err != nil {
		return err
	}
	return created(w, Link{URL: link})
}

// orEmpty makes a list that is not there an empty one, so that clients need not tell null from [].
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// maxInvitationHours is the longest life of an invitation, 30 days; the site package judges again.
const maxInvitationHours = 30 * 24

var errHours = fault.New(fault.Invalid, "api.hours", "an invitation is good for 1 to 720 hours", "leave hours out for a day").At(0, "hours")

func (a *API) invite(w http.ResponseWriter, r *http.Request) error {
	var q Invitation
	if err := read(r, &q); err != nil {
		return err
	}
	if q.Hours < 0 || q.Hours > maxInvitationHours {
		return errHours
	}
	token, err := a.cfg.Sites.Invite(r.Context(), q.Name, q.Operator, time.Duration(q.Hours)*time.Hour)
	if err != nil {
		return err
	}
	q.Token = token
	return created(w, q)
}

// Admission tells whether a site is a member now.
type Admission struct {
	Site   event.SiteID `json:"site"`
	Member bool         `json:"member"`
}

func (a *API) admit(w http.ResponseWriter, r *http.Request) error {
	id := event.SiteID(r.PathValue("site"))
	if err := a.cfg.Sites.Endorse(r.Context(), id); err != nil {
		return err
	}
	s, err := a.cfg.Sites.Status(r.Context())
	if err != nil {
		return err
	}
	answer := Admission{Site: id}
	for _, m := range s.Members {
		answer.Member = answer.Member || m.Site == id
	}
	return ok(w, answer)
}

// RemovalOrder is how a site is to be removed.
type RemovalOrder struct {
	// Lose says that it is to be removed although an authority's data is at no other member.
	Lose bool `json:"lose,omitempty"`
}

// Removal tells how far the removing of a site is.
type Removal struct {
	Site event.SiteID `json:"site"`
	// Removed: it is no member any more.
	Removed bool `json:"removed"`
	// Agreed are the operators that want it so far, of those that are Needed.
	Agreed []string `json:"agreed,omitempty"`
	Needed int      `json:"needed,omitempty"`
}

func (a *API) removeSite(w http.ResponseWriter, r *http.Request) error {
	var q RemovalOrder
	if err := read(r, &q); err != nil {
		return err
	}
	id := event.SiteID(r.PathValue("site"))
	if err := a.cfg.Sites.Remove(r.Context(), id, q.Lose); err != nil {
		return err
	}
	s, err := a.cfg.Sites.Status(r.Context())
	if err != nil {
		return err
	}
	answer := Removal{Site: id, Removed: true}
	for _, m := range s.Removing {
		if m.Site == id {
			answer = Removal{Site: id, Agreed: m.Agreed, Needed: m.Needed}
		}
	}
	return ok(w, answer)
}

func (a *API) authorities(w http.ResponseWriter, r *http.Request) error {
	s, err := a.cfg.Sites.Status(r.Context())
	if err != nil {
		return err
	}
	return ok(w, seen(r, s.Authorities))
}

// sees reports whether what concerns an authority is the actor's business. What one authority does is nobody's in another, not
// even that it is there; the console has them all.
func sees(r *http.Request, authority event.AuthorityID) bool {
	a, _ := web.ActorOf(r.Context())
	return a.Kind == access.Console || authority == event.Federation || authority == a.Authority
}

// seen returns those of the authorities that the actor sees, never nil.
func seen(r *http.Request, all []site.Authority) []site.Authority {
	out := []site.Authority{}
	for _, a := range all {
		if sees(r, a.ID) {
			out = append(out, a)
		}
	}
	return out
}

func (a *API) addAuthority(w http.ResponseWriter, r *http.Request) error {
	var d site.AuthorityDraft
	if err := read(r, &d); err != nil {
		return err
	}
	if err := a.cfg.Sites.AddAuthority(r.Context(), d); err != nil {
		return err
	}
	return created(w, site.Authority(d))
}

func (a *API) allow(w http.ResponseWriter, r *http.Request) error {
	err := a.cfg.Sites.Allow(r.Context(), event.AuthorityID(r.PathValue("authority")), event.SiteID(r.PathValue("site")))
	return nothing(w, err)
}

func (a *API) forbid(w http.ResponseWriter, r *http.Request) error {
	err := a.cfg.Sites.Forbid(r.Context(), event.AuthorityID(r.PathValue("authority")), event.SiteID(r.PathValue("site")))
	return nothing(w, err)
}

func nothing(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
