// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// restless is a Replication of a site that has to catch up again and again, because another one comes and goes.
type restless struct {
	Replication
	w           *world
	every, wait time.Duration
}

func (r restless) StaleSince(a event.AuthorityID) (time.Time, bool) {
	if in := r.w.now.Sub(noon) % r.every; in < r.wait {
		return r.w.now.Add(-in), true
	}
	return r.Replication.StaleSince(a)
}

// TestASiteThatCatchesUpAgainAndAgainIsTakenOverFrom: the first site's gateways take nothing. That its lines come and go besides must not let
// it give signs of calling for ever.
func TestASiteThatCatchesUpAgainAndAgainIsTakenOverFrom(t *testing.T) {
	const delay = 5 * time.Second
	for name, c := range map[string]struct{ every, wait, within time.Duration }{
		"never":                          {time.Hour, 0, 2*delay + time.Second},
		"a short wait every 4 s":         {4 * time.Second, 300 * time.Millisecond, 2*delay + 2*time.Second},
		"a short wait every second":      {time.Second, 300 * time.Millisecond, 2*delay + 4*time.Second},
		"a wait of a second every 6 s":   {6 * time.Second, time.Second, 2*delay + 3*time.Second},
		"it waits nearly all the time":   {3200 * time.Millisecond, 3100 * time.Millisecond, 4 * delay},
		"it waits for longer than delay": {13 * time.Second, 10 * time.Second, 2*delay + 3*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 20, "one", "two", "box")
			first, second := w.stations[0], w.stations[1]
			first.fail = func(directoryKind, string) error { return &SendError{Code: "sms.unreachable"} }
			first.caller.cfg.Replication = restless{first.caller.cfg.Replication, w, c.every, c.wait}
			w.run(2)
			a := first.raise(Draft{Ranking: w.ranking(), TakeoverAfter: delay})
			began := w.now
			w.until("all called", c.within.Seconds(), func() bool { n, _ := w.taken(Call); return n == 40 })
			t.Logf("all called after %v", w.now.Sub(began))
			w.run(1)
			if b := second.board(a.ID); len(b.Takeovers) != 1 || b.Takeovers[0].Site != second.name {
				t.Errorf("takeovers %v", b.Takeovers)
			}
		})
	}
}

// TestAWaitIsNotHeldAgainstTheGateways: whoever called well before a wait gives its sign right after it, before anything is taken.
func TestAWaitIsNotHeldAgainstTheGateways(t *testing.T) {
	const delay = 3 * time.Second
	for name, wait := range map[string]func(w *world, r *restless, s *station){
		"it waits for longer than the delay": func(w *world, r *restless, _ *station) {
			r.wait = time.Hour
			w.run(2 * delay.Seconds())
			r.wait = 0
		},
		"it stands still for longer than the delay": func(_ *world, _ *restless, s *station) { s.pause(2 * delay.Seconds()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 400, "one", "two", "box")
			first := w.stations[0]
			for _, s := range w.stations {
				s.caller.cfg.PerStep = 4
			}
			r := &restless{first.caller.cfg.Replication, w, time.Hour, 0}
			first.caller.cfg.Replication = r
			a := first.raise(Draft{Ranking: w.ranking(), TakeoverAfter: delay})
			w.run(3)
			wait(w, r, first)
			first.fail = func(directoryKind, string) error { return &SendError{Code: "sms.unreachable"} }
			before, began := first.sign(a.ID, first.name), w.now
			w.until("it gives a sign", 3, func() bool { return first.sign(a.ID, first.name).Stamp > before.Stamp })
			t.Logf("a sign %v after the wait", w.now.Sub(began))
		})
	}
}
