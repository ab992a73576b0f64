// SPDX-License-Identifier: EUPL-1.2

package site

import "codeberg.org/holdfast/holdfast/event"

// binding is a firm proposal with whom it binds.
type binding struct {
	*fact
	heard     map[string]bool
	operators operators
	names     map[*fact]string // of all facts: a name is a digest, and each proposal asks for it
}

func bindingOf(f *fact) *binding {
	b := &binding{fact: f, heard: make(map[string]bool, len(f.Fact.Proposed.Heard))}
	for _, name := range f.Fact.Proposed.Heard {
		b.heard[name] = true
	}
	return b
}

func namesOf(list []*fact) map[*fact]string {
	names := make(map[*fact]string, len(list))
	for _, f := range list {
		names[f] = f.name()
	}
	return names
}

// own reports whether the site is of the inviter's operator.
func (b *binding) own(site event.SiteID) bool {
	return site == b.by || b.operators.bound(site, b.by)
}

// binds reports whether the proposal moves a fact that comes before it.
func (b *binding) binds(f *fact, joined acknowledgements) bool {
	return !b.heard[b.names[f]] && b.holds(f, joined)
}

// holds reports whether what is said is for the proposal's inviter to answer for, heard or not. All proposals of one inviter hold
// the same.
func (b *binding) holds(f *fact, joined acknowledgements) bool {
	if !b.own(f.by) {
		return false
	}
	switch {
	case f.Fact.Proposed != nil:
		return !b.exempt(f.Fact.Proposed.Site, joined) || !joined.name(f)
	case f.Fact.Endorsed != nil:
		return !b.exempt(f.Fact.Endorsed.Site, joined)
	}
	return false
}

// exempt reports whether what is about a site may stay where it is because the site has acknowledged it. One that has
// acknowledged different proposals, or consented to be of different operators, has lied: then its word moves nothing to the front.
func (b *binding) exempt(site event.SiteID, joined acknowledgements) bool {
	return len(joined[site]) == 1 && len(b.operators.named[site]) < 2
}

// bindAll moves behind each binding what it binds, one binding after the other in order. What moves stays in the order in which it was.
//
// Done just so it would cost bindings times facts, and two members of which one proposes the other again and again can have
// thousands of both. What a binding moves lies before it; so where a fact ends up is told by the last binding that binds it, among
// those for which that is the same by the last but one, and so on, and at last by where it was. Therefore this goes once from the
// last fact to the first and takes apart at each binding what that tells apart. All proposals of an inviter hold the same, so that
// is only what this one, or the one before it, has heard.
func bindAll(list []*fact, bindings []*binding, joined acknowledgements) []*fact {
	if len(bindings) == 0 {
		return list
	}
	s := newSweep(list, bindings[0].names, joined)
	for at := len(list) - 1; at >= 0; at-- {
		if n := len(bindings) - 1; n >= 0 && bindings[n].fact == list[at] {
			s.split(at, bindings[n])
			bindings = bindings[:n]
			continue
		}
		s.of[at].after(list[at])
	}
	return s.order()
}

// sweep is a list of facts being put in order, from the last one to the first.
type sweep struct {
	list   []*fact
	joined acknowledgements
	names  map[*fact]string
	index  map[string]int // of the facts, by name
	first  *place
	of     []*place // where each fact is that the sweep has not reached
	// free are by inviter the facts that it holds and none of its bindings binds so far. A place has such ones and others that it
	// does not hold, or only such that are bound.
	free map[event.SiteID]map[int]bool
}

// place is a fact that is where it belongs, or where those are that the sweep has not reached and the same bindings bind so far.
type place struct {
	before, next *place
	fact         *fact
}

func newSweep(list []*fact, names map[*fact]string, joined acknowledgements) *sweep {
	s := &sweep{
		list:   list,
		joined: joined,
		names:  names,
		index:  make(map[string]int, len(list)),
		first:  new(place),
		of:     make([]*place, len(list)),
		free:   make(map[event.SiteID]map[int]bool),
	}
	all := s.first.after(nil)
	for i, f := range list {
		s.index[names[f]], s.of[i] = i, all
	}
	return s
}

// after puts a fact, or for nil an empty place, right behind the place.
func (p *place) after(f *fact) *place {
	added := &place{before: p, next: p.next, fact: f}
	if p.next != nil {
		p.next.before = added
	}
	p.next = added
	return added
}

// split puts a binding, which is the fact at that index, into its place: between what it does not bind and what it binds.
func (s *sweep) split(at int, b *binding) {
	free := s.freeOf(b)
	bound := b.holds(b.fact, s.joined) && !free[at]
	behind, ahead := make(map[*place]*place), make(map[*place]*place)
	for i := range free {
		switch {
		case i >= at:
			delete(free, i)
		case !b.heard[s.names[s.list[i]]]:
			delete(free, i)
			s.move(i, behind, func(p *place) *place { return p })
		}
	}
	for name := range b.heard {
		if i, known := s.index[name]; known && i < at && !free[i] && b.holds(s.list[i], s.joined) {
			s.move(i, ahead, func(p *place) *place { return p.before })
		}
	}
	if bound {
		s.of[at].before.after(b.fact)
	} else {
		s.of[at].after(b.fact)
	}
}

// freeOf returns what the binding's inviter holds and has not bound so far: at its first binding all.
func (s *sweep) freeOf(b *binding) map[int]bool {
	free := s.free[b.by]
	if free == nil {
		free = make(map[int]bool)
		for i, f := range s.list {
			if b.holds(f, s.joined) {
				free[i] = true
			}
		}
		s.free[b.by] = free
	}
	return free
}

// move takes a fact to the place that those from its place go to; the first one makes it, right behind what beside returns.
func (s *sweep) move(i int, to map[*place]*place, beside func(*place) *place) {
	from := s.of[i]
	if to[from] == nil {
		to[from] = beside(from).after(nil)
	}
	s.of[i] = to[from]
}

// order returns the facts in their places.
func (s *sweep) order() []*fact {
	list := make([]*fact, 0, len(s.list))
	for p := s.first; p != nil; p = p.next {
		if p.fact != nil {
			list = append(list, p.fact)
		}
	}
	return list
}
