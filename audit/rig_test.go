// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

const nordtal event.AuthorityID = "lk-nordtal"

// world is some sites in one process with one clock.
type world struct {
	t     testing.TB
	ctx   context.Context
	now   time.Time
	sites []*rig
	early bool // keys may be destroyed before their month is over
}

// rig is one site with everything the audit stands on, in memory.
type rig struct {
	*Service
	w     *world
	id    *seal.Identity
	disk  *eventlog.Memory
	log   *eventlog.Log
	ring  *keyring.Ring
	model *readmodel.Model
}

// policy lets every site hold everything but the forbidden authority.
type policy struct{}

const forbidden event.AuthorityID = "not-allowed-here"

func (policy) Member(event.SiteID) bool                         { return true }
func (policy) Allowed(_ event.SiteID, a event.AuthorityID) bool { return a != forbidden }
func (policy) Operator(event.SiteID) string                     { return "one" }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newWorld makes so many sites that all hold the key of nordtal.
func newWorld(t testing.TB, sites int) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), now: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
	for range sites {
		w.sites = append(w.sites, w.site(":memory:"))
	}
	ok(t, w.sites[0].ring.Found(w.ctx, nordtal))
	for _, r := range w.sites[1:] {
		pub, _ := r.id.SealingKey()
		ok(t, w.sites[0].ring.Grant(w.ctx, nordtal, r.id.Site(), pub))
	}
	w.meet()
	return w
}

func (w *world) site(path string) *rig {
	w.t.Helper()
	now := func() time.Time { return w.now }
	r := &rig{w: w, disk: eventlog.NewMemory(now)}
	var err error
	r.id, err = seal.NewIdentity(rand.Reader)
	ok(w.t, err)
	r.ring, err = keyring.Open(":memory:", keyring.Config{Identity: r.id, Rand: rand.Reader, Now: now,
		Grounds: func(ctx context.Context, a event.AuthorityID, keys []event.KeyID) (map[event.KeyID]keyring.Ground, error) {
			over, err := r.KeyUses(ctx, a, keys, 30)
			found := make(map[event.KeyID]keyring.Ground)
			for _, key := range keys {
				past, known := over[key]
				found[key] = keyring.Ground{Due: past || w.early, Needed: known && !past && !w.early}
			}
			return found, err
		}})
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, r.ring.Close()) })
	r.log, err = eventlog.Open(w.ctx, eventlog.Config{Identity: r.id, Store: r.disk, Clock: event.NewClock(now),
		Rand: rand.Reader, Policy: policy{}, Keys: r.ring, Now: now})
	ok(w.t, err)
	r.model, err = readmodel.Open(w.ctx, readmodel.Config{Path: path, Folds: []readmodel.Fold{Fold()}, Source: r.log, Keys: r.ring,
		Self: r.id.Site(), Now: now})
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, r.model.Close()) })
	r.Service = New(Config{Self: r.id.Site(), Log: r.log, Model: r.model, Keys: r.ring, Now: now, Rand: rand.Reader,
		Source: func(address string) string { return fmt.Sprintf("~%x", len(address)) }})
	return r
}

// meet lets all sites exchange their keys and pages, and fold them.
func (w *world) meet() {
	w.t.Helper()
	for _, from := range w.sites {
		for _, to := range w.sites {
			if from != to {
				from.giveTo(to)
			}
		}
	}
	for _, r := range w.sites {
		r.fold()
	}
}

func (r *rig) giveTo(to *rig) {
	r.w.t.Helper()
	cursor, err := to.ring.Cursor(r.w.ctx, r.id.Site(), nordtal)
	ok(r.w.t, err)
	records, next, _, err := r.ring.Changes(r.w.ctx, nordtal, cursor, 1<<20)
	ok(r.w.t, err)
	_, err = to.ring.Merge(r.w.ctx, r.id.Site(), nordtal, records, cursor, next)
	ok(r.w.t, err)
	for _, h := range r.log.Heads() {
		for after := uint64(0); after < h.Page; {
			pages, err := r.log.Read(r.w.ctx, h.Branch, after, 1<<20)
			ok(r.w.t, err)
			for _, p := range pages {
				after = p.Number
				_, err := to.log.Accept(r.w.ctx, [][]byte{p.Raw()})
				ok(r.w.t, err)
			}
		}
	}
}

func (r *rig) fold() {
	r.w.t.Helper()
	_, err := r.model.CatchUp(r.w.ctx)
	ok(r.w.t, err)
	aside, err := r.model.SetAside(r.w.ctx)
	ok(r.w.t, err)
	if len(aside) > 0 {
		r.w.t.Fatalf("subjects were set aside: %+v", aside)
	}
}

// lines returns what the query finds after everything has been folded.
func (r *rig) lines(authority event.AuthorityID, q Query) []Line {
	r.w.t.Helper()
	r.fold()
	lines, err := r.Entries(r.w.ctx, authority, q)
	ok(r.w.t, err)
	return lines
}

// pages returns all pages of the authority's logs at this site.
func (r *rig) pages(authority event.AuthorityID) (pages []*eventlog.Page) {
	r.w.t.Helper()
	for _, h := range auditHeads(r.log, authority) {
		for after := uint64(0); after < h.Page; {
			list, err := r.log.Read(r.w.ctx, h.Branch, after, 1<<20)
			ok(r.w.t, err)
			pages = append(pages, list...)
			after = list[len(list)-1].Number
		}
	}
	return pages
}

func (r *rig) export(authority event.AuthorityID) []byte {
	r.w.t.Helper()
	var b bytes.Buffer
	ok(r.w.t, r.Export(r.w.ctx, authority, r.log, &b))
	return b.Bytes()
}
