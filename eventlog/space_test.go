// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// smallDisk is a disk that fills, with a reserve that it refuses to write into.
type smallDisk struct {
	*eventlog.Memory
	free, reserve uint64
	more          map[event.SiteID]int64 // bytes of a site's pages besides those that are really there
}

func (d *smallDisk) Append(ctx context.Context, b eventlog.Branch, p *eventlog.Page) error {
	if d.free < d.reserve+uint64(len(p.Raw())) {
		return eventlog.ErrNoRoom
	}
	err := d.Memory.Append(ctx, b, p)
	if err == nil {
		d.free -= uint64(len(p.Raw()))
	}
	return err
}

func (d *smallDisk) Stat(b eventlog.Branch) eventlog.Stat {
	s := d.Memory.Stat(b)
	s.Bytes += d.more[b.Site]
	return s
}

func (r *rig) onSmallDisk(free, reserve uint64) *smallDisk {
	d := &smallDisk{Memory: r.disk, free: free, reserve: reserve, more: make(map[event.SiteID]int64)}
	r.cfg.Store = d
	r.cfg.Space = func() (uint64, uint64) { return d.free, d.reserve }
	r.open()
	return d
}

func recordsOf(t *testing.T, site byte) *logtest.Writer {
	w := logtest.NewWriter(t, site, 1)
	w.Log.Class = event.Record
	return w
}

// offers offers the writer's next page, and wants it taken or refused for space.
func (r *rig) offers(w *logtest.Writer, taken bool) {
	r.t.Helper()
	next := *w
	if p := next.Page(r.t, "page"); taken {
		r.accepts(1, nil, p)
		*w = next
	} else {
		r.accepts(0, eventlog.ErrShare, p)
	}
}

func TestBulkOfAnotherSiteLeavesRoomForAlarms(t *testing.T) {
	r := newRig(t)
	d := r.onSmallDisk(1<<30, 16<<20)
	greedy, other, alarms := recordsOf(t, 2), recordsOf(t, 3), logtest.NewWriter(t, 2, 1)
	r.offers(greedy, true)
	r.offers(other, true)
	d.more = map[event.SiteID]int64{greedy.Log.Site: 100 << 20, other.Log.Site: 20 << 20}
	r.open()
	for _, c := range []struct {
		what          string
		free          uint64 // MiB
		greedy, other bool
	}{
		{"plenty", 64, true, true},
		{"scarce", 63, false, true},
		{"still scarce", 33, false, true},
		{"tight", 31, false, false},
		{"nearly at the reserve", 17, false, false},
		{"room again", 80, true, true},
	} {
		d.free = c.free<<20 + 1<<10
		r.offers(greedy, c.greedy)
		r.offers(other, c.other)
		r.offers(alarms, true)
		r.append(note(c.what))
		reported := slices.ContainsFunc(r.log.Waiting(), func(w eventlog.Waiting) bool {
			return w.Space && w.Site == greedy.Log.Site && w.Bytes > 100<<20 && !w.Since.IsZero()
		})
		if reported == c.greedy {
			t.Errorf("%s: reported is %+v", c.what, r.log.Waiting())
		}
	}
	equal(t, "sites that wait", len(r.log.Waiting()), 0)
}

// A small share is never cut off, and neither is the largest of many that share fairly.
func TestOnlyALargeShareWaitsWhileSpaceIsScarce(t *testing.T) {
	r := newRig(t)
	d := r.onSmallDisk(1<<30, 16<<20)
	var writers []*logtest.Writer
	for site := range byte(5) {
		w := recordsOf(t, site+2)
		r.offers(w, true)
		d.more[w.Log.Site] = 90 << 20
		writers = append(writers, w)
	}
	d.more[writers[4].Log.Site] = 60 << 20
	d.free = 40 << 20
	r.open()
	for _, w := range writers {
		r.offers(w, true)
	}
	d.more[writers[0].Log.Site] = 150 << 20
	r.open()
	r.offers(writers[0], false)
	r.offers(writers[1], true)
}

// Whoever calls his bulk alarms gets so much a day, while others wait for nothing.
func TestAlarmsOfOneSiteAreBoundedWhileSpaceIsScarce(t *testing.T) {
	eventlog.BoundUrgent(t, 64) // KiB
	r := newRig(t)
	d := r.onSmallDisk(30<<20, 16<<20)
	flood, honest := logtest.NewWriter(t, 2, 1), logtest.NewWriter(t, 3, 1)
	pages := func() (n int) {
		t.Helper()
		for ; n < 1000; n++ {
			next := *flood
			if _, err := r.log.Accept(t.Context(), raws(next.Page(t, strings.Repeat("x", 1000)))); err != nil {
				if !errors.Is(err, eventlog.ErrShare) {
					t.Fatal(err)
				}
				return n
			}
			*flood = next
		}
		return n
	}
	equal(t, "pages of 2 KiB taken at once", pages(), 32)
	r.offers(honest, true)
	r.now = r.now.Add(12 * time.Hour)
	equal(t, "half a day later", pages(), 16)
	d.free = 1 << 30
	equal(t, "with room again", pages(), 1000)
}

// Who belongs to the federation is learnt on a full disk too: it may be the removal of the site that has filled it.
func TestMembershipIsTakenWhileSpaceIsTight(t *testing.T) {
	r := newRig(t)
	r.onSmallDisk(20<<20, 16<<20)
	w := logtest.NewWriter(t, 2, 1)
	w.Log.Authority, w.Log.Class = event.Federation, event.Register
	r.accepts(1, nil, w.Page(t, "removed"))
	w = logtest.NewWriter(t, 2, 1)
	w.Log.Class = event.Register
	r.accepts(0, eventlog.ErrShare, w.Page(t, "a directory"))
}

// What waits for space is not fetched, and goes on by itself.
func TestWhatWaitsForSpaceIsFetchedWhenThereIsRoom(t *testing.T) {
	f := newFederation(t, "nordwerke", "suedrechen")
	a, b := f.sites[0], f.sites[1]
	free := uint64(1 << 20)
	b.space = func() (uint64, uint64) { return free, 1 << 20 }
	b.start()
	a.record("nordtal", "bulk")
	a.append("nordtal", "alarm")
	fetched := 0
	f.net.Watch(func(m logtest.Message) {
		if m.From == b.name && m.Verb == eventlog.VerbPages {
			fetched++
		}
	})
	f.exchange()
	if got := b.content(); !strings.Contains(got, "note/alarm") || strings.Contains(got, "note/bulk") || fetched != 1 {
		t.Errorf("with little space it fetched %d times and has %s", fetched, got)
	}
	equal(t, "logs that wait", len(b.log.Waiting()), 1)
	free = 1 << 30
	f.exchange()
	f.wantEqual(2)
}
