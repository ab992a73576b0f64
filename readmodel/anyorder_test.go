// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// heap is a state that does not depend on the order of its events: each word with the places that it was said at.
type heap struct {
	Words map[string][]string `json:"words"`
}

// decoded counts how often a heap was read from its stored form.
var decoded atomic.Int64

func (h *heap) UnmarshalJSON(b []byte) error {
	decoded.Add(1)
	return json.Unmarshal(b, &h.Words)
}

func (h heap) MarshalJSON() ([]byte, error) { return json.Marshal(h.Words) }

func applyHeap(h heap, e Entry) (heap, error) {
	var word string
	if err := e.Decode(&word); err != nil || word == "refuse" {
		return h, errors.Join(err, errRefused)
	}
	if h.Words == nil {
		h.Words = make(map[string][]string)
	}
	place := fmt.Sprint(e.ID, e.Place.Stamp, e.Place.Page, e.Place.Index)
	if at, known := slices.BinarySearch(h.Words[word], place); !known {
		h.Words[word] = slices.Insert(h.Words[word], at, place)
	}
	return h, nil
}

// heapFold is a group of two, so that runs are looked for in its parts.
func heapFold(anyOrder bool, save func(*Tx, Ref, heap, heap) error) Fold {
	return Group{Label: "heaps", Parts: []Fold{
		Typed[heap]{Label: "heap", OwnedRoots: []string{"heap"}, KnownKinds: []event.Kind{added}, ApplyFunc: applyHeap, AnyOrder: anyOrder, SaveFunc: save},
		listFold(),
	}}
}

// With AnyOrder, as without, what is folded depends on the events only.
func TestAnyOrderFoldsTheSameWhateverTheOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src := newSource()
		failing := rapid.Bool().Draw(rt, "failing")
		for range rapid.IntRange(1, 20).Draw(rt, "pages") {
			b := branchOf(event.SiteID("site-" + strconv.Itoa(rapid.IntRange(0, 2).Draw(rt, "site"))))
			var events []event.Event
			for range rapid.IntRange(1, 3).Draw(rt, "events") {
				at := epoch.Add(time.Duration(rapid.IntRange(0, 30).Draw(rt, "at")) * time.Second)
				word := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "word")
				if failing && rapid.IntRange(0, 9).Draw(rt, "bad") == 0 {
					word = "refuse"
				}
				e := happened("heap/1", added, at, word)
				if rapid.IntRange(0, 3).Draw(rt, "copied") == 0 {
					e.ID = "0123456789abcdef"
				}
				events = append(events, e)
			}
			src.write(b, epoch, events...)
		}
		whole := open(t, Config{Source: src, Folds: []Fold{heapFold(true, nil)}})
		defer whole.Close()
		catchUp(t, whole)
		slow := &fakeSource{pages: src.pages, visible: make(map[eventlog.Branch]int)}
		for b := range src.pages {
			slow.visible[b] = 0
		}
		m := open(t, Config{Source: slow, Folds: []Fold{heapFold(true, nil)}})
		defer m.Close()
		for left := true; left; {
			left = false
			for _, b := range branchesOf(src) {
				if n := len(src.pages[b]); slow.visible[b] < n {
					slow.visible[b] += rapid.IntRange(0, min(2, n-slow.visible[b])).Draw(rt, "arrive")
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
	})
}

// A batch costs one reading of a subject's state, however many events it has, and a late event costs no more than another one.
func TestALongSubjectIsReadOnceABatch(t *testing.T) {
	src := newSource()
	const pages, perPage = 20, 200
	for i := range pages {
		events := make([]event.Event, perPage)
		for j := range events {
			events[j] = happened("heap/1", added, epoch.Add(time.Duration(i*perPage+j)*time.Second), "word "+strconv.Itoa(j))
		}
		src.write(branchOf("site-b"), epoch, events...)
	}
	m := open(t, Config{Source: src, Folds: []Fold{heapFold(true, nil)}})
	before := decoded.Load()
	catchUp(t, m)
	if n := decoded.Load() - before; n > 2*pages*perPage/batchEvents {
		t.Errorf("the state was read %d times for %d events", n, pages*perPage)
	}
	for i := range 10 { // each arrives alone, and sorts before everything
		src.write(branchOf("site-a"), epoch, happened("heap/1", added, epoch.Add(-time.Duration(i+1)*time.Second), "late"))
		applied := 0
		counting := Typed[heap]{Label: "heap", OwnedRoots: []string{"heap"}, KnownKinds: []event.Kind{added}, AnyOrder: true,
			ApplyFunc: func(h heap, e Entry) (heap, error) { applied++; return applyHeap(h, e) }}
		m.cur.folds.byRoot["heap"] = newOwner(counting)
		catchUp(t, m)
		if applied != 1 {
			t.Fatalf("a late event had %d events folded", applied)
		}
	}
	all := open(t, Config{Source: src, Folds: []Fold{heapFold(true, nil)}})
	catchUp(t, all)
	if stateHash(t, all) != stateHash(t, m) {
		t.Error("folded at once it comes to something else")
	}
}

// A site with hundreds of logs is one site: who writes one log does not wait behind all of them.
func TestASiteWithManyLogsDoesNotHoldUpAnother(t *testing.T) {
	src := newSource()
	for i := range 300 {
		b := branchOf("site-a") // sorts first
		b.Incarnation = fmt.Sprintf("%016x", i)
		for j := range 3 {
			events := make([]event.Event, 40)
			for k := range events {
				events[k] = happened("nobody/1", "nobody.Knows", epoch.Add(time.Duration(i*1000+j*100+k)), k)
			}
			src.write(b, epoch, events...)
		}
	}
	src.write(branchOf("site-z"), epoch, happened("list/1", added, epoch, "heard"))
	m := open(t, Config{Source: src, Self: "site-s"})
	batches, at := 0, 0
	told := m.cur.committed
	m.cur.committed = func(saved []Ref) {
		told(saved)
		batches++
		if len(saved) > 0 {
			at = batches
		}
	}
	catchUp(t, m)
	if at != 1 || batches < 10 {
		t.Errorf("the other site's page was folded in batch %d of %d", at, batches)
	}
}

func TestWhatAFoldLeavesOutIsToldOnceAndTakenBack(t *testing.T) {
	over := map[event.SiteID]string{"site-b": "too much", "site-a": "far too much"}
	save := func(tx *Tx, _ Ref, _, _ heap) error { return tx.KeepApart(maps.Clone(over)) }
	src := newSource()
	m := open(t, Config{Source: src, Folds: []Fold{heapFold(true, save)}, Now: func() time.Time { return epoch }})
	say := func(n int) {
		src.write(branchOf("site-b"), epoch, happened("heap/1", added, epoch.Add(time.Duration(n)*time.Second), "word"))
		catchUp(t, m)
	}
	say(1)
	ref := Ref{town, "heap/1"}
	want := []Trouble{{Ref: ref, Apart: true, Site: "site-a", Reason: "far too much", Since: epoch},
		{Ref: ref, Apart: true, Site: "site-b", Reason: "too much", Since: epoch}}
	if diff := cmp.Diff(want, setAside(t, m)); diff != "" {
		t.Error(diff)
	}
	delete(over, "site-a")
	over["site-b"] = "still too much"
	say(2)
	want = want[1:]
	want[0].Reason = "still too much"
	if diff := cmp.Diff(want, setAside(t, m)); diff != "" {
		t.Error(diff)
	}
}

func TestInTheFederationsLogsNoCarriedPlaceCounts(t *testing.T) {
	e := happened("list/1", added, epoch.Add(time.Hour), "carried")
	e.Place = &event.Place{Stamp: 1, Site: "site-a", Incarnation: "00000000000000aa", Page: 1}
	p := &eventlog.Page{Header: eventlog.Header{Log: branchOf("site-a").LogID, Number: 7}, Events: []event.Event{e}}
	if got := placeOf(p, 0); got.Page != 1 {
		t.Errorf("an authority's event sorts at %+v, want where it was first", got)
	}
	p.Log.Authority = event.Federation
	if got := placeOf(p, 0); got.Page != 7 || got.Stamp != e.Stamp || got.Incarnation != p.Log.Incarnation {
		t.Errorf("it sorts at %+v, want where it is", got)
	}
}

func TestAGroupAsksThePartThatOwnsTheRoot(t *testing.T) {
	g := heapFold(true, nil)
	if _, err := g.Apply(nil, Entry{Event: event.Event{Subject: "heaps/1", Kind: added, Data: []byte(`"x"`)}}); err == nil {
		t.Error("a subject that no part owns was folded")
	}
	state, err := g.Apply(nil, Entry{Event: event.Event{Subject: "list/1", Kind: added, Data: []byte(`"x"`)}})
	if err != nil || string(state) != `{"words":["x"]}` {
		t.Errorf("%s, %v", state, err)
	}
	if _, err := newRegistry([]Fold{g, listFold()}); err == nil {
		t.Error("two folds own one root")
	}
}
