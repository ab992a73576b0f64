// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// slowLine carries 60 kB a second, which is little more than the receipts of a calling site.
const slowLine = 6_000

// mute makes nothing that the site says arrive anywhere; it hears the others.
func (w *world) mute(s *station, on bool) {
	for _, o := range w.stations {
		if o != s {
			w.lost[[2]event.SiteID{s.name, o.name}] = on
		}
	}
}

func (w *world) cutOff(s *station) {
	for _, o := range w.stations {
		if o != s {
			w.net.Cut(s.name, o.name)
		}
	}
}

// takeovers returns how often a site has begun to call in another one's place, as the site's board tells.
func (s *station) takeovers(id ID) int { return len(s.board(id).Takeovers) }

// silences are stories of how sites stop hearing of each other while the first one calls, and hear of each other again.
var silences = []struct {
	name  string
	story func(w *world, first, second *station)
}{
	{"one-way cut", func(w *world, first, _ *station) {
		w.mute(first, true)
		w.run(9)
		w.mute(first, false)
	}},
	{"two-way cut", func(w *world, first, _ *station) {
		w.cutOff(first)
		w.run(9)
		w.net.HealAll()
	}},
	{"the calling site stands still", func(_ *world, first, _ *station) { first.pause(9) }},
	{"the calling site stands still twice", func(w *world, first, _ *station) {
		first.pause(9)
		w.run(3)
		first.pause(12)
	}},
	{"everybody has been called already", func(w *world, _, second *station) {
		second.perTick = 0
		second.pause(25)
		second.perTick, second.budget = slowLine, -20_000 // the lines come back up; pages follow three seconds later
		w.run(8)
	}},
}

// newSilence returns a world for these stories: three sites behind slow lines, and 800 people.
func newSilence(t testing.TB) *world {
	w := newWorld(t, 800, "one", "two", "box")
	for _, s := range w.stations {
		s.caller.cfg.PerStep, s.perTick = 8, slowLine
	}
	return w
}

// endure tells the story when a fifth of the people have been called, and returns when all have: how many hand-overs
// were made twice, how many of them during the silence, and how often the calling site changed, there and back.
func (w *world) endure(story func(w *world, first, second *station)) (doubled, during, changes int) {
	w.t.Helper()
	all := 2 * len(w.people)
	a := w.stations[0].raise(Draft{Ranking: w.ranking()})
	w.until("some are called", 30, func() bool { n, _ := w.taken(Call); return n > 300 })
	story(w, w.stations[0], w.stations[1])
	_, during = w.taken(Call)
	w.until("all called", 120, func() bool { n, _ := w.taken(Call); return n == all })
	for _, s := range w.stations {
		s.perTick = 0
	}
	w.run(3)
	_, doubled = w.taken(Call)
	return doubled, during, 2 * max(1, w.stations[2].takeovers(a.ID))
}

// TestHealingACutCallsNobodyAgain: whatever kept the sites from hearing of each other, when it is over they find out
// what the others did before they call on.
func TestHealingACutCallsNobodyAgain(t *testing.T) {
	for _, silence := range silences {
		t.Run(silence.name, func(t *testing.T) {
			w := newSilence(t)
			doubled, during, changes := w.endure(silence.story)
			t.Logf("%d handed over twice, %d of them during the silence; %d changes of caller", doubled, during, changes)
			if doubled > DefaultWindow*changes || w.again > DefaultWindow {
				t.Errorf("%d were doubled in %d changes of caller, %d of them after the silence", doubled, changes, w.again)
			}
			w.converged()
		})
	}
}

// Lines that come and go for some seconds must not let every site call on as if it were the last one.
func TestWhoHasJustLostTheOthersCallsOnAsIfTheyWereSlow(t *testing.T) {
	const people = 1500
	w := newWorld(t, people, "one", "two", "box")
	first := w.stations[0]
	w.run(2)
	w.cutOff(first)
	first.raise(Draft{Ranking: w.ranking()})
	taken := func() int { n, _ := w.taken(Call); return n }
	for second := range 10 {
		w.run(1)
		if most := DefaultWindow * (1 + second/2 + 1); taken() > most {
			t.Fatalf("%d s after the cut %d are called, want at most %d", second+1, taken(), most)
		}
	}
	if taken() < 4*DefaultWindow {
		t.Errorf("within ten seconds only %d are called", taken())
	}
	w.until("it takes it that it stays alone", 20, func() bool { return taken() >= people })
}

// TestNobodyIsLeftOutAndFewAreCalledAgain lets small worlds be cut, muted, paused, killed and slowed down at random.
func TestNobodyIsLeftOutAndFewAreCalledAgain(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 4))
			w := newWorld(t, 150, "one", "two", "box")
			for _, s := range w.stations {
				s.caller.cfg.Window, s.caller.cfg.PerStep = 5, 2
			}
			a := w.stations[rnd.IntN(3)].raise(Draft{Ranking: w.ranking(), TakeoverAfter: 2 * time.Second})
			w.run(rnd.Float64() * 3)
			for range 1 + rnd.IntN(4) {
				s := w.stations[rnd.IntN(3)]
				s.perTick = rnd.IntN(3) * 1000
				switch how := rnd.IntN(4); how {
				case 0:
					w.mute(s, true)
				case 1:
					w.cutOff(s)
				case 2:
					w.net.Cut(s.name, w.stations[rnd.IntN(3)].name)
				case 3:
					s.pause(rnd.Float64() * 12)
				}
				w.run(rnd.Float64() * 6)
				w.mute(s, false)
				w.net.HealAll()
				w.run(rnd.Float64() * 4)
			}
			w.until("all called", 120, func() bool { n, _ := w.taken(Call); return n == 300 })
			for _, s := range w.stations {
				s.perTick = 0
			}
			w.run(3)
			changes := 1 + 2*w.stations[2].takeovers(a.ID)
			if w.again > 5*changes {
				t.Errorf("%d were called again while all sites saw each other, in %d changes of caller", w.again, changes)
			}
			w.converged()
		})
	}
}

// TestAfterQuietTimesTheFirstSiteCallsNobodyAgain: it is cut off when nobody has asked for long whether it is fresh, since there was no alarm;
// while it is, others raise one and call everybody.
func TestAfterQuietTimesTheFirstSiteCallsNobodyAgain(t *testing.T) {
	w := newWorld(t, 200, "one", "two", "box")
	first, second := w.stations[0], w.stations[1]
	first.perTick = 1500
	w.run(40)
	w.cutOff(first)
	w.run(5)
	second.raise(Draft{Ranking: w.ranking()})
	w.until("others call", 40, func() bool { n, _ := w.taken(Call); return n == 400 })
	w.net.HealAll()
	first.budget = 0 // the lines come back up
	w.run(40)
	if _, doubled := w.taken(Call); doubled > 0 {
		t.Errorf("%d were called twice", doubled)
	}
	w.converged()
}
