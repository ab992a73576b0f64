// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

func (a *API) status(w http.ResponseWriter, r *http.Request) error {
	s := Status{Peers: peers(a.cfg.Copies.Lag()), FoldBehind: a.cfg.Model.Behind(), Troubles: []Trouble{}}
	var err error
	if s.Federation, err = a.cfg.Sites.Status(r.Context()); err != nil {
		return err
	}
	troubles, err := a.cfg.Model.SetAside(r.Context())
	if err != nil {
		return err
	}
	for _, t := range troubles {
		trouble := Trouble{Authority: t.Authority, Subject: t.Subject, Kind: t.Kind}
		if t.Subject == "" {
			trouble.Log = t.Branch.String()
		}
		s.Troubles = append(s.Troubles, trouble)
	}
	return ok(w, s)
}

func peers(lags []eventlog.PeerLag) []Peer {
	out := make([]Peer, 0, len(lags))
	for _, l := range lags {
		out = append(out, Peer{Site: l.Peer, LastHeard: l.LastHeard, Behind: l.Behind, Ahead: l.Ahead,
			OffsetMillis: l.Offset.Milliseconds(), Trouble: l.Trouble})
	}
	return out
}

func (a *API) stateHash(w http.ResponseWriter, r *http.Request) error {
	h, err := a.cfg.Model.StateHash(r.Context())
	if err != nil {
		return err
	}
	return ok(w, StateHash{Hash: h})
}

func (a *API) merges(w http.ResponseWriter, r *http.Request) error {
	list, err := a.cfg.Model.Merges(r.Context())
	if err != nil {
		return err
	}
	out := make([]Merge, 0, len(list))
	for _, m := range list {
		out = append(out, Merge{Authority: m.Authority, From: m.From, FirstWrittenAt: m.FirstWall, LastWrittenAt: m.LastWall,
			ArrivedAt: m.ArrivedAt, Until: m.Until, Events: m.Events, Late: m.Late, FirstCopy: m.FirstCopy})
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

var errLife = fault.New(fault.Invalid, "api.life", "the time is out of bounds", "use 60 seconds to 30 days").At(0, "lifeSeconds")

func life(seconds int) (time.Duration, error) {
	if seconds != 0 && (seconds < 60 || seconds > 30*24*3600) {
		return 0, errLife
	}
	return time.Duration(seconds) * time.Second, nil
}

func (a *API) signInLink(w http.ResponseWriter, r *http.Request) error {
	var q SignInRequest
	if err := read(r, &q); err != nil {
		return err
	}
	d, err := life(q.LifeSeconds)
	if err != nil {
		return err
	}
	who, _ := web.ActorOf(r.Context())
	path, expires, err := a.cfg.Sessions.NewLink(r.Context(), who, d)
	if err != nil {
		return err
	}
	return created(w, SignInLink{URL: a.cfg.PortalURL + path, Expires: expires.UTC()})
}

func (a *API) sites(w http.ResponseWriter, r *http.Request) error {
	s, err := a.cfg.Sites.Status(r.Context())
	if err != nil {
		return err
	}
	return ok(w, SitesAnswer{Self: s.Self, Members: orEmpty(s.Members), Pending: orEmpty(s.Pending), Removed: orEmpty(s.Removed)})
}

// orEmpty makes a list that is not there an empty one, so that clients need not tell null from [].
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a *API) invite(w http.ResponseWriter, r *http.Request) error {
	var q InvitationRequest
	if err := read(r, &q); err != nil {
		return err
	}
	d, err := life(q.LifeSeconds)
	if err != nil {
		return err
	}
	token, err := a.cfg.Sites.Invite(r.Context(), q.Name, q.Operator, d)
	if err != nil {
		return err
	}
	return created(w, Invitation{Token: token})
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

func (a *API) authorities(w http.ResponseWriter, r *http.Request) error {
	s, err := a.cfg.Sites.Status(r.Context())
	if err != nil {
		return err
	}
	return ok(w, orEmpty(s.Authorities))
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
