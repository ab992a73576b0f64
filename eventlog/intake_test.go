// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// firstPages returns the first pages of n logs of site 2.
func firstPages(t *testing.T, n int) (raw [][]byte) {
	t.Helper()
	for i := range n {
		w := logtest.NewWriter(t, 2, 0)
		w.Log.Incarnation = word(i)
		raw = append(raw, w.Page(t, fmt.Sprint("of log ", i)).Raw())
	}
	return raw
}

func word(n int) string { return fmt.Sprintf("%016x", n) }

// offer offers pages, and returns how many were taken; the others must wait.
func (r *rig) offer(pages [][]byte) (taken int) {
	r.t.Helper()
	taken, err := r.log.Accept(r.t.Context(), pages)
	if err != nil && !errors.Is(err, eventlog.ErrTooManyLogs) {
		r.t.Fatal(err)
	}
	return taken
}

func TestTheLogsThatOneSiteCanMakeAnotherKeepAreBoundedInTime(t *testing.T) {
	r, pages := newRig(t), firstPages(t, 3000)
	equal(t, "logs taken at once", r.offer(pages), 64)
	equal(t, "heads", len(r.log.Heads()), 64)
	equal(t, "logs in memory", r.log.Records(), 64)
	waiting := r.log.Waiting()
	if len(waiting) != 1 || waiting[0].Logs != 2936 || waiting[0].Here != 64 || !waiting[0].Since.Equal(r.now) {
		t.Errorf("got %+v, want 2936 logs that wait since the start", waiting)
	}
	r.now = r.now.Add(24 * time.Hour)
	equal(t, "logs taken a day later", r.offer(pages), 8)
	r.open()
	equal(t, "logs taken after a restart", r.offer(pages), 0)
	r.now = r.now.Add(24 * time.Hour)
	equal(t, "logs taken the day after the restart", r.offer(pages), 8)
	r.now = r.now.Add(365 * 24 * time.Hour)
	equal(t, "logs taken after a year", r.offer(pages), 64)
}

// The list of what waits is bounded too, and names each authority and class.
func TestWhatWaitsIsCountedUpToABound(t *testing.T) {
	r, site := newRig(t), logtest.Identity(t, 2).Site()
	pages := firstPages(t, 64)
	r.offer(pages)
	ask := func(class event.Class, n int) {
		r.log.Room(eventlog.LogID{Authority: nordtal, Class: class, Site: site, Incarnation: word(n)}, false)
	}
	for n := range 20_000 {
		ask(event.Operations, 64+n)
	}
	record := logtest.NewWriter(t, 2, 0)
	record.Log.Class = event.Record
	for n := range 64 {
		v := *record
		v.Log.Incarnation = word(n)
		r.accepts(1, nil, v.Page(t, "one"))
	}
	ask(event.Record, 64)
	ask(event.Record, 65)
	var counts []int
	for _, w := range r.log.Waiting() {
		counts = append(counts, w.Logs)
	}
	if !slices.Equal(counts, []int{8192, 1}) {
		t.Errorf("waiting are %v, want 8192 and 1", counts)
	}
}

func TestWhatIsTakenNoLongerWaits(t *testing.T) {
	r, pages := newRig(t), firstPages(t, 70)
	r.offer(pages)
	equal(t, "logs that wait", r.log.Waiting()[0].Logs, 6)
	for range 6 {
		r.now = r.now.Add(3 * time.Hour)
		r.offer(pages)
	}
	equal(t, "heads", len(r.log.Heads()), 70)
	equal(t, "sites whose logs wait", len(r.log.Waiting()), 0)
}

// A log that goes on is never held up, and neither is the first log of a class or authority.
func TestOnlyFurtherLogsWait(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	r.accepts(1, nil, w.Page(t, "first"))
	r.offer(firstPages(t, 300)[100:])
	r.accepts(1, nil, w.Page(t, "second"))
	for _, class := range []event.Class{event.Register, event.Record, event.Audit} {
		v := logtest.NewWriter(t, 2, 2)
		v.Log.Class = class
		r.accepts(1, nil, v.Page(t, "another class"))
	}
	v := logtest.NewWriter(t, 2, 2)
	v.Log.Authority = "lk-suedtal"
	r.accepts(1, nil, v.Page(t, "another authority"))
	other := logtest.NewWriter(t, 3, 7)
	r.accepts(1, nil, other.Page(t, "another site"))
}

func TestTheLogsOfAllClassesTogetherAreBounded(t *testing.T) {
	r := newRig(t)
	taken := 0
	for lane := range 80 {
		for n := range 60 {
			w := logtest.NewWriter(t, 2, byte(n))
			w.Log.Authority = event.AuthorityID(fmt.Sprint("lk-", lane))
			got, _ := r.log.Accept(t.Context(), raws(w.Page(t, "a")))
			taken += got
		}
	}
	equal(t, "logs taken", taken, 4096+80)
}

func TestForksCountAsLogs(t *testing.T) {
	r := newRig(t)
	r.offer(firstPages(t, 60))
	w := logtest.NewWriter(t, 2, 0)
	taken := 0
	for n := range 20 {
		fork := *w
		got, _ := r.log.Accept(t.Context(), raws(fork.Page(t, fmt.Sprint("fork ", n))))
		taken += got
	}
	equal(t, "branches taken", taken, 4)
}

func TestAWrongClockDoesNotCloseTheDoor(t *testing.T) {
	pages := firstPages(t, 100)
	for name, again := range map[string]func(*rig){"running on": func(*rig) {}, "after a restart": (*rig).open} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			right := r.now
			r.now = right.AddDate(10, 0, 0)
			r.offer(pages[:64])
			r.now = right
			again(r)
			equal(t, "logs taken at once", r.offer(pages), 0)
			r.now = right.Add(24 * time.Hour)
			equal(t, "logs taken a day later", r.offer(pages), 8)
		})
	}
}

func TestPagesThatAreRefusedLeaveNothingInMemory(t *testing.T) {
	r := newRig(t)
	for n := range 1000 {
		w := logtest.NewWriter(t, 2, 0)
		w.Log.Incarnation = word(n)
		w.Page(t, "one")
		r.accepts(0, eventlog.ErrGap, w.Page(t, "two"))
	}
	equal(t, "logs in memory", r.log.Records(), 0)
}

// crashLoop makes a site that is cut off start n times, each time under a new incarnation and with one page.
func (s *testSite) crashLoop(n int, every time.Duration) {
	s.f.t.Helper()
	for i := range n {
		s.start()
		s.rep.Settle(s.f.t.Context())
		s.append(nordtal, fmt.Sprint(s.operator, "-", i))
		s.f.now = s.f.now.Add(every)
	}
}

func (f *federation) cutOff(s *testSite, cut bool) {
	for _, o := range f.sites {
		if cut {
			f.net.Cut(s.name, o.name)
		} else {
			f.net.Heal(s.name, o.name)
		}
	}
}

// What the site says now comes at once, whatever it has given up before.
func TestAnHonestSiteThatCrashesAgainAndAgainIsHeardAtOnce(t *testing.T) {
	f := newFederation(t, "nordwerke", "suedrechen")
	a, b := f.sites[0], f.sites[1]
	f.cutOff(a, true)
	a.crashLoop(240, time.Minute)
	f.cutOff(a, false)
	f.exchange()
	if !strings.Contains(b.content(), "note/nordwerke-239") {
		t.Error("what the site wrote last has not arrived")
	}
	if n := len(b.log.Heads()); n < 64 || n > 66 {
		t.Errorf("%d logs were taken at once, want 64 and the present one", n)
	}
}

func TestAnHonestSiteThatCrashesAgainAndAgainLosesNothing(t *testing.T) {
	f := newFederation(t, "nordwerke", "suedrechen", "ostnetz")
	a, b := f.sites[0], f.sites[1]
	f.cutOff(a, true)
	a.crashLoop(160, time.Minute)
	f.cutOff(a, false)
	for range 16 {
		f.exchange()
		f.now = f.now.Add(24 * time.Hour)
	}
	f.wantEqual(160)
	equal(t, "sites whose logs wait", len(b.log.Waiting()), 0)
}

func TestASiteThatIsCutOffForWeeksAndStartsEveryDayIsHeardWhole(t *testing.T) {
	f := newFederation(t, "nordwerke", "suedrechen", "ostnetz")
	f.cutOff(f.sites[0], true)
	f.sites[0].crashLoop(42, 24*time.Hour)
	f.cutOff(f.sites[0], false)
	f.exchange()
	f.wantEqual(42)
}

// Whoever joins, or comes back with an empty disk, has everything at once.
func TestWhatASiteOfAnotherOperatorHoldsIsTakenAtOnce(t *testing.T) {
	f := newFederation(t, "nordwerke", "suedrechen", "ostnetz")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	f.cutOff(c, true)
	for range 10 {
		f.cutOff(a, true)
		a.crashLoop(30, 24*time.Hour)
		f.net.Heal(a.name, b.name)
		f.exchange()
	}
	equal(t, "logs at the old site", len(b.log.Heads()), 300)
	f.cutOff(c, false)
	f.exchange()
	f.wantEqual(300)
}

func TestSitesOfOneOperatorDoNotVouchForEachOther(t *testing.T) {
	f := newFederation(t, "rogue", "rogue", "ostnetz")
	a, accomplice, c := f.sites[0], f.sites[1], f.sites[2]
	f.cutOff(c, true)
	for range 10 {
		f.cutOff(a, true)
		a.crashLoop(30, time.Second)
		f.net.Heal(a.name, accomplice.name)
		f.exchange()
		f.now = f.now.Add(10 * 24 * time.Hour)
	}
	f.cutOff(c, false)
	f.exchange()
	if n := len(c.log.Heads()); n > 80 {
		t.Errorf("the honest site has %d logs, want about 64", n)
	}
}

// A site may call one incarnation after the other its present one; that is bounded too.
func TestPresentIncarnationsAreBounded(t *testing.T) {
	r, pages, site := newRig(t), firstPages(t, 301), logtest.Identity(t, 2).Site()
	r.offer(pages[:64])
	taken := 0
	for n := 64; n < 200; n++ {
		r.log.Present(site, word(n))
		taken += r.offer(pages[n : n+1])
	}
	equal(t, "logs taken because they were called present", taken, 8)
	r.now = r.now.Add(time.Hour)
	r.log.Present(site, word(300))
	equal(t, "another one after an hour", r.offer(pages[300:]), 1)
}

// What must wait is not fetched: its bytes would go over the line again and again for nothing.
func TestWhatMustWaitIsNotFetchedAndDoesNotCountAsLag(t *testing.T) {
	f := newFederation(t, "nordwerke", "suedrechen")
	a, b := f.sites[0], f.sites[1]
	f.cutOff(a, true)
	a.crashLoop(200, time.Second)
	f.cutOff(a, false)
	f.exchange()
	fetched := 0
	f.net.Watch(func(m logtest.Message) {
		if m.From == b.name && m.Verb == eventlog.VerbPages {
			fetched++
		}
	})
	for range 90 {
		f.now = f.now.Add(time.Second)
		b.step(a)
	}
	equal(t, "requests for pages that must wait", fetched, 0)
	for _, l := range b.rep.Lag() {
		if l.Behind > 0 || l.Trouble != "" {
			t.Errorf("got %+v, want no lag and no trouble", l)
		}
	}
	equal(t, "caught up", b.rep.CaughtUp(), true)
}

// A question of tails is answered by the policy too: who may not hold an authority's logs does not hear that there
// are any.
func TestAQuestionOfTailsTellsOnlyWhatTheAskerMayKnow(t *testing.T) {
	f := newFederation(t, "nordwerke", "suedrechen", "ostnetz")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	f.allowed["polizei"] = []event.SiteID{a.name, b.name}
	a.append("polizei", "secret")
	a.append(nordtal, "open")
	f.exchange()
	ask := func(s *testSite) string {
		t.Helper()
		answer, err := s.port.Request(t.Context(), b.name, eventlog.VerbHeads, []byte(`{"origin":"`+string(a.name)+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	if got := ask(a); !strings.Contains(got, "polizei") || !strings.Contains(got, string(nordtal)) {
		t.Fatalf("the origin itself is told only %s", got)
	}
	if got := ask(c); strings.Contains(got, "polizei") || !strings.Contains(got, string(nordtal)) {
		t.Errorf("a site that the authority does not allow is told %s", got)
	}
	delete(f.allowed, "polizei")
	if got := ask(c); !strings.Contains(got, "polizei") {
		t.Errorf("after the authority has allowed it, it is told only %s", got)
	}
}

// A peer that announces other logs each time, and shows none of them, fills no table.
func TestFailuresOfAPeerAreBoundedByItsHeads(t *testing.T) {
	f := newFederation(t, "nordwerke", "rogue")
	a, rogue := f.sites[0], f.sites[1]
	round := 0
	rogue.port.Handle(eventlog.VerbHeads, func(context.Context, event.SiteID, []byte) ([]byte, error) {
		round++
		var heads []string
		for n := range 64 {
			log := eventlog.LogID{Authority: nordtal, Class: event.Record, Site: a.name, Incarnation: word(round*64 + n)}
			heads = append(heads, fmt.Sprintf(`{"branch":%s,"page":1,"hash":"%064x","version":%d}`, logJSON(log), n+1, n+1))
		}
		return fmt.Appendf(nil, `{"session":"%016x","upTo":64,"heads":[%s]}`, round, strings.Join(heads, ",")), nil
	})
	rogue.port.Handle(eventlog.VerbPages, func(context.Context, event.SiteID, []byte) ([]byte, error) {
		return []byte("garbage"), nil
	})
	for range 30 {
		if _, err := a.rep.Step(t.Context(), rogue.name); err == nil {
			t.Fatal("nothing was refused: the test proves nothing")
		}
	}
	if n := a.rep.Failures(rogue.name); n == 0 || n > 128 {
		t.Errorf("%d failures are remembered, want some and at most 128", n)
	}
}
