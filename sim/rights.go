// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/guest"
)

// peopleActions is what people may do about themselves and each other, and how often.
var peopleActions = []action{
	{6, (*World).grantSome},
	{5, (*World).withdrawSome},
	{5, (*World).judgeSome},
	{5, (*World).secretSome},
	{6, (*World).useSome},
	{5, (*World).useTwice},
	{8, (*World).presentSome},
	{4, (*World).signOutSome},
	{4, (*World).printCodes},
	{4, (*World).vouchSome},
	{5, (*World).askSome},
	{7, (*World).approveSome},
	{2, (*World).policySome},
	{4, (*World).guestSome},
	{1, (*World).eraseSome},
	{5, (*World).recordSome},
	{1, (*World).forbidWhereBegun},
}

// peopleAction lets one of them happen.
func (w *World) peopleAction(ctx context.Context) error {
	total := 0
	for _, a := range peopleActions {
		total += a.weight
	}
	dice := w.rnd.IntN(total)
	for _, a := range peopleActions {
		if dice -= a.weight; dice < 0 {
			return a.do(w, ctx)
		}
	}
	return nil
}

// actor returns somebody who acts at the node: the console, or somebody whose session is accepted.
func (w *World) actor(ctx context.Context, n *node, id event.AuthorityID) access.Principal {
	if w.rnd.IntN(4) > 0 {
		if _, p := w.accepted(ctx, n, id, isFull); !p.IsZero() {
			return p
		}
	}
	return console
}

var granted = []access.Role{
	access.Administrator, access.Administrator, access.Administrator, access.AlarmOfficer, access.Auditor, access.JournalKeeper, access.PlanEditor,
	access.Operator,
}

// draft makes up a grant for somebody in the register.
func (w *World) draft(ctx context.Context, n *node, id event.AuthorityID) (d access.GrantDraft, ok bool, err error) {
	persons, err := w.persons(ctx, n, id)
	if d.Person, ok = pick(w, persons); !ok {
		return d, false, err
	}
	d.Role = granted[w.rnd.IntN(len(granted))]
	if w.rnd.IntN(4) == 0 {
		units, err := n.people.directory.Units(ctx, id)
		if err != nil {
			return d, false, err
		}
		if u, some := pick(w, units); some {
			d.Unit = u.ID
		}
	}
	if w.rnd.IntN(4) == 0 {
		d.Until = n.clock().Add(w.later())
	}
	return d, true, nil
}

func (w *World) grantSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	d, ok, err := w.draft(ctx, n, id)
	if err != nil || !ok {
		return refusal(err)
	}
	by, h := w.actor(ctx, n, id), w.heard(ctx, n, id)
	g, _, err := n.people.access.Grant(ctx, by, id, d)
	w.logf("%v makes somebody of %s %s, by %s: %s", n, id, d.Role, by.Way, outcome(err))
	if err == nil {
		w.people.grants++
		w.logf("that is grant %s", g.ID)
	}
	if err == nil && by.Kind != access.Console && !h.partial && slices.Contains(h.two, access.GrantRoles) {
		w.violate("%v let one person grant a role of %s, which takes two", n, id)
	}
	return refusal(err)
}

func (w *World) withdrawSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	grants, err := n.people.access.Grants(ctx, id)
	g, ok := pick(w, grants)
	if err != nil || !ok {
		return refusal(err)
	}
	_, err = n.people.access.Withdraw(ctx, w.actor(ctx, n, id), id, g.ID)
	w.logf("%v withdraws grant %s of %s: %s", n, g.ID, id, outcome(err))
	return refusal(err)
}

// judgeSome asks a node what everybody may do.
func (w *World) judgeSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	if n.rotten {
		return nil // it knows more than can be read on its disk
	}
	return w.checkRights(ctx, n, w.heard(ctx, n, id))
}

// askedFor are the permissions that are asked for: one of each granted role, and one that a member has.
var askedFor = []access.Permission{access.GrantRoles, access.RaiseAlarm, access.SeeAudit, access.InviteGuests, access.SeeRoles, access.ManageSite, access.SeePeople}

// checkRights: nobody may do what no grant in force that this site has heard of allows, and whoever has such a grant may.
func (w *World) checkRights(ctx context.Context, n *node, h *heard) error {
	if h.partial || !slices.Contains(n.mayHold(), h.authority) {
		return nil
	}
	list, err := n.people.directory.Resolve(ctx, h.authority, directory.Audience{Everyone: true})
	if err != nil {
		return refusal(err)
	}
	persons := make(map[directory.PersonID]bool)
	for _, r := range list {
		persons[r.Person] = true
	}
	for _, g := range sorted(h.grants) {
		if g.Person != "" {
			persons[g.Person] = persons[g.Person] || false
		}
	}
	for _, person := range sortedIDs(persons) {
		for _, need := range askedFor {
			if err := w.checkRight(ctx, n, h, person, need, persons[person]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *World) checkRight(ctx context.Context, n *node, h *heard, person directory.PersonID, need access.Permission, registered bool) error {
	w.people.judged++
	p := access.Principal{Kind: access.Person, Authority: h.authority, ID: string(person), Way: access.ByPasskey}
	v, err := n.people.judge(ctx, p, h.authority, need)
	if refusal(err) != nil {
		return err
	}
	own, grants := access.MemberRole.Can(need), h.inForce(person, need, n.clock())
	unit, known := grants[v.Grant]
	switch {
	case err == nil && (h.erased[person] || !h.known[person]):
		w.violate("%v lets person %s of %s, who is erased or unknown, do %s", n, person, h.authority, need)
	case err == nil && !own && !known:
		w.violate("%v lets person %s of %s do %s without a grant in force (it says %q)", n, person, h.authority, need, v.Grant)
	case err == nil && v.Units == nil && unit != "":
		w.violate("%v lets person %s of %s do %s everywhere, and the grant is for a unit", n, person, h.authority, need)
	case err != nil && registered && (own || len(grants) > 0):
		w.violate("%v does not let person %s of %s do %s in spite of a grant: %v", n, person, h.authority, need, err)
	}
	return nil
}

// policySome marks granting roles as taking two, or does not.
func (w *World) policySome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	p := access.DefaultPolicy()
	if w.rnd.IntN(2) == 0 {
		p.TwoPersons = append(p.TwoPersons, access.GrantRoles)
	}
	_, err := n.people.access.SetPolicy(ctx, w.actor(ctx, n, id), id, p)
	w.logf("%v sets the policy of %s to %v: %s", n, id, p.TwoPersons, outcome(err))
	return refusal(err)
}

// askSome asks for a second person, for a role or for erasing somebody.
func (w *World) askSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	d, ok, err := w.draft(ctx, n, id)
	if err != nil || !ok {
		return refusal(err)
	}
	what, args := access.DeedGrantRole, d.Args()
	if w.rnd.IntN(6) == 0 && w.people.erased[id] < mostErased {
		what, args = access.DeedErasePerson, deed.EraseArgs(d.Person)
		w.people.erased[id]++
	}
	by := w.actor(ctx, n, id)
	a, _, err := n.people.access.Ask(ctx, by, id, what, args, 1, 0)
	w.logf("%v asks for a second person for %s of %s, by %s: %s %s", n, what, id, by.Way, a.ID, outcome(err))
	if err == nil {
		w.people.asked = append(w.people.asked, &request{node: n, authority: id, id: a.ID, by: by.Actor()})
	}
	return refusal(err)
}

// approveSome lets somebody decide about a request, sometimes on two sides of a cut.
func (w *World) approveSome(ctx context.Context) error {
	r, ok := pick(w, w.people.asked[max(0, len(w.people.asked)-6):])
	n := w.someone()
	if n == nil || !ok || !slices.Contains(n.mayHold(), r.authority) {
		return nil
	}
	b, twoSides := pick(w, w.others(n, r.authority))
	if twoSides = twoSides && w.rnd.IntN(2) == 0; !twoSides {
		return errors.Join(w.tell(ctx, n, r.node), w.approve(ctx, n, r))
	}
	if err := errors.Join(w.tell(ctx, n, r.node), w.tell(ctx, b, r.node)); err != nil {
		return err
	}
	w.net.Cut(n.site, b.site)
	w.logf("%v and %v are cut", n, b)
	return errors.Join(w.approve(ctx, b, r), w.approve(ctx, n, r))
}

func (w *World) approve(ctx context.Context, n *node, r *request) error {
	if err := n.settle(ctx); err != nil {
		return err
	}
	by := w.actor(ctx, n, r.authority)
	if w.rnd.IntN(8) == 0 {
		_, err := n.people.access.Refuse(ctx, by, r.authority, r.id)
		w.logf("%v refuses request %s, by %s: %s", n, r.id, by.Way, outcome(err))
		return refusal(err)
	}
	_, _, err := n.people.access.Approve(ctx, by, r.authority, r.id, func(ctx context.Context, a access.Approval) (string, error) {
		if by.Actor() == r.by {
			w.violate("%v carries request %s out for the asker alone", n, r.id)
		}
		return w.carry(ctx, n, by, r.authority, a)
	})
	w.logf("%v approves request %s, by %s: %s", n, r.id, by.Way, outcome(err))
	if err == nil {
		w.people.approved++
	}
	return refusal(err)
}

// carry does what was approved.
func (w *World) carry(ctx context.Context, n *node, by access.Principal, id event.AuthorityID, a access.Approval) (string, error) {
	if a.Deed == access.DeedErasePerson {
		person, err := deed.ReadErase(a.Args)
		if err != nil {
			return "", err
		}
		return "person/" + string(person), w.erase(ctx, n, by, id, person)
	}
	d, err := deed.ReadGrant(a.Args)
	if err != nil {
		return "", err
	}
	g, _, err := n.people.access.Grant(ctx, by, id, d)
	return "grant/" + g.ID, err
}

// mostErased bounds the people of one authority who are erased, so that somebody is left.
const mostErased = 2

// eraseSome erases somebody who has been signed in.
func (w *World) eraseSome(ctx context.Context) error {
	s, ok := pick(w, w.people.sessions)
	n := w.someone()
	if n == nil || !ok || s.principal.Kind != access.Person || !slices.Contains(n.mayHold(), s.authority()) || w.people.erased[s.authority()] >= mostErased {
		return nil
	}
	w.people.erased[s.authority()]++
	if err := n.settle(ctx); err != nil {
		return err
	}
	return refusal(w.erase(ctx, n, console, s.authority(), directory.PersonID(s.principal.ID)))
}

func (w *World) erase(ctx context.Context, n *node, by access.Principal, id event.AuthorityID, person directory.PersonID) error {
	err := n.people.directory.As(by.Actor()).Erase(ctx, id, person)
	w.logf("%v erases person %s of %s: %s", n, person, id, outcome(err))
	w.people.erasing = append(w.people.erasing, owner{id, person})
	return err
}

// guestSome invites a guest, sends one away, or invites one again.
func (w *World) guestSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	by := w.actor(ctx, n, id)
	list, err := n.people.guests.Guests(ctx, id)
	if err != nil {
		return refusal(err)
	}
	g, some := pick(w, list)
	if some && w.rnd.IntN(3) == 0 {
		_, err := n.people.guests.SendAway(ctx, by, id, g.ID)
		w.logf("%v sends guest %s away: %s", n, g.ID, outcome(err))
		return refusal(err)
	}
	if !w.mayHash(1) {
		return nil
	}
	var code string
	if some && w.rnd.IntN(3) == 0 {
		_, code, _, err = n.people.guests.Renew(ctx, by, id, g.ID, n.clock().Add(guest.MaxLife))
	} else {
		_, code, _, err = n.people.guests.Invite(ctx, by, id, guest.Draft{Name: "Gast", Incident: "alarm/7f3a", Until: n.clock().Add(guest.MaxLife)})
	}
	w.logf("%v invites a guest of %s: %s", n, id, outcome(err))
	if code != "" {
		w.addSecret(&secret{way: byGuestCode, authority: id, text: code})
	}
	return refusal(err)
}

// recordSome writes a line of the audit, now and then one of no authority.
func (w *World) recordSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	if w.rnd.IntN(5) == 0 {
		id = ""
	}
	e := audit.Entry{
		Deed: "people.see", Actor: "operator", Way: "console", From: fmt.Sprintf("192.0.2.%d", w.rnd.IntN(250)),
		Object: fmt.Sprintf("person/%04d", w.rnd.IntN(10_000)),
	}
	err := n.record(ctx, id, e)
	w.logf("%v records a line of %q: %s", n, id, outcome(err))
	return refusal(err)
}

// forbidWhereBegun forbids the site at which somebody's session began.
func (w *World) forbidWhereBegun(ctx context.Context) error {
	s, ok := pick(w, w.people.sessions)
	by := w.someone()
	if by == nil || !ok {
		return nil
	}
	for _, a := range w.authorities {
		if a.id == s.authority() {
			return w.forbid(ctx, by, s.began, a)
		}
	}
	return nil
}
