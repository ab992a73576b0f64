// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"fmt"
	"testing"
	"time"
)

// looks lets that much time pass in steps of 100 ms, in each of which something may happen, and returns the share of looks in
// which the site was fresh.
func (l *listener) looks(d time.Duration, happens func()) float64 {
	fresh, all := 0, 0
	for end := l.f.now.Add(d); l.f.now.Before(end); all++ {
		l.f.now = l.f.now.Add(100 * time.Millisecond)
		happens()
		if l.rep.Fresh("nordtal") {
			fresh++
		}
	}
	return float64(fresh) / float64(all)
}

func TestMembersThatAreSilentAgainAndAgainDoNotStopTheCalling(t *testing.T) {
	const most = 5100 * time.Millisecond // just longer than a silence, and than the wait for an answer
	for _, test := range []struct {
		name    string
		others  int
		answers time.Duration // after its word; 0 is never
		claims  bool          // each word names a page that never comes
		first   float64       // the least share of the first ten minutes
		later   float64       // and of the twenty after them
	}{
		{name: "no answer", others: 1, first: 0.9, later: 0.9},
		{name: "no answer, and pages that never come", others: 1, claims: true, first: 0.9, later: 0.9},
		{name: "pages that never come", others: 1, answers: 100 * time.Millisecond, claims: true, first: 0.8, later: 0.9},
		{name: "late answers", others: 1, answers: 4900 * time.Millisecond, first: 0.6, later: 0.74},
		{name: "three without an answer", others: 3, first: 0.85, later: 0.9},
		{name: "four with late answers", others: 4, answers: 4900 * time.Millisecond, first: 0.4, later: 0.49},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFederation(t, []string{"b", "c", "d", "e", "f"}[:test.others+1]...)
			b, others := f.sites[0].listen(), f.sites[1:]
			b.rep.Fresh("nordtal")
			for _, m := range others {
				b.step(m)
			}
			b.after(0, true, "at the start")
			b.pages = 0
			cut := func() {
				for _, m := range others {
					f.net.CutOneWay(b.name, m.name)
				}
			}
			cut()
			spoke := make([]time.Time, test.others)
			for i := range spoke { // one after the other
				spoke[i] = f.now.Add(most * time.Duration(i) / time.Duration(test.others))
			}
			act := func() {
				for i, m := range others {
					if f.now.Sub(spoke[i]) == test.answers {
						f.net.HealAll()
						b.step(m)
						cut()
					}
					// While it answers it is not silent, so the next word is due later.
					if f.now.Sub(spoke[i]) >= max(most, test.answers+3600*time.Millisecond) {
						spoke[i] = f.now
						if test.claims {
							m.append("nordtal", fmt.Sprint("n", f.now.UnixNano()))
						}
						m.step(b.testSite)
					}
				}
			}
			first := b.looks(10*time.Minute, act)
			later := b.looks(20*time.Minute, act)
			if first < test.first || later < test.later {
				t.Errorf("fresh in %.0f %% of ten minutes, and in %.0f %% of the twenty after them, want %.0f %% and %.0f %%",
					100*first, 100*later, 100*test.first, 100*test.later)
			}
		})
	}
}

// TestWhereALineComesAndGoesEverySilenceIsCaughtUpWith has the line up for 5 s and down for 5 s. While it is down the other site
// calls somebody; whoever acts after that without knowing calls him again. A third site answers nothing, but says a word now and then.
func TestWhereALineComesAndGoesEverySilenceIsCaughtUpWith(t *testing.T) {
	const flaps = 120
	for _, test := range []struct {
		name  string
		loss  float64
		after time.Duration // how long after the line came up pages come
		twice int           // how often all that is tried in five seconds may get lost
	}{
		{name: "a good line"},
		{name: "a slow line", after: 2 * time.Second},
		{name: "a fifth is lost", loss: 0.2, twice: 2},
		{name: "a third is lost", loss: 0.33, twice: 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFederation(t, "a", "b", "c")
			a, b, c := f.sites[0], f.sites[1].listen(), f.sites[2]
			b.folded = 1 << 40
			b.rep.Fresh("nordtal")
			f.exchange()
			b.after(0, true, "at the start")
			f.net.Lose(test.loss)
			f.net.CutOneWay(b.name, c.name)
			twice := 0
			for flap := range flaps {
				f.net.Cut(a.name, b.name)
				b.looks(5*time.Second, func() {})
				a.append("nordtal", fmt.Sprint("n", flap))
				c.step(b.testSite)
				f.net.Heal(a.name, b.name)
				if b.comesUp(a, test.after) {
					twice++
				}
			}
			if twice > test.twice {
				t.Errorf("%d of %d times it was fresh without what the other had done, want at most %d", twice, flaps, test.twice)
			}
		})
	}
}

// comesUp has both sites speak every second for 5 s, and reports whether this one was ever fresh, having heard the other, without
// all that the other one had done.
func (l *listener) comesUp(other *testSite, pagesAfter time.Duration) (unknowing bool) {
	up, tries := l.f.now, 0
	look := func() {
		unknowing = unknowing || l.heard(other).After(up) && l.rep.Fresh("nordtal") && l.pageCount() < other.pageCount()
	}
	l.looks(5*time.Second, func() {
		if l.pages = 0; l.f.now.Sub(up) > pagesAfter {
			l.pages = 10
		}
		if tries++; tries%10 == 1 {
			other.step(l.testSite)
			look()
			l.step(other)
		}
		look()
	})
	return unknowing
}

func (l *listener) heard(other *testSite) time.Time {
	for _, lag := range l.rep.Lag() {
		if lag.Peer == other.name {
			return lag.LastHeard
		}
	}
	return time.Time{}
}

// pageCount returns how many pages are on the site's disk.
func (s *testSite) pageCount() (n uint64) {
	for _, h := range s.log.Heads() {
		n += h.Page
	}
	return n
}
