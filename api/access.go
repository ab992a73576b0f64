// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/web"
)

func grantOf(g access.Grant, now time.Time) Grant {
	return Grant{ID: g.ID, GrantDraft: GrantDraft{Role: g.Role, Unit: g.Unit, Person: g.Person, Function: g.Function, From: g.From, Until: g.Until},
		GrantedBy: g.GrantedBy, GrantedAt: g.GrantedAt, Withdrawn: g.Withdrawn, WithdrawnBy: g.WithdrawnBy, WithdrawnAt: g.WithdrawnAt,
		InForce: g.InForce(now)}
}

// roles lists grants: those in force, or with all=true those too that have ended, have not begun or were withdrawn.
func (a *API) roles(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	all, err := flag(r, "all")
	if err != nil {
		return err
	}
	list, err := a.cfg.Access.Grants(r.Context(), id)
	if err != nil {
		return err
	}
	out := make([]Grant, 0, len(list))
	for _, g := range list {
		if line := grantOf(g, a.cfg.Now()); all || line.InForce {
			out = append(out, line)
		}
	}
	return ok(w, out)
}

// aboutGrant says in the audit who is to get which role.
func aboutGrant(d GrantDraft) []string {
	about := []string{string(d.Role)}
	for kind, id := range map[string]string{"person/": string(d.Person), "function/": string(d.Function), "unit/": string(d.Unit)} {
		if id != "" {
			about = append(about, kind+id)
		}
	}
	slices.Sort(about)
	return about
}

// grantRole gives a role, or asks for a second person where the policy wants one.
func (a *API) grantRole(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var d GrantDraft
	if err := read(r, &d); err != nil {
		return err
	}
	web.About(r.Context(), aboutGrant(d)...)
	o, err := a.cfg.Deeds.GrantRole(r.Context(), by(r), id, d)
	if err != nil {
		return err
	}
	if o.Waiting {
		return a.answerAsked(w, r, o, aboutGrant(d)...)
	}
	written, err := a.settle(r.Context(), web.ReceiptOf(o.Receipt))
	if err != nil {
		return err
	}
	return created(w, Granted{Grant: grantOf(o.Grant, a.cfg.Now()), Written: written})
}

func (a *API) withdrawRole(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	return a.answerWritten(w, r)(a.cfg.Access.Withdraw(r.Context(), by(r), id, r.PathValue("grant")))
}

func policyOf(p access.Policy) Policy {
	out := Policy(p)
	out.TwoPersons, out.RetentionDays = orEmpty(p.TwoPersons), maps.Clone(p.RetentionDays)
	if out.RetentionDays == nil {
		out.RetentionDays = map[event.Class]int{}
	}
	return out
}

func (a *API) policy(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	p, err := a.cfg.Access.Policy(r.Context(), id)
	if err != nil {
		return err
	}
	return ok(w, policyOf(p))
}

// setPolicy replaces the policy as a whole, or asks for a second person where the policy in force wants one.
func (a *API) setPolicy(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var p Policy
	if err := read(r, &p); err != nil {
		return err
	}
	o, err := a.cfg.Deeds.SetPolicy(r.Context(), by(r), id, access.Policy(p))
	if err != nil {
		return err
	}
	if o.Waiting {
		return a.answerAsked(w, r, o, "policy/access")
	}
	return a.answerWritten(w, r)(o.Receipt, nil)
}

func approvalOf(p access.Approval) Approval {
	out := Approval{ID: p.ID, Deed: p.Deed, Args: p.Args, Size: p.Size, AskedBy: p.AskedBy, AskedAt: p.AskedAt, AskedSite: p.AskedSite,
		Expires: p.Expires, State: string(p.State), DecidedBy: orEmpty(p.DecidedBy), Result: p.Result}
	for _, e := range p.Elsewhere {
		out.Elsewhere = append(out.Elsewhere, e.ID)
	}
	return out
}

// answerAsked answers that nothing is done yet, because a second person has to agree.
func (a *API) answerAsked(w http.ResponseWriter, r *http.Request, o deed.Outcome, about ...string) error {
	did, about := deed.NoteOfAsking(o.Approval, about...)
	web.Did(r.Context(), did, about...)
	written, err := a.settle(r.Context(), web.ReceiptOf(o.Receipt))
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusAccepted, "", Pending{Approval: approvalOf(o.Approval), Written: written})
	return nil
}

func (a *API) approvals(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	list, err := a.cfg.Access.Approvals(r.Context(), id)
	if err != nil {
		return err
	}
	out := make([]Approval, 0, len(list))
	for _, p := range list {
		out = append(out, approvalOf(p))
	}
	return ok(w, out)
}

func (a *API) approval(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	p, err := a.cfg.Access.Approval(r.Context(), id, r.PathValue("approval"))
	if err != nil {
		return err
	}
	return ok(w, approvalOf(p))
}

// approve agrees to a deed as the second person; it is carried out before the answer.
func (a *API) approve(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	p, receipt, err := a.cfg.Deeds.Approve(r.Context(), by(r), id, r.PathValue("approval"))
	if err != nil {
		return err
	}
	did, about := deed.NoteOfCarrying(p)
	web.Did(r.Context(), did, about...)
	written, err := a.settle(r.Context(), web.ReceiptOf(receipt))
	if err != nil {
		return err
	}
	return ok(w, Pending{Approval: approvalOf(p), Written: written})
}

func (a *API) refuse(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	return a.answerWritten(w, r)(a.cfg.Access.Refuse(r.Context(), by(r), id, r.PathValue("approval")))
}
