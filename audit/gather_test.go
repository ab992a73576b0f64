// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

func TestReadsAreToldApartByWhatWasReadAndNotHiddenByRefusals(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	for i := range 2 * MaxRows {
		a.Gather(nordtal, Entry{Deed: "signin", From: fmt.Sprintf("10.1.%d.%d", i/250, i%250), Outcome: Refused})
	}
	for i := range 30 {
		a.Gather(nordtal, Entry{Deed: "people.see", Actor: "person/12c0", From: "192.0.2.7", Object: fmt.Sprintf("person/%d", i%3)})
		a.Gather(nordtal, Entry{Deed: "role.grant", Actor: "person/12c0", From: "192.0.2.7", Object: fmt.Sprintf("made up %d", i), Outcome: Refused})
	}
	ok(t, a.Flush(w.ctx))
	if lines := a.lines(nordtal, Query{Deed: "people.see"}); len(lines) != 3 || lines[0].Count != 10 {
		t.Errorf("%+v", lines)
	}
	if lines := a.lines(nordtal, Query{Deed: DeedOthers}); len(lines) != 1 || lines[0].Count != MaxRows+30 || lines[0].Outcome != Refused {
		t.Errorf("%+v", lines)
	}
}

// failingLog refuses what it is told to.
type failingLog struct {
	*eventlog.Log
	mu      sync.Mutex
	fail    error
	appends int
}

func (f *failingLog) Append(ctx context.Context, a event.AuthorityID, c event.Class, drafts ...event.Draft) (eventlog.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return eventlog.Receipt{}, f.fail
	}
	f.appends++
	return f.Log.Append(ctx, a, c, drafts...)
}

func TestRefusalsAreGatheredPerSourceAndMinute(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	log := &failingLog{Log: a.log}
	a.Service.cfg.Log = log
	began := w.now
	refusal := Entry{Deed: "signin", Way: "code", From: "192.0.2.7", Outcome: Refused, Code: "identity.code"}
	for i := range 1000 {
		refusal.From = fmt.Sprintf("192.0.2.%d", i%4)
		a.Gather(nordtal, refusal)
		w.now = w.now.Add(10 * time.Millisecond)
	}
	for _, from := range []string{"2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"} {
		refusal.From = from
		a.Gather(nordtal, refusal)
	}
	ok(t, a.Step(w.ctx))
	if n := len(a.lines(nordtal, Query{})); n != 0 {
		t.Errorf("%d lines before the minute is over", n)
	}
	w.now = began.Add(time.Minute)
	ok(t, a.Step(w.ctx))
	ok(t, a.Step(w.ctx))
	lines := a.lines(nordtal, Query{})
	if len(lines) != 6 || log.appends != 1 {
		t.Fatalf("%d lines in %d appends", len(lines), log.appends)
	}
	count := map[string]int{}
	for _, l := range lines {
		count[l.From] = l.Count
		if l.Since.Before(began) || l.Since.After(w.now) || l.Outcome != Refused {
			t.Errorf("%+v", l)
		}
	}
	want := map[string]int{"192.0.2.0": 250, "192.0.2.1": 250, "192.0.2.2": 250, "192.0.2.3": 250, "2001:db8::/64": 2, "2001:db8:0:1::/64": 1}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Error(diff)
	}
}

func TestAFloodStaysSmallAndIsCounted(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	log := &failingLog{Log: a.log, fail: errors.New("the disk is full")}
	a.Service.cfg.Log = log
	const flood = 20_000
	for i := range flood {
		a.Gather(nordtal, Entry{Deed: "signin", From: fmt.Sprintf("10.1.%d.%d", i/250, i%250), Outcome: Refused, Code: "identity.code"})
		a.Gather(event.AuthorityID(fmt.Sprintf("made-up-%d", i)), Entry{Deed: "signin", Outcome: Refused})
		if i%5000 == 0 { // the disk refuses for minutes
			w.now = w.now.Add(time.Minute)
			if err := a.Step(w.ctx); err == nil && i > 0 {
				t.Error("the log's error is not told")
			}
		}
	}
	if n := len(a.gather.open) + len(a.gather.over); n > 2*(maxAuthorities+1) {
		t.Errorf("%d authorities are gathered", n)
	}
	log.fail = nil
	ok(t, a.Flush(w.ctx))
	lines := a.lines(nordtal, Query{Limit: MaxLimit})
	total, others := 0, 0
	for _, l := range lines {
		total += l.Count
		if l.Deed == DeedOthers {
			others++
		}
	}
	if len(lines) != MaxRows+1 || others != 1 || total != flood {
		t.Errorf("%d lines, %d of others, %d counted", len(lines), others, total)
	}
}

// A flood that lasts a day takes a line a minute once the day's room is used up, and all of it is counted. What is done is not
// concerned.
func TestAFloodOfADayStaysSmall(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	minutes, each := MaxRefusalsADay/MaxRows+10, MaxRows
	for m := range minutes {
		for i := range each {
			a.Gather(nordtal, Entry{Deed: "signin", From: fmt.Sprintf("10.%d.0.%d", m, i), Outcome: Refused})
		}
		a.Gather(nordtal, Entry{Deed: "people.see", From: fmt.Sprintf("10.%d.0.1", m)})
		w.now = w.now.Add(time.Minute)
		ok(t, a.Step(w.ctx))
	}
	read := func() (refusals, total, done int) {
		for after := ""; ; {
			lines := a.lines(nordtal, Query{Limit: MaxLimit, After: after})
			for _, l := range lines {
				if l.Outcome == Done {
					done++
					continue
				}
				refusals, total = refusals+1, total+l.Count
			}
			if len(lines) < MaxLimit {
				return refusals, total, done
			}
			after = lines[len(lines)-1].ID
		}
	}
	if refusals, total, done := read(); refusals > MaxRefusalsADay+minutes || total != minutes*each || done != minutes {
		t.Errorf("%d lines count %d refusals, %d were done", refusals, total, done)
	}
	before, _, _ := read()
	w.now = w.now.Add(24 * time.Hour)
	a.Gather(nordtal, Entry{Deed: "signin", From: "192.0.2.1", Outcome: Refused})
	a.Gather(nordtal, Entry{Deed: "signin", From: "192.0.2.2", Outcome: Refused})
	ok(t, a.Flush(w.ctx))
	if after, _, _ := read(); after != before+2 {
		t.Errorf("the next day has %d lines", after-before)
	}
}

func TestGatheredLinesOfAForeignAuthorityGoToTheFederation(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	for _, authority := range []event.AuthorityID{forbidden, "", "Not a name"} {
		a.Gather(authority, Entry{Deed: "signin", From: "192.0.2.7", Outcome: Refused, Object: string(authority)})
	}
	ok(t, a.Flush(w.ctx))
	lines := a.lines("", Query{})
	total := 0
	for _, l := range lines {
		total += l.Count
		if l.Readable != Pseudonym {
			t.Errorf("%+v", l)
		}
	}
	if total != 3 {
		t.Errorf("%d counted in %+v", total, lines)
	}
}

func TestRunWritesWhatIsGatheredBeforeItStops(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	a.Gather(nordtal, signin)
	cancel()
	<-done
	if n := len(a.lines(nordtal, Query{})); n != 1 {
		t.Errorf("%d lines", n)
	}
}
