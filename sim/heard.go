// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/session"
)

// heard is what a site has heard about the people of one authority, gathered naively from the events on its disk: sets and
// names, no order but that of the facts that replace each other. It is what the real folds are compared with.
type heard struct {
	authority event.AuthorityID
	grants    map[string]*heardGrant
	known     map[directory.PersonID]bool
	erased    map[directory.PersonID]bool
	keys      map[directory.PersonID]map[event.KeyID]bool // what the person's account was sealed with
	uses      map[string]map[string]bool                  // subject and secret -> sessions
	sheets    map[string]string                           // subject and set of codes -> session in which it was printed
	ended     map[string]bool                             // sessions
	allEnded  map[string]map[event.ID]bool                // person or guest -> "signed out everywhere"
	guests    map[string]*heardGuest
	approvals map[string]*heardApproval
	two       []access.Permission
	policyAt  event.Place
	lines     map[event.ID]bool
	// partial says that something on the disk is damaged and not found yet.
	partial bool
}

type heardGrant struct {
	access.Granted
	given, withdrawn bool
}

type heardGuest struct {
	code    event.ID
	at      event.Place
	despite []event.ID
	away    []event.ID
}

type heardApproval struct {
	askedBy    string
	approvedBy []string
	deed       access.Deed
	events     map[event.ID]bool
}

// heard gathers what a site has on its disk and what counts of it.
func (w *World) heard(ctx context.Context, n *node, id event.AuthorityID) *heard {
	h := &heard{
		authority: id,
		grants:    make(map[string]*heardGrant), known: make(map[directory.PersonID]bool), erased: make(map[directory.PersonID]bool),
		keys: make(map[directory.PersonID]map[event.KeyID]bool), uses: make(map[string]map[string]bool), sheets: make(map[string]string),
		ended: make(map[string]bool), allEnded: make(map[string]map[event.ID]bool), guests: make(map[string]*heardGuest),
		approvals: make(map[string]*heardApproval), two: access.DefaultPolicy().TwoPersons, lines: make(map[event.ID]bool),
	}
	w.unread = false
	for _, e := range w.countedAt(ctx, n) {
		if e.authority == id {
			h.add(e)
		}
	}
	h.partial = w.unread
	return h
}

// read returns an event's data; what does not fit stays empty.
func read[F any](e event.Event) (f F) {
	_ = e.Decode(&f)
	return f
}

func (h *heard) add(e located) {
	if e.event.Subject.Root() == "account" {
		h.addAccount(e.event)
		return
	}
	switch id := e.event.Subject.Part(1); e.event.Kind {
	case directory.KindPersonRecorded:
		h.known[directory.PersonID(id)] = true
	case directory.KindPersonErased:
		h.erased[directory.PersonID(id)] = true
	case session.KindEnded:
		h.ended[read[session.Ended](e.event).Session] = true
	case session.KindAllEnded:
		put(h.allEnded, id, e.event.ID)
	case guest.KindInvited, guest.KindEntered, guest.KindSentAway:
		h.addGuest(e, id)
	default:
		h.addRight(e, id)
	}
}

// put adds to a set of a map.
func put[K, V comparable](m map[K]map[V]bool, k K, v V) {
	if m[k] == nil {
		m[k] = make(map[V]bool)
	}
	m[k][v] = true
}

func (h *heard) addAccount(e event.Event) {
	subject := string(e.Subject) + " "
	for _, k := range e.Keys {
		put(h.keys, directory.PersonID(e.Subject.Part(1)), k)
	}
	switch e.Kind {
	case identity.KindInvitationUsed:
		f := read[identity.InvitationUsed](e)
		put(h.uses, subject+"invitation/"+f.ID, f.Session)
	case identity.KindLinkUsed:
		f := read[identity.LinkUsed](e)
		put(h.uses, subject+"link/"+f.ID, f.Session)
	case identity.KindCodeUsed:
		f := read[identity.CodeUsed](e)
		put(h.uses, subject+"code/"+f.Set+"/"+f.Code, f.Session)
	case identity.KindVouchingUsed:
		f := read[identity.VouchingUsed](e)
		put(h.uses, subject+"vouching/"+f.Ticket, f.Session)
	case identity.KindCodesIssued:
		f := read[identity.CodesIssued](e)
		h.sheets[subject+"code/"+f.Set+"/"] = f.Session
	}
}

func (h *heard) addGuest(e located, id string) {
	g := h.guests[id]
	if g == nil {
		g = &heardGuest{}
		h.guests[id] = g
	}
	switch e.event.Kind {
	case guest.KindInvited:
		if f := read[guest.Invited](e.event); g.code == "" || g.at.Compare(e.place) < 0 {
			g.code, g.at, g.despite = f.Code.ID, e.place, f.Despite
		}
	case guest.KindEntered:
		f := read[guest.Entered](e.event)
		put(h.uses, "guest/"+id+" "+string(f.Code), f.Session)
	case guest.KindSentAway:
		g.away = append(g.away, e.event.ID)
	}
}

func (h *heard) addRight(e located, id string) {
	switch e.event.Kind {
	case access.KindGranted:
		g := h.grant(id)
		g.given, g.Granted = true, read[access.Granted](e.event)
	case access.KindWithdrawn:
		h.grant(id).withdrawn = true
	case access.KindPolicySet:
		if h.policyAt.Compare(e.place) < 0 {
			h.two, h.policyAt = read[access.PolicySet](e.event).TwoPersons, e.place
		}
	case access.KindApprovalAsked:
		a := h.approval(id)
		a.askedBy, a.deed = e.event.Actor, read[access.ApprovalAsked](e.event).Deed
	case access.KindApproved:
		if a := h.approval(id); !a.events[e.event.ID] {
			a.events[e.event.ID] = true
			a.approvedBy = append(a.approvedBy, e.event.Actor)
		}
	case audit.KindRecorded:
		h.lines[e.event.ID] = true
	}
}

func (h *heard) grant(id string) *heardGrant {
	if h.grants[id] == nil {
		h.grants[id] = &heardGrant{}
	}
	return h.grants[id]
}

func (h *heard) approval(id string) *heardApproval {
	if h.approvals[id] == nil {
		h.approvals[id] = &heardApproval{events: make(map[event.ID]bool)}
	}
	return h.approvals[id]
}

// void returns the sessions that rest on a secret of which the site has heard that it was used twice, and what came of those.
func (h *heard) void() map[string]bool {
	out := make(map[string]bool)
	for more := true; more; {
		before := len(out)
		for what, sessions := range h.uses {
			sheet := what[:strings.LastIndex(what, "/")+1]
			if len(sessions) > 1 || out[h.sheets[sheet]] {
				maps.Copy(out, sessions)
			}
		}
		more = len(out) > before
	}
	return out
}

// end says why a session must be refused where this was heard, "" if it need not be.
func (h *heard) end(s *sess, void map[string]bool) string {
	p := s.principal
	switch {
	case p.Kind == access.Person && h.erased[directory.PersonID(p.ID)]:
		return "of an erased person"
	case h.ended[p.Session]:
		return "that was ended"
	case void[p.Session]:
		return "that began with a secret used twice"
	case p.Kind == access.Visitor && h.sentAway(p):
		return "of a guest who was sent away or invited anew"
	}
	for id := range h.allEnded[p.ID] {
		if !s.unsure && !s.knew[id] {
			return "that is older than a sign-out everywhere"
		}
	}
	return ""
}

func (h *heard) sentAway(p access.Principal) bool {
	g := h.guests[p.ID]
	if g == nil || g.code == "" || !strings.HasPrefix(p.Session, string(g.code)) {
		return true
	}
	return slices.ContainsFunc(g.away, func(id event.ID) bool { return !slices.Contains(g.despite, id) })
}

// inForce returns the grants that give a person a permission at an instant, by their ids.
func (h *heard) inForce(person directory.PersonID, need access.Permission, now time.Time) map[string]directory.UnitID {
	out := make(map[string]directory.UnitID)
	ms := now.UnixMilli()
	for id, g := range h.grants {
		if g.given && !g.withdrawn && g.Person == person && g.Role.Can(need) && g.From <= ms && (g.Until == 0 || ms < g.Until) {
			out[id] = g.Unit
		}
	}
	return out
}
