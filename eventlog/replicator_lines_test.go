// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
)

// slowLine lets the federation's clock go on by what a line of that rate needs for each answer, and counts the bytes of
// answers with pages.
type slowLine struct {
	f       *federation
	rate    int // bytes per second
	pages   int // bytes of answers with pages
	largest int
	cutAt   int // cut everybody off after so many bytes of pages; 0 is never
}

func (f *federation) slow(rate int) *slowLine {
	l := &slowLine{f: f, rate: rate}
	f.net.Watch(l.carry)
	return l
}

func (l *slowLine) carry(m logtest.Message) {
	l.f.now = l.f.now.Add(time.Duration(float64(len(m.Answer)+len(m.Body)) / float64(l.rate) * float64(time.Second)))
	if m.Verb != eventlog.VerbPages {
		return
	}
	l.pages += len(m.Answer)
	l.largest = max(l.largest, len(m.Answer))
	if l.cutAt > 0 && l.pages >= l.cutAt {
		l.cutAt = 0
		for _, a := range l.f.sites {
			for _, b := range l.f.sites {
				l.f.net.Cut(a.name, b.name)
			}
		}
	}
}

// largePage writes one page of about so many bytes.
func (s *testSite) largePage(class event.Class, size int) eventlog.Receipt {
	s.f.t.Helper()
	drafts := make([]event.Draft, size/(50<<10))
	for i := range drafts {
		drafts[i] = event.Draft{Subject: "note/large", Kind: "note.Written", Mode: event.Test, Data: logtest.Dense(49<<10, i)}
	}
	r, err := s.log.Append(s.f.t.Context(), "nordtal", class, drafts...)
	if err != nil {
		s.f.t.Fatal(err)
	}
	return r
}

func TestALargePageComesInPartsThatASlowLineTakes(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	a.largePage(event.Register, 500<<10)
	line := f.slow(8000)
	for range 30 {
		b.step(a)
	}
	f.wantEqual(10)
	if line.largest > 20<<10 {
		t.Errorf("an answer had %d bytes: %d s of the line", line.largest, line.largest/line.rate)
	}
	if page := 500 << 10; line.pages > page*11/10 {
		t.Errorf("%d bytes were sent for a page of %d", line.pages, page)
	}
}

func TestAPageThatWasHalfHereIsGoneOnWithAtAnotherHolder(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	a.largePage(event.Register, 500<<10)
	b.step(a)
	line := f.slow(32000)
	line.cutAt = 250 << 10
	for line.cutAt > 0 {
		c.step(a)
	}
	if len(c.log.Heads()) != 0 {
		t.Fatal("the page is here already")
	}
	f.net.Heal(b.name, c.name)
	f.exchangeBetween(c, b)
	f.wantEqual(10)
	if page := 500 << 10; line.pages > page*11/10 {
		t.Errorf("%d bytes were sent for a page of %d: what had come was fetched again", line.pages, page)
	}
}

// TestTwoLargeBranchesOfALogComeOverASlowLine has a site that was restored and went on: both pages after the same one are large,
// and come in turns.
func TestTwoLargeBranchesOfALogComeOverASlowLine(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	a.largePage(event.Register, 50<<10)
	f.exchange()
	image, incarnation := a.disk.Snapshot(), a.incarnation
	f.net.Cut(a.name, c.name)
	f.net.Cut(b.name, c.name)
	a.largePage(event.Register, 500<<10)
	f.exchangeBetween(b, a)
	a.disk, a.incarnation = eventlog.NewMemory(f.clock), incarnation
	a.disk.Restore(image)
	a.start()
	f.now = f.now.Add(time.Minute)
	a.largePage(event.Register, 500<<10)
	for range 5 {
		_, _ = b.rep.Step(t.Context(), a.name) // a fork is no news
	}
	f.net.Heal(b.name, c.name)
	line := f.slow(4000)
	for range 40 {
		if _, err := c.rep.Step(t.Context(), b.name); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := c.content(), b.content(); got != want || len(c.log.Heads()) < 2 {
		t.Errorf("of two branches there is\n%s\nwant\n%s", got, want)
	}
	if pages := 2 * 500 << 10; line.pages > pages*11/10 {
		t.Errorf("%d bytes were sent for pages of %d: what had come of one was fetched again", line.pages, pages)
	}
}

func (f *federation) exchangeBetween(to, from *testSite) {
	f.t.Helper()
	for range 100 {
		if to.step(from) == 0 {
			return
		}
	}
	f.t.Error("it never ends")
}

func TestGarbageInTheFirstHalfOfAPageDoesNotKeepTheHonestHolderFromGivingIt(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	a.largePage(event.Register, 500<<10)
	b.step(a)
	honest := a.rep.Serve(eventlog.VerbPages)
	a.port.Handle(eventlog.VerbPages, func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
		answer, err := honest(ctx, peer, body)
		if n := len(answer); err == nil && n > 2000 {
			answer = bytes.Clone(answer)
			answer[n/2] ^= 1
		}
		return answer, err
	})
	line := f.slow(32000)
	line.cutAt = 100 << 10
	for line.cutAt > 0 {
		c.step(a)
	}
	f.net.HealAll()
	f.net.Cut(a.name, c.name) // what is here of the page is worth nothing, but nobody can know
	f.exchangeBetween(c, b)
	f.wantEqual(10)
	t.Run("Alone", func(t *testing.T) {
		a.largePage(event.Register, 500<<10)
		f.net.HealAll()
		f.net.Cut(b.name, c.name)
		var last error
		for range 10 {
			if _, err := c.rep.Step(t.Context(), a.name); err != nil {
				last = err
			}
		}
		if fault.KindOf(last) != fault.Invalid && fault.KindOf(last) != fault.Forbidden {
			t.Errorf("a page with a flipped bit: got %v", last)
		}
		if got := c.rep.Lag()[0].Trouble; got == "" {
			t.Error("nobody is told")
		}
		if h := c.log.Heads(); len(h) != 1 || h[0].Page != 1 {
			t.Errorf("the garbage was taken: %v", h)
		}
	})
}

// asOlder makes a site speak as the version before: it knows neither stretches nor sizes of messages of heads.
func (s *testSite) asOlder(t *testing.T) {
	t.Helper()
	for _, verb := range []string{eventlog.VerbPages, eventlog.VerbHeads} {
		h := s.rep.Serve(verb)
		s.port.Handle(verb, func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
			var q map[string]json.RawMessage
			if err := json.Unmarshal(body, &q); err != nil {
				return nil, err
			}
			for _, newer := range []string{"stretch", "from", "name", "most", "incarnation", "complete"} {
				delete(q, newer)
			}
			body, err := json.Marshal(q)
			if err != nil {
				return nil, err
			}
			return h(ctx, peer, body)
		})
	}
}

func TestTheVersionBeforeGivesAndTakesWholePages(t *testing.T) {
	f := newFederation(t, "a", "b")
	a := f.sites[0]
	a.asOlder(t)
	for range 4 {
		a.largePage(event.Register, 300<<10)
	}
	a.append("nordtal", "small")
	f.slow(8000)
	f.exchange()
	f.wantEqual(25)
}

func TestAlarmsComeBeforeDirectories(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	for range 4 {
		a.largePage(event.Register, 500<<10)
	}
	a.append("nordtal", "alarm")
	var classes []event.Class
	f.net.Watch(func(m logtest.Message) {
		var q struct{ Log eventlog.LogID }
		if m.Verb == eventlog.VerbPages && json.Unmarshal(m.Body, &q) == nil {
			classes = append(classes, q.Log.Class)
		}
	})
	b.step(a)
	if len(classes) < 2 || classes[0] != event.Operations || classes[1] != event.Register {
		t.Errorf("pages were asked for in the order %v", classes)
	}
}

func TestASiteWithManyLogsThatWasPutBackDoesNotFork(t *testing.T) {
	const logs = 1600 // more than one message carries
	last := event.AuthorityID(fmt.Sprintf("amt-%04d", logs-1))
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	for i := range logs {
		a.append(event.AuthorityID(fmt.Sprintf("amt-%04d", i)), "n")
	}
	f.exchange()
	before := a.incarnation
	settles := func(answer eventlog.Handler) bool {
		a.incarnation = before
		a.start()
		if answer != nil {
			b.port.Handle(eventlog.VerbHeads, answer)
			defer b.port.Serve(b.rep)
		}
		return a.rep.Settle(t.Context())
	}
	t.Run("Complete", func(t *testing.T) {
		if !settles(nil) {
			t.Error("the incarnation was given up although a peer has nothing more")
		}
	})
	t.Run("NotTheLastPart", func(t *testing.T) {
		h, parts := b.rep.Serve(eventlog.VerbHeads), 0
		if settles(func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
			if parts++; parts > 3 {
				return nil, fault.New(fault.Unavailable, "test.gone", "gone", "")
			}
			return h(ctx, peer, body)
		}) {
			t.Error("a peer that did not tell all counts as confirming")
		}
	})
	t.Run("OlderVersion", func(t *testing.T) {
		if settles(func(context.Context, event.SiteID, []byte) ([]byte, error) {
			heads := make([]map[string]any, 0, 1500)
			for _, h := range b.log.Heads()[:1500] { // as it cuts them off
				heads = append(heads, map[string]any{"branch": h.Branch, "page": h.Page, "hash": h.Hash})
			}
			return json.Marshal(map[string]any{"session": "x", "heads": heads})
		}) {
			t.Error("an answer that is cut off counts as confirming")
		}
	})
	t.Run("Restored", func(t *testing.T) {
		a.incarnation = before
		a.start()
		image := a.disk.Snapshot()
		a.append(last, "lost")
		f.exchange()
		a.disk.Restore(image)
		if settles(nil) {
			t.Fatal("the incarnation was kept although a peer has more of the last log")
		}
		if got := a.append(last, "next").Log.Incarnation; got == before {
			t.Error("the site goes on in the log that it has lost a page of")
		}
		f.exchange()
		if n := len(a.log.Forks()); n != 0 {
			t.Errorf("there are %d forks", n)
		}
	})
}

func TestAllHeadsOfAPeerAreKept(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	const logs, part = 52000, 1500
	b.port.Handle(eventlog.VerbHeads, func(_ context.Context, _ event.SiteID, body []byte) ([]byte, error) {
		var q struct {
			Seen struct{ Version int }
		}
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		from := q.Seen.Version
		to := min(from+part, logs)
		var heads []string
		for i := from; i < to; i++ {
			id := eventlog.LogID{Authority: "nordtal", Class: event.Record, Site: b.name, Incarnation: fmt.Sprintf("%016x", i)}
			heads = append(heads, fmt.Sprintf(`{"branch":%s,"page":1,"hash":"%064x","version":%d}`, logJSON(id), 7, i+1))
		}
		return fmt.Appendf(nil, `{"session":"x","since":%d,"upTo":%d,"more":%t,"heads":[%s]}`, from, to, to < logs, strings.Join(heads, ",")), nil
	})
	b.port.Handle(eventlog.VerbPages, nil)
	for range 5 {
		_, _ = a.rep.Step(t.Context(), b.name)
	}
	if got := a.rep.Lag()[0].Behind; got != logs {
		t.Errorf("of %d logs that the peer has %d are known", logs, got)
	}
}

func TestLogsOfStrangersAreNotKept(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	stranger := c.name
	f.net.Cut(a.name, c.name)
	c.append("nordtal", "one")
	b.step(c)
	f.sites = f.sites[:2]
	a.step(b)
	if got := a.rep.Lag()[0]; got.Behind != 0 || got.Trouble != "" {
		t.Errorf("a log whose origin is no member counts: %+v", got)
	}
	f.sites = append(f.sites, c) // admitted
	a.step(b)
	if got := a.content(); !strings.Contains(got, string(stranger)) {
		t.Error("the log of the site that was admitted later does not come")
	}
}
