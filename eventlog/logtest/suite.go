// SPDX-License-Identifier: EUPL-1.2

package logtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// Disk is what a store keeps its pages on. Open is required; a nil hook skips what needs it.
type Disk struct {
	// Open opens the store on this disk; the suite closes it. After closing it is opened again on the same disk.
	Open func(t *testing.T) eventlog.Store
	// Crash ends an open store as a loss of power does; the suite opens the disk again.
	Crash func(t *testing.T, s eventlog.Store)
	// Full uses up the disk's reserve, or gives the room back.
	Full func(t *testing.T, s eventlog.Store, full bool)
	// Damage changes a byte of a stored page. The store may be closed meanwhile: the one to go on with is returned.
	Damage func(t *testing.T, s eventlog.Store, b eventlog.Branch, page uint64) eventlog.Store
}

// Run runs the suite; newDisk returns an empty disk each time.
func Run(t *testing.T, newDisk func(t *testing.T) Disk) {
	tests := []struct {
		name string
		run  func(t *testing.T, d Disk)
	}{
		{"an empty store has no heads and no pages", testEmpty},
		{"pages come back as they were stored, in order", testRoundTrip},
		{"a branch has begun when its first page was stored, and has the size of its pages", testStat},
		{"the head is the last page", testHead},
		{"a page that does not follow is refused", testOutOfOrder},
		{"of two pages with the same number one is stored", testRace},
		{"branches and forks are kept apart", testForks},
		{"reading is bounded by bytes but gives one page at least", testBounds},
		{"the largest page fits", testLargest},
		{"a deleted branch is gone and can be written again", testDelete},
		{"what was acknowledged is there after closing and opening", testReopen},
		{"what was acknowledged is there after a crash", testCrash},
		{"a full disk refuses, still reads, and resumes by itself", testFull},
		{"a damaged page is not passed off as good", testDamage},
		{"an ended context ends the call", testContext},
		{"writers of different logs work side by side", testConcurrent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, newDisk(t)) })
	}
}

const limit = 8 << 20

func open(t *testing.T, d Disk) eventlog.Store {
	t.Helper()
	s := d.Open(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustAppend(t *testing.T, s eventlog.Store, b eventlog.Branch, pages ...*eventlog.Page) {
	t.Helper()
	for _, p := range pages {
		if err := s.Append(t.Context(), b, p); err != nil {
			t.Fatalf("append page %d: %v", p.Number, err)
		}
	}
}

func mustRead(t *testing.T, s eventlog.Store, b eventlog.Branch, after uint64, maxBytes int) []*eventlog.Page {
	t.Helper()
	pages, err := s.Read(t.Context(), b, after, maxBytes)
	if err != nil {
		t.Fatalf("read after page %d: %v", after, err)
	}
	return pages
}

// wantPages reads everything, in as many calls as it takes.
func wantPages(t *testing.T, s eventlog.Store, b eventlog.Branch, want ...*eventlog.Page) {
	t.Helper()
	var got []*eventlog.Page
	for after := uint64(0); ; {
		pages := mustRead(t, s, b, after, limit)
		if len(pages) == 0 {
			break
		}
		got = append(got, pages...)
		after = pages[len(pages)-1].Number
	}
	if len(got) != len(want) {
		t.Fatalf("got %d pages, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i].Raw(), want[i].Raw()) || got[i].Hash != want[i].Hash || got[i].Number != want[i].Number {
			t.Fatalf("page %d is not what was stored", want[i].Number)
		}
	}
}

func wantHeads(t *testing.T, s eventlog.Store, want ...eventlog.Head) {
	t.Helper()
	got, err := s.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("got %d heads, want %d: %v", len(got), len(want), got)
	}
	for _, h := range want {
		if !slices.Contains(got, h) {
			t.Errorf("no head %v in %v", h, got)
		}
	}
}

func headOf(b eventlog.Branch, p *eventlog.Page) eventlog.Head {
	return eventlog.Head{Branch: b, Page: p.Number, Hash: p.Hash}
}

func testEmpty(t *testing.T, d Disk) {
	s := open(t, d)
	wantHeads(t, s)
	b := eventlog.Branch{LogID: NewWriter(t, 1, 1).Log}
	if pages := mustRead(t, s, b, 0, limit); len(pages) != 0 {
		t.Errorf("an unknown branch has %d pages", len(pages))
	}
	if err := s.Delete(t.Context(), b); err != nil {
		t.Errorf("delete an unknown branch: %v", err)
	}
}

// testStat: when a branch began survives everything but its deletion; bounds go by it.
func testStat(t *testing.T, d Disk) {
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	if got := s.Stat(b); got != (eventlog.Stat{}) {
		t.Errorf("of an unknown branch it says %+v", got)
	}
	one, two := w.Page(t, "one"), w.Page(t, "two", strings.Repeat("x", 10_000))
	mustAppend(t, s, b, one)
	begun := s.Stat(b).Born
	mustAppend(t, s, b, two)
	bytes, size := s.Stat(b).Bytes, int64(len(one.Raw())+len(two.Raw()))
	if at := s.Stat(b).Born; at.IsZero() || !at.Equal(begun) || bytes < size || bytes > size+2048 {
		t.Errorf("it began at %s, and after another page at %s, with %d bytes for pages of %d", begun, at, bytes, size)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, d)
	again := s.Stat(b)
	if again.Born.Sub(begun).Abs() > time.Second || again.Bytes < size || again.Bytes > size+2048 {
		t.Errorf("it began at %s with %d bytes, and after a restart it says %+v", begun, size, again)
	}
	if err := s.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got := s.Stat(b); got != (eventlog.Stat{}) {
		t.Errorf("of a deleted branch it says %+v", got)
	}
}

func testRoundTrip(t *testing.T, d Disk) {
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1, p2, p3 := w.Page(t, "one", "two"), w.Page(t, "three"), w.Page(t, "four")
	mustAppend(t, s, b, p1, p2, p3)
	wantPages(t, s, b, p1, p2, p3)
	got := mustRead(t, s, b, 1, limit)
	if len(got) != 2 || got[0].Number != 2 || len(got[0].Events) != 1 || got[0].StoredAt.IsZero() {
		t.Errorf("after page 1 there should be page 2 with an event and its time of storing, then page 3")
	}
	if got := mustRead(t, s, b, 3, limit); len(got) != 0 {
		t.Errorf("after the last page there are %d pages", len(got))
	}
	if got := mustRead(t, s, b, 99, limit); len(got) != 0 {
		t.Errorf("far behind the last page there are %d pages", len(got))
	}
}

func testHead(t *testing.T, d Disk) {
	s, w, v := open(t, d), NewWriter(t, 1, 1), NewWriter(t, 2, 1)
	b, c := eventlog.Branch{LogID: w.Log}, eventlog.Branch{LogID: v.Log}
	mustAppend(t, s, b, w.Page(t, "one"))
	p2, q1 := w.Page(t, "two"), v.Page(t, "one")
	mustAppend(t, s, b, p2)
	mustAppend(t, s, c, q1)
	wantHeads(t, s, headOf(b, p2), headOf(c, q1))
}

func testOutOfOrder(t *testing.T, d Disk) {
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1, p2, p3 := w.Page(t, "one"), w.Page(t, "two"), w.Page(t, "three")
	refused := func(p *eventlog.Page) {
		t.Helper()
		if err := s.Append(t.Context(), b, p); !errors.Is(err, eventlog.ErrOutOfOrder) {
			t.Errorf("page %d: got %v, want ErrOutOfOrder", p.Number, err)
		}
	}
	refused(p2)
	mustAppend(t, s, b, p1)
	refused(p1)
	refused(p3)
	mustAppend(t, s, b, p2)
	refused(p2)
	wantPages(t, s, b, p1, p2)
}

func testRace(t *testing.T, d Disk) {
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	mustAppend(t, s, b, w.Page(t, "one"))
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		fork := *w
		p := fork.Page(t, fmt.Sprint("two of ", i))
		wg.Go(func() { results[i] = s.Append(context.Background(), b, p) })
	}
	wg.Wait()
	stored := 0
	for _, err := range results {
		switch {
		case err == nil:
			stored++
		case !errors.Is(err, eventlog.ErrOutOfOrder):
			t.Errorf("got %v, want ErrOutOfOrder", err)
		}
	}
	if stored != 1 {
		t.Errorf("%d pages were acknowledged, want 1", stored)
	}
}

func testForks(t *testing.T, d Disk) {
	s, w := open(t, d), NewWriter(t, 1, 1)
	main := eventlog.Branch{LogID: w.Log}
	p1, p2 := w.Page(t, "one"), w.Page(t, "two")
	v := *w
	p3, q3, q4 := w.Page(t, "three"), v.Page(t, "another three"), v.Page(t, "four")
	fork := eventlog.Branch{LogID: w.Log, Fork: q3.Hash.String()[:16]}
	mustAppend(t, s, main, p1, p2, p3)
	mustAppend(t, s, fork, q3)
	if err := s.Append(t.Context(), fork, q3); !errors.Is(err, eventlog.ErrOutOfOrder) {
		t.Errorf("the fork's first page again: got %v, want ErrOutOfOrder", err)
	}
	mustAppend(t, s, fork, q4)
	wantPages(t, s, main, p1, p2, p3)
	wantPages(t, s, fork, q3, q4)
	if got := mustRead(t, s, fork, 2, limit); len(got) != 2 || got[0].Number != 3 {
		t.Errorf("after page 2 the fork should begin with page 3")
	}
	if got := mustRead(t, s, fork, 3, limit); len(got) != 1 || got[0].Number != 4 {
		t.Errorf("after page 3 the fork should have page 4")
	}
	wantHeads(t, s, headOf(main, p3), headOf(fork, q4))
}

func testBounds(t *testing.T, d Disk) {
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	for range 5 {
		mustAppend(t, s, b, w.Page(t, Large(10_000)))
	}
	if got := mustRead(t, s, b, 0, 1); len(got) != 1 {
		t.Errorf("one byte: got %d pages, want 1", len(got))
	}
	got := mustRead(t, s, b, 1, 32_000)
	if len(got) == 0 || len(got) > 3 || got[0].Number != 2 {
		t.Errorf("32,000 bytes after page 1: got %d pages, want 1 to 3 from page 2 on", len(got))
	}
}

func testLargest(t *testing.T, d Disk) {
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	texts := slices.Repeat([]string{Large(64_000)}, 8)
	p := w.Page(t, texts...)
	if len(p.Raw()) < eventlog.MaxPageBytes*9/10 {
		t.Fatalf("the test's page is too small: %d bytes", len(p.Raw()))
	}
	mustAppend(t, s, b, p)
	wantPages(t, s, b, p)
}

func testDelete(t *testing.T, d Disk) {
	s, w, v := open(t, d), NewWriter(t, 1, 1), NewWriter(t, 1, 2)
	b, c := eventlog.Branch{LogID: w.Log}, eventlog.Branch{LogID: v.Log}
	p1, p2, q1 := w.Page(t, "one"), w.Page(t, "two"), v.Page(t, "one")
	mustAppend(t, s, b, p1, p2)
	mustAppend(t, s, c, q1)
	if err := s.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	wantPages(t, s, b)
	wantHeads(t, s, headOf(c, q1))
	mustAppend(t, s, b, p1)
	wantPages(t, s, b, p1)
}

func testReopen(t *testing.T, d Disk) {
	s, w := d.Open(t), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1, p2, p3 := w.Page(t, "one"), w.Page(t, "two"), w.Page(t, "three")
	mustAppend(t, s, b, p1, p2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, d)
	wantHeads(t, s, headOf(b, p2))
	mustAppend(t, s, b, p3)
	wantPages(t, s, b, p1, p2, p3)
}

func testCrash(t *testing.T, d Disk) {
	if d.Crash == nil {
		t.Log("this disk cannot crash")
		return
	}
	s, w := d.Open(t), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1, p2 := w.Page(t, "one"), w.Page(t, "two")
	mustAppend(t, s, b, p1, p2)
	d.Crash(t, s)
	s = open(t, d)
	wantPages(t, s, b, p1, p2)
}

func testFull(t *testing.T, d Disk) {
	if d.Full == nil {
		t.Log("this disk cannot be filled")
		return
	}
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1, p2 := w.Page(t, "one"), w.Page(t, "two")
	mustAppend(t, s, b, p1)
	d.Full(t, s, true)
	if err := s.Append(t.Context(), b, p2); !errors.Is(err, eventlog.ErrNoRoom) {
		t.Errorf("append to a full disk: got %v, want ErrNoRoom", err)
	}
	wantPages(t, s, b, p1)
	d.Full(t, s, false)
	mustAppend(t, s, b, p2)
	wantPages(t, s, b, p1, p2)
}

func testDamage(t *testing.T, d Disk) {
	if d.Damage == nil {
		t.Log("this disk cannot be damaged")
		return
	}
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1, p2, p3 := w.Page(t, "one"), w.Page(t, "two", Large(5000)), w.Page(t, "three")
	mustAppend(t, s, b, p1, p2, p3)
	s = d.Damage(t, s, b, 2)
	t.Cleanup(func() { _ = s.Close() })
	if pages, err := s.Read(t.Context(), b, 1, limit); !errors.Is(err, eventlog.ErrDamaged) {
		t.Errorf("read the damaged page: got %d pages and %v, want ErrDamaged", len(pages), err)
	}
	pages, err := s.Read(t.Context(), b, 0, limit)
	if err != nil && !errors.Is(err, eventlog.ErrDamaged) || err == nil && (len(pages) != 1 || pages[0].Hash != p1.Hash) {
		t.Errorf("read from the start: got %d pages and %v, want the first page or ErrDamaged", len(pages), err)
	}
	if err := s.Delete(t.Context(), b); err != nil {
		t.Fatalf("delete the damaged branch: %v", err)
	}
	mustAppend(t, s, b, p1, p2, p3)
	wantPages(t, s, b, p1, p2, p3)
}

func testContext(t *testing.T, d Disk) {
	s, w := open(t, d), NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1 := w.Page(t, "one")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(ended, b, p1); err == nil {
		t.Error("append with an ended context succeeded")
	}
	if _, err := s.Heads(ended); err == nil {
		t.Error("heads with an ended context succeeded")
	}
}

func testConcurrent(t *testing.T, d Disk) {
	s := open(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var heads []eventlog.Head
	for i := range byte(8) {
		w := NewWriter(t, 1, i)
		b := eventlog.Branch{LogID: w.Log}
		var pages []*eventlog.Page
		for n := range 10 {
			pages = append(pages, w.Page(t, fmt.Sprint(n)))
		}
		heads = append(heads, headOf(b, pages[9]))
		wg.Go(func() {
			for _, p := range pages {
				if err := s.Append(ctx, b, p); err != nil {
					t.Errorf("append page %d: %v", p.Number, err)
				}
				if _, err := s.Read(ctx, b, 0, limit); err != nil {
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	wg.Wait()
	wantHeads(t, s, heads...)
}
