// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
)

const nordtal event.AuthorityID = "lk-nordtal"

// rig is one site's log on a memory disk, with a policy and a keyring of plain maps.
type rig struct {
	t      *testing.T
	disk   *eventlog.Memory
	log    *eventlog.Log
	now    time.Time
	cfg    eventlog.Config
	kept   string                   // the incarnation on the disk
	words  []string                 // every incarnation that was kept
	stray  map[event.SiteID]bool    // sites that are no members
	barred map[event.SiteID]bool    // sites that the authority does not allow
	closed map[string]eventlog.Head // logs that were closed
	lacks  map[event.KeyID]bool     // keys that are missing
	forks  []eventlog.Fork
	skews  []eventlog.Skew
}

func (r *rig) Member(s event.SiteID) bool                       { return !r.stray[s] }
func (r *rig) Allowed(s event.SiteID, _ event.AuthorityID) bool { return !r.barred[s] }
func (r *rig) Operator(event.SiteID) string                     { return "nordwerke" }
func (r *rig) Closing(id eventlog.LogID) (eventlog.Head, bool) {
	h, ok := r.closed[id.String()]
	return h, ok
}

func (r *rig) Missing(_ context.Context, _ event.AuthorityID, ids []event.KeyID) (missing []event.KeyID, _ error) {
	for _, id := range ids {
		if r.lacks[id] {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

func newRig(t *testing.T) *rig {
	r := &rig{
		t: t, now: logtest.Start, stray: map[event.SiteID]bool{}, barred: map[event.SiteID]bool{},
		closed: map[string]eventlog.Head{}, lacks: map[event.KeyID]bool{},
	}
	clock := func() time.Time { return r.now }
	r.disk = eventlog.NewMemory(clock)
	var seed [32]byte
	r.cfg = eventlog.Config{
		Identity: logtest.Identity(t, 1), Store: r.disk, Clock: event.NewClock(clock), Rand: rand.NewChaCha8(seed),
		Policy: r, Keys: r, Now: clock, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnIncarnation: func(word string) error { r.kept = word; r.words = append(r.words, word); return nil },
		OnFork:        func(f eventlog.Fork) { r.forks = append(r.forks, f) },
		OnSkew:        func(s eventlog.Skew) { r.skews = append(r.skews, s) },
	}
	r.open()
	return r
}

// open opens the log again on the same disk, as after a restart.
func (r *rig) open() {
	r.t.Helper()
	r.cfg.Incarnation = r.kept
	r.cfg.Clock = event.NewClock(r.cfg.Now)
	log, err := eventlog.Open(r.t.Context(), r.cfg)
	must(r.t, err)
	r.log = log
}

func note(text string) event.Draft {
	return event.Draft{Subject: "alarm/7f3a", Kind: "alarm.Noted", Mode: event.Test, Data: map[string]string{"text": text}}
}

func (r *rig) append(drafts ...event.Draft) eventlog.Receipt {
	r.t.Helper()
	got, err := r.log.Append(r.t.Context(), nordtal, event.Operations, drafts...)
	must(r.t, err)
	return got
}

func (r *rig) refuses(want error, drafts ...event.Draft) {
	r.t.Helper()
	if _, err := r.log.Append(r.t.Context(), nordtal, event.Operations, drafts...); !errors.Is(err, want) {
		r.t.Errorf("append: got %v, want %v", err, want)
	}
}

func (r *rig) texts(id eventlog.LogID) string {
	r.t.Helper()
	var texts []string
	for after := uint64(0); ; {
		pages, err := r.log.Read(r.t.Context(), eventlog.Branch{LogID: id}, after, 1<<20)
		must(r.t, err)
		if len(pages) == 0 {
			return strings.Join(texts, " ")
		}
		for _, p := range pages {
			for _, e := range p.Events {
				var d struct{ Text string }
				must(r.t, e.Decode(&d))
				texts = append(texts, d.Text)
			}
			after = p.Number
		}
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestAppendAnswersWithWhatIsOnTheDisk(t *testing.T) {
	r := newRig(t)
	got := r.append(note("a"), note("b"))
	equal(t, "last position", got.Last, eventlog.Position{Page: 1, Index: 1})
	equal(t, "site", got.Log.Site, r.log.Self())
	equal(t, "incarnation", got.Log.Incarnation, r.kept)
	pages, err := r.log.Read(t.Context(), eventlog.Branch{LogID: got.Log}, 0, 1<<20)
	must(t, err)
	for i, e := range pages[0].Events {
		a, _ := eventlog.EncodeEvent(e)
		b, _ := eventlog.EncodeEvent(got.Events[i])
		equal(t, "stored event", string(a), string(b))
	}
	if _, err := eventlog.ParsePage(pages[0].Raw()); err != nil {
		t.Errorf("the stored page: %v", err)
	}
	equal(t, "second page", r.append(note("c")).Last, eventlog.Position{Page: 2})
	equal(t, "texts", r.texts(got.Log), "a b c")
}

func TestAppendStoresTheSameBytesAsEncodeEvent(t *testing.T) {
	r := newRig(t)
	d := note(`a "quoted" <text> ,"stamp":0,"wall":0`)
	d.Actor, d.Grant, d.Keys = `x","stamp":0,"wall":0`, "g<>", []event.KeyID{"0011223344556677"}
	got := r.append(d)
	want, err := eventlog.EncodeEvent(got.Events[0])
	must(t, err)
	pages, err := r.log.Read(t.Context(), eventlog.Branch{LogID: got.Log}, 0, 1<<20)
	must(t, err)
	if !strings.Contains(string(pages[0].Raw()), string(want)) {
		t.Errorf("the page does not contain\n%s", want)
	}
}

func TestEveryAuthorityAndClassHasItsOwnLog(t *testing.T) {
	r := newRig(t)
	r.append(note("a"))
	for _, class := range []event.Class{event.Register, event.Record} {
		_, err := r.log.Append(t.Context(), nordtal, class, note("b"))
		must(t, err)
	}
	_, err := r.log.Append(t.Context(), "stadt-see", event.Operations, note("c"))
	must(t, err)
	equal(t, "heads", len(r.log.Heads()), 4)
	equal(t, "own heads", len(r.log.OwnHeads()), 4)
	equal(t, "incarnations drawn", len(r.words), 1)
}

func TestALargeAppendIsSplitOverPages(t *testing.T) {
	r := newRig(t)
	drafts := make([]event.Draft, 20)
	for i := range drafts {
		drafts[i] = note(logtest.Large(60_000))
	}
	got := r.append(drafts...)
	equal(t, "events", len(got.Events), 20)
	equal(t, "last position", got.Last, eventlog.Position{Page: 3, Index: 3})
	small := make([]event.Draft, 2*eventlog.MaxPageEvents)
	for i := range small {
		small[i] = event.Draft{Subject: "a", Kind: "a.B"}
	}
	equal(t, "last position of many", r.append(small...).Last, eventlog.Position{Page: 5, Index: eventlog.MaxPageEvents - 1})
}

func TestAFailureInALaterPageTellsHowMuchIsStored(t *testing.T) {
	r := newRig(t)
	drafts := make([]event.Draft, 10)
	for i := range drafts {
		drafts[i] = note(logtest.Large(60_000))
	}
	r.append(note("first"))
	drafts[9].Kind = "nonsense"
	got, err := r.log.Append(t.Context(), nordtal, event.Operations, drafts...)
	equal(t, "stored", len(got.Events), 8)
	equal(t, "kind", fault.KindOf(err), fault.Invalid)
	if err == nil || !strings.Contains(err.Error(), "the first 8 of 10 entries are stored") {
		t.Errorf("the error does not tell: %v", err)
	}
}

func TestAppendRefusesWhatIsNoEvent(t *testing.T) {
	r := newRig(t)
	kind := func(want fault.Kind, authority event.AuthorityID, class event.Class, drafts ...event.Draft) {
		t.Helper()
		_, err := r.log.Append(t.Context(), authority, class, drafts...)
		equal(t, "kind", fault.KindOf(err), want)
	}
	kind(fault.Invalid, nordtal, event.Operations)
	kind(fault.Invalid, "No Authority", event.Operations, note("a"))
	kind(fault.Invalid, nordtal, "gossip", note("a"))
	kind(fault.Invalid, nordtal, event.Operations, event.Draft{Subject: "/", Kind: "a.B"})
	kind(fault.TooLarge, nordtal, event.Operations, note(logtest.Large(event.MaxEventBytes)))
	equal(t, "heads", len(r.log.Heads()), 0)
}

func TestASiteThatIsNotAllowedRefusesWithAWayOut(t *testing.T) {
	r := newRig(t)
	r.barred[r.log.Self()] = true
	r.refuses(eventlog.ErrSiteNotAllowed, note("a"))
	if eventlog.ErrSiteNotAllowed.WayOut == "" {
		t.Error("there is no way out")
	}
}

func TestWhatWasAcknowledgedIsThereAfterACrash(t *testing.T) {
	r := newRig(t)
	log := r.append(note("a")).Log
	r.append(note("b"))
	r.disk.Crash()
	r.open()
	equal(t, "texts", r.texts(log), "a b")
	got := r.append(note("c"))
	equal(t, "log", got.Log, log)
	equal(t, "page", got.Last.Page, 3)
}

func TestAFullDiskRefusesAndWritingResumesByItself(t *testing.T) {
	r := newRig(t)
	log := r.append(note("a")).Log
	r.disk.Full(true)
	r.refuses(eventlog.ErrNoRoom, note("b"))
	equal(t, "texts", r.texts(log), "a")
	r.disk.Full(false)
	r.append(note("c"))
	equal(t, "texts", r.texts(log), "a c")
}

func TestAnAnswerLostByTheStoreIsLookedUp(t *testing.T) {
	r := newRig(t)
	r.disk.FailAppend(errors.New("time-out"), true)
	got := r.append(note("a"))
	equal(t, "page", got.Last.Page, 1)
	equal(t, "page", r.append(note("b")).Last.Page, 2)
	equal(t, "texts", r.texts(got.Log), "a b")
}

func TestAPageThatIsNotStoredIsAnErrorForAllItsWriters(t *testing.T) {
	r := newRig(t)
	r.append(note("a"))
	r.disk.FailAppend(errors.New("time-out"), false)
	_, err := r.log.Append(t.Context(), nordtal, event.Operations, note("b"))
	equal(t, "kind", fault.KindOf(err), fault.Unavailable)
	got := r.append(note("c"))
	equal(t, "texts", r.texts(got.Log), "a c")
}

// lateStore stores a page only after its writer was told that the store cannot tell.
type lateStore struct {
	*eventlog.Memory
	late func()
}

func (s *lateStore) Append(ctx context.Context, b eventlog.Branch, p *eventlog.Page) error {
	if s.late == nil {
		s.late = func() { _ = s.Memory.Append(context.Background(), b, p) }
		return errors.New("time-out")
	}
	s.late()
	s.late = func() {}
	return s.Memory.Append(ctx, b, p)
}

func TestAPageThatArrivesLateIsGoneOnAfter(t *testing.T) {
	r := newRig(t)
	r.cfg.Store = &lateStore{Memory: r.disk}
	r.open()
	_, err := r.log.Append(t.Context(), nordtal, event.Operations, note("late"))
	equal(t, "kind", fault.KindOf(err), fault.Unavailable)
	got := r.append(note("b"))
	equal(t, "page", got.Last.Page, 2)
	equal(t, "texts", r.texts(got.Log), "late b")
	equal(t, "incarnations", len(r.words), 1)
}

func TestPagesThatSomebodyElseWroteIntoAnOwnLogAreLeftToThem(t *testing.T) {
	r := newRig(t)
	log := r.append(note("a")).Log
	head := r.log.Heads()[0]
	w := &logtest.Writer{Identity: r.cfg.Identity, Log: log, Number: 1, Prev: head.Hash, Stamp: event.StampAt(r.now)}
	must(t, r.disk.Append(t.Context(), head.Branch, w.Page(t, "not ours")))
	got := r.append(note("b"))
	if got.Log.Incarnation == log.Incarnation {
		t.Error("the incarnation was continued")
	}
	equal(t, "texts", r.texts(log), "a not ours")
	equal(t, "texts", r.texts(got.Log), "b")
	equal(t, "heads", len(r.log.Heads()), 2)
}

// slowStore takes its time, so that writers meet.
type slowStore struct {
	*eventlog.Memory
	pages int
}

func (s *slowStore) Append(ctx context.Context, b eventlog.Branch, p *eventlog.Page) error {
	time.Sleep(time.Millisecond)
	s.pages++
	return s.Memory.Append(ctx, b, p)
}

func TestConcurrentWritersShareAPageAndEachGetsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		store := &slowStore{Memory: r.disk}
		r.cfg.Store = store
		r.open()
		const writers, each = 32, 20
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					got, err := r.log.Append(t.Context(), nordtal, event.Operations, note(fmt.Sprint(w)), note(fmt.Sprint(i)))
					if err != nil || len(got.Events) != 2 || !strings.Contains(string(got.Events[0].Data), fmt.Sprintf(`"%d"`, w)) {
						t.Errorf("writer %d: got %v and %v", w, got, err)
					}
				}
			})
		}
		wg.Wait()
		head := r.log.Heads()[0]
		equal(t, "events", len(strings.Fields(r.texts(head.Branch.LogID))), writers*each*2)
		if store.pages > each*3 {
			t.Errorf("%d pages for %d writers of %d entries each: writers do not share pages", store.pages, writers, each)
		}
		for i, d := range scrub(t, r) {
			t.Errorf("damage %d: %v", i, d)
		}
	})
}

func TestAWriterWhoGivesUpWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		gate := &gatedStore{Memory: r.disk, open: make(chan struct{})}
		r.cfg.Store = gate
		r.open()
		var wg sync.WaitGroup
		wg.Go(func() { r.append(note("a")) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			wg.Go(func() {
				if _, err := r.log.Append(ctx, nordtal, event.Operations, note("given-up")); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want context.Canceled", err)
				}
			})
		}
		synctest.Wait()
		wg.Go(func() { r.append(note("b")) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate.open)
		wg.Wait()
		equal(t, "texts", r.texts(r.log.Heads()[0].Branch.LogID), "a b")
		r.append(note("c"))
	})
}

// gatedStore stores nothing until the gate is open.
type gatedStore struct {
	*eventlog.Memory
	open chan struct{}
}

func (s *gatedStore) Append(ctx context.Context, b eventlog.Branch, p *eventlog.Page) error {
	select {
	case <-s.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Memory.Append(ctx, b, p)
}

func TestAStoreThatHangsEndsInAnErrorAndTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.Store = &gatedStore{Memory: r.disk, open: make(chan struct{})}
		r.open()
		drafts := make([]event.Draft, eventlog.MaxPageEvents)
		for i := range drafts {
			drafts[i] = event.Draft{Subject: "a", Kind: "a.B"}
		}
		var mu sync.Mutex
		kinds := map[fault.Kind]int{}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := r.log.Append(t.Context(), nordtal, event.Operations, drafts...)
				mu.Lock()
				defer mu.Unlock()
				kinds[fault.KindOf(err)]++
			})
		}
		wg.Wait()
		if kinds[fault.Exhausted] == 0 || kinds[fault.Unavailable] == 0 || kinds[""] != 0 {
			t.Errorf("got %v, want some refused at once and the others after the store's time", kinds)
		}
	})
}

func TestStampsOfASubjectAlwaysRise(t *testing.T) {
	r := newRig(t)
	far := event.StampAt(r.now.Add(time.Hour))
	d := note("a")
	d.After = far
	first := r.append(d).Events[0].Stamp
	second := r.append(note("b")).Events[0].Stamp
	if first <= far || second <= first {
		t.Errorf("stamps %d, %d after %d do not rise", first, second, far)
	}
	other := note("c")
	other.Subject = "alarm/other"
	if s := r.append(other).Events[0].Stamp; s >= far {
		t.Error("another subject was dragged along")
	}
	r.now = r.now.Add(2 * time.Hour)
	if s := r.append(note("d")).Events[0].Stamp; s < event.StampAt(r.now) {
		t.Error("the subject stays behind the clock that has passed it")
	}
	r.log.Follow(nordtal, "alarm/7f3a", eventlog.MaxStamp+7)
	r.append(note("e"))
}

func TestStampsRiseAfterARestartWithTheClockSetBack(t *testing.T) {
	r := newRig(t)
	before := r.append(note("a")).Events[0].Stamp
	r.now = r.now.Add(-3 * time.Minute)
	r.open()
	if after := r.append(note("b")).Events[0].Stamp; after <= before {
		t.Errorf("stamp %d after a restart is not above %d", after, before)
	}
}

func TestReincarnationStartsANewLogAndIsKeptFirst(t *testing.T) {
	r := newRig(t)
	first := r.append(note("a")).Log
	r.log.Reincarnate("a test")
	equal(t, "kept", r.kept, "")
	second := r.append(note("b"))
	if second.Log.Incarnation == first.Incarnation || second.Last.Page != 1 {
		t.Errorf("got %v at %v, want a new log", second.Log, second.Last)
	}
	equal(t, "kept", r.kept, second.Log.Incarnation)
	equal(t, "own heads", len(r.log.OwnHeads()), 1)
	refuse := errors.New("local disk is gone")
	r.cfg.OnIncarnation = func(string) error { return refuse }
	r.kept = ""
	r.open()
	r.refuses(refuse, note("c"))
	equal(t, "heads", len(r.log.Heads()), 2)
}

func TestAppendsWaitWhileTheLogIsOnHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.Hold()
		log := r.append(note("nothing to confirm yet")).Log
		r.log.Hold()
		var wg sync.WaitGroup
		wg.Go(func() { equal(t, "log", r.append(note("b")).Log, log) })
		synctest.Wait()
		equal(t, "page", r.log.Heads()[0].Page, 1)
		r.log.Release()
		wg.Wait()

		r.log.Hold()
		if got := r.append(note("c")).Log; got == log {
			t.Error("after the limit the log was continued")
		}
		r.append(note("d"))
	})
}

func TestADamagedOwnTailIsNotContinued(t *testing.T) {
	r := newRig(t)
	log := r.append(note("a")).Log
	r.disk.Flip(eventlog.Branch{LogID: log}, 1)
	r.open()
	if got := r.append(note("b")).Log; got == log {
		t.Error("the damaged log was continued")
	}
}

func TestSubscribersWakeOnceForManyChanges(t *testing.T) {
	r := newRig(t)
	changed, end := r.log.Subscribe()
	r.append(note("a"))
	r.append(note("b"))
	<-changed
	select {
	case <-changed:
		t.Error("a second wake-up without a change")
	default:
	}
	end()
	r.append(note("c"))
	equal(t, "wake-ups after the end", len(changed), 0)
}

func TestHashesOfOldPagesAreFound(t *testing.T) {
	r := newRig(t)
	var log eventlog.LogID
	for range 100 {
		log = r.append(note("a")).Log
	}
	b := eventlog.Branch{LogID: log}
	pages, err := r.log.Read(t.Context(), b, 0, 1<<20)
	must(t, err)
	for _, p := range pages {
		got, ok, err := r.log.HashAt(t.Context(), b, p.Number)
		must(t, err)
		if !ok || got != p.Hash {
			t.Errorf("page %d: got %v %v, want %v", p.Number, got, ok, p.Hash)
		}
		if in, held, err := r.log.Holds(t.Context(), log, p.Number, p.Hash); err != nil || !held || in != b {
			t.Errorf("page %d is not held: %v %v", p.Number, held, err)
		}
	}
	for _, n := range []uint64{0, 101, 5000} {
		if _, ok, err := r.log.HashAt(t.Context(), b, n); ok || err != nil {
			t.Errorf("page %d: got %v and %v, want no such page", n, ok, err)
		}
	}
}
