// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

// Three real sites of three operators: two remove the third. They go on together, it is spoken to no more and says so, and what it
// writes from then on reaches nobody.
func TestTwoOperatorsRemoveASite(t *testing.T) {
	w := newWorld(t, 3)
	w.authority(nordtal, 3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	a.importAt(nordtal, table(erika, jonas))
	c.importAt(nordtal, table("8;Blesshuhn;Max;;0171 3920108;Amt 32"))
	w.same(w.sites...)

	r, err := a.RemoveSite(t.Context(), c.id, false)
	w.must(err)
	if r.Removed || len(r.Agreed) != 1 || r.Needed != 2 {
		t.Fatalf("one operator of two comes to %+v", r)
	}
	w.eventually("the other operator sees what is asked of it", func() error {
		s, err := b.Status(t.Context())
		if err != nil || len(s.Removing) != 1 || s.Removing[0].Site != c.id {
			return fmt.Errorf("removing %+v, %w", s.Removing, err)
		}
		return nil
	})
	_, err = c.RemoveSite(t.Context(), c.id, false)
	wantFault(t, err, "site.remove_self", "does not remove itself", "another operator")
	if r, err = b.RemoveSite(t.Context(), c.id, false); err != nil || !r.Removed {
		t.Fatalf("two operators of two come to %+v, %v", r, err)
	}

	// It may have heard of its removal before the doors closed; else it sees that it is refused.
	w.eventually("the removed site is told", func() error {
		s, err := c.Status(t.Context())
		if err != nil || len(s.Removed) == 1 && s.Removed[0].Site == c.id {
			return err
		}
		for _, l := range s.Lag {
			if !strings.Contains(l.Trouble, "does not count this site as a member") {
				return fmt.Errorf("%s: %q", l.Site.Short(), l.Trouble)
			}
		}
		return nil
	})
	late, lateErr := c.site.log.Append(t.Context(), nordtal, event.Operations, event.Draft{Subject: "note/late", Kind: "test.Late", Actor: "operator"})
	w.alarmPeople("Die Lage.")
	w.same(a, b)
	for _, s := range []*station{a, b} {
		s.named(nordtal, "Blesshuhn") // what it had written counts
		if end, closed := s.site.federation.Closing(late.Log); lateErr == nil && (!closed || end.Page >= late.Last.Page) {
			t.Errorf("what it writes afterwards counts at %s", s.id.Short())
		}
		granted, err := s.site.ring.Granted(t.Context(), nordtal)
		if err != nil || slices.Contains(granted, c.id) {
			t.Errorf("the authority's key is sealed to %v, %v", granted, err)
		}
		if slices.Contains(s.site.federation.Peers(), c.id) || s.site.federation.Allowed(c.id, event.Federation) {
			t.Errorf("%s still speaks to it", s.id.Short())
		}
	}
}
