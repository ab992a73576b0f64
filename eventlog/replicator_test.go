// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
)

func TestWhatWasWrittenDuringACutIsEverywhereAfterwards(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	a.append("nordtal", "before")
	f.exchange()
	f.net.Cut(a.name, b.name)
	f.net.Cut(a.name, c.name)
	for i := range 40 {
		a.append("nordtal", fmt.Sprintf("a%d", i))
		b.append("nordtal", fmt.Sprintf("b%d", i))
		c.append("suedtal", fmt.Sprintf("c%d", i))
	}
	f.exchange()
	if got := a.rep.Lag(); got[0].Trouble == "" || got[1].Trouble == "" {
		t.Errorf("a site that is cut off reports no trouble: %+v", got)
	}
	f.net.HealAll()
	f.exchange()
	f.wantEqual(121)
	for _, s := range f.sites {
		for _, lag := range s.rep.Lag() {
			if lag.Behind != 0 || lag.Ahead != 0 || lag.Trouble != "" {
				t.Errorf("site %s: %+v after healing", s.operator, lag)
			}
		}
	}
}

func TestPagesPassThroughASiteThatBothSidesCanReach(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, _, c := f.sites[0], f.sites[1], f.sites[2]
	f.net.Cut(a.name, c.name)
	a.append("nordtal", "from-a")
	c.append("nordtal", "from-c")
	f.exchange()
	f.wantEqual(2)
}

func TestMessagesMayGetLost(t *testing.T) {
	f := newFederation(t, "a", "b", "c", "d")
	f.net.Lose(0.4)
	for i := range 100 {
		f.sites[i%4].append("nordtal", fmt.Sprint("n", i))
		for _, s := range f.sites {
			if peer := f.sites[(i+1)%4]; peer != s {
				s.step(peer)
			}
		}
	}
	f.net.HealAll()
	f.exchange()
	f.wantEqual(100)
}

func TestASiteThatIsNotAllowedGetsNothing(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	f.allowed["nordtal"] = []event.SiteID{a.name, b.name}
	f.net.Watch(func(m logtest.Message) {
		if (m.To == c.name && bytes.Contains(m.Body, []byte("nordtal"))) ||
			(m.From == c.name && m.Err == nil && bytes.Contains(m.Answer, []byte("nordtal"))) {
			t.Errorf("%s between %s and the site that is not allowed: %s %s", m.Verb, m.From.Short(), m.Body, m.Answer)
		}
	})
	r := a.append("nordtal", "secret")
	a.append("suedtal", "for-all")
	f.exchange()
	if got := c.content(); strings.Contains(got, "nordtal") || !strings.Contains(got, "for-all") {
		t.Errorf("the site that is not allowed has %s", got)
	}

	t.Run("ErrNotAllowed", func(t *testing.T) {
		for verb, body := range map[string]string{
			"pages": `{"log":` + logJSON(r.Log) + `,"after":{"page":0,"hash":"` + eventlog.Hash{}.String() + `"},"target":{"page":1,"hash":"` + eventlog.Hash{}.String() + `"}}`,
			"hash":  `{"log":` + logJSON(r.Log) + `,"target":{"page":1,"hash":"` + eventlog.Hash{}.String() + `"},"pages":[1]}`,
		} {
			_, err := a.rep.Serve(verb)(t.Context(), c.name, []byte(body))
			if fault.KindOf(err) != fault.Forbidden {
				t.Errorf("%s: got %v, want a fault of kind forbidden", verb, err)
			}
		}
	})
	t.Run("ErrNoMember", func(t *testing.T) {
		for _, verb := range eventlog.Verbs() {
			if _, err := a.rep.Serve(verb)(t.Context(), "stranger", []byte("{}")); fault.KindOf(err) != fault.Forbidden {
				t.Errorf("%s: got %v, want a fault of kind forbidden", verb, err)
			}
		}
	})
	t.Run("AllowedLater", func(t *testing.T) {
		f.net.Watch(nil)
		f.allowed["nordtal"] = append(f.allowed["nordtal"], c.name)
		f.exchange()
		f.wantEqual(2)
	})
}

// behindTheTimes is the policy of a site that has not heard yet that it is allowed.
type behindTheTimes struct {
	*federation
	self    event.SiteID
	unheard map[event.AuthorityID]bool
}

func (p behindTheTimes) Allowed(site event.SiteID, authority event.AuthorityID) bool {
	return !(site == p.self && p.unheard[authority]) && p.federation.Allowed(site, authority)
}

func TestHeadsPassedOverBeforeTheSiteHeardThatItIsAllowedAreAskedForAgain(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	policy := behindTheTimes{f, b.name, map[event.AuthorityID]bool{"nordtal": true, "suedtal": true}}
	b.policy = policy
	b.start()
	a.append("nordtal", "one")
	a.append("suedtal", "two")
	a.append("westtal", "three")
	f.exchange()
	if got := b.content(); strings.Contains(got, "nordtal") || !strings.Contains(got, "westtal") {
		t.Fatalf("the site has %s", got)
	}
	// The clock stands still: it is not the full exchange of every minute that mends it.
	delete(policy.unheard, "nordtal")
	b.step(a)
	if got := b.content(); !strings.Contains(got, "nordtal") || strings.Contains(got, "suedtal") {
		t.Fatalf("after it heard of nordtal the site has %s", got)
	}
	all := 0
	f.net.Watch(func(m logtest.Message) {
		if m.Verb == eventlog.VerbHeads && bytes.Contains(m.Answer, []byte("westtal")) {
			all++
		}
	})
	for range 3 {
		b.step(a)
	}
	if all != 0 {
		t.Errorf("everything was asked for %d more times although nothing new is allowed", all)
	}
	f.net.Watch(nil)
	delete(policy.unheard, "suedtal")
	b.step(a)
	f.wantEqual(3)
}

// without is a policy under which a site was removed and its logs were closed.
type without struct {
	*federation
	gone event.SiteID
	ends map[eventlog.LogID]eventlog.Head
}

func (p without) Member(s event.SiteID) bool { return s != p.gone && p.federation.Member(s) }
func (p without) Allowed(s event.SiteID, a event.AuthorityID) bool {
	return s != p.gone && p.federation.Allowed(s, a)
}
func (p without) Closing(id eventlog.LogID) (eventlog.Head, bool) {
	h, closed := p.ends[id]
	return h, closed || id.Site == p.gone
}

func TestTheClosedLogsOfARemovedSiteStillReachWhoLacksThem(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	f.net.Cut(b.name, c.name)
	f.net.Cut(a.name, c.name)
	r := a.append("nordtal", "one")
	f.exchange()
	f.net.HealAll()
	policy := without{f, a.name, map[eventlog.LogID]eventlog.Head{r.Log: b.log.Heads()[0]}}
	for _, s := range []*testSite{b, c} {
		s.policy = policy
		s.start()
	}
	c.step(b)
	if got := c.content(); got != b.content() || got == "" {
		t.Errorf("the site that lacked the closed log has %q", got)
	}
	if lag := c.rep.Lag(); lag[0].Behind != 0 || lag[0].Trouble != "" {
		t.Errorf("lag: %+v", lag)
	}
}

func TestAHeadThatNobodyCanShowCostsNoIncarnation(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	r := a.append("nordtal", "one")
	f.exchange()
	claim := fmt.Sprintf(`{"session":"x","upTo":1,"heads":[{"branch":%s,"page":99,"hash":"%064x","version":1}]}`, logJSON(r.Log), 7)
	b.port.Handle(eventlog.VerbHeads, func(context.Context, event.SiteID, []byte) ([]byte, error) { return []byte(claim), nil })
	if _, err := a.rep.Step(t.Context(), b.name); err != nil {
		t.Log(err)
	}
	if got := a.append("nordtal", "two").Log; got != r.Log {
		t.Errorf("a peer's bare word made the site go on with %s", got)
	}
}

func logJSON(id eventlog.LogID) string {
	return fmt.Sprintf(`{"authority":%q,"class":%q,"site":%q,"incarnation":%q}`, id.Authority, id.Class, id.Site, id.Incarnation)
}

func TestACloneIsFoundAsAForkAndBothBranchesAreKept(t *testing.T) {
	f := newFederation(t, "a", "b", "c")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	for i := range 30 {
		a.append("nordtal", fmt.Sprint("common", i))
	}
	f.exchange()
	image, incarnation := a.disk.Snapshot(), a.incarnation

	f.net.Cut(a.name, c.name)
	f.net.Cut(b.name, c.name)
	for i := range 5 {
		a.append("nordtal", fmt.Sprint("first", i))
	}
	a.step(b)
	b.step(a)
	// The machine is cloned from the snapshot and runs where only c can see it.
	original := *a
	a.disk, a.incarnation = eventlog.NewMemory(f.clock), incarnation
	a.disk.Restore(image)
	a.start()
	f.net.HealAll()
	f.net.Cut(a.name, b.name)
	for i := range 7 {
		a.append("nordtal", fmt.Sprint("second", i))
	}
	c.step(a)
	// The clone is gone; b and c meet.
	*a = original
	a.start()
	f.net.HealAll()
	f.exchange()
	f.exchange()
	f.wantEqual(42)
	for _, s := range f.sites {
		if n := len(s.log.Forks()); n != 1 {
			t.Errorf("site %s reports %d forks, want 1", s.operator, n)
		}
	}
	r := a.append("nordtal", "after")
	if r.Log.Incarnation == incarnation {
		t.Error("the origin goes on in the forked log")
	}
	f.exchange()
	f.wantEqual(43)
}

// closing is a policy under which a log ends at a head.
type closing struct {
	*federation
	ends map[eventlog.LogID]eventlog.Head
}

func (c closing) Closing(id eventlog.LogID) (eventlog.Head, bool) { h, ok := c.ends[id]; return h, ok }

func TestPagesThatAreRefusedAreNotFetchedAgainAndAgain(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	r := a.append(event.Federation, "one")
	last := a.log.Heads()[0]
	for range 4096 + 1 { // one more than is kept apart behind the end of a log
		a.append(event.Federation, "two")
	}
	log, err := eventlog.Open(t.Context(), eventlog.Config{
		Identity: b.id, Store: b.disk, Clock: event.NewClock(f.clock), Rand: b.rnd, Now: f.clock, Logger: slog.New(slog.DiscardHandler),
		Policy: closing{f, map[eventlog.LogID]eventlog.Head{r.Log: last}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.rep, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{Log: log, Link: b.port, Policy: f, Self: b.name, Peers: f.peers, Now: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	fetched := 0
	f.net.Watch(func(m logtest.Message) {
		if m.Verb == eventlog.VerbPages {
			fetched++
		}
	})
	for !errors.Is(err, eventlog.ErrClosed) {
		if _, err = b.rep.Step(t.Context(), a.name); err != nil && !errors.Is(err, eventlog.ErrClosed) {
			t.Fatal(err)
		}
	}
	if h := log.Heads(); len(h) != 1 || h[0].Page != last.Page+4096 {
		t.Errorf("got heads %v, want the log up to the bound", h)
	}
	fetched = 0
	for range 10 {
		if _, err := b.rep.Step(t.Context(), a.name); err != nil && !errors.Is(err, eventlog.ErrClosed) {
			t.Fatal(err)
		}
	}
	if fetched != 0 {
		t.Errorf("pages that were refused were fetched %d times more", fetched)
	}
}

func TestWhatFollowsADamagedPageStillReachesTheOthers(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	r := a.append("nordtal", "one")
	b.step(a)
	a.append("nordtal", "two")
	if !a.disk.Flip(eventlog.Branch{LogID: r.Log}, 1) {
		t.Fatal("there is no page to damage")
	}
	a.start()
	if a.rep.Elsewhere(eventlog.Head{Branch: eventlog.Branch{LogID: r.Log}, Page: 2}) {
		t.Error("the copy may be given up although nobody has its second page")
	}
	b.step(a)
	a.step(b)
	if !a.rep.Elsewhere(a.log.Heads()[0]) {
		t.Error("the second page has not reached the other site, so the damaged copy can never be given up")
	}
}

// A copy of the machine has the site's key, and says of every page that it has it.
func TestASiteIsNotAnotherSite(t *testing.T) {
	f := newFederation(t, "north", "south")
	a := f.sites[0]
	r := a.append("nordtal", "one")
	if _, err := a.rep.Step(t.Context(), a.id.Site()); fault.Of(err).Code != "replicate.ourselves" {
		t.Errorf("a step with itself: %v", err)
	}
	head := a.log.Heads()[0]
	said, err := json.Marshal(map[string]any{"session": "0123", "upTo": 1, "heads": []any{map[string]any{
		"branch": head.Branch, "page": head.Page, "hash": head.Hash, "durable": head.Page, "version": 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.rep.Serve(eventlog.VerbHeads)(t.Context(), a.id.Site(), said); fault.Of(err).Code != "replicate.ourselves" {
		t.Errorf("word of itself: %v", err)
	}
	if a.rep.Elsewhere(head) || a.rep.Replicated(r.Log, r.Last) {
		t.Error("what is only here counts as being at another site")
	}
	b := f.sites[1] // the same word of another site counts, so the question is well put
	if _, err := a.rep.Serve(eventlog.VerbHeads)(t.Context(), b.id.Site(), said); err != nil || !a.rep.Elsewhere(head) {
		t.Errorf("word of another site: %v, elsewhere: %v", err, a.rep.Elsewhere(head))
	}
}

func TestSecuredCountsOperatorsAndNotSites(t *testing.T) {
	f := newFederation(t, "north", "north", "south")
	a, b, c := f.sites[0], f.sites[1], f.sites[2]
	r := a.append("nordtal", "one")
	if got := a.rep.Secured(r.Log, r.Last); len(got) != 0 {
		t.Errorf("before any step %v count, want none", got)
	}
	b.step(a)
	a.step(b)
	if got := a.rep.Secured(r.Log, r.Last); !slices.Equal(got, []string{"north"}) {
		t.Errorf("at two sites of one operator: got %v, want [north]", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := a.rep.Wait(ctx, r.Log, r.Last, 2); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait for two operators: got %v, want a fault of kind unavailable", err)
	}
	done := make(chan error)
	go func() { done <- a.rep.Wait(t.Context(), r.Log, r.Last, 2) }()
	c.step(a)
	a.step(c)
	if err := <-done; err != nil {
		t.Error(err)
	}
	next := a.append("nordtal", "two")
	if got := a.rep.Secured(next.Log, next.Last); len(got) != 0 {
		t.Errorf("the next page counts %v, want none", got)
	}
}

func TestAPageWithoutItsKeysIsNotAnnounced(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	b.keys.missing["00000000000000aa"] = true
	r := a.append("nordtal", "sealed", "00000000000000aa")
	f.exchange()
	if b.keys.asked == 0 {
		t.Error("nobody asked for the missing key")
	}
	if got := a.rep.Secured(r.Log, r.Last); !slices.Equal(got, []string{"a"}) {
		t.Errorf("without the key: got %v, want [a]", got)
	}
	delete(b.keys.missing, "00000000000000aa")
	b.log.Recheck(t.Context())
	f.exchange()
	if got := a.rep.Secured(r.Log, r.Last); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("with the key: got %v, want [a b]", got)
	}
}

func TestSettle(t *testing.T) {
	setup := func(t *testing.T) (f *federation, a *testSite) {
		f = newFederation(t, "a", "b", "c")
		a = f.sites[0]
		a.append("nordtal", "one")
		f.exchange()
		return f, a
	}
	t.Run("Confirmed", func(t *testing.T) {
		f, a := setup(t)
		f.net.Cut(a.name, f.sites[2].name)
		a.append("nordtal", "unseen")
		before := a.incarnation
		a.start()
		if !a.rep.Settle(t.Context()) || a.append("nordtal", "next").Log.Incarnation != before {
			t.Error("the incarnation was given up although a peer confirmed it")
		}
	})
	t.Run("Alone", func(t *testing.T) {
		f, a := setup(t)
		f.net.Cut(a.name, f.sites[1].name)
		f.net.Cut(a.name, f.sites[2].name)
		before := a.incarnation
		a.start()
		if a.rep.Settle(t.Context()) || a.append("nordtal", "next").Log.Incarnation == before {
			t.Error("the incarnation was kept although nobody could confirm it")
		}
	})
	t.Run("Restored", func(t *testing.T) {
		f, a := setup(t)
		image, before := a.disk.Snapshot(), a.incarnation
		a.append("nordtal", "lost")
		f.exchange()
		a.disk.Restore(image)
		a.start()
		if a.rep.Settle(t.Context()) || a.append("nordtal", "next").Log.Incarnation == before {
			t.Error("the incarnation was kept although a peer had more")
		}
		f.exchange()
		f.wantEqual(3)
	})
	t.Run("OnlyMember", func(t *testing.T) {
		f := newFederation(t, "a")
		a := f.sites[0]
		a.append("nordtal", "one")
		before := a.incarnation
		a.start()
		if !a.rep.Settle(t.Context()) || a.append("nordtal", "next").Log.Incarnation != before {
			t.Error("the only site gave up its incarnation")
		}
	})
}

func TestAWrongClockIsReported(t *testing.T) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	rep, err := eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: b.log, Link: b.port, Policy: f, Self: b.name, Peers: f.peers,
		Now: func() time.Time { return f.now.Add(3 * time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.port.Serve(rep)
	a.step(b)
	if got := a.rep.Lag()[0].Offset; got != 3*time.Hour {
		t.Errorf("got an offset of %v, want 3h", got)
	}
}

func TestManyLogsTravelByParts(t *testing.T) {
	f := newFederation(t, "a", "b")
	a := f.sites[0]
	const logs = 1700 // more heads than one message carries
	for i := range logs {
		a.append(event.AuthorityID(fmt.Sprintf("amt-%d", i)), "n")
	}
	f.exchange()
	f.wantEqual(logs)
	f.now = f.now.Add(2 * time.Minute) // time to ask for everything again
	f.exchange()
	f.wantEqual(logs)
}

func TestLargeBacklogsTravelInBoundedAnswers(t *testing.T) {
	f := newFederation(t, "a", "b")
	a := f.sites[0]
	text := strings.Repeat("x", 60<<10)
	for i := range 150 { // the network refuses answers over 768 KiB
		drafts := make([]event.Draft, 1+i%8)
		for j := range drafts {
			drafts[j] = event.Draft{Subject: "note/large", Kind: "note.Written", Mode: event.Test, Data: text}
		}
		if _, err := a.log.Append(t.Context(), "nordtal", event.Record, drafts...); err != nil {
			t.Fatal(err)
		}
	}
	f.exchange()
	f.wantEqual(len(strings.Split(a.content(), "\n")))
}

// In the bubble time passes only while everybody waits: whoever waits for a ticker takes a part of a second.
func TestRunPushesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, "a", "b", "c")
		f.running = true
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		for _, s := range f.sites {
			go func() { s.rep.Run(ctx); done <- struct{}{} }()
		}
		a := f.sites[0]
		var slowest time.Duration
		for i := range 50 {
			began := time.Now()
			r := a.append("nordtal", fmt.Sprint("n", i))
			if err := a.rep.Wait(ctx, r.Log, r.Last, 3); err != nil {
				t.Fatal(err)
			}
			if i > 5 {
				slowest = max(slowest, time.Since(began))
			}
		}
		if slowest > pushesWithin {
			t.Errorf("the slowest of 50 took %v to be at three sites: pushes wait for the ticker", slowest)
		}
		stop()
		for range f.sites {
			<-done
		}
		f.wantEqual(50)
	})
}

// pushesWithin leaves room for pauses that gather pages, and none for the ticker.
const pushesWithin = 200 * time.Millisecond

// BenchmarkSecured measures from the call of Append to three sites having it durable, all in memory.
func BenchmarkSecured(b *testing.B) {
	f := benchFederation(b, "a", "b", "c")
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	for _, s := range f.sites {
		go func() { s.rep.Run(ctx); done <- struct{}{} }()
	}
	a := f.sites[0]
	for b.Loop() {
		r := a.append("nordtal", "n")
		if err := a.rep.Wait(ctx, r.Log, r.Last, 3); err != nil {
			b.Fatal(err)
		}
	}
	stop()
	for range f.sites {
		<-done
	}
}

// BenchmarkCatchUp measures how fast a site that was away fetches events of 1 KiB, 64 in a page, in memory.
func BenchmarkCatchUp(b *testing.B) {
	f := benchFederation(b, "a", "b")
	drafts := make([]event.Draft, 64)
	for i := range drafts {
		drafts[i] = event.Draft{Subject: "note/n", Kind: "note.Written", Mode: event.Test, Data: strings.Repeat("x", 1000)}
	}
	for range 300 {
		if _, err := f.sites[0].log.Append(b.Context(), "nordtal", event.Record, drafts...); err != nil {
			b.Fatal(err)
		}
	}
	events := 0
	for b.Loop() {
		f.sites[1].disk = eventlog.NewMemory(f.clock)
		f.sites[1].start()
		for f.sites[1].step(f.sites[0]) > 0 {
		}
		events += 300 * len(drafts)
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

func FuzzReplicatorRequests(f *testing.F) {
	for _, verb := range eventlog.Verbs() {
		f.Add(verb, []byte(`{}`))
	}
	f.Add("heads", []byte(`{"session":"x","upTo":9,"heads":[{"branch":{"authority":"nordtal"},"page":1,"version":3}],"seen":{"session":"y","version":1}}`))
	f.Add("pages", []byte(`{"log":{"authority":"nordtal"},"after":{"page":18446744073709551615},"target":{"page":1}}`))
	f.Add("hash", []byte(`{"log":{"authority":"nordtal"},"pages":[0,18446744073709551615]}`))
	f.Fuzz(func(t *testing.T, verb string, body []byte) {
		fed := newFederation(t, "a", "b")
		a, b := fed.sites[0], fed.sites[1]
		a.append("nordtal", "one")
		h := a.rep.Serve(verb)
		if h == nil {
			return
		}
		answer, err := h(t.Context(), b.name, body)
		if err == nil && len(answer) > 768<<10 {
			t.Errorf("an answer of %d bytes", len(answer))
		}
		// And as the answer of a peer.
		b.port.Handle(verb, func(context.Context, event.SiteID, []byte) ([]byte, error) { return body, nil })
		_, _ = a.rep.Step(t.Context(), b.name)
		a.append("nordtal", "still-works")
	})
}
