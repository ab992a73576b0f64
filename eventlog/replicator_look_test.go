// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"fmt"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// passes lets time pass in steps of 250 ms, in each of which the process beats if it does at all; nobody asks whether it is fresh.
func (l *listener) passes(d time.Duration, beats bool) {
	for end := l.f.now.Add(d); l.f.now.Before(end); {
		l.f.now = l.f.now.Add(250 * time.Millisecond)
		if beats {
			l.rep.Beat()
		}
	}
}

// TestASilenceIsCaughtUpWithAlsoIfNobodyHasAskedBefore: an alarm is rare, and without one nobody asks whether a site is fresh.
func TestASilenceIsCaughtUpWithAlsoIfNobodyHasAskedBefore(t *testing.T) {
	for _, beats := range []bool{true, false} {
		for _, quiet := range []time.Duration{time.Second, 8 * time.Second, 22 * time.Second, time.Hour} {
			t.Run(fmt.Sprint("beats ", beats, ", a cut after ", quiet), func(t *testing.T) {
				f := newFederation(t, "a", "b")
				a, b := f.sites[0], f.sites[1].listen()
				b.folded = 1 << 40
				a.append("nordtal", "one")
				b.step(a) // the catch-up of the start
				b.step(a)
				for end := f.now.Add(quiet); f.now.Before(end); {
					b.passes(time.Second, beats)
					b.step(a)
				}
				f.net.Cut(a.name, b.name)
				b.passes(7*time.Second, beats)
				a.append("nordtal", "two")
				f.net.HealAll()
				b.pages = 0
				a.step(b.testSite)
				b.step(a)
				b.after(0, false, "the page is known and not here")
				b.looks(8900*time.Millisecond, func() {})
				b.after(0, false, "it has all the time that there is")
				b.pages = 1
				b.step(a)
				b.after(100*time.Millisecond, true, "the page is here")
			})
		}
	}
}

// TestWhatNobodyWaitsForIsNotInVain has pages that do not come after silence upon silence, while there is no alarm.
func TestWhatNobodyWaitsForIsNotInVain(t *testing.T) {
	for _, beats := range []bool{true, false} {
		t.Run(fmt.Sprint("beats ", beats), func(t *testing.T) {
			f := newFederation(t, "a", "b")
			a, b := f.sites[0], f.sites[1].listen()
			b.pages = 0
			for i := range 20 {
				a.append("nordtal", fmt.Sprint("n", i))
				b.step(a)
				b.passes(41*time.Second, beats)
			}
			for range 3 { // three waits in vain are below what may be owed
				b.step(a)
				b.after(0, false, "after a silence, with an alarm")
				b.looks(10500*time.Millisecond, func() {})
				b.after(0, true, "the pages do not come")
			}
		})
	}
}

func TestBeforeATakeoverTheOthersAreAskedAlsoIfNobodyHasAskedForLong(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1].listen()
	b.pages = 0
	a.append("nordtal", "one")
	b.step(a)
	for range 60 {
		b.passes(time.Second, false)
		b.step(a)
	}
	b.rep.Refresh("nordtal")
	b.after(0, false, "nobody has answered yet")
	b.pages, b.folded = 1, 1
	b.step(a)
	b.after(100*time.Millisecond, true, "it has answered")
}

func TestAPageThatIsDamagedAtThePeerIsNotWaitedForAfterEverySilence(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1].listen(), f.sites[2]
	log := a.append("nordtal", "one").Log
	flip := func() { a.disk.Flip(eventlog.Branch{LogID: log}, 1) }
	flip()
	asks := func() { _, _ = b.rep.Step(t.Context(), a.name) }
	b.after(0, false, "at the start")
	b.step(c)
	asks()
	b.after(100*time.Millisecond, true, "it has said that the page is damaged")
	for range 20 {
		f.now = f.now.Add(10 * time.Second)
		a.step(b.testSite)
		b.after(0, false, "after a silence")
		asks()
		b.looks(time.Second, func() {})
		b.after(0, true, "it has said so again")
	}
	c.append("nordtal", "two")
	a.step(c)
	f.now = f.now.Add(10 * time.Second)
	b.pages = 0
	asks()
	b.after(0, false, "it has a sound page as well, and the other one may be mended")
	flip()
	b.looks(2*time.Second, func() {})
	b.pages, b.folded = 10, 1
	asks()
	b.after(100*time.Millisecond, true, "all is here")
	if got := b.pageCount(); got != 2 {
		t.Errorf("%d pages are here", got)
	}
}
