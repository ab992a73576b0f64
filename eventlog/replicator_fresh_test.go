// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// listener is a site whose line carries a bounded number of answers with pages, and whose read model folds when told.
type listener struct {
	*testSite
	pages  int // answers with pages that may still pass
	most   int // bytes of pages in an answer, 0 for no bound
	folded uint64
	set    time.Duration // how far its wall clock was set
	slow   time.Duration // how long it looks for a log before it answers
}

// slowLog is the log of a site that is slow to answer.
type slowLog struct {
	*eventlog.Log
	l *listener
}

func (s slowLog) Branches(id eventlog.LogID) []eventlog.Head {
	s.l.f.now = s.l.f.now.Add(s.l.slow)
	return s.Log.Branches(id)
}

func (l *listener) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	if verb == eventlog.VerbPages {
		if l.pages <= 0 {
			return nil, fault.New(fault.Unavailable, "test.slow", "slow", "")
		}
		l.pages--
		body = l.ask(body)
	}
	return l.port.Request(ctx, to, verb, body)
}

// ask asks for no more than an answer may have.
func (l *listener) ask(body []byte) []byte {
	var q map[string]any
	if err := json.Unmarshal(body, &q); err != nil {
		l.f.t.Fatal(err)
	}
	if l.most > 0 {
		q["maxBytes"] = l.most
	}
	body, err := json.Marshal(q)
	if err != nil {
		l.f.t.Fatal(err)
	}
	return body
}

// listen gives the site a replicator that goes by a listener.
func (s *testSite) listen() *listener {
	s.f.t.Helper()
	l := &listener{testSite: s, pages: 1000}
	var err error
	s.rep, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: slowLog{s.log, l}, Link: l, Policy: s.policy, Self: s.name, Peers: s.f.peers, Rand: s.rnd, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return s.f.now.Add(l.set) }, Steady: s.f.clock, Folded: func(eventlog.Branch) uint64 { return l.folded },
	})
	if err != nil {
		s.f.t.Fatal(err)
	}
	s.port.Serve(s.rep)
	return l
}

// after lets time pass and wants to know whether the site is fresh for nordtal.
func (l *listener) after(d time.Duration, want bool, why string) {
	l.f.t.Helper()
	l.f.now = l.f.now.Add(d)
	if got := l.rep.Fresh("nordtal"); got != want {
		l.f.t.Errorf("%s: fresh is %v", why, got)
	}
}

func TestASiteIsFreshWhenItHasFoldedWhatTheOthersHadAtTheEndOfASilence(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1].listen()
	a.append("nordtal", "one")
	b.after(0, false, "before anybody was asked")
	b.step(a)
	b.after(time.Second, false, "pulled and not folded")
	b.folded = 1
	b.after(100*time.Millisecond, true, "pulled and folded")

	b.step(a)
	a.append("nordtal", "two")
	b.step(a)
	b.after(time.Second, true, "everyday lag")

	f.now = f.now.Add(10 * time.Second)
	a.append("nordtal", "three")
	b.pages = 0
	b.step(a)
	b.after(time.Second, false, "known after a silence, and not pulled")
	b.pages = 1
	b.step(a)
	b.after(100*time.Millisecond, false, "pulled after a silence, and not folded")
	b.folded = 3
	b.after(100*time.Millisecond, true, "folded after a silence")

	f.now = f.now.Add(10 * time.Second)
	a.append("nordtal", "four")
	b.pages = 0
	a.step(b.testSite) // the other one speaks first
	b.after(0, false, "heard and not asked")
	b.step(a)
	b.after(100*time.Millisecond, false, "asked, and not pulled")
}

// pageInParts writes a page that does not fit into one of the answers of a line with a bound.
func (s *testSite) pageInParts() {
	s.f.t.Helper()
	var page []event.Draft
	for range 24 {
		noise := make([]byte, 500) // does not become shorter by packing
		_, _ = s.rnd.Read(noise)
		page = append(page, note(hex.EncodeToString(noise)))
	}
	if _, err := s.log.Append(s.f.t.Context(), "nordtal", event.Operations, page...); err != nil {
		s.f.t.Fatal(err)
	}
}

func TestWaitingForOthersIsBounded(t *testing.T) {
	t.Run("nobody answers", func(t *testing.T) {
		f := newFederation(t, "a", "b")
		a, b := f.sites[0], f.sites[1].listen()
		f.net.Cut(a.name, b.name)
		b.after(0, false, "at the start")
		b.step(a)
		b.after(4900*time.Millisecond, false, "a moment later")
		b.after(100*time.Millisecond, true, "five seconds later")
	})
	t.Run("pages do not come", func(t *testing.T) {
		f := newFederation(t, "a", "b")
		a, b := f.sites[0], f.sites[1].listen()
		a.append("nordtal", "one")
		b.pages = 0
		b.after(0, false, "at the start")
		for range 98 {
			b.step(a)
			b.after(100*time.Millisecond, false, "while it waits")
		}
		b.after(time.Second, true, "ten seconds later")
	})
	t.Run("pages come slowly", func(t *testing.T) {
		f := newFederation(t, "a", "b")
		a, b := f.sites[0], f.sites[1].listen()
		for i := range 100 {
			a.append("nordtal", fmt.Sprint("n", i))
		}
		b.after(0, false, "at the start")
		b.step(a)
		for range 29 {
			b.folded++
			b.step(a)
			b.after(time.Second, false, "while it gets on")
		}
		b.after(time.Second, true, "half a minute later")
		f.now = f.now.Add(10 * time.Second)
		b.step(a)
		b.after(0, true, "after another silence of the one that has held it up so long")
		f.now = f.now.Add(time.Minute)
		b.step(a)
		b.after(0, false, "a minute later")
	})
	t.Run("asked again and again", func(t *testing.T) {
		f := newFederation(t, "a", "b")
		a, b := f.sites[0], f.sites[1].listen()
		for i := range 100 {
			a.append("nordtal", fmt.Sprint("n", i))
		}
		b.after(0, false, "at the start")
		for range 29 { // what has come is folded slowly, and every second another alarm is to be taken over
			b.folded++
			b.rep.Refresh("nordtal")
			b.step(a)
			b.after(time.Second, false, "while it gets on")
		}
		b.after(time.Second, true, "half a minute later")
		b.rep.Refresh("nordtal")
		b.after(0, true, "who has held it up so long is not asked again")
	})
	t.Run("one page comes in parts", func(t *testing.T) {
		f := newFederation(t, "a", "b")
		a, b := f.sites[0], f.sites[1].listen()
		a.pageInParts()
		b.after(0, false, "at the start")
		b.most = 800
		for range 13 {
			b.pages = 1
			b.step(a)
			b.after(time.Second, false, "while parts come")
		}
		b.pages = 0
		b.step(a)
		b.after(10*time.Second, true, "ten seconds after the last part")
	})
	t.Run("parts come from another one", func(t *testing.T) {
		f := newFederation(t, "a", "b", "c")
		a, b, c := f.sites[0], f.sites[1].listen(), f.sites[2]
		b.after(0, false, "at the start")
		f.exchange()
		b.after(0, true, "nobody has anything")
		a.pageInParts()
		c.step(a)
		b.pages, b.most = 0, 800
		for range 10 {
			b.step(c)
			b.after(time.Second, true, "nothing is heard of the one that is waited for later")
		}
		b.step(a)
		for range 9 {
			b.after(time.Second, false, "while it may still come")
			b.pages = 1
			b.step(c)
			b.pages = 0
			b.step(a)
		}
		b.after(time.Second, true, "ten seconds later, and all that time a third one has given a little")
	})
	t.Run("of another authority", func(t *testing.T) {
		f := newFederation(t, "a", "b")
		a, b := f.sites[0], f.sites[1].listen()
		a.append("suedtal", "one")
		b.pages = 0
		b.after(0, false, "at the start")
		b.step(a)
		b.after(time.Second, true, "the log of another authority lags")
		if b.rep.Fresh("suedtal") || b.rep.CaughtUp() {
			t.Error("fresh without the log that lags")
		}
	})
}

func TestWhatDoesNotCountIsNotWaitedFor(t *testing.T) {
	// The log has three pages, and closings name an end of it.
	tests := []struct {
		name   string
		end    uint64
		other  bool   // the page that is named at the end is another one than the one here
		before uint64 // pages folded, one too few
		folded uint64 // pages folded, all that count
	}{
		{name: "nothing counts"},
		{name: "the first page counts", end: 1, folded: 1},
		{name: "two pages count", end: 2, before: 1, folded: 2},
		{name: "everything counts", end: 3, before: 2, folded: 3},
		{name: "the last page is not the one that was named", end: 3, other: true, before: 1, folded: 2},
		{name: "more was named than the other one has", end: 5, other: true, before: 2, folded: 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFederation(t, "a", "b")
			a, b := f.sites[0], f.sites[1]
			ends := make(map[eventlog.LogID]eventlog.Head)
			b.policy = closing{f, ends}
			b.start()
			l := b.listen()
			var heads []eventlog.Head
			for _, text := range []string{"one", "two", "three"} {
				a.append("nordtal", text)
				heads = append(heads, a.log.Heads()[0])
			}
			l.after(0, false, "before anybody was asked")
			l.folded = 3
			b.step(a)
			l.after(100*time.Millisecond, true, "everything is folded")

			end := eventlog.Head{Branch: heads[0].Branch, Page: test.end}
			if test.end > 0 && !test.other {
				end.Hash = heads[test.end-1].Hash
			}
			ends[end.Branch.LogID] = end
			l.folded = test.before
			f.now = f.now.Add(10 * time.Second)
			b.step(a)
			l.after(100*time.Millisecond, test.folded == 0, "one page too few is folded")
			l.folded = test.folded
			l.after(100*time.Millisecond, true, "all that counts is folded")
			f.now = f.now.Add(10 * time.Second)
			b.step(a)
			l.after(100*time.Millisecond, true, "all that counts was folded before the silence")
		})
	}
}

func TestAPauseOfTheProcessIsASilence(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1].listen()
	run := func(seconds int) {
		for range seconds * 4 {
			f.now = f.now.Add(250 * time.Millisecond)
			b.rep.Beat()
			b.step(a)
		}
	}
	b.after(0, false, "at the start")
	run(1)
	b.after(time.Second, true, "while it runs")
	b.after(9*time.Second, false, "after it has stood still")
	b.step(a)
	b.after(100*time.Millisecond, true, "and has asked")
	run(1)
	b.set += 3 * time.Hour
	b.after(100*time.Millisecond, false, "its clock was set, or the machine was suspended")
	if _, known := b.rep.Clock(a.name); known {
		t.Error("an offset counts that was measured by a clock that has been set since")
	}
	b.step(a)
	b.after(100*time.Millisecond, true, "and has asked")
	f.net.Cut(a.name, b.name)
	b.after(9*time.Second, false, "it has stood still again")
	b.step(a)
	b.after(time.Second, false, "lines come back up one after the other")
	b.rep.Beat()
	for range 4 {
		b.rep.Beat()
		f.now = f.now.Add(time.Second)
	}
	b.after(time.Millisecond, true, "nobody is there")
}

func TestBeforeATakeoverTheReachableOnesAreAskedOnceMore(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1].listen(), f.sites[2]
	b.after(0, false, "at the start")
	f.exchange()
	b.after(100*time.Millisecond, true, "after the start")
	b.rep.Refresh("nordtal")
	b.after(0, false, "before they have answered")
	b.step(a)
	b.after(100*time.Millisecond, false, "before all have answered")
	b.step(c)
	b.after(100*time.Millisecond, true, "when all have answered")

	a.append("nordtal", "one")
	b.pages = 0
	b.step(a)
	b.rep.Refresh("nordtal")
	b.after(0, false, "the pages of the one that has news do not come, but it is there")
	b.step(a)
	b.step(c)
	b.after(100*time.Millisecond, false, "it has told what it has")
	b.pages, b.folded = 10, 1
	b.step(a)
	b.after(100*time.Millisecond, true, "and it has come")

	f.net.Cut(c.name, b.name)
	b.rep.Refresh("nordtal")
	b.step(a)
	b.step(c)
	b.after(0, true, "who does not answer at once is not waited for")
	f.net.Heal(c.name, b.name)
	b.step(c)
	t.Run("the line is slow", func(t *testing.T) {
		for i := range 100 {
			a.append("nordtal", fmt.Sprint("n", i))
		}
		b.pages = 0
		b.step(a)
		b.rep.Refresh("nordtal")
		b.step(c)
		f.net.Cut(a.name, b.name)
		b.step(a)
		f.net.Heal(a.name, b.name)
		b.after(1900*time.Millisecond, false, "what is known to be missing has not begun to come, and a question was lost")
		for range 5 {
			b.pages, b.most = 1, 300
			b.rep.PullOnly(t.Context(), a.name)
			b.folded = b.log.Heads()[0].Page
			b.after(time.Second, false, "the answer is late and what is known to be missing comes")
		}
		b.after(10*time.Second, true, "it comes no more")
		b.folded = 200
		b.step(a)
	})
	f.now = f.now.Add(time.Minute)
	b.rep.Refresh("nordtal")
	b.after(0, true, "who was silent is not asked")
}

func TestAClockIsJudgedByWhatMostClocksShow(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		clocks []time.Duration // of the others
		ours   time.Duration
		want   []time.Duration // of the others, ours last
	}{
		"all are right":             {[]time.Duration{0, 0}, 0, []time.Duration{0, 0, 0}},
		"one is behind":             {[]time.Duration{-91 * day, 0}, 0, []time.Duration{-91 * day, 0, 0}},
		"ours is ahead":             {[]time.Duration{0, 0}, 3650 * day, []time.Duration{0, 0, 3650 * day}},
		"ours is behind":            {[]time.Duration{0, 0, 0}, -day, []time.Duration{0, 0, 0, -day}},
		"of two each trusts itself": {[]time.Duration{5 * day}, 0, []time.Duration{5 * day, 0}},
		"a liar among four":         {[]time.Duration{3650 * day, 0, 0}, 0, []time.Duration{3650 * day, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFederation(t, []string{"b", "a", "c", "d"}[:len(c.clocks)+1]...)
			b := f.sites[0].listen()
			b.set = c.ours
			if _, known := b.rep.Clock(b.name); known {
				t.Error("a clock is known that nobody has compared")
			}
			for i, s := range f.sites[1:] {
				other := s.listen()
				other.set = c.clocks[i]
				b.step(s)
			}
			for i, s := range append(f.sites[1:], b.testSite) {
				if got, known := b.rep.Clock(s.name); !known || (got-c.want[i]).Abs() > time.Second {
					t.Errorf("site %s: got %v, %v, want %v", s.operator, got, known, c.want[i])
				}
			}
		})
	}
}
