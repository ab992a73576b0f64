// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// fromOldHolders returns how long 150 pages take from so many holders over one line of 64 kbit/s, and how many bytes are sent; old
// ones know neither parts nor packing.
func fromOldHolders(t *testing.T, holders int, old bool) (took time.Duration, sent int) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "d", "e", "g"}
		f := newFederation(t, append([]string{"c"}, names[:holders]...)...)
		f.running = true
		c, a := f.sites[0], f.sites[1]
		line := make(chan int, 1)
		line <- 0
		for _, s := range f.sites[1:] {
			serve := s.rep.Serve(eventlog.VerbPages)
			s.port.Handle(eventlog.VerbPages, overLine(line, 8000, c.name, func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
				if old && peer == c.name {
					var q map[string]any
					if err := json.Unmarshal(body, &q); err != nil {
						return nil, err
					}
					delete(q, "stretch")
					delete(q, "pack")
					body, _ = json.Marshal(q)
				}
				return serve(ctx, peer, body)
			}))
		}
		var r eventlog.Receipt
		for i := range 150 {
			var err error
			r, err = a.log.Append(t.Context(), "nordtal", event.Record, event.Draft{Subject: "note/large", Kind: "note.Written", Mode: event.Test, Data: logtest.Dense(3<<10, i)})
			if err != nil {
				t.Fatal(err)
			}
		}
		f.net.Cut(c.name, a.name)
		for _, s := range f.sites[2:] {
			f.exchangeBetween(s, a)
		}
		f.net.Heal(c.name, a.name)
		f.runs(t, f.sites, func(context.Context) {
			began := time.Now()
			has := func(h eventlog.Head) bool { return h.Branch.LogID == r.Log && h.Page >= r.Last.Page }
			for !slices.ContainsFunc(c.log.Heads(), has) {
				time.Sleep(100 * time.Millisecond)
				if time.Since(began) > 2*time.Hour {
					t.Fatal("it does not come")
				}
			}
			took, sent = time.Since(began), <-line
			line <- sent
		})
	})
	return took, sent
}

func TestHoldersOfTheVersionBeforeAreNotAllAskedForTheSame(t *testing.T) {
	for _, old := range []bool{false, true} {
		alone, bytes := fromOldHolders(t, 1, old)
		took, sent := fromOldHolders(t, 5, old)
		t.Logf("old=%v: 5 holders %v and %d bytes, one %v and %d", old, took, sent, alone, bytes)
		if sent > bytes*3/2 {
			t.Errorf("old=%v: from 5 holders %d bytes came in %v, from one %d in %v", old, sent, took, bytes, alone)
		}
	}
}

// After a large alarm is here, nothing of it should come any more.
func TestNothingComesOfWhatIsHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, "c", "a", "b")
		f.running = true
		c, a := f.sites[0], f.sites[1]
		carried := behindOneLine(8000, c.name, f.sites[1:], eventlog.VerbPages)
		f.runs(t, f.sites, func(context.Context) {
			time.Sleep(20 * time.Second)
			var drafts []event.Draft
			for i := range 9 {
				drafts = append(drafts, event.Draft{Subject: "note/large", Kind: "note.Written", Mode: event.Test, Data: logtest.Dense(49<<10, i), Urgent: true})
			}
			began := time.Now()
			r, err := a.log.Append(t.Context(), "nordtal", event.Operations, drafts...)
			if err != nil {
				t.Fatal(err)
			}
			has := func(h eventlog.Head) bool { return h.Branch.LogID == r.Log && h.Page >= r.Last.Page }
			for !slices.ContainsFunc(c.log.Heads(), has) {
				time.Sleep(100 * time.Millisecond)
			}
			took, at := time.Since(began), carried()
			time.Sleep(2 * time.Minute)
			t.Logf("%v, %d bytes of pages; %d after that", took, at, carried()-at)
			if more := carried() - at; more > 20<<10 {
				t.Errorf("%d bytes came of a page that was here", more)
			}
		})
	})
}
