// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

// TestWhatOnlyTheRogueStillHasIsLetOff: a fact whose disk is lost must be there if an honest site has it. If only the rogue has
// it, secured or not, it may be there; and one that nobody has must not have been secured.
func TestWhatOnlyTheRogueStillHasIsLetOff(t *testing.T) {
	for name, c := range map[string]struct {
		rogue, honest, secured bool // who has fetched the fact, and whether it was said to be secured
		fate                   fate
		broken                 int
	}{
		"nobody has it":               {fate: mayBe},
		"nobody has it, secured":      {secured: true, fate: mustBe, broken: 1},
		"an honest site has it":       {honest: true, fate: mustBe},
		"the rogue has it":            {rogue: true, fate: mayBe},
		"the rogue has it, secured":   {rogue: true, secured: true, fate: mayBe},
		"the rogue and an honest one": {rogue: true, honest: true, secured: true, fate: mustBe},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := newWorld(t.Context(), Options{Seed: 1})
			defer w.close()
			if err != nil {
				t.Fatal(err)
			}
			origin, honest := w.honest()[0], w.honest()[1]
			f := w.ledger.add(event.Federation, origin)
			if _, err := origin.log.Append(t.Context(), event.Federation, event.Register, event.Draft{
				Subject: "note/n1", Kind: noteKind, Actor: "operator", Mode: event.Test, Data: note{Token: f.token},
			}); err != nil {
				t.Fatal(err)
			}
			f.fate, f.secured = mustBe, c.secured
			if c.rogue {
				w.step(t.Context(), w.rogue.node, origin)
			}
			if c.honest {
				w.step(t.Context(), honest, origin)
			}
			origin.stop(false)
			origin.gone = true
			w.forgive(t.Context(), origin.memory)
			if f.fate != c.fate || len(w.violations) != c.broken {
				t.Errorf("fate %d and broken %q, want fate %d and %d broken", f.fate, w.violations, c.fate, c.broken)
			}
		})
	}
}
