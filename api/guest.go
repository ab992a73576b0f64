// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"net/http"

	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/web"
)

func guestOf(g guest.Guest) Guest {
	return Guest{ID: string(g.ID), Name: g.Name, Readable: g.Readable, Incident: g.Incident, Until: g.Until, State: string(g.State),
		InvitedBy: g.InvitedBy, InvitedAt: g.InvitedAt, EnteredAt: g.EnteredAt, Sites: orEmpty(g.Sites),
		SentAwayBy: g.SentAwayBy, SentAwayAt: g.SentAwayAt}
}

func (a *API) guests(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	list, err := a.cfg.Guests.Guests(r.Context(), id)
	if err != nil {
		return err
	}
	out := make([]Guest, 0, len(list))
	for _, g := range list {
		out = append(out, guestOf(g))
	}
	return ok(w, out)
}

func (a *API) inviteGuest(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var d GuestDraft
	if err := read(r, &d); err != nil {
		return err
	}
	g, code, receipt, err := a.cfg.Guests.Invite(r.Context(), by(r), id, guest.Draft(d))
	if err != nil {
		return err
	}
	web.About(r.Context(), "guest/"+string(g.ID)[:min(16, len(g.ID))], g.Incident) // longer words the audit takes for secrets
	written, err := a.settle(r.Context(), web.ReceiptOf(receipt))
	if err != nil {
		return err
	}
	return created(w, InvitedGuest{Guest: guestOf(g), Code: code, Written: written})
}

func (a *API) sendAway(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	return a.answerWritten(w, r)(a.cfg.Guests.SendAway(r.Context(), by(r), id, guest.ID(r.PathValue("guest"))))
}

func programOf(p program.Program) Program {
	return Program{ID: string(p.ID), Name: p.Name, Readable: p.Readable, Kind: string(p.Kind), Scopes: orEmpty(p.Scopes), Owner: p.Owner,
		Expires: p.Expires, State: string(p.State), MadeBy: p.MadeBy, MadeAt: p.MadeAt, WithdrawnBy: p.WithdrawnBy, WithdrawnAt: p.WithdrawnAt,
		LastUsed: p.LastUsed, UsedAt: p.UsedAt}
}

func (a *API) programs(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	list, err := a.cfg.Programs.Programs(r.Context(), id)
	if err != nil {
		return err
	}
	out := make([]Program, 0, len(list))
	for _, p := range list {
		out = append(out, programOf(p))
	}
	return ok(w, out)
}

func (a *API) makeProgram(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var d ProgramDraft
	if err := read(r, &d); err != nil {
		return err
	}
	p, secret, receipt, err := a.cfg.Programs.Make(r.Context(), by(r), id, program.Draft{Name: d.Name, Kind: program.Kind(d.Kind),
		Scopes: d.Scopes, Owner: d.Owner, Expires: d.Expires})
	if err != nil {
		return err
	}
	web.About(r.Context(), "program/"+string(p.ID))
	written, err := a.settle(r.Context(), web.ReceiptOf(receipt))
	if err != nil {
		return err
	}
	return created(w, MadeProgram{Program: programOf(p), Secret: secret, Written: written})
}

func (a *API) withdrawProgram(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	return a.answerWritten(w, r)(a.cfg.Programs.Withdraw(r.Context(), by(r), id, program.ID(r.PathValue("program"))))
}
