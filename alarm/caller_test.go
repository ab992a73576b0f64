// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

func TestEverybodyIsCalledOnceOnAllChannelsByTheFirstSite(t *testing.T) {
	w := newWorld(t, 120, "one", "two", "box")
	without := w.order[7]
	p := w.people[without]
	p.Reachability = nil
	w.people[without] = p
	a := w.stations[1].raise(Draft{Ranking: w.ranking()})
	w.until("all called", 30, func() bool { n, _ := w.taken(Call); return n == 238 })
	w.run(15)
	if n, doubled := w.taken(Call); n != 238 || doubled != 0 {
		t.Errorf("got %d hand-overs, %d doubled", n, doubled)
	}
	if since := w.first.Sub(noon); since > time.Second {
		t.Errorf("the first message took %v", since)
	}
	for _, s := range w.stations {
		b := s.board(a.ID)
		want := Tally{Recipients: 120, Called: 119, Silent: 119, Without: 1, Accepted: 238, DueClosing: 119}
		if d := cmp.Diff(want, b.Total); d != "" {
			t.Errorf("the board of %s: %s", s.operator, d)
		}
		if len(b.Callers) != 1 || b.Callers[0].Site != w.stations[0].name || len(b.Takeovers) != 0 {
			t.Errorf("callers %v, takeovers %v", b.Callers, b.Takeovers)
		}
		list, err := s.service.People(t.Context(), nordtal, a.ID, StatusWithout, "", 10)
		if err != nil || len(list) != 1 || list[0].Person != without {
			t.Errorf("without a channel: %v, %v", list, err)
		}
		var units, channels int
		for _, u := range b.Units {
			units += u.Recipients
		}
		for _, c := range b.Channels {
			channels += c.Accepted
		}
		if units != 120 || channels != 238 || len(b.Units) != 3 || len(b.Channels) != 2 {
			t.Errorf("units %v, channels %v", b.Units, b.Channels)
		}
	}
	w.converged()
}

func TestTheNextSiteTakesOverWhenTheCallingOneDies(t *testing.T) {
	w := newWorld(t, 2500, "one", "two", "box")
	first, second := w.stations[0], w.stations[1]
	first.dieAfter = 2000
	a := first.raise(Draft{Ranking: w.ranking()})
	w.until("the first site dies", 60, func() bool { return first.dead })
	died := w.now
	before, _ := w.taken(Call)
	w.until("the second site calls", 10, func() bool { n, _ := w.taken(Call); return n > before })
	if silent := w.now.Sub(died); silent < 4*time.Second || silent > 6*time.Second {
		t.Errorf("the takeover took %v", silent)
	}
	w.until("all called", 120, func() bool { n, _ := w.taken(Call); return n == 5000 })
	w.run(2)
	_, doubled := w.taken(Call)
	if doubled > 100 {
		t.Errorf("%d hand-overs were doubled, want under 2 %%", doubled)
	}
	b := second.board(a.ID)
	if b.Total.Called != 2500 || len(b.Takeovers) != 1 || b.Takeovers[0].Site != second.name || b.Takeovers[0].Rank != 1 {
		t.Errorf("called %d, takeovers %v", b.Total.Called, b.Takeovers)
	}
	t.Logf("takeover after %v, %d of 5000 doubled", w.now.Sub(died), doubled)

	first.start()
	w.run(3)
	w.converged()
	if b := first.board(a.ID); b.Total.Doubled != doubled-1 { // the hand-over during which it died has no receipt
		t.Errorf("the board shows %d doubled, the gateways counted %d", b.Total.Doubled, doubled)
	}
	if _, again := w.taken(Call); again != doubled {
		t.Errorf("the returning site called %d again", again-doubled)
	}
}

func TestAReturningSitePullsBeforeItCallsAndTheOtherStepsBack(t *testing.T) {
	w := newWorld(t, 600, "one", "two", "box")
	first := w.stations[0]
	first.dieAfter = 100
	a := first.raise(Draft{Ranking: w.ranking(), TakeoverAfter: time.Second})
	w.until("the second site calls", 20, func() bool { n, _ := w.taken(Call); return n > 200 })
	first.start()
	w.until("all called", 60, func() bool { n, _ := w.taken(Call); return n == 1200 })
	w.run(2)
	if _, doubled := w.taken(Call); doubled > DefaultWindow+10 { // what was in flight when it died, and hardly more
		t.Errorf("%d of 1200 were doubled", doubled)
	}
	b := w.stations[2].board(a.ID)
	if b.Callers[0].Site != first.name || b.Total.Called != 600 {
		t.Errorf("callers %v, called %d", b.Callers, b.Total.Called)
	}
	w.converged()
}

func TestASiteWhoseGatewayTakesNothingIsTakenOverFrom(t *testing.T) {
	w := newWorld(t, 30, "one", "two", "box")
	first := w.stations[0]
	first.fail = func(kind directory.ChannelKind, _ string) error {
		if kind == directory.SMS {
			return &SendError{Code: "sms.unreachable"}
		}
		return nil
	}
	a := first.raise(Draft{Ranking: w.ranking()})
	w.until("all called", 30, func() bool { n, _ := w.taken(Call); return n == 60 })
	w.run(1)
	b := w.stations[2].board(a.ID)
	if len(b.Takeovers) != 1 || b.Takeovers[0].Site != w.stations[1].name || b.Total.Accepted != 60 {
		t.Errorf("takeovers %v, accepted %d", b.Takeovers, b.Total.Accepted)
	}
}

func TestFinalRefusalsAreNotTriedAgainTemporaryOnesAre(t *testing.T) {
	w := newWorld(t, 3, "one", "two")
	tries := make(map[string]int)
	fail := func(kind directory.ChannelKind, to string) error {
		tries[to]++
		switch {
		case kind == directory.Email:
			return &SendError{Code: "smtp.rcpt_550 <" + to + ">", Final: true}
		case to == "+491710000001":
			return &SendError{Code: "sms.http_400", Final: true}
		case tries[to] < 3:
			return &SendError{Code: "sms.http_503", RetryAfter: 2 * time.Second}
		}
		return nil
	}
	for _, s := range w.stations {
		s.fail = fail
	}
	a := w.stations[0].raise(Draft{Ranking: w.ranking(), TakeoverAfter: time.Minute})
	w.run(30)
	b := w.stations[1].board(a.ID)
	if b.Total.Failed != 1 || b.Total.Called != 2 || b.Total.Refused != 4 {
		t.Errorf("got %+v", b.Total)
	}
	for to, n := range tries {
		if strings.Contains(to, "@") && n != 1 {
			t.Errorf("%s was tried %d times after a final refusal", to, n)
		}
	}
	list, err := w.stations[1].service.People(t.Context(), nordtal, a.ID, StatusFailed, "", 10)
	if err != nil || len(list) != 1 || strings.ContainsAny(list[0].Receipts[0].Reason, "@<") {
		t.Errorf("failed: %+v, %v", list, err)
	}
}

func TestWhoWasCalledGetsTheClosingMessage(t *testing.T) {
	for name, c := range map[string]struct {
		close func(*Service) error
		words string
	}{
		"all-clear": {func(s *Service) error {
			list, _ := s.List(t.Context(), nordtal, time.Time{}, 1)
			_, err := s.AllClear(t.Context(), nordtal, list[0].ID, Words{TextDE: "Pegel fällt"})
			return err
		}, "ENTWARNUNG"},
		"cancel": {func(s *Service) error {
			list, _ := s.List(t.Context(), nordtal, time.Time{}, 1)
			_, err := s.Cancel(t.Context(), nordtal, list[0].ID, Words{})
			return err
		}, "ABBRUCH"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 400, "one", "two", "box")
			first, second := w.stations[0], w.stations[1]
			a := first.raise(Draft{Ranking: w.ranking()})
			w.until("some called", 30, func() bool { n, _ := w.taken(Call); return n > 200 })
			if err := c.close(second.service); err != nil {
				t.Fatal(err)
			}
			w.run(20)
			called, _ := w.taken(Call)
			closed, doubled := w.taken(Closing)
			if called == 800 || closed != called || doubled != 0 {
				t.Errorf("%d called, %d told that it is over, %d twice", called, closed, doubled)
			}
			for key, m := range w.texts {
				if strings.HasSuffix(key, "/1") && !strings.Contains(m.Text, c.words) {
					t.Fatalf("the closing message says %q", m.Text)
				}
			}
			b := w.stations[2].board(a.ID)
			if b.Total.DueClosing != 0 || b.Alarm.Ending == StillOpen {
				t.Errorf("got %+v, ending %q", b.Total, b.Alarm.Ending)
			}
			if err := c.close(first.service); !errors.Is(err, ErrClosed) {
				t.Errorf("closing twice: %v", err)
			}
			w.converged()
		})
	}
}

func TestAReceiptThatArrivesAfterTheAllClearBringsTheClosingMessage(t *testing.T) {
	w := newWorld(t, 40, "one", "two")
	a := w.stations[0].raise(Draft{Ranking: w.ranking(), TakeoverAfter: time.Minute})
	w.stations[1].exchange()
	w.net.Cut(w.stations[0].name, w.stations[1].name)
	w.until("all called behind the cut", 30, func() bool { n, _ := w.taken(Call); return n == 80 })
	if _, err := w.stations[1].service.AllClear(t.Context(), nordtal, a.ID, Words{}); err != nil {
		t.Fatal(err)
	}
	w.run(5)
	if n, _ := w.taken(Closing); n != 0 {
		t.Errorf("%d were told although nobody there knows them as called", n)
	}
	w.net.HealAll()
	w.until("all told", 20, func() bool { n, _ := w.taken(Closing); return n == 80 })
	w.run(1)
	w.converged()
}

// Two sites that could not see each other have called everybody: each of these people gets the all-clear, and gets it once.
func TestWhoWasCalledTwiceGetsTheAllClear(t *testing.T) {
	w := newWorld(t, 40, "one", "two")
	first, second := w.stations[0], w.stations[1]
	a := first.raise(Draft{Ranking: w.ranking(), TakeoverAfter: 500 * time.Millisecond})
	second.exchange()
	w.net.Cut(first.name, second.name)
	w.until("both have called everybody", 30, func() bool { _, doubled := w.taken(Call); return doubled == 80 })
	w.net.HealAll()
	w.run(2)
	if b := first.board(a.ID); b.Total.Called != 40 || b.Total.Doubled != 80 {
		t.Errorf("the board shows %d called, %d doubled", b.Total.Called, b.Total.Doubled)
	}
	if _, err := second.service.AllClear(t.Context(), nordtal, a.ID, Words{}); err != nil {
		t.Fatal(err)
	}
	w.run(10)
	if told, doubled := w.taken(Closing); told != 80 || doubled != 0 {
		t.Errorf("%d were told that it is over, want 80; %d twice", told, doubled)
	}
	for _, s := range w.stations {
		if due := s.board(a.ID).Total.DueClosing; due != 0 {
			t.Errorf("at %s %d still have to be told", s.operator, due)
		}
	}
	w.converged()
}

// What one operator holds twice is not secured: its next failure takes both.
func TestOnlySitesOfAnotherOperatorCountAsNeighbours(t *testing.T) {
	w := newWorld(t, 0, "one", "one", "two")
	self, same, other := w.stations[0], w.stations[1], w.stations[2]
	w.net.Cut(self.name, other.name)
	w.net.Cut(same.name, other.name)
	r, err := self.log.Append(t.Context(), nordtal, event.Operations, event.Draft{Subject: "note/1", Kind: "note.Written", Mode: event.Test})
	if err != nil {
		t.Fatal(err)
	}
	n := Neighbours{Replicator: self.rep, Policy: w, Self: self.name, Now: w.clock}
	meet := func() {
		for range 3 {
			for _, s := range w.stations {
				s.exchange()
			}
		}
	}
	meet()
	if !self.rep.Replicated(r.Log, r.Last) {
		t.Fatal("the second site of the operator has not got it: the test proves nothing")
	}
	if n.Replicated(r.Log, r.Last) || n.Unheard(nordtal) < heardLately {
		t.Error("a second site of the own operator counts")
	}
	if n.Unheard(nordtal) != never {
		t.Errorf("nobody was heard for %v, and it is not known since when we listen", n.Unheard(nordtal))
	}
	since := w.clock()
	n.Since = func() time.Time { return since }
	w.now = w.now.Add(5 * time.Second)
	if n.Unheard(nordtal) != 5*time.Second {
		t.Errorf("five seconds after that nobody was heard for %v", n.Unheard(nordtal))
	}
	w.net.HealAll()
	meet()
	if !n.Replicated(r.Log, r.Last) || n.Unheard(nordtal) >= heardLately {
		t.Error("a site of another operator does not count")
	}
}

func TestAfterACutDuringWhichTwoCalledOneGoesOn(t *testing.T) {
	w := newWorld(t, 1000, "one", "two", "box")
	first, second, third := w.stations[0], w.stations[1], w.stations[2]
	first.kill()
	a := second.raise(Draft{Ranking: w.ranking(), TakeoverAfter: 500 * time.Millisecond})
	third.exchange()
	w.net.Cut(second.name, third.name)
	calling := func() bool {
		return second.caller.Stats().Accepted > 100 && third.caller.Stats().Accepted > 100
	}
	w.until("both call", 10, calling)
	w.net.HealAll()
	w.run(1)
	if third.caller.Stats().Calling != 0 || second.caller.Stats().Calling != 1 {
		t.Errorf("calling: second %d, third %d", second.caller.Stats().Calling, third.caller.Stats().Calling)
	}
	w.until("all called", 60, func() bool { n, _ := w.taken(Call); return n == 2000 })
	w.run(2)
	_, doubled := w.taken(Call)
	if b := third.board(a.ID); b.Total.Doubled != doubled || b.Total.Called != 1000 {
		t.Errorf("the board shows %d doubled, the gateways counted %d", b.Total.Doubled, doubled)
	}
	w.converged()
}

func TestASiteAloneGoesOnAndMarksItsReceipts(t *testing.T) {
	w := newWorld(t, 300, "one", "two", "box")
	first := w.stations[0]
	for _, s := range w.stations[1:] {
		w.net.Cut(first.name, s.name)
	}
	a := first.raise(Draft{Ranking: w.ranking()})
	w.until("all called", 20, func() bool { n, _ := w.taken(Call); return n == 600 })
	w.run(1)
	if b := first.board(a.ID); b.Total.Unsecured < 500 {
		t.Errorf("%d of 600 receipts are marked as unsecured", b.Total.Unsecured)
	}
}

func TestFewHandOversAreInFlightWhileOthersCanBeReached(t *testing.T) {
	w := newWorld(t, 300, "one", "two")
	first := w.stations[0]
	first.raise(Draft{Ranking: w.ranking(), TakeoverAfter: time.Minute})
	w.tick()
	w.tick()
	for range 10 { // the other site is heard, but takes nothing
		w.now = w.now.Add(100 * time.Millisecond)
		if _, err := first.caller.Step(t.Context(), w.now); err != nil {
			t.Fatal(err)
		}
		first.catchUp()
		if n := first.caller.Stats().Unreplicated; n > DefaultWindow {
			t.Fatalf("%d hand-overs without a replicated receipt", n)
		}
	}
	before, _ := w.taken(Call)
	for range 30 {
		w.now = w.now.Add(100 * time.Millisecond)
		if _, err := first.caller.Step(t.Context(), w.now); err != nil {
			t.Fatal(err)
		}
		first.catchUp()
	}
	if after, _ := w.taken(Call); after <= before {
		t.Error("a silent neighbour holds the calling up for ever")
	}
}

func TestMessagesCarryTwoLinksThatOpen(t *testing.T) {
	w := newWorld(t, 2, "one", "two", "box")
	english := w.people[w.order[1]]
	english.Language = directory.English
	w.people[w.order[1]] = english
	a := w.stations[0].raise(Draft{Ranking: w.ranking(), TextEN: "Flood", Mode: event.Exercise})
	w.run(2)
	for i, id := range w.order {
		m := w.texts[idempotencyKey(nordtal, a.ID, id, directory.SMS, Call)]
		if !strings.HasPrefix(m.Text, "ÜBUNG / EXERCISE: ") || strings.Contains(m.Text, "Flood") != (i == 1) {
			t.Errorf("got %q", m.Text)
		}
		var tokens []string
		for _, host := range []string{"https://one.example/r/", "https://two.example/r/"} {
			_, rest, found := strings.Cut(m.Text, host)
			if !found {
				t.Fatalf("no link to %s in %q", host, m.Text)
			}
			tokens = append(tokens, strings.Fields(rest)[0])
		}
		l, err := w.stations[2].service.OpenLink(t.Context(), tokens[0])
		if err != nil || l.Person != id || l.Alarm != a.ID || l.Authority != nordtal || tokens[0] != tokens[1] {
			t.Errorf("got %+v, %v", l, err)
		}
	}
}

// TestRunCallsInParallel runs everything in real time: workers, replicators, read models. With HOLDFAST_PEOPLE it measures.
func TestRunCallsInParallel(t *testing.T) {
	people := 300
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_PEOPLE")); err == nil {
		people = n
	}
	w := newWorld(t, people, "one", "two", "box")
	w.running, w.latency = true, 5*time.Millisecond
	for _, s := range w.stations {
		s.exchange()
	}
	w.live(16)
	began := time.Now()
	a := w.stations[0].raise(Draft{Ranking: w.ranking()})
	deadline := began.Add(2 * time.Minute)
	for n := 0; n < 2*people; n, _ = w.taken(Call) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d were taken", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	_, doubled := w.taken(Call)
	for _, s := range w.stations {
		for b := s.board(a.ID); b.Total.Accepted != 2*people; b = s.board(a.ID) {
			if time.Now().After(deadline) {
				t.Fatalf("the board of %s shows %+v", s.operator, b.Total)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	t.Logf("%d hand-overs in %v, the first after %v, %d doubled, boards complete after %v",
		2*people, took, w.first.Sub(began), doubled, time.Since(began))
	if doubled != 0 || w.first.Sub(began) > 2*time.Second {
		t.Errorf("%d doubled, the first after %v", doubled, w.first.Sub(began))
	}
}

// Where the gateways are what is waited for, a large alarm must not take every place that becomes free from an older one.
func TestAlarmsTakeTurnsAlsoWhenOnlyOnePlaceIsFree(t *testing.T) {
	w := newWorld(t, 60, "one", "two")
	first := w.stations[0]
	first.caller.cfg.PerStep = 1
	called := make(map[event.AuthorityID]int)
	for _, a := range []event.AuthorityID{suedtal, nordtal} {
		first.raiseFor(a, Draft{Ranking: w.ranking(), TakeoverAfter: time.Minute})
		w.tick()
	}
	clear(w.got)
	w.run(4)
	for key := range w.got {
		authority, _, _ := strings.Cut(key, "/")
		called[event.AuthorityID(authority)]++
	}
	if called[suedtal] != 20 || called[nordtal] != 20 {
		t.Errorf("of 40 places the alarms got %v", called)
	}
}

// unreadable is a Work that cannot tell who of one authority is due.
type unreadable struct {
	Work
	authority event.AuthorityID
}

func (u unreadable) Due(ctx context.Context, a event.AuthorityID, id ID, w Wave, after directory.PersonID, limit int) ([]Due, error) {
	if a == u.authority {
		return nil, errors.New("the page is damaged")
	}
	return u.Work.Due(ctx, a, id, w, after, limit)
}

func TestAnAlarmThatCannotBeReadHoldsUpNoOther(t *testing.T) {
	for _, damaged := range []event.AuthorityID{suedtal, nordtal} {
		t.Run(string(damaged), func(t *testing.T) {
			w := newWorld(t, 30, "one")
			first := w.stations[0]
			work := first.caller.cfg.Work
			first.caller.cfg.Work = unreadable{work, damaged}
			for _, a := range []event.AuthorityID{suedtal, nordtal} {
				first.raiseFor(a, Draft{})
				w.now = w.now.Add(100 * time.Millisecond)
				first.catchUp()
			}
			failed := 0
			for range 20 {
				w.now = w.now.Add(100 * time.Millisecond)
				if _, err := first.caller.Step(t.Context(), w.now); err != nil {
					failed++
				}
				first.catchUp()
			}
			if n, _ := w.taken(Call); n != 60 || failed == 0 || failed > 10 {
				t.Errorf("%d are called, and %d of 20 steps said why the others are not", n, failed)
			}
			first.caller.cfg.Work = work
			w.until("all called", 2, func() bool { n, _ := w.taken(Call); return n == 120 })
		})
	}
}
