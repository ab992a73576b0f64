// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
)

func FuzzParsePlace(f *testing.F) {
	f.Add(event.Place{Stamp: 7, Site: "site-a", Incarnation: "0123456789abcdef", Page: 3, Index: 1}.Key())
	f.Add([]byte{})
	f.Add(make([]byte, 60))
	f.Fuzz(func(t *testing.T, key []byte) {
		p, err := parsePlace(key)
		if err == nil && !bytes.Equal(p.Key(), key) {
			t.Errorf("%x became %x", key, p.Key())
		}
	})
}

func TestAPlaceSurvivesItsKey(t *testing.T) {
	want := event.Place{Stamp: 1 << 60, Site: "site-a", Incarnation: "0123456789abcdef", Page: 9, Hash: [32]byte{1, 31: 2}, Index: 4095}
	got, err := parsePlace(want.Key())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestWhoIsInsideMayEnterAgainWhileSomebodyWaitsForAll(t *testing.T) {
	var g gate
	ctx := t.Context()
	if err := g.enter(ctx); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- g.close(ctx) }()
	waiting := func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.waiting > 0 }
	for !waiting() { // the goroutine above is about to wait
	}
	if err := g.enter(ctx); err != nil {
		t.Fatal(err)
	}
	g.leave()
	g.leave()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := g.enter(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("entered a closed gate: %v", err)
	}
	g.open()
	if err := g.enter(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestTwoFoldsCannotOwnOneRoot(t *testing.T) {
	a, b := listFold(), listFold()
	b.Label = "other"
	if _, err := Open(t.Context(), Config{Path: ":memory:", Source: newSource(), Folds: []Fold{a, b}}); err == nil {
		t.Error("no error")
	}
}

// own hides Typed's Apply behind one of its own, as a domain may.
type own struct{ Typed[list] }

func (o own) Apply(state []byte, e Entry) ([]byte, error) {
	e.Data = []byte(`"own"`)
	return o.Typed.Apply(state, e)
}

func TestAFoldThatWrapsATypedIsAskedItself(t *testing.T) {
	src := newSource()
	src.write(branchOf("site-a"), epoch, happened("list/1", added, epoch, "one"))
	m := open(t, Config{Source: src, Folds: []Fold{own{listFold()}}})
	catchUp(t, m)
	if diff := cmp.Diff([]string{"own"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
}

// While a long history is copied, the page that somebody waits for is folded with the next batch.
func TestOurOwnPagesComeFirst(t *testing.T) {
	src := newSource()
	for i := range 40 {
		events := make([]event.Event, 200)
		for j := range events {
			at := epoch.Add(time.Duration(i*200+j) * time.Millisecond)
			events[j] = happened("list/history", "list.Unheard", at, j)
		}
		src.write(branchOf("site-b"), epoch, events...)
	}
	m := open(t, Config{Source: src, Self: "site-a"})
	var batches, ownIn int
	told := m.cur.committed
	m.cur.committed = func(saved []Ref) {
		told(saved)
		batches++
		if batches == 1 {
			src.write(branchOf("site-a"), epoch, happened("list/own", added, epoch, "click"))
		}
		if len(saved) > 0 {
			ownIn = batches
		}
	}
	catchUp(t, m)
	if ownIn != 2 || batches < 4 {
		t.Errorf("our page was folded in batch %d of %d, want the second", ownIn, batches)
	}
}
