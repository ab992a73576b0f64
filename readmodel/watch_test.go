// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

func TestWatchTellsNamesUnderItsPrefixesOnceAfterTheCommit(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src})
	names, cancel := m.Watch(Ref{town, "list/1"}, Ref{Subject: "list/2/"})
	for _, s := range []event.Subject{"list/1", "list/10", "list/1/a", "list/2", "list/2", "list/1"} {
		src.write(branchOf("site-a"), epoch, happened(s, added, epoch.Add(time.Duration(len(src.pages[branchOf("site-a")]))), "x"))
		catchUp(t, m)
	}
	var got []Name
	for range 3 {
		got = append(got, <-names)
	}
	want := []Name{{Ref: Ref{town, "list/1"}}, {Ref: Ref{town, "list/1/a"}}, {Ref: Ref{town, "list/2"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cancel()
	cancel()
	if n, open := <-names; open {
		t.Errorf("after cancel: %+v", n)
	}
}

func TestAWatcherThatDoesNotReadIsToldToLookAtEverything(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src})
	names, cancel := m.Watch()
	defer cancel()
	for i := range watchBuffer + 1 {
		src.write(branchOf("site-a"), epoch, happened(event.Subject("list/"+strconv.Itoa(i)), added, epoch, "x"))
		if i%100 == 0 {
			catchUp(t, m)
		}
	}
	catchUp(t, m)
	if n := <-names; !n.All {
		t.Errorf("got %+v, want All", n)
	}
	select {
	case n := <-names:
		t.Errorf("and then %+v", n)
	default:
	}
	src.write(branchOf("site-a"), epoch, happened("list/0", added, epoch.Add(time.Hour), "x"))
	catchUp(t, m)
	if n := <-names; n.Subject != "list/0" {
		t.Errorf("after that %+v", n)
	}
}

func TestWaitWithoutRunCatchesUpItself(t *testing.T) {
	src := newSource()
	m := open(t, Config{Source: src})
	b := branchOf("site-a")
	src.write(b, epoch, happened("list/1", added, epoch, "one"))
	if err := m.Wait(t.Context(), b.LogID, eventlog.Position{Page: 1}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"one"}, words(t, m, "list/1")); diff != "" {
		t.Error(diff)
	}
	if err := m.Wait(t.Context(), b.LogID, eventlog.Position{Page: 2}); !errors.Is(err, ErrBehind) {
		t.Errorf("Wait for a page that nobody has: %v", err)
	}
}

// guarded makes the fake safe for a Run beside the test, and wakes it.
type guarded struct {
	mu   sync.Mutex
	src  *fakeSource
	wake chan struct{}
}

func (g *guarded) Heads() []eventlog.Head {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.src.Heads()
}

func (g *guarded) Read(ctx context.Context, b eventlog.Branch, after uint64, n int) ([]*eventlog.Page, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.src.Read(ctx, b, after, n)
}

func (g *guarded) Subscribe() (<-chan struct{}, func()) { return g.wake, func() {} }

func TestReadingGoesOnWhileRunFoldsAndRebuilds(t *testing.T) {
	for name, path := range map[string]string{"memory": ":memory:", "file": filepath.Join(t.TempDir(), "read.db")} {
		t.Run(name, func(t *testing.T) {
			g := &guarded{src: newSource(), wake: make(chan struct{}, 1)}
			m := open(t, Config{Path: path, Source: g})
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { m.Run(ctx) })
			for m.running.Load() == 0 { // Run is about to begin
			}
			for range 3 {
				wg.Go(func() { readAllTheTime(ctx, t, m) })
			}
			b := branchOf("site-a")
			for i := range 40 {
				g.mu.Lock()
				p := g.src.write(b, epoch, happened("list/1", added, epoch.Add(time.Duration(i)*time.Second), "w"))
				g.mu.Unlock()
				if err := m.Wait(ctx, b.LogID, eventlog.Position{Page: p.Number}); err != nil {
					t.Fatal(err)
				}
				if got := len(words(t, m, "list/1")); got != i+1 {
					t.Fatalf("%d words after Wait, want %d", got, i+1)
				}
				if i%20 == 10 {
					if err := m.Rebuild(ctx); err != nil {
						t.Fatal(err)
					}
				}
			}
			gone, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if err := m.Wait(gone, b.LogID, eventlog.Position{Page: 41}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Wait beyond its context: %v", err)
			}
			stop()
			wg.Wait()
		})
	}
}

// readAllTheTime checks that state and total, read in one View, always fit together.
func readAllTheTime(ctx context.Context, t *testing.T, m *Model) {
	for ctx.Err() == nil {
		err := m.View(ctx, func(q Query) error {
			var s list
			total := 0
			if _, err := q.State(ctx, town, "list/1", &s); err != nil {
				return err
			}
			err := q.QueryRowContext(ctx, `SELECT coalesce(sum(words), 0) FROM list_total`).Scan(&total)
			if err == nil && total != len(s.Words) {
				t.Errorf("the total is %d, the list has %d", total, len(s.Words))
			}
			return err
		})
		if err != nil && ctx.Err() == nil {
			t.Errorf("view: %v", err)
			return
		}
	}
}
