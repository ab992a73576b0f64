// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/seal"
)

// Whatever the order in which pages arrive and however they are cut into batches, states and views are the same.
func TestAnyOrderOfArrivalGivesTheSameModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src := randomSource(func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "n") }, rapid.Bool().Draw(rt, "failing"))
		whole := open(t, Config{Source: src})
		defer whole.Close()
		catchUp(t, whole)

		slow := &fakeSource{pages: src.pages, visible: make(map[eventlog.Branch]int)}
		for b := range src.pages {
			slow.visible[b] = 0
		}
		m := open(t, Config{Source: slow, Self: "site-1"})
		defer m.Close()
		branches := branchesOf(src)
		for left := true; left; {
			left = false
			for _, b := range branches {
				ps := src.pages[b]
				if slow.visible[b] < len(ps) {
					slow.visible[b] += rapid.IntRange(0, min(3, len(ps)-slow.visible[b])).Draw(rt, "pages")
					left = true
				}
			}
			catchUp(t, m)
		}
		if got, want := stateHash(t, m), stateHash(t, whole); got != want {
			rt.Errorf("state hash %s, want %s", got, want)
		}
		if diff := cmp.Diff(setAside(t, whole), setAside(t, m)); diff != "" {
			rt.Error(diff)
		}
		// The rows of a subject that is set aside show what was saved last, which depends on the order.
		if len(setAside(t, m)) == 0 {
			if diff := cmp.Diff(shown(t, whole), shown(t, m)); diff != "" {
				rt.Error(diff)
			}
		}
	})
}

func setAside(t testing.TB, m *Model) []Trouble {
	t.Helper()
	ts, err := m.SetAside(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

func TestALateEventFoldsItsSubjectAgain(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src})
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"), happened("list/1", added, epoch.Add(2*time.Second), "three"))
	catchUp(t, m)
	src.write(branchOf("site-b"), epoch, happened("list/1", added, epoch.Add(time.Second), "two"))
	if n := catchUp(t, m); n != 1 {
		t.Errorf("%d new events, want 1", n)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
	if got, want := shown(t, m), "[lk-nordtal list/1 [one two three]  lk-nordtal total 1 3]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnEventIsCountedOnceAndTheLowerPlaceWins(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src})
	twice := happened("list/1", added, epoch.Add(2*time.Second), "twice")
	src.write(branchOf("site-b"), epoch, twice)
	src.write(branchOf("site-b"), epoch, twice, happened("list/1", added, epoch.Add(time.Second), "between"))
	catchUp(t, m)
	if diff := cmp.Diff([]string{"between", "twice"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
	for _, at := range []time.Time{epoch.Add(time.Hour), epoch} {
		again := twice
		again.Stamp = event.StampAt(at)
		successor := branchOf("site-b")
		successor.Incarnation = "fedcba9876543210"
		src.write(successor, epoch, again)
	}
	if n := catchUp(t, m); n != 0 {
		t.Errorf("%d new events, want none", n)
	}
	if diff := cmp.Diff([]string{"twice", "between"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyDisplacesAnotherSitesEventByCopyingItsID(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src})
	theirs := happened("list/1", added, epoch.Add(time.Second), "theirs")
	src.write(branchOf("site-b"), epoch, theirs)
	catchUp(t, m)
	forged := happened("list/1", added, epoch, "forged")
	forged.ID = theirs.ID
	src.write(branchOf("site-a"), epoch, forged)
	if n := catchUp(t, m); n != 1 {
		t.Errorf("%d new events, want one: it is another site's", n)
	}
	if diff := cmp.Diff([]string{"forged", "theirs"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
}

func TestACarriedPlaceCountsOnlyInALogOfTheSameSite(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src})
	src.write(branchOf("site-b"), epoch, happened("list/1", added, epoch.Add(time.Second), "mine"))
	forged := happened("list/1", added, epoch.Add(2*time.Second), "forged")
	forged.Place = &event.Place{Stamp: 1, Site: "site-b", Incarnation: "0123456789abcdef"}
	carried := happened("list/1", added, epoch.Add(3*time.Second), "carried")
	carried.Place = &event.Place{Stamp: 1, Site: "site-a", Incarnation: "0123456789abcdef"}
	src.write(branchOf("site-a"), epoch, forged, carried)
	catchUp(t, m)
	if diff := cmp.Diff([]string{"carried", "mine", "forged"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownKindsAreKeptAndFoldedAfterAnUpgrade(t *testing.T) {
	src, path := newSource(), filepath.Join(t.TempDir(), "read.db")
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"), happened("list/1", cleared, epoch.Add(time.Second), nil))
	m := open(t, Config{Path: path, Source: src, Folds: []Fold{listFold(added)}})
	catchUp(t, m)
	if diff := cmp.Diff([]string{"one"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
	stamp, err := m.LastStamp(t.Context(), town, "list/1")
	if err != nil || stamp != event.StampAt(epoch.Add(time.Second)) {
		t.Errorf("last stamp %v %v, want that of the unknown event", stamp, err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, Config{Path: path, Source: src})
	if n := catchUp(t, m); n != 2 {
		t.Errorf("%d events folded after the upgrade, want 2", n)
	}
	if diff := cmp.Diff([]string(nil), words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
}

func TestTheDatabaseGoesOnWhereItWas(t *testing.T) {
	src, path := newSource(), filepath.Join(t.TempDir(), "read.db")
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"))
	m := open(t, Config{Path: path, Source: src})
	catchUp(t, m)
	_ = m.Close()
	if _, err := m.CatchUp(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	m = open(t, Config{Path: path, Source: src})
	if n := catchUp(t, m); n != 0 {
		t.Errorf("%d events folded twice", n)
	}
	src.write(branchOf("site-a"), epoch, happened("list/2", added, epoch, "two"))
	catchUp(t, m)
	if got, want := shown(t, m), "[lk-nordtal list/1 [one]  lk-nordtal list/2 [two]  lk-nordtal total 2 2]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with people's names has mode %v (%v)", info.Mode(), err)
	}
}

func TestADamagedDatabaseIsMadeAnew(t *testing.T) {
	src, path := newSource(), filepath.Join(t.TempDir(), "read.db")
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"))
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	m := open(t, Config{Path: path, Source: src})
	if n := catchUp(t, m); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestAFoldThatFailsSetsItsSubjectAside(t *testing.T) {
	for _, bad := range []string{"refuse", "panic"} {
		t.Run(bad, func(t *testing.T) {
			src := newSource()
			m := open(t, Config{Source: src})
			src.write(branchOf("site-a"), epoch,
				happened("list/1", added, epoch, "one"),
				happened("list/1", added, epoch.Add(2*time.Second), bad),
				happened("list/1", added, epoch.Add(3*time.Second), "never"),
				happened("list/2", added, epoch, "other"))
			catchUp(t, m)
			if diff := cmp.Diff([]string{"one"}, words(t, m, "list/1")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"other"}, words(t, m, "list/2")); diff != "" {
				t.Error(diff)
			}
			ts := setAside(t, m)
			if len(ts) != 1 || ts[0].Subject != "list/1" || ts[0].Kind != added {
				t.Errorf("set aside: %+v", ts)
			}
			// What sorts before the failing event still counts.
			src.write(branchOf("site-b"), epoch, happened("list/1", added, epoch.Add(time.Second), "two"))
			src.write(branchOf("site-b"), epoch, happened("list/1", added, epoch.Add(time.Hour), "later"))
			catchUp(t, m)
			if diff := cmp.Diff([]string{"one", "two"}, words(t, m, "list/1")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASubjectWhoseSaveFailsIsSetAsideAndComesBack(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src})
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"), happened("list/2", added, epoch, "two"))
	catchUp(t, m)
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch.Add(time.Second), "unsavable"),
		happened("list/2", added, epoch.Add(time.Second), "more"))
	catchUp(t, m)
	if ts := setAside(t, m); len(ts) != 1 || ts[0].Reason != "this cannot be saved" {
		t.Errorf("set aside: %+v", ts)
	}
	if got, want := shown(t, m), "[lk-nordtal list/1 [one]  lk-nordtal list/2 [two more]  lk-nordtal total 2 3]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	src.write(branchOf("site-a"), epoch, happened("list/1", cleared, epoch.Add(2*time.Second), nil),
		happened("list/1", added, epoch.Add(3*time.Second), "back"))
	catchUp(t, m)
	if ts := setAside(t, m); len(ts) != 0 {
		t.Errorf("still set aside: %+v", ts)
	}
	if got, want := shown(t, m), "[lk-nordtal list/1 [back]  lk-nordtal list/2 [two more]  lk-nordtal total 2 3]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A program that was mended finds the subjects that the old one could not fold.
func TestSetAsideSubjectsAreTriedAgainAtTheNextStart(t *testing.T) {
	src, path := newSource(), filepath.Join(t.TempDir(), "read.db")
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"), happened("list/1", added, epoch.Add(time.Second), "refuse"))
	m := open(t, Config{Path: path, Source: src})
	catchUp(t, m)
	_ = m.Close()
	mended := listFold()
	mended.ApplyFunc = func(s list, e Entry) (list, error) {
		s.Words = append(s.Words, strings.Trim(string(e.Data), `"`))
		return s, nil
	}
	m = open(t, Config{Path: path, Source: src, Folds: []Fold{mended}})
	catchUp(t, m)
	if diff := cmp.Diff([]string{"one", "refuse"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
	if ts := setAside(t, m); len(ts) != 0 {
		t.Errorf("still set aside: %+v", ts)
	}
}

func TestDamageStopsOnlyItsBranch(t *testing.T) {
	src := newSource()
	a, b := branchOf("site-a"), branchOf("site-b")
	src.write(a, epoch, happened("list/1", added, epoch, "one"))
	src.write(a, epoch, happened("list/1", added, epoch.Add(time.Second), "two"))
	src.write(b, epoch, happened("list/2", added, epoch, "other"))
	src.damaged[a] = 2
	m := open(t, Config{Source: src})
	if n := catchUp(t, m); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	if ts := setAside(t, m); len(ts) != 1 || ts[0].Branch != a {
		t.Errorf("set aside: %+v", ts)
	}
	if err := m.Wait(t.Context(), a.LogID, eventlog.Position{Page: 2}); !errors.Is(err, ErrBehind) {
		t.Errorf("Wait for a damaged page: %v", err)
	}
	delete(src.damaged, a)
	if n := catchUp(t, m); n != 1 {
		t.Errorf("%d events after it was mended, want 1", n)
	}
	if ts := setAside(t, m); len(ts) != 0 {
		t.Errorf("still set aside: %+v", ts)
	}
}

func TestABranchThatWasReplacedIsReadFromItsBeginning(t *testing.T) {
	src := newSource()
	b := branchOf("site-a")
	src.write(b, epoch, happened("list/1", added, epoch, "one"))
	src.write(b, epoch, happened("list/1", added, epoch.Add(time.Second), "two"))
	m := open(t, Config{Source: src})
	catchUp(t, m)
	old := src.pages[b]
	src.pages[b] = nil
	first := src.write(b, epoch, happened("list/1", added, epoch, "one"), happened("list/1", added, epoch.Add(2*time.Second), "three"))
	first.Hash = [32]byte{1}
	catchUp(t, m)
	if diff := cmp.Diff([]string{"one", "two", "three"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
	src.pages[b] = old
	if n := catchUp(t, m); n != 0 {
		t.Errorf("%d events counted twice", n)
	}
}

func TestRebuildGivesTheSameAndKeepsWhatOnlyThisSiteKnows(t *testing.T) {
	for _, path := range []string{":memory:", filepath.Join(t.TempDir(), "read.db")} {
		src := newSource()
		src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"))
		m := open(t, Config{Path: path, Source: src, Self: "site-a"})
		catchUp(t, m)
		src.writeStored(branchOf("site-b"), epoch.Add(time.Second), epoch.Add(time.Minute), happened("list/1", added, epoch.Add(-time.Second), "zero"))
		catchUp(t, m)
		names, cancel := m.Watch()
		defer cancel()
		hash, view, merges := stateHash(t, m), shown(t, m), mergesOf(t, m)
		src.write(branchOf("site-a"), epoch, happened("list/9", cleared, epoch, nil))
		if err := m.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := <-names; !n.All {
			t.Errorf("announced %+v, want All", n)
		}
		if diff := cmp.Diff(merges, mergesOf(t, m)); diff != "" || len(merges) != 1 || merges[0].Late != 1 {
			t.Errorf("merges %+v %s", merges, diff)
		}
		if stateHash(t, m) == hash {
			t.Error("the rebuild has not caught up with the last page")
		}
		if got := shown(t, m); !strings.HasPrefix(got, view[:20]) {
			t.Errorf("got %s, had %s", got, view)
		}
		src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch.Add(time.Hour), "after"))
		catchUp(t, m)
		if diff := cmp.Diff([]string{"zero", "one", "after"}, words(t, m, "list/1")); diff != "" {
			t.Error(diff)
		}
	}
}

func mergesOf(t testing.TB, m *Model) []Merge {
	t.Helper()
	found, err := m.Merges(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestMergesAreShownAndTheFirstCopyIsToldApart(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src, Self: "site-a"})
	joined := epoch.Add(time.Hour)
	// History that was written before we joined.
	for i := range 3 {
		at := epoch.Add(time.Duration(i) * time.Second)
		src.writeStored(branchOf("site-b"), at, joined, happened("list/1", added, at, "old"))
	}
	catchUp(t, m)
	// Life: half a second late is no merge.
	src.write(branchOf("site-b"), joined.Add(time.Second), happened("list/1", added, joined.Add(time.Second), "live"))
	// Our own pages are none either, whatever their clock says.
	src.writeStored(branchOf("site-a"), joined, joined.Add(time.Hour), happened("list/1", added, joined.Add(30*time.Minute), "mine"))
	catchUp(t, m)
	// A cut: two pages came ten minutes late, a few seconds apart, one of them before what we had folded.
	for i := range 2 {
		at := joined.Add(time.Duration(20+20*i) * time.Minute)
		src.writeStored(branchOf("site-b"), at, joined.Add(50*time.Minute+time.Duration(i)*time.Second), happened("list/1", added, at, "cut"))
		catchUp(t, m)
	}
	want := []Merge{{
		Authority: town, From: "site-b", FirstWall: joined.Add(20 * time.Minute), LastWall: joined.Add(40 * time.Minute),
		ArrivedAt: joined.Add(50 * time.Minute), Until: joined.Add(50*time.Minute + time.Second), Events: 2, Late: 1,
	}, {
		Authority: town, From: "site-b", FirstWall: epoch, LastWall: epoch.Add(2 * time.Second),
		ArrivedAt: joined, Until: joined, Events: 3, FirstCopy: true,
	}}
	if diff := cmp.Diff(want, mergesOf(t, m)); diff != "" {
		t.Error(diff)
	}
}

func TestKeysThatArriveOrAreErasedAreSavedAgain(t *testing.T) {
	keys := fakeKeys{}
	key := seal.Key{1, 2, 3}
	long := strings.Repeat("Erika Mustermann, ", 40) // some of it stays in the page if rows are not overwritten
	sealed, err := key.Seal(strings.NewReader("nonce nonce nonce"), "list", []byte(long))
	if err != nil {
		t.Fatal(err)
	}
	ref := KeyRef{town, "00112233445566aa"}
	src := newSource()
	src.write(branchOf("site-a"), epoch, happened("list/1", secret, epoch, list{Sealed: sealed, Key: ref.KeyID}))
	path := filepath.Join(t.TempDir(), "read.db")
	m := open(t, Config{Path: path, Source: src, Keys: keys})
	catchUp(t, m)
	names, cancel := m.Watch(Ref{Subject: "list"})
	defer cancel()
	hash := stateHash(t, m)
	for _, step := range []struct {
		key  any
		want string
	}{{nil, "(missing)"}, {key, long}, {errors.New("erased"), "(erased)"}} {
		if step.key != nil {
			keys[ref] = step.key
			if err := m.KeysChanged(t.Context(), []KeyRef{ref, {town, "unheard of"}}); err != nil {
				t.Fatal(err)
			}
			if n := <-names; n.Subject != "list/1" {
				t.Errorf("announced %+v", n)
			}
		}
		if got, want := shown(t, m), "[lk-nordtal list/1 [] "+step.want+" lk-nordtal total 1 0]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if stateHash(t, m) != hash {
		t.Error("the state depends on the keys")
	}
	for _, file := range []string{path, path + "-wal"} {
		if b, _ := os.ReadFile(file); strings.Contains(string(b), "Mustermann") {
			t.Errorf("%s still holds the erased name", filepath.Base(file))
		}
	}
}

// A fold that cannot do without the key is set aside, and saved when the key comes.
func TestASaveThatNeedsItsKeySucceedsWhenTheKeyComes(t *testing.T) {
	keys, key, ref := fakeKeys{}, seal.Key{1}, KeyRef{town, "00112233445566aa"}
	sealed, err := key.Seal(strings.NewReader("nonce nonce nonce"), "list", []byte("Erika"))
	if err != nil {
		t.Fatal(err)
	}
	strict := listFold()
	strict.SaveFunc = func(tx *Tx, ref Ref, old, new list) error {
		if _, err := tx.Open(ref.Authority, new.Key, "list", new.Sealed); err != nil {
			return err
		}
		return saveList(tx, ref, old, new)
	}
	src := newSource()
	src.write(branchOf("site-a"), epoch, happened("list/1", secret, epoch, list{Sealed: sealed, Key: ref.KeyID}))
	m := open(t, Config{Source: src, Keys: keys, Folds: []Fold{strict}})
	catchUp(t, m)
	if ts := setAside(t, m); len(ts) != 1 || ts[0].Reason != "missing" {
		t.Errorf("set aside: %+v", ts)
	}
	keys[ref] = key
	if err := m.KeysChanged(t.Context(), []KeyRef{ref}); err != nil {
		t.Fatal(err)
	}
	if got, want := shown(t, m), "[lk-nordtal list/1 [] Erika lk-nordtal total 1 0]"; got != want || len(setAside(t, m)) != 0 {
		t.Errorf("got %s, want %s", got, want)
	}
}

// hooked calls hook before it reads.
type hooked struct {
	*fakeSource
	hook func()
}

func (h *hooked) Read(ctx context.Context, b eventlog.Branch, after uint64, n int) ([]*eventlog.Page, error) {
	pages, err := h.fakeSource.Read(ctx, b, after, n)
	if after > 0 && h.hook != nil {
		h.hook()
	}
	return pages, err
}

func TestAKeyThatIsErasedWhileARebuildRunsIsErasedInItToo(t *testing.T) {
	keys, key, ref := fakeKeys{}, seal.Key{1}, KeyRef{town, "00112233445566aa"}
	sealed, err := key.Seal(strings.NewReader("nonce nonce nonce"), "list", []byte("Erika"))
	if err != nil {
		t.Fatal(err)
	}
	keys[ref] = key
	src := &hooked{fakeSource: newSource()}
	src.write(branchOf("site-a"), epoch, happened("list/1", secret, epoch, list{Sealed: sealed, Key: ref.KeyID}))
	for i := range 3 { // so many events that the first page is folded before the others are read
		events := make([]event.Event, batchEvents)
		for j := range events {
			events[j] = happened("list/2", "list.Unheard", epoch.Add(time.Duration(i*batchEvents+j)), i)
		}
		src.write(branchOf("site-a"), epoch, events...)
	}
	m := open(t, Config{Source: src, Keys: keys})
	catchUp(t, m)
	src.hook = func() {
		src.hook = nil
		keys[ref] = errors.New("erased")
		if err := m.KeysChanged(t.Context(), []KeyRef{ref}); err != nil {
			t.Error(err)
		}
	}
	if err := m.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := shown(t, m), "[lk-nordtal list/1 [] (erased) lk-nordtal total 1 0]"; got != want || src.hook != nil {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAFullDiskEndsTheCatchUpAndSetsNothingAside(t *testing.T) {
	wide := listFold()
	wide.SaveFunc = func(tx *Tx, ref Ref, old, new list) error {
		if _, err := tx.Exec(`INSERT OR REPLACE INTO list VALUES ('', '', '', hex(zeroblob(100000)))`); err != nil {
			return errors.New("the fold hides the cause")
		}
		return saveList(tx, ref, old, new)
	}
	src := newSource()
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"))
	m := open(t, Config{Path: filepath.Join(t.TempDir(), "read.db"), Source: src, Folds: []Fold{wide}})
	limit := func(pages int) {
		if _, err := m.cur.writer.ExecContext(t.Context(), "PRAGMA max_page_count = "+strconv.Itoa(pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(30)
	if _, err := m.CatchUp(t.Context()); err == nil {
		t.Error("no error from a full disk")
	}
	if ts := setAside(t, m); len(ts) != 0 {
		t.Errorf("set aside: %+v", ts)
	}
	limit(1 << 20)
	if n := catchUp(t, m); n != 1 || len(setAside(t, m)) != 0 {
		t.Errorf("%d events when there was room again", n)
	}
}

// closedSource is a source in which a log was closed.
type closedSource struct {
	*fakeSource
	ends map[eventlog.Branch]uint64
}

func (s closedSource) Ended(h eventlog.Head) bool {
	end, closed := s.ends[h.Branch]
	return closed && h.Page > end
}

func (s closedSource) Heads() []eventlog.Head {
	heads := s.fakeSource.Heads()
	for i, h := range heads {
		if s.Ended(h) {
			last := s.pages[h.Branch][s.ends[h.Branch]-1]
			heads[i].Page, heads[i].Hash = last.Number, last.Hash
		}
	}
	return heads
}

func TestWhatWasFoldedBehindTheEndOfAClosedLogIsTakenBack(t *testing.T) {
	src := closedSource{newSource(), map[eventlog.Branch]uint64{}}
	m, other := open(t, Config{Source: src}), branchOf("site-b")
	for i, word := range []string{"one", "two", "late"} {
		src.write(other, epoch, happened("list/1", added, epoch.Add(time.Duration(i)*time.Second), word))
	}
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch.Add(time.Hour), "ours"))
	catchUp(t, m)
	src.ends[other] = 2
	catchUp(t, m)
	if diff := cmp.Diff([]string{"one", "two", "ours"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
	fresh := open(t, Config{Source: src})
	catchUp(t, fresh)
	if stateHash(t, m) != stateHash(t, fresh) {
		t.Error("a site that never had the late page comes to something else")
	}
	if catchUp(t, m) != 0 || m.cur.overshot() {
		t.Error("it would be folded anew again and again")
	}
	delete(src.ends, other)
	catchUp(t, m)
	if diff := cmp.Diff([]string{"one", "two", "late", "ours"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
}

// Apart makes the source tell which branches go on behind their end.
func (s closedSource) Apart() (apart []eventlog.Head) {
	for _, h := range s.fakeSource.Heads() {
		if s.Ended(h) {
			apart = append(apart, h)
		}
	}
	return apart
}

func TestWhatIsKeptApartIsShown(t *testing.T) {
	src := closedSource{newSource(), map[eventlog.Branch]uint64{}}
	m, other := open(t, Config{Source: src}), branchOf("site-b")
	src.write(other, epoch, happened("list/1", added, epoch, "one"))
	src.write(other, epoch, happened("list/1", added, epoch, "late"))
	src.ends[other] = 1
	catchUp(t, m)
	aside, err := m.SetAside(t.Context())
	if err != nil || len(aside) != 1 || !aside[0].Apart || aside[0].Branch != other || aside[0].Authority != town {
		t.Errorf("set aside are %+v, %v", aside, err)
	}
	if m.Behind() != 0 {
		t.Error("the model waits for pages that it will not fold")
	}
}

type waitingSource struct{ *fakeSource }

func (waitingSource) Waiting() []eventlog.Waiting {
	return []eventlog.Waiting{{Site: "site-b", Authority: town, Class: event.Operations, Logs: 7, Here: 64, Since: epoch},
		{Site: "site-b", Authority: town, Class: event.Record, Logs: 1, Space: true, Bytes: 300 << 20, Since: epoch}}
}

func TestLogsThatWaitAreShown(t *testing.T) {
	m := open(t, Config{Source: waitingSource{newSource()}})
	aside, err := m.SetAside(t.Context())
	if err != nil || len(aside) != 2 || !aside[0].Apart || aside[0].Authority != town || aside[0].Branch.Site != "site-b" ||
		!strings.Contains(aside[1].Reason, "takes 300 MiB") ||
		!strings.Contains(aside[0].Reason, "64 are here, 7 wait") || !aside[0].Since.Equal(epoch) {
		t.Errorf("set aside are %+v, %v", aside, err)
	}
}

func TestAModelThatHasOutlivedItsLogsIsFoldedAnew(t *testing.T) {
	for name, lose := range map[string]func(*fakeSource, eventlog.Branch){
		"the log is shorter": func(s *fakeSource, b eventlog.Branch) { s.pages[b] = s.pages[b][:1] },
		"the log is gone":    func(s *fakeSource, b eventlog.Branch) { delete(s.pages, b) },
		"the log went on otherwise": func(s *fakeSource, b eventlog.Branch) {
			s.pages[b] = s.pages[b][:1]
			for i, word := range []string{"x", "y", "z"} {
				p := s.write(b, epoch, happened("list/1", added, epoch.Add(time.Duration(i+9)*time.Second), word))
				p.Hash[0] ^= 0xff
			}
		},
		"the last page is another one": func(s *fakeSource, b eventlog.Branch) {
			s.pages[b] = s.pages[b][:1]
			p := s.write(b, epoch, happened("list/1", added, epoch.Add(time.Minute), "x"))
			p.Hash[0] ^= 0xff
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, b, path := newSource(), branchOf("site-b"), filepath.Join(t.TempDir(), "model.db")
			src.write(branchOf("site-a"), epoch, happened("list/2", added, epoch, "kept"))
			src.write(b, epoch, happened("list/1", added, epoch, "one"))
			src.write(b, epoch, happened("list/1", added, epoch.Add(time.Second), "lost"))
			m := open(t, Config{Source: src, Path: path})
			catchUp(t, m)
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			lose(src, b)
			m = open(t, Config{Source: src, Path: path})
			catchUp(t, m)
			fresh := open(t, Config{Source: src})
			catchUp(t, fresh)
			if stateHash(t, m) != stateHash(t, fresh) {
				t.Error("what is not in the logs any more is still folded")
			}
		})
	}
}

func TestAModelOnWholeLogsIsNotFoldedAnew(t *testing.T) {
	src, b, path := newSource(), branchOf("site-b"), filepath.Join(t.TempDir(), "model.db")
	for i := range 3 {
		src.write(b, epoch, happened("list/1", added, epoch.Add(time.Duration(i)*time.Second), "word"))
	}
	src.visible[b] = 2
	m := open(t, Config{Source: src, Path: path})
	catchUp(t, m)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	delete(src.visible, b)
	src.damaged[b] = 2
	m = open(t, Config{Source: src, Path: path})
	if got := catchUp(t, m); got != 1 {
		t.Errorf("%d events were folded, want the new one", got)
	}
}
