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
// claims to have heard nothing gains no power over what others have said, nor over members that it has let in before. Who has
// acknowledged different proposals, or named different operators, is like one that has acknowledged nothing. The founder
// tells whose operator was alone at first, see operators; "" is the first one.
func (m Membership) facts(founder event.SiteID) []*fact {
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
	list, bindings, joined := bindingsIn(said.inOrder(), founder)
	return bindAll(list, bindings, joined)
}

// bindingsIn returns what is to be put in order, still as its stamps have it, and what moves it.
func bindingsIn(list []*fact, founder event.SiteID) ([]*fact, []*binding, acknowledgements) {
	joined := acknowledged(list)
	bindings := firm(list, joined)
	list = oneFounding(list, bindings, joined)
	operators, names := operatorsNamed(list, founder), namesOf(list)
	for _, b := range bindings {
		b.operators, b.names = operators, names
	}
	return list, bindings, joined
}

// oneFounding leaves out all foundings of a site but one: the one that most of its firm proposals have heard of, of equal ones the
// first. Otherwise a founder could date another founding back and become another operator. A site that has acknowledged several
// proposals is not asked: it could outvote the others.
func oneFounding(list []*fact, bindings []*binding, joined acknowledgements) []*fact {
	best := make(map[event.SiteID]*fact)
	count := func(f *fact) (n int) {
		name := f.name()
		for _, b := range bindings {
			if b.by == f.by && b.heard[name] && len(joined[b.Fact.Proposed.Site]) == 1 {
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

// acknowledgements are by site all that it has acknowledged, in whatever logs. An honest site acknowledges one proposal.
type acknowledgements map[event.SiteID]map[Joined]bool

func acknowledged(list []*fact) acknowledgements {
	joined := make(acknowledgements)
	for _, f := range list {
		switch {
		case f.Fact.Joined == nil:
			continue
		case joined[f.by] == nil:
			joined[f.by] = make(map[Joined]bool)
		}
		joined[f.by][*f.Fact.Joined] = true
	}
	return joined
}

// name reports whether the site that a proposal is about says that it joined by it.
func (a acknowledgements) name(f *fact) bool {
	return a[f.Fact.Proposed.Site][Joined{f.by, f.incarnation, f.Page, f.Hash, f.Index}]
}

// firm returns the proposals that were acknowledged and say what they have heard, in order.
func firm(list []*fact, joined acknowledgements) (found []*binding) {
	for _, f := range list {
		p := f.Fact.Proposed
		if p != nil && p.Heard != nil && p.Site != f.by && joined.name(f) {
			found = append(found, bindingOf(f))
		}
	}
	return found
}

// operators tells which sites are of one operator, from what sites themselves have said: a name counts for a site that has
// founded or consented under it.
type operators struct {
	named map[event.SiteID]map[string]bool // an honest site has one
	// alone is the founder with those of its operator whom it has proposed, and they others: the sites that could admit others
	// alone at first. Nobody comes in here who was not let in by one of them.
	alone map[event.SiteID]bool
	first string                   // the name of the founder's operator
	known map[[2]event.SiteID]bool // what bound has answered: who takes thousands of names must not cost others anything
}

func operatorsNamed(list []*fact, founder event.SiteID) operators {
	o := operators{named: make(map[event.SiteID]map[string]bool), alone: make(map[event.SiteID]bool), known: make(map[[2]event.SiteID]bool)}
	for _, f := range list {
		p := f.Fact.profile(f.by)
		if p == nil {
			continue
		}
		name := operatorKey(p.Operator)
		if f.Fact.Founded != nil && (founder == "" || founder == p.Site) {
			founder, o.first, o.alone[p.Site] = p.Site, name, true
		}
		if o.named[p.Site] == nil {
			o.named[p.Site] = make(map[string]bool)
		}
		o.named[p.Site][name] = true
	}
	for o.spread(list) {
	}
	return o
}

// profile returns what a site has consented to be called by the fact, nil if it is no fact of that kind.
func (f *MembershipFact) profile(by event.SiteID) *Profile {
	switch {
	case f.Founded != nil && f.Founded.Site == by:
		return &f.Founded.Profile
	case f.Proposed != nil:
		return &f.Proposed.Profile
	}
	return nil
}

// spread adds whom those who were alone have proposed as their own, and reports whether there was anybody.
func (o operators) spread(list []*fact) (more bool) {
	for _, f := range list {
		p := f.Fact.Proposed
		if p != nil && o.alone[f.by] && !o.alone[p.Site] && operatorKey(p.Operator) == o.first {
			o.alone[p.Site], more = true, true
		}
	}
	return more
}

// bound reports whether a site is bound by what another one has heard: because they share an operator's name. Who takes further
// names does not get away with it. Nor does he win power with them: the name of an operator that was never alone gives who has
// others besides no power over a site that has only this one.
func (o operators) bound(site, by event.SiteID) bool {
	pair := [2]event.SiteID{site, by}
	is, known := o.known[pair]
	if !known {
		own, others := o.named[site], o.named[by]
		is = o.alone[by] && own[o.first] || (len(others) == 1 || len(own) > 1) && overlap(own, others)
		o.known[pair] = is
	}
	return is
}

func overlap(a, b map[string]bool) bool {
	for name := range a {
		if b[name] {
			return true
		}
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
	founder := proposal.Fact.Proposed.Federation
	list := m.facts(founder)
	b, joined := bindingOf(proposal), acknowledged(list)
	b.operators, b.names = operatorsNamed(list, founder), namesOf(list)
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
	for _, f := range m.facts("") {
		if is(f.by) && f.Fact.Joined == nil && len(names) < maxNamed {
			names = append(names, f.name())
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}
