// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
)

func raws(pages ...*eventlog.Page) (raw [][]byte) {
	for _, p := range pages {
		raw = append(raw, p.Raw())
	}
	return raw
}

// accepts wants n of the pages to be stored and the error to be want.
func (r *rig) accepts(n int, want error, pages ...*eventlog.Page) {
	r.t.Helper()
	got, err := r.log.Accept(r.t.Context(), raws(pages...))
	if got != n || !errors.Is(err, want) {
		r.t.Errorf("accept: got %d and %v, want %d and %v", got, err, n, want)
	}
}

func scrub(t *testing.T, r *rig) []eventlog.Damage {
	t.Helper()
	found, err := r.log.Scrub(t.Context())
	must(t, err)
	return found
}

func TestPagesOfOthersAreAcceptedInOrderAndOnce(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	p1, p2, p3 := w.Page(t, "a"), w.Page(t, "b"), w.Page(t, "c")
	r.accepts(2, nil, p1, p2)
	r.accepts(1, nil, p1, p2, p3)
	r.accepts(0, nil, p1, p3)
	equal(t, "texts", r.texts(w.Log), "a b c")
	equal(t, "forks", len(r.log.Forks()), 0)
	equal(t, "own heads", len(r.log.OwnHeads()), 0)
	r.open()
	r.accepts(0, nil, p1, p2, p3)
}

func TestOldPagesThatArriveAgainAreKnown(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	var pages []*eventlog.Page
	for range 100 {
		pages = append(pages, w.Page(t, "a"))
	}
	r.accepts(100, nil, pages...)
	r.accepts(0, nil, pages...)
	equal(t, "forks", len(r.log.Forks()), 0)
}

func TestAGapIsRefusedAndOtherLogsAreNotHeldUp(t *testing.T) {
	r, w, v := newRig(t), logtest.NewWriter(t, 2, 1), logtest.NewWriter(t, 3, 1)
	p1, p2, p3, q1 := w.Page(t, "a"), w.Page(t, "b"), w.Page(t, "c"), v.Page(t, "x")
	r.accepts(2, eventlog.ErrGap, p1, p3, p2, q1)
	equal(t, "texts", r.texts(w.Log), "a")
	r.accepts(0, eventlog.ErrGap, p3)
	r.accepts(2, nil, p2, p3)
}

func TestNothingIsAcceptedFromWhoMayNotWriteIt(t *testing.T) {
	w := logtest.NewWriter(t, 2, 1)
	p1 := w.Page(t, "a")
	t.Run("origin no member", func(t *testing.T) {
		r := newRig(t)
		r.stray[w.Log.Site] = true
		r.accepts(0, eventlog.ErrOriginNotMember, p1)
	})
	t.Run("origin not allowed", func(t *testing.T) {
		r := newRig(t)
		r.barred[w.Log.Site] = true
		r.accepts(0, eventlog.ErrOriginNotAllowed, p1)
	})
	t.Run("we are not allowed", func(t *testing.T) {
		r := newRig(t)
		r.barred[r.log.Self()] = true
		r.accepts(0, eventlog.ErrSiteNotAllowed, p1)
	})
	t.Run("signed with another key", func(t *testing.T) {
		r := newRig(t)
		forged := *w
		forged.Number, forged.Prev, forged.Identity = 0, eventlog.Hash{}, logtest.Identity(t, 9)
		r.accepts(0, eventlog.ErrSignature, forged.Page(t, "forged"))
	})
	t.Run("changed on the way", func(t *testing.T) {
		r := newRig(t)
		raw := append([]byte(nil), p1.Raw()...)
		raw[len(raw)-80] ^= 1
		if n, err := r.log.Accept(t.Context(), [][]byte{raw}); n != 0 || err == nil {
			t.Errorf("got %d and %v, want a refusal", n, err)
		}
	})
	t.Run("not a page", func(t *testing.T) {
		r := newRig(t)
		if n, err := r.log.Accept(t.Context(), [][]byte{nil, []byte("HFP1"), p1.Raw()}); n != 1 || !errors.Is(err, eventlog.ErrMalformed) {
			t.Errorf("got %d and %v, want the good page and ErrMalformed", n, err)
		}
	})
}

func TestACarriedPlaceIsAcceptedOnlyInALogOfTheSiteThatItNames(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 2)
	other := logtest.NewWriter(t, 3, 1).Log.Site
	place := func(change func(*event.Place)) event.Event {
		e := w.Event("carried")
		e.Place = &event.Place{Stamp: e.Stamp, Site: w.Log.Site, Incarnation: "0000000000000001", Page: 7}
		change(e.Place)
		return e
	}
	for name, change := range map[string]func(*event.Place){
		"another site":   func(p *event.Place) { p.Site = other },
		"no incarnation": func(p *event.Place) { p.Incarnation = "\x00" },
		"another stamp":  func(p *event.Place) { p.Stamp = 1 },
		"no page":        func(p *event.Place) { p.Page = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			forger := *w
			r.accepts(0, eventlog.ErrMalformed, forger.PageOf(t, w.Event("plain"), place(change)))
		})
	}
	r.accepts(1, nil, w.PageOf(t, place(func(*event.Place) {})))
}

func TestALogOfARemovedSiteEndsWhereItWasClosed(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	p1, p2 := w.Page(t, "a"), w.Page(t, "b")
	v := *w
	p3, q3 := w.Page(t, "c"), v.Page(t, "other c")
	p4 := w.Page(t, "d")
	r.stray[w.Log.Site], r.barred[w.Log.Site] = true, true
	r.closed[w.Log.String()] = eventlog.Head{Branch: eventlog.Branch{LogID: w.Log}, Page: 3, Hash: p3.Hash}
	r.accepts(5, nil, p1, p2, q3, p3, p4)
	var counted []eventlog.Head
	for _, h := range (eventlog.Counted{Log: r.log}).Heads() {
		counted = append(counted, eventlog.Head{Page: h.Page, Hash: h.Hash})
	}
	if want := []eventlog.Head{{Page: 2, Hash: p2.Hash}, {Page: 3, Hash: p3.Hash}}; !slices.Equal(counted, want) {
		t.Errorf("counted up to %v, want %v", counted, want)
	}
	equal(t, "branches with pages kept apart", len((eventlog.Counted{Log: r.log}).Apart()), 2)
	r.open()
	equal(t, "branches with pages kept apart after a start", len((eventlog.Counted{Log: r.log}).Apart()), 2)
}

func TestWhatIsKeptApartIsBounded(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	r.closed[w.Log.String()] = eventlog.Head{Branch: eventlog.Branch{LogID: w.Log}}
	for range 4096 {
		r.accepts(1, nil, w.Page(t, "a"))
	}
	r.accepts(0, eventlog.ErrClosed, w.Page(t, "one too many"))
}

// The pages of all authorities together have a bound in bytes, which a restart does not lift.
func TestTheBytesThatAreKeptApartAreBounded(t *testing.T) {
	r := newRig(t)
	r.log.BoundApart(64 << 10)
	v, w := logtest.NewWriter(t, 2, 1), logtest.NewWriter(t, 2, 1)
	v.Log.Authority = "lk-suedtal"
	r.accepts(1, nil, v.Page(t, "counts"))
	for _, closed := range []*logtest.Writer{v, w} {
		r.closed[closed.Log.String()] = eventlog.Head{Branch: eventlog.Branch{LogID: closed.Log}, Page: closed.Number, Hash: closed.Prev}
	}
	text := strings.Repeat("x", 10<<10)
	for range 3 {
		r.accepts(1, nil, v.Page(t, text))
		r.accepts(1, nil, w.Page(t, text))
	}
	seventh := w.Page(t, text)
	r.accepts(0, eventlog.ErrClosed, seventh)
	r.open()
	r.log.BoundApart(64 << 10)
	r.accepts(0, eventlog.ErrClosed, seventh)
	other := logtest.NewWriter(t, 3, 1)
	r.closed[other.Log.String()] = eventlog.Head{Branch: eventlog.Branch{LogID: other.Log}}
	r.accepts(1, nil, other.Page(t, text)) // another site has a bound of its own
	r.log.BoundApart(100 << 10)
	r.accepts(1, nil, seventh)
}

func TestOfTheFederationsLogsPagesAreKeptApartToo(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	w.Log.Authority = event.Federation
	r.closed[w.Log.String()] = eventlog.Head{Branch: eventlog.Branch{LogID: w.Log}}
	r.accepts(1, nil, w.Page(t, "a"))
	counted := eventlog.Counted{Log: r.log}
	equal(t, "branches that count", len(counted.Heads()), 0)
	equal(t, "branches with pages kept apart", len(counted.Apart()), 1)
}

func TestAForkIsKeptApartReportedAndClosed(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	p1, p2 := w.Page(t, "a"), w.Page(t, "b")
	v := *w
	p3, p4 := w.Page(t, "c"), w.Page(t, "d")
	q3, q4 := v.Page(t, "C"), v.Page(t, "D")
	r.accepts(4, nil, p1, p2, p3, p4)
	r.accepts(2, nil, q3, q4)
	r.accepts(0, nil, q3, q4, p4)
	fork := eventlog.Branch{LogID: w.Log, Fork: q3.Hash.String()[:16]}
	check := func() {
		t.Helper()
		equal(t, "forks", len(r.log.Forks()), 1)
		equal(t, "fork", r.log.Forks()[0], eventlog.Fork{Branch: fork, Page: 3})
		equal(t, "heads", len(r.log.Heads()), 2)
		head, _ := r.log.Head(fork)
		equal(t, "head of the fork", head, eventlog.Head{Branch: fork, Page: 4, Hash: q4.Hash})
	}
	check()
	equal(t, "reports", len(r.forks), 1)
	r.open()
	check()
	u := v
	p5, q5 := w.Page(t, "e"), v.Page(t, "E")
	q5b := u.Page(t, "yet another")
	r.accepts(3, nil, p5, q5, q5b)
	equal(t, "forks", len(r.log.Forks()), 2)
	if in, ok, err := r.log.Holds(t.Context(), w.Log, 4, q4.Hash); err != nil || !ok || in != fork {
		t.Errorf("page 4 of the fork: got %v %v %v", in, ok, err)
	}
	equal(t, "damage", len(scrub(t, r)), 0)
}

func TestAForkAtTheFirstPage(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	v := *w
	p1, p2, q1, q2 := w.Page(t, "a"), w.Page(t, "b"), v.Page(t, "A"), v.Page(t, "B")
	r.accepts(4, nil, p1, p2, q1, q2)
	equal(t, "forks", len(r.log.Forks()), 1)
	equal(t, "page", r.log.Forks()[0].Page, 1)
	equal(t, "damage", len(scrub(t, r)), 0)
}

func TestTheNumberOfForksIsBounded(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	for i := range 40 {
		v := *w
		want, n := error(nil), 1
		if i >= 32 {
			want, n = eventlog.ErrTooManyForks, 0
		}
		r.accepts(n, want, v.Page(t, logtest.Large(i)))
	}
}

func TestAForkOfAnOwnLogStartsANewIncarnation(t *testing.T) {
	r := newRig(t)
	log := r.append(note("a")).Log
	clone := &logtest.Writer{Identity: r.cfg.Identity, Log: log, Stamp: event.StampAt(r.now)}
	r.accepts(1, nil, clone.Page(t, "written by a clone"))
	equal(t, "forks", len(r.log.Forks()), 1)
	if r.append(note("b")).Log == log {
		t.Error("the forked log was continued")
	}
	r.kept = log.Incarnation // as if the new word had been lost
	r.open()
	if r.append(note("c")).Log == log {
		t.Error("the forked log was continued after a restart")
	}
}

func TestASiteRestoredFromABackupTakesItsPagesBackAndGoesOnAnew(t *testing.T) {
	r := newRig(t)
	log := r.append(note("a")).Log
	backup := r.disk.Snapshot()
	r.append(note("b"))
	pages, err := r.log.Read(t.Context(), eventlog.Branch{LogID: log}, 0, 1<<20)
	must(t, err)
	r.disk.Restore(backup)
	r.open()
	r.accepts(1, nil, pages...)
	equal(t, "texts", r.texts(log), "a b")
	if r.append(note("c")).Log == log {
		t.Error("the log was continued")
	}
	equal(t, "forks", len(r.log.Forks()), 0)
}

func TestAPageFromAWrongClockIsAcceptedReportedAndExceeded(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	w.Stamp = event.StampAt(r.now.Add(time.Hour))
	p := w.Page(t, "from the future")
	r.accepts(1, nil, p)
	equal(t, "reports", len(r.skews), 1)
	equal(t, "site", r.skews[0].Site, w.Log.Site)
	equal(t, "ahead", r.skews[0].Ahead, time.Hour)
	if s := r.append(note("answer")).Events[0].Stamp; s <= p.Events[0].Stamp {
		t.Error("the answer sorts before what it answers")
	}
	w.Stamp = event.StampAt(r.now.Add(time.Minute))
	r.accepts(1, nil, w.Page(t, "a minute ahead"))
	equal(t, "reports", len(r.skews), 1)
	other := note("elsewhere")
	other.Subject = "alarm/other"
	if s := r.append(other).Events[0].Stamp; s <= w.Stamp || s > event.StampAt(r.now.Add(2*time.Minute)) {
		t.Error("the clock did not follow by the minute it may")
	}
}

func TestAcceptLooksUpAnAnswerThatTheStoreLost(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	p1, p2 := w.Page(t, "a"), w.Page(t, "b")
	r.disk.FailAppend(errors.New("time-out"), true)
	r.accepts(2, nil, p1, p2)
	r.disk.Full(true)
	r.accepts(0, eventlog.ErrNoRoom, w.Page(t, "c"))
}

func TestAPageIsDurableOnlyWithItsKeys(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	sealed := w.Event("sealed")
	sealed.Keys = []event.KeyID{"00000000000000aa"}
	r.lacks["00000000000000aa"] = true
	p1, p2, p3 := w.Page(t, "a"), w.PageOf(t, sealed), w.Page(t, "c")
	r.accepts(3, nil, p1, p2, p3)
	durable := func(want uint64) {
		t.Helper()
		heads := r.log.Durable(t.Context())
		equal(t, "durable branches", len(heads), 1)
		equal(t, "durable page", heads[0].Page, want)
		hash, _, err := r.log.HashAt(t.Context(), heads[0].Branch, want)
		must(t, err)
		equal(t, "durable hash", heads[0].Hash, hash)
	}
	durable(1)
	r.open()
	durable(1)
	delete(r.lacks, "00000000000000aa")
	durable(1)
	changed, _ := r.log.Subscribe()
	r.log.Recheck(t.Context())
	equal(t, "wake-ups", len(changed), 1)
	durable(3)
	<-changed
	r.log.Recheck(t.Context())
	equal(t, "wake-ups without a change", len(changed), 0)
	for range 200 {
		e := w.Event("sealed")
		e.Keys = []event.KeyID{"00000000000000aa"}
		r.accepts(1, nil, w.PageOf(t, e))
	}
	durable(203)
}

func TestDurableReadsABoundedPartAfterAStart(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	const pages = 60
	for range pages {
		r.accepts(1, nil, w.Page(t, logtest.Large(60_000), logtest.Large(60_000), logtest.Large(60_000), logtest.Large(60_000),
			logtest.Large(60_000), logtest.Large(60_000), logtest.Large(60_000), logtest.Large(60_000)))
	}
	r.open()
	changed, _ := r.log.Subscribe()
	first := r.log.Durable(t.Context())[0].Page
	if first >= pages || first < 10 || len(changed) != 1 {
		t.Errorf("the first call got to page %d of %d with %d wake-ups", first, pages, len(changed))
	}
	r.log.Durable(t.Context())
	equal(t, "second call", r.log.Durable(t.Context())[0].Page, pages)
}

func TestScrubFindsADamagedCopyAndDeletesItOnlyIfAnotherSiteHasIt(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	p1, p2, p3 := w.Page(t, "a"), w.Page(t, "b"), w.Page(t, "c")
	r.accepts(3, nil, p1, p2, p3)
	equal(t, "damage", len(scrub(t, r)), 0)
	b := eventlog.Branch{LogID: w.Log}
	r.disk.Flip(b, 2)
	found := scrub(t, r)
	equal(t, "damage", len(found), 1)
	equal(t, "page", found[0].Page, 2)
	equal(t, "deleted", found[0].Deleted, false)
	equal(t, "heads", len(r.log.Heads()), 1)

	r.cfg.Elsewhere = func(h eventlog.Head) bool { return h.Page <= 3 }
	r.open()
	equal(t, "deleted", scrub(t, r)[0].Deleted, true)
	equal(t, "heads", len(r.log.Heads()), 0)
	r.accepts(3, nil, p1, p2, p3)
	equal(t, "damage", len(scrub(t, r)), 0)
}

func TestScrubGoesOnInANewIncarnationWhenAnOwnLogIsDamaged(t *testing.T) {
	r := newRig(t)
	log := r.append(note("a")).Log
	r.append(note("b"))
	pages, err := r.log.Read(t.Context(), eventlog.Branch{LogID: log}, 0, 1<<20)
	must(t, err)
	r.cfg.Elsewhere = func(eventlog.Head) bool { return true }
	r.open()
	r.disk.Flip(eventlog.Branch{LogID: log}, 1)
	equal(t, "deleted", scrub(t, r)[0].Deleted, true)
	if r.append(note("c")).Log == log {
		t.Error("the damaged log was continued")
	}
	r.accepts(2, nil, pages...)
	equal(t, "texts", r.texts(log), "a b")
}

func TestADamagedMainBranchIsFetchedAgainBesideItsFork(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	p1, p2 := w.Page(t, "a"), w.Page(t, "b")
	v := *w
	p3, q3, q4 := w.Page(t, "c"), v.Page(t, "C"), v.Page(t, "D")
	r.accepts(5, nil, p1, p2, p3, q3, q4)
	r.cfg.Elsewhere = func(eventlog.Head) bool { return true }
	r.open()
	r.disk.Flip(eventlog.Branch{LogID: w.Log}, 2)
	scrub(t, r)
	equal(t, "heads", len(r.log.Heads()), 1)
	r.accepts(3, nil, p1, p2, q3, q4, p3)
	equal(t, "heads", len(r.log.Heads()), 2)
	equal(t, "texts", r.texts(w.Log), "a b c")
	equal(t, "damage", len(scrub(t, r)), 0)
}

func TestTheLogsOfAnAuthorityThatForbidsTheSiteAreDropped(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	r.accepts(1, nil, w.Page(t, "a"))
	log := r.append(note("b")).Log
	if err := r.log.Drop(t.Context(), nordtal); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v while the site is allowed, want a conflict", err)
	}
	equal(t, "heads", len(r.log.Heads()), 2)
	r.barred[r.log.Self()] = true
	must(t, r.log.Drop(t.Context(), nordtal))
	equal(t, "heads", len(r.log.Heads()), 0)
	equal(t, "texts", r.texts(w.Log)+r.texts(log), "")
	delete(r.barred, r.log.Self())
	if r.append(note("c")).Log == log {
		t.Error("the deleted log was begun again")
	}
}

// lateKeys answers that a key is missing, and has it arrive before its answer is heard.
type lateKeys struct{ arrive func() }

func (k *lateKeys) Missing(_ context.Context, _ event.AuthorityID, ids []event.KeyID) ([]event.KeyID, error) {
	if k.arrive == nil {
		return nil, nil
	}
	arrive := k.arrive
	k.arrive = nil
	arrive()
	return ids, nil
}

func TestAKeyThatArrivesWhileItIsAskedForIsNotMissed(t *testing.T) {
	r, w, keys := newRig(t), logtest.NewWriter(t, 2, 1), &lateKeys{}
	r.cfg.Keys = keys
	r.open()
	e := w.Event("a")
	e.Keys = []event.KeyID{"00000000000000aa"}
	r.accepts(1, nil, w.PageOf(t, e))
	var work sync.WaitGroup
	keys.arrive = func() {
		work.Go(func() { r.log.Recheck(t.Context()) })
		for range 1000 { // it gets as far as it can
			runtime.Gosched()
		}
	}
	r.log.Durable(t.Context())
	work.Wait()
	equal(t, "durable heads", len(r.log.Durable(t.Context())), 1)
}

func TestAClosedLogCountsUpToItsEnd(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	p1, p2, p3 := w.Page(t, "a"), w.Page(t, "b"), w.Page(t, "c")
	fork := logtest.NewWriter(t, 2, 1)
	fork.Number, fork.Prev = 1, p1.Hash
	q2, q3 := fork.Page(t, "x"), fork.Page(t, "y")
	r.accepts(5, nil, p1, p2, p3, q2, q3)
	counted := eventlog.Counted{Log: r.log}
	main, other := eventlog.Branch{LogID: w.Log}, eventlog.Branch{LogID: w.Log, Fork: q2.Hash.String()[:16]}
	for _, tt := range []struct {
		name  string
		last  eventlog.Head
		wants map[eventlog.Branch]eventlog.Hash
	}{
		{"at the second page", eventlog.Head{Page: 2, Hash: p2.Hash}, map[eventlog.Branch]eventlog.Hash{main: p2.Hash}},
		{"at the fork", eventlog.Head{Page: 2, Hash: q2.Hash}, map[eventlog.Branch]eventlog.Hash{main: p1.Hash, other: q2.Hash}},
		{"at the end", eventlog.Head{Page: 3, Hash: p3.Hash}, map[eventlog.Branch]eventlog.Hash{main: p3.Hash, other: q2.Hash}},
		{"at a page not here", eventlog.Head{Page: 9}, map[eventlog.Branch]eventlog.Hash{main: p3.Hash, other: q3.Hash}},
		{"before the first page", eventlog.Head{}, map[eventlog.Branch]eventlog.Hash{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.closed[w.Log.String()] = tt.last
			got := map[eventlog.Branch]eventlog.Hash{}
			for _, h := range counted.Heads() {
				got[h.Branch] = h.Hash
			}
			if !maps.Equal(got, tt.wants) {
				t.Errorf("got %v, want %v", got, tt.wants)
			}
		})
	}
	delete(r.closed, w.Log.String())
	equal(t, "heads of an open log", len(counted.Heads()), 2)
}
