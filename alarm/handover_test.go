// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// fillUp makes hand-overs with receipts as long as the window is open, and returns how many, at most 10,000.
func (w *window) fillUp(size int, alone bool, now time.Time) int {
	n := 0
	for ; n < 10_000 && w.open(size, alone, now); n++ {
		w.add(eventlog.Receipt{Last: eventlog.Position{Page: uint64(w.added + 1)}}, 4*size)
	}
	return n
}

func TestAFullWindowOpensByOneMoreAfterEachStall(t *testing.T) {
	const size = 10
	w := &window{}
	now := noon
	if n := w.fillUp(size, false, now); n != size {
		t.Fatalf("%d hand-overs at first, want %d", n, size)
	}
	for i := range 20 { // beyond what is held for counting
		now = now.Add(stallAfter - time.Millisecond)
		if n := w.fillUp(size, false, now); n != 0 {
			t.Fatalf("stall %d: %d hand-overs before it is one", i, n)
		}
		now = now.Add(time.Millisecond)
		if n := w.fillUp(size, false, now); n != size {
			t.Fatalf("stall %d: %d hand-overs, want %d more", i, n, size)
		}
		if !w.stalled() {
			t.Fatal("what is handed over in a stall is not marked")
		}
	}
	upTo := func(last uint64) func(eventlog.LogID, eventlog.Position) bool {
		return func(_ eventlog.LogID, pos eventlog.Position) bool { return pos.Page <= last }
	}
	now = now.Add(time.Second)
	w.settle(upTo(205), now) // of 210
	if w.stalled() || w.fillUp(size, false, now) != size-5 {
		t.Error("an acknowledgement does not end the stall")
	}
	if n := w.fillUp(size, true, now); n != 10_000 {
		t.Errorf("alone, %d hand-overs began", n)
	}
}

func TestASlowlyAcknowledgedWindowStaysBounded(t *testing.T) {
	const size = 10
	w := &window{}
	for now := noon; now.Before(noon.Add(time.Minute)); now = now.Add(100 * time.Millisecond) {
		w.fillUp(size, false, now)
		if w.len() > 2*size {
			t.Fatalf("after %v %d receipts are unacknowledged", now.Sub(noon), w.len())
		}
		if now.Sub(noon)%(3*time.Second) == 2900*time.Millisecond { // what was there at the last acknowledgement, and some more
			w.settle(func(eventlog.LogID, eventlog.Position) bool { return true }, now)
		}
	}
}

// TestReceiptsOfOneAuthorityDoNotHoldUpAnother: whatever keeps the receipts of one authority from being acknowledged, for another one the site
// calls as fast as its own other sites acknowledge, and no receipt counts as unsecured.
func TestReceiptsOfOneAuthorityDoNotHoldUpAnother(t *testing.T) {
	for name, story := range map[string]func(w *world){
		"only sites of our operator hold it": func(w *world) {
			w.barred[suedtal] = []event.SiteID{w.stations[2].name, w.stations[3].name}
		},
		"its other site is gone for good": func(w *world) {
			w.barred[suedtal] = []event.SiteID{w.stations[2].name}
			w.stations[3].kill()
			w.run(cutOff.Seconds() + 1)
		},
		"its other site is heard and takes nothing": func(w *world) {
			w.barred[suedtal] = []event.SiteID{w.stations[2].name}
			w.mute(w.stations[0], true)
			for _, s := range w.stations[1:3] {
				w.lost[[2]event.SiteID{w.stations[0].name, s.name}] = false
			}
			w.barred[nordtal] = []event.SiteID{w.stations[3].name}
			w.net.Cut(w.stations[1].name, w.stations[3].name)
		},
	} {
		t.Run(name, func(t *testing.T) {
			const people = 500
			w := newWorld(t, people, "one", "one", "two", "box")
			w.barred = make(map[event.AuthorityID][]event.SiteID)
			first := w.stations[0]
			w.run(1)
			story(w)
			of := func(a event.AuthorityID) (n int) {
				for key := range w.got {
					if strings.HasPrefix(key, string(a)+"/") {
						n++
					}
				}
				return n
			}
			d := Draft{Ranking: []event.SiteID{first.name}, TakeoverAfter: time.Minute}
			first.raiseFor(suedtal, d)
			w.until("the other authority's receipts would fill a window", 20, func() bool { return of(suedtal) >= 4*DefaultWindow })
			a, began := first.raise(d), w.now
			w.until("all called", 6, func() bool { return of(nordtal) == 2*people })
			w.run(1)
			t.Logf("%d called in %v, %d of the other authority meanwhile", people, w.now.Sub(began), of(suedtal))
			if n := first.board(a.ID).Total.Unsecured; n != 0 {
				t.Errorf("%d receipts are marked as unsecured", n)
			}
		})
	}
}

// A window is forgotten when nothing is in it, and none is kept where nobody could acknowledge.
func TestWindowsAreForgotten(t *testing.T) {
	w := newWorld(t, 20, "one", "one", "two")
	first := w.stations[0]
	w.barred = map[event.AuthorityID][]event.SiteID{suedtal: {w.stations[2].name}}
	w.run(1)
	for _, a := range []event.AuthorityID{nordtal, suedtal} {
		first.raiseFor(a, Draft{Ranking: []event.SiteID{first.name}})
	}
	w.run(0.1)
	if first.caller.Stats().Unreplicated == 0 {
		t.Fatal("every receipt is acknowledged at once: the test proves nothing")
	}
	w.run(3)
	if n, _ := w.taken(Call); n != 80 || first.caller.Stats().Unreplicated != 0 || len(first.caller.windows) != 0 {
		t.Errorf("%d called, %d receipts lack another site, %d windows", n, first.caller.Stats().Unreplicated, len(first.caller.windows))
	}
}

// TestTheNextButOneWaitsForASiteThatCatchesUp: the first site dies, and the second must fetch what it has missed before it calls. The third
// leaves it its own delay, but takes over if nothing comes of it.
func TestTheNextButOneWaitsForASiteThatCatchesUp(t *testing.T) {
	for name, secondDies := range map[string]bool{"and it calls": false, "and it dies": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 400, "one", "two", "box")
			first, second, third := w.stations[0], w.stations[1], w.stations[2]
			for _, s := range w.stations {
				s.caller.cfg.PerStep = 3
			}
			a := first.raise(Draft{Ranking: w.ranking(), TakeoverAfter: 3 * time.Second})
			w.run(4)
			second.perTick, second.budget = 1000, -1_000_000 // its pages stand still
			w.run(1)
			first.kill()
			died := w.now
			w.until("the second announces itself", 4, func() bool {
				return third.sign(a.ID, second.name).CatchingUp
			})
			if len(third.board(a.ID).Callers) != 1 || third.takeovers(a.ID) != 0 {
				t.Error("who catches up is shown as calling")
			}
			if secondDies {
				second.kill()
			}
			w.until("the third would have taken over from both", 6, func() bool { return w.now.Sub(died) >= 6500*time.Millisecond })
			if third.takeovers(a.ID) > 0 {
				t.Error("the third did not wait")
			}
			second.perTick = 0
			w.until("all called", 60, func() bool { n, _ := w.taken(Call); return n == 800 })
			w.run(2)
			b := third.board(a.ID)
			// What comes in late may be signs of the dead one, after which the second waits again: then either may be next.
			if len(b.Takeovers) != 1 || secondDies && b.Takeovers[0].Site != third.name {
				t.Errorf("takeovers %v", b.Takeovers)
			}
			t.Logf("taken over %v after the death", time.UnixMilli(b.Takeovers[0].Wall).Sub(died))
			w.converged()
		})
	}
}

// sign returns the last that the caller said, as this site knows it.
func (s *station) sign(id ID, caller event.SiteID) Sign {
	s.w.t.Helper()
	return s.board(id).Alarm.callers.Sites[caller]
}
