// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"fmt"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

// founded returns the states of authorities that cast[by] founds one after the other, each on a page of its own.
func founded(by, n int, incarnation string) map[event.AuthorityID]AuthorityState {
	states := make(map[event.AuthorityID]AuthorityState)
	for i := range n {
		id := event.AuthorityID(fmt.Sprintf("a-%d-%s-%d", by, incarnation, i))
		states[id] = AuthorityState{Facts: []PolicyFact{foundingAt(by, incarnation, i)}}
	}
	return states
}

func foundingAt(by int, incarnation string, page int) PolicyFact {
	return PolicyFact{
		ID:          event.ID(fmt.Sprintf("%016x", page)),
		Place:       fmt.Appendf(nil, "%08d", page),
		By:          cast[by].Site(),
		Incarnation: incarnation,
		Page:        uint64(page + 1),
		NameDE:      "Behörde",
		NameEN:      "Authority",
		Allows:      sitesOf(by),
	}
}

func snapshotOf(states map[event.AuthorityID]AuthorityState) *snapshot {
	return newSnapshot(cast[0].Site(), folded{authorities: states}, bootstrap{})
}

func TestTheAuthoritiesThatOneSiteFoundsAreBounded(t *testing.T) {
	states := founded(2, 300, "w")
	for id, s := range founded(4, 3, "w") {
		states[id] = s
	}
	s := snapshotOf(states)
	if len(s.list) != maxFounded+3 || s.authorities["a-2-w-255"] == nil || s.authorities["a-2-w-256"] != nil {
		t.Errorf("%d authorities count, want the first %d of one site and 3 of the other", len(s.list), maxFounded)
	}
	if len(s.surplus) != 1 || s.surplus[0] != (Surplus{cast[2].Site(), 300 - maxFounded}) {
		t.Errorf("reported is %+v", s.surplus)
	}
	if len(states["a-2-w-299"].Facts) != 1 {
		t.Error("the folded state was changed")
	}
}

// Whoever breaks into the site that founded them all can found more and date it back, and nothing disappears.
func TestAuthoritiesDoNotDisappearByFoundingOthersBeforeThem(t *testing.T) {
	states := founded(2, maxFounded, "w")
	for i := range 50 {
		f := foundingAt(2, "w", maxFounded+i)
		f.Place = fmt.Appendf(nil, "!%07d", i) // sorts before all others
		states[event.AuthorityID(fmt.Sprint("forged-", i))] = AuthorityState{Facts: []PolicyFact{f}}
	}
	s := snapshotOf(states)
	for i := range maxFounded {
		if id := event.AuthorityID(fmt.Sprint("a-2-w-", i)); s.authorities[id] == nil {
			t.Fatalf("%s has disappeared", id)
		}
	}
	if len(s.list) != maxFounded {
		t.Errorf("%d authorities count", len(s.list))
	}
}

// A founding that is surplus takes nobody's authority away.
func TestASurplusFoundingOfAnothersAuthorityDoesNotCount(t *testing.T) {
	states := founded(2, maxFounded, "w")
	states["theirs"] = AuthorityState{Facts: []PolicyFact{foundingAt(4, "v", 0), foundingAt(2, "w", maxFounded)}}
	s := snapshotOf(states)
	if p := s.authorities["theirs"]; p == nil || !p.allowed[cast[4].Site()] || p.allowed[cast[2].Site()] {
		t.Errorf("the authority of another site is now %+v", p)
	}
}
