// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

const nordtal event.AuthorityID = "lk-nordtal"

var morning = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// world is some sites in one process that see each other's logs only when the test lets them.
type world struct {
	t     testing.TB
	now   time.Time
	sites []*node
}

type node struct {
	*Service
	w         *world
	id        *seal.Identity
	log       *eventlog.Log
	model     *readmodel.Model
	skew      time.Duration
	removed   bool
	forbidden bool
}

func ok(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB, n int, change ...func(*Config)) *world {
	w := &world{t: t, now: morning}
	for i := range n {
		w.sites = append(w.sites, w.site(i, change...))
	}
	return w
}

func (w *world) site(i int, change ...func(*Config)) *node {
	w.t.Helper()
	random := rand.NewChaCha8([32]byte{byte(i + 1)})
	id, err := seal.NewIdentity(random)
	ok(w.t, err)
	n := &node{w: w, id: id}
	quiet := slog.New(slog.DiscardHandler)
	n.log, err = eventlog.Open(context.Background(), eventlog.Config{Identity: id, Store: eventlog.NewMemory(n.clock), Clock: event.NewClock(n.clock),
		Rand: random, Policy: w, Now: n.clock, Logger: quiet})
	ok(w.t, err)
	n.model, err = readmodel.Open(context.Background(), readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: n.log,
		Self: id.Site(), Now: n.clock, Logger: quiet})
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, n.model.Close()) })
	cfg := Config{Identity: id, Federation: w, Log: n.log, Model: n.model, Now: n.clock, Rand: random}
	for _, c := range change {
		c(&cfg)
	}
	n.Service = New(cfg)
	return n
}

func (n *node) clock() time.Time { return n.w.now.Add(n.skew) }

func (w *world) find(site event.SiteID) *node {
	i := slices.IndexFunc(w.sites, func(n *node) bool { return n.id.Site() == site })
	if i < 0 {
		return nil
	}
	return w.sites[i]
}

func (w *world) Member(site event.SiteID) bool {
	n := w.find(site)
	return n != nil && !n.removed
}

func (w *world) Allowed(site event.SiteID, a event.AuthorityID) bool {
	return w.Member(site) && !w.find(site).forbidden && a == nordtal
}

func (w *world) Operator(site event.SiteID) string { return site.Short() }

// exchange lets all sites have all pages.
func (w *world) exchange() {
	w.t.Helper()
	for _, to := range w.sites {
		for _, from := range w.sites {
			if to != from {
				to.pull(from)
			}
		}
	}
	want := w.sites[0].hash()
	for _, n := range w.sites[1:] {
		if n.hash() != want {
			w.t.Error("the sites' states differ")
		}
	}
}

func (n *node) pull(from *node) {
	n.w.t.Helper()
	ctx := context.Background()
	for _, h := range from.log.Heads() {
		have, _ := n.log.Head(h.Branch)
		pages, err := from.log.Read(ctx, h.Branch, have.Page, 1<<20)
		ok(n.w.t, err)
		for _, p := range pages {
			_, err := n.log.Accept(ctx, [][]byte{bytes.Clone(p.Raw())})
			ok(n.w.t, err)
		}
	}
	_, err := n.model.CatchUp(ctx)
	ok(n.w.t, err)
}

func (n *node) hash() string {
	h, err := n.model.StateHash(context.Background())
	ok(n.w.t, err)
	return h
}

func person() access.Principal {
	return access.Principal{Kind: access.Person, Authority: nordtal, ID: "12c0ffee12c0ffee", Way: access.ByPasskey}
}

func operator() access.Principal { return access.Principal{Kind: access.Console, Way: access.ByLink} }

// enter issues a token for p at the site and returns it with the principal that it carries.
func (n *node) enter(p access.Principal) (string, access.Principal) {
	n.w.t.Helper()
	token, _, err := n.Issue(context.Background(), p)
	ok(n.w.t, err)
	c, err := parse(token)
	ok(n.w.t, err)
	return token, c.Principal
}

// wants fails unless Verify at the site says want about the token.
func (n *node) wants(token string, want error) {
	n.w.t.Helper()
	p, _, err := n.Verify(context.Background(), token)
	if !errors.Is(err, want) || want == nil && err != nil {
		n.w.t.Errorf("got %v, want %v", err, want)
	}
	if err != nil && !p.IsZero() {
		n.w.t.Errorf("a refused token tells of %+v", p)
	}
}

func (n *node) endAll(by access.Principal) {
	n.w.t.Helper()
	_, err := n.EndAll(context.Background(), by, nordtal, access.Person, person().ID)
	ok(n.w.t, err)
}
