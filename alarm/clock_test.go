// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// TestAWrongClockSilencesNoAlarm: whichever way the clock of the raising site is wrong, everybody is called, and the alarm says
// that the clock was wrong and by how much. The link of a message opens at every site.
func TestAWrongClockSilencesNoAlarm(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, 2 * day, 89 * day, 91 * day, 10 * year} {
		for _, off := range []time.Duration{off, -off} {
			t.Run(fmt.Sprint(off), func(t *testing.T) {
				w := newWorld(t, 20, "one", "two", "box")
				first, second, third := w.stations[0], w.stations[1], w.stations[2]
				first.skew = off
				first.start()
				first.fail = func(directoryKind, string) error { return &SendError{Code: "sms.unreachable"} } // so that the others must call
				w.run(1)
				a := first.raise(Draft{Ranking: w.ranking(), TakeoverAfter: time.Second})
				w.until("all called", 20, func() bool { n, _ := w.taken(Call); return n == 40 })
				w.run(2)
				for _, s := range w.stations {
					got := s.board(a.ID).Alarm
					if got.Held != NotHeld || got.Clock == nil || got.Clock.Site != first.name || (got.Clock.ahead()-off).Abs() > time.Second {
						t.Errorf("at %s: held %q, clock %+v", s.operator, got.Held, got.Clock)
					}
				}
				key, _ := w.Named(t.Context(), nordtal, linkKey)
				token := tokenOf(t, Link{Authority: nordtal, Alarm: a.ID, Person: w.order[0], Expires: time.Unix(a.Raised.LinkExpires, 0)}, key.Secret)
				if _, _, err := third.service.Reply(t.Context(), token, Safe, 0); err != nil {
					t.Errorf("a reply at another site: %v", err)
				}
				w.now = w.now.Add(DefaultLinkValid + time.Minute) // a link's time is rounded up to a minute
				if _, err := second.service.OpenLink(t.Context(), token); !errors.Is(err, ErrLinkExpired) {
					t.Errorf("three days later: %v", err)
				}
				if list, err := second.service.List(t.Context(), nordtal, time.Time{}, 1); err != nil || len(list) != 1 {
					t.Errorf("got %v, %v", list, err)
				}
				w.converged()
			})
		}
	}
}

// TestOurClockIsSetRightWhileAnAlarmRuns: it jumps in the middle of the calling.
func TestOurClockIsSetRightWhileAnAlarmRuns(t *testing.T) {
	for _, jump := range []time.Duration{2 * day, 91 * day, 10 * year, -2 * day, -91 * day, -10 * year} {
		for _, alone := range []bool{false, true} {
			t.Run(fmt.Sprint(jump, " alone ", alone), func(t *testing.T) {
				operators := []string{"one", "two", "box"}
				if alone {
					operators = operators[:1]
				}
				w := newWorld(t, 200, operators...)
				first := w.stations[0]
				first.skew = -jump
				first.start()
				w.run(1)
				a := first.raise(Draft{Ranking: w.ranking()})
				w.until("some called", 20, func() bool { n, _ := w.taken(Call); return n >= 100 })
				first.skew = 0
				w.run(0.5)
				w.until("all called", 20, func() bool { n, _ := w.taken(Call); return n == 400 })
				if _, doubled := w.taken(Call); doubled != 0 {
					t.Errorf("%d were called twice", doubled)
				}
				if got := first.board(a.ID).Alarm; got.Held != NotHeld {
					t.Errorf("held: %q", got.Held)
				}
				key, _ := w.Named(t.Context(), nordtal, linkKey)
				token := tokenOf(t, Link{Authority: nordtal, Alarm: a.ID, Person: w.order[0], Expires: time.Unix(a.Raised.LinkExpires, 0)}, key.Secret)
				if _, err := first.service.OpenLink(t.Context(), token); err != nil {
					t.Errorf("a link: %v", err)
				}
				if _, err := first.service.AllClear(t.Context(), nordtal, a.ID, Words{}); err != nil {
					t.Fatal(err)
				}
				w.until("all told", 20, func() bool { n, _ := w.taken(Closing); return n == 400 })
			})
		}
	}
}

// TestAnOldAlarmIsHeldAndCalledForWhenSomebodyOrdersIt: it lay on a site that was cut off, and nobody there could call.
func TestAnOldAlarmIsHeldAndCalledForWhenSomebodyOrdersIt(t *testing.T) {
	w := newWorld(t, 20, "one", "two", "box")
	first, second := w.stations[0], w.stations[1]
	w.run(1)
	w.cutOff(first)
	first.fail = func(directoryKind, string) error { return &SendError{Code: "sms.unreachable"} }
	a := first.raise(Draft{Ranking: w.ranking(), TakeoverAfter: time.Second})
	w.run(1)
	w.now = w.now.Add(3 * day)
	w.net.HealAll()
	w.run(10)
	if n, _ := w.taken(Call); n != 0 {
		t.Errorf("%d were called for an alarm of three days ago", n)
	}
	for _, s := range w.stations {
		if got := s.board(a.ID).Alarm; got.Held == NotHeld || got.Due != 20 || got.Clock != nil {
			t.Errorf("at %s: held %q, %d due, clock %+v", s.operator, got.Held, got.Due, got.Clock)
		}
	}
	if got := second.board(a.ID).Alarm.Held; got != HeldOld {
		t.Errorf("got %q", got)
	}
	if _, err := second.service.OrderCalling(t.Context(), nordtal, a.ID, "person/1", "g"); err != nil {
		t.Fatal(err)
	}
	w.until("all called", 20, func() bool { n, _ := w.taken(Call); return n == 40 })
	w.run(2)
	if _, err := second.service.OrderCalling(t.Context(), nordtal, a.ID, "person/1", "g"); !errors.Is(err, ErrNothingDue) {
		t.Errorf("a second order: %v", err)
	}
	if got := second.board(a.ID).Alarm; got.Held != NotHeld || got.Due != 0 {
		t.Errorf("afterwards: %+v", got)
	}

	w.cutOff(first)
	if _, err := first.service.AllClear(t.Context(), nordtal, a.ID, Words{}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(3 * day)
	w.net.HealAll()
	w.run(5)
	if got := second.board(a.ID).Alarm; got.Held != HeldOld || got.Due != 20 {
		t.Errorf("the closing message of three days ago: held %q, %d due", got.Held, got.Due)
	}
	for _, s := range w.stations {
		if err := s.model.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := second.board(a.ID).Alarm.Held; got != HeldOld {
		t.Errorf("after a rebuild: %q", got)
	}
	if _, err := second.service.OrderCalling(t.Context(), nordtal, a.ID, "person/1", "g"); err != nil {
		t.Fatal(err)
	}
	w.until("all told", 20, func() bool { n, _ := w.taken(Closing); return n == 40 })
	w.run(1)
	w.converged()
}

// TestWhoCouldNotBeCalledForADayIsShown: the calling ends after a day, but not without a word.
func TestWhoCouldNotBeCalledForADayIsShown(t *testing.T) {
	w := newWorld(t, 5, "one", "two")
	dead := func(directoryKind, string) error { return &SendError{Code: "sms.unreachable"} }
	for _, s := range w.stations {
		s.fail = dead
	}
	w.run(1)
	a := w.stations[0].raise(Draft{Ranking: w.ranking()})
	w.run(5)
	if _, err := w.stations[0].service.OrderCalling(t.Context(), nordtal, a.ID, "person/1", "g"); !errors.Is(err, ErrCalling) {
		t.Errorf("while it is being called: %v", err)
	}
	w.now = w.now.Add(day)
	w.run(1)
	for _, s := range w.stations {
		s.fail = nil
		if got := s.board(a.ID).Alarm; got.Held != HeldLate || got.Due != 5 {
			t.Errorf("at %s: held %q, %d due", s.operator, got.Held, got.Due)
		}
	}
	w.run(5)
	if n, _ := w.taken(Call); n != 0 {
		t.Errorf("%d were called although it is held", n)
	}
	if _, err := w.stations[1].service.OrderCalling(t.Context(), nordtal, a.ID, "person/1", "g"); err != nil {
		t.Fatal(err)
	}
	w.until("all called", 20, func() bool { n, _ := w.taken(Call); return n == 10 })
}

// staleFor is a Replication for which one authority is never fresh.
type staleFor struct {
	Replication
	authority event.AuthorityID
}

func (s staleFor) StaleSince(a event.AuthorityID) (time.Time, bool) {
	if a == s.authority {
		return noon, true
	}
	return s.Replication.StaleSince(a)
}

// The note must be written while the clock can be measured, so it does not wait for another authority's catch-up.
func TestAClockIsNotedWhileAnotherAuthorityCatchesUp(t *testing.T) {
	w := newWorld(t, 5, "one", "two", "box")
	first, second := w.stations[0], w.stations[1]
	first.skew = time.Hour
	first.start()
	for _, s := range w.stations {
		s.caller.cfg.Replication = staleFor{s.caller.cfg.Replication, suedtal}
	}
	w.run(1)
	first.raiseFor(suedtal, Draft{Ranking: w.ranking()})
	w.run(0.2)
	written := make(counted)
	for _, s := range w.stations {
		s.caller.cfg.Log = counting{s.caller.cfg.Log, written}
	}
	a := first.raise(Draft{Ranking: w.ranking()})
	w.run(5)
	if len(second.board(a.ID).Alarm.clocks.of(a.Event)) == 0 {
		t.Error("nobody has noted that the clock was wrong")
	}
	if n := written[KindClockDiffered]; n > len(w.stations) {
		t.Errorf("%d sites have noted it %d times", len(w.stations), n)
	}
}

// counting is a log that counts what is written, by kind.
type counting struct {
	eventlog.Appender
	counted
}

type counted map[event.Kind]int

func (c counting) Append(ctx context.Context, a event.AuthorityID, class event.Class, drafts ...event.Draft) (eventlog.Receipt, error) {
	for _, d := range drafts {
		c.counted[d.Kind]++
	}
	return c.Appender.Append(ctx, a, class, drafts...)
}
