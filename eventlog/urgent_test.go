// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

func (s *testSite) alarm(what string) eventlog.Receipt {
	s.f.t.Helper()
	r, err := s.log.Append(s.f.t.Context(), "nordtal", event.Operations, event.Draft{
		Subject: event.Subject("alarm/" + what), Kind: "alarm.Raised", Actor: "operator", Mode: event.Test, Urgent: true,
	})
	if err != nil {
		s.f.t.Fatal(err)
	}
	return r
}

func TestWhatIsUrgentHasALogWithoutABacklog(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	for range 20 {
		a.append("nordtal", "receipt")
	}
	urgent := a.alarm("one")
	if urgent.Last.Page != 1 {
		t.Errorf("the alarm is on page %d, behind everything else", urgent.Last.Page)
	}
	if again := a.alarm("two"); again.Log != urgent.Log {
		t.Errorf("each alarm gets a log of its own: %s, %s", urgent.Log, again.Log)
	}
	mixed, err := a.log.Append(t.Context(), "nordtal", event.Operations,
		event.Draft{Subject: "alarm/one", Kind: "alarm.Raised", Mode: event.Test, Urgent: true},
		event.Draft{Subject: "alarm/one/person/1", Kind: "alarm.Replied", Mode: event.Test})
	if err != nil || mixed.Log == urgent.Log {
		t.Errorf("what is not urgent went into %s, %v", mixed.Log, err)
	}
	f.exchange()
	f.wantEqual(24)

	t.Run("GoesOnAfterARestart", func(t *testing.T) {
		a.start()
		if !a.rep.Settle(t.Context()) {
			t.Fatal("the incarnation was given up")
		}
		if r := a.alarm("three"); r.Log != urgent.Log || r.Last.Page != 3 {
			t.Errorf("went on at page %d of %s", r.Last.Page, r.Log)
		}
		f.exchange()
	})
	t.Run("Restored", func(t *testing.T) {
		image, before := a.disk.Snapshot(), a.incarnation
		a.alarm("lost")
		f.exchange()
		a.disk.Restore(image)
		a.start()
		if a.rep.Settle(t.Context()) || a.alarm("next").Log == urgent.Log || a.append("nordtal", "next").Log.Incarnation == before {
			t.Error("the site goes on in a log of which a peer has more")
		}
		f.exchange()
		for _, s := range f.sites {
			if n := len(s.log.Forks()); n != 0 {
				t.Errorf("site %s reports %d forks", s.operator, n)
			}
		}
	})
	t.Run("PagesThatWeDidNotKnowOf", func(t *testing.T) {
		log := a.alarm("four").Log
		f.exchange()
		image, incarnation := a.disk.Snapshot(), a.incarnation
		a.alarm("five")
		b.step(a)
		a.disk.Restore(image)
		a.incarnation = incarnation
		a.start() // a machine that was resumed does not ask
		a.step(b)
		if r := a.alarm("six"); r.Log == log {
			t.Error("the site signs pages after one that it did not know of")
		}
	})
}

func TestWhileAnAlarmIsFetchedNothingElseIsBegun(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1].listen()
	a.alarm("7f3a")
	b.pages = 0
	b.step(a)
	b.pages = 10
	held := 0
	f.net.Watch(func(m logtest.Message) {
		if m.Verb == eventlog.VerbPages && b.rep.Holds() {
			held++
		}
	})
	if err := b.rep.FetchUrgent(t.Context(), a.name); err != nil || held == 0 || len(b.log.Heads()) != 1 {
		t.Errorf("%v; %d questions were asked while all else waited, logs here: %v", err, held, b.log.Heads())
	}
	if b.rep.Holds() {
		t.Error("the alarm is here, and all else still waits")
	}
	held = 0
	if err := b.rep.FetchUrgent(t.Context(), a.name); err != nil || held != 0 {
		t.Errorf("%v; nothing is to be fetched, and all else waits", err)
	}
}
