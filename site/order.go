// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"cmp"
	"maps"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
)

// fact is a membership fact with who stated it where.
type fact = told[MembershipFact]

// saidFact is a membership fact as its log has it.
type saidFact = said[MembershipFact]

// facts returns all facts in the order in which they count:
//
//   - by stamps, but no fact before an earlier one of its own log;
//   - behind a proposal that the proposed site has acknowledged (Joined): what the inviter's operator has said for admitting
//     sites and the proposal has not heard, even if it is dated before. So nobody can say afterwards that he had admitted
//     somebody else alone, at a time when one operator was enough.
//
// Only the inviter's own operator is bound that way, and nothing moves that is about a site which has acknowledged it itself: who
// claims to have heard nothing gains no power over what others have said, nor over members that it has let in before.
func (m Membership) facts() []*fact {
	said := maps.Clone(m.Said)
	if said == nil {
		said = make(saidBy[MembershipFact])
	}
	for key, f := range m.Founded {
		l := &saidLog[MembershipFact]{Facts: []saidFact{f}}
		if others := said[key]; others != nil {
			l.Facts = append(l.Facts, others.Facts...)
			slices.SortFunc(l.Facts, func(a, b saidFact) int { return a.compare(b.mark) })
		}
		said[key] = l
	}
	list := said.inOrder()
	joined := acknowledged(list)
	bindings := firm(list, joined)
	list = oneFounding(list, bindings)
	operators := operatorsNamed(list)
	for _, b := range bindings {
		b.operators = operators
		list = b.bind(list, joined)
	}
	return list
}

// oneFounding leaves out all foundings of a site but one: the one that most of its firm proposals have heard of, of equal ones the
// first. Otherwise a founder could date another founding back and become another operator.
func oneFounding(list []*fact, bindings []*binding) []*fact {
	best := make(map[event.SiteID]*fact)
	count := func(f *fact) (n int) {
		for _, b := range bindings {
			if b.by == f.by && b.heard[f.name()] {
				n++
			}
		}
		return n
	}
	for _, f := range list {
		if f.Fact.Founded != nil && (best[f.by] == nil || count(f) > count(best[f.by])) {
			best[f.by] = f
		}
	}
	return slices.DeleteFunc(list, func(f *fact) bool { return f.Fact.Founded != nil && best[f.by] != f })
}

// acknowledged returns by site what it has acknowledged first.
func acknowledged(list []*fact) map[event.SiteID]Joined {
	joined := make(map[event.SiteID]Joined)
	for _, f := range list {
		if _, known := joined[f.by]; !known && f.Fact.Joined != nil {
			joined[f.by] = *f.Fact.Joined
		}
	}
	return joined
}

// names reports whether the site says that it joined by this fact.
func (j Joined) names(f *fact) bool {
	return j.By == f.by && j.Incarnation == f.incarnation && j.Page == f.Page && j.Hash == f.Hash && j.Index == f.Index
}

// firm returns the proposals that were acknowledged and say what they have heard, in order.
func firm(list []*fact, joined map[event.SiteID]Joined) (found []*binding) {
	for _, f := range list {
		p := f.Fact.Proposed
		if p != nil && p.Heard != nil && p.Site != f.by && joined[p.Site].names(f) {
			found = append(found, bindingOf(f))
		}
	}
	return found
}

func bindingOf(f *fact) *binding {
	b := &binding{fact: f, heard: make(map[string]bool, len(f.Fact.Proposed.Heard))}
	for _, name := range f.Fact.Proposed.Heard {
		b.heard[name] = true
	}
	return b
}

// operatorsNamed returns by site the operator under which it was founded or proposed; "" if it was under several.
func operatorsNamed(list []*fact) map[event.SiteID]string {
	operators := make(map[event.SiteID]string)
	for _, f := range list {
		var p Profile
		switch {
		case f.Fact.Founded != nil:
			p = f.Fact.Founded.Profile
		case f.Fact.Proposed != nil:
			p = f.Fact.Proposed.Profile
		default:
			continue
		}
		key := operatorKey(p.Operator)
		if before, known := operators[p.Site]; known && before != key {
			key = ""
		}
		operators[p.Site] = key
	}
	return operators
}

// binding is a firm proposal with whom it binds.
type binding struct {
	*fact
	heard     map[string]bool
	operators map[event.SiteID]string // see operatorsNamed
}

// own reports whether the site is of the inviter's operator.
func (b *binding) own(site event.SiteID) bool {
	return site == b.by || b.operators[site] != "" && b.operators[site] == b.operators[b.by]
}

// bind moves what the proposal binds behind it.
func (b *binding) bind(list []*fact, joined map[event.SiteID]Joined) []*fact {
	at := slices.Index(list, b.fact)
	var before, behind []*fact
	for _, f := range list[:at] {
		if b.binds(f, joined) {
			behind = append(behind, f)
		} else {
			before = append(before, f)
		}
	}
	if len(behind) == 0 {
		return list
	}
	return slices.Concat(before, list[at:at+1], behind, list[at+1:])
}

func (b *binding) binds(f *fact, joined map[event.SiteID]Joined) bool {
	if !b.own(f.by) || b.heard[f.name()] {
		return false
	}
	switch {
	case f.Fact.Proposed != nil:
		return !joined[f.Fact.Proposed.Site].names(f)
	case f.Fact.Endorsed != nil:
		_, is := joined[f.Fact.Endorsed.Site]
		return !is
	}
	return false
}

// hasJoined reports whether the site has acknowledged a proposal.
func (m Membership) hasJoined(site event.SiteID) bool {
	for key, l := range m.Said {
		by, _ := key.split()
		if by == site && slices.ContainsFunc(l.Facts, func(f saidFact) bool { return f.Fact.Joined != nil }) {
			return true
		}
	}
	return false
}

// unheardBefore counts what the proposal would bind if its site acknowledged it.
func (m Membership) unheardBefore(proposal *fact) (n int) {
	list := m.facts()
	b, joined := bindingOf(proposal), acknowledged(list)
	b.operators = operatorsNamed(list)
	for _, f := range list {
		if f.name() == proposal.name() {
			return n
		}
		if b.binds(f, joined) {
			n++
		}
	}
	return n
}

// heardOf returns the names of what the sites have said of who belongs to the federation, as far as it is known here, for
// Proposed.Heard and Removed.Heard. It is never nil and holds at most maxNamed, the first ones in order.
func (m Membership) heardOf(is func(event.SiteID) bool) []string {
	names := []string{}
	for _, f := range m.facts() {
		if is(f.by) && f.Fact.Joined == nil && len(names) < maxNamed {
			names = append(names, f.name())
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}
