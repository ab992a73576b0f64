// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// world is some sites in one process, with one clock, joined by calling each other.
type world struct {
	t     testing.TB
	ctx   context.Context
	now   time.Time
	sites []*node
}

// node is one site with everything real but its disk and network.
type node struct {
	*Service
	w     *world
	id    *seal.Identity
	name  string
	log   *eventlog.Log
	sync  *keyring.Syncer
	skew  time.Duration
	alone bool
}

func newWorld(t testing.TB) *world {
	return &world{t: t, ctx: context.Background(), now: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func seeded(n int) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}) }

// site makes a site that belongs to nothing yet.
func (w *world) site(name string) *node {
	w.t.Helper()
	n := &node{w: w, name: name}
	random := seeded(len(w.sites))
	var err error
	n.id, err = seal.NewIdentity(random)
	must(w.t, err)
	now := func() time.Time { return w.now.Add(n.skew) }
	fed := NewFederation(n.id.Site())
	local, err := localstore.Open(":memory:", now)
	must(w.t, err)
	ring, err := keyring.Open(":memory:", keyring.Config{Identity: n.id, Rand: random, Now: now})
	must(w.t, err)
	quiet := slog.New(slog.DiscardHandler)
	n.log, err = eventlog.Open(w.ctx, eventlog.Config{Identity: n.id, Store: eventlog.NewMemory(now), Clock: event.NewClock(now),
		Rand: random, Policy: fed, Now: now, Logger: quiet})
	must(w.t, err)
	model, err := readmodel.Open(w.ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: eventlog.Counted{Log: n.log}, Keys: ring,
		Self: n.id.Site(), Now: now, Logger: quiet})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, model.Close(), ring.Close(), local.Close()) })
	n.Service, err = New(w.ctx, Config{Identity: n.id, Log: n.log, Model: model, Ring: ring, Local: local, Federation: fed,
		Now: now, Rand: random, Heads: n.log.Heads})
	must(w.t, err)
	n.sync = &keyring.Syncer{Ring: ring, Link: n, Policy: fed, Authorities: fed.AuthorityIDs}
	w.sites = append(w.sites, n)
	return n
}

func (n *node) describe() Description {
	return Description{Name: n.name, Kind: Provider, Addresses: []string{n.name + ".example.org:7443"}, PortalURL: "https://" + n.name + ".example.org"}
}

func (w *world) find(id event.SiteID) *node {
	for _, n := range w.sites {
		if n.id.Site() == id && !n.alone {
			return n
		}
	}
	return nil
}

// Request is the link of the site: it reaches everybody who is not cut off.
func (n *node) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	peer := n.w.find(to)
	if peer == nil || n.alone {
		return nil, fault.New(fault.Unavailable, "test.cut", "the site is cut off", "wait")
	}
	switch verb {
	case VerbJoin:
		return peer.ServeJoin(ctx, n.id.Site(), body)
	case keyring.Verb:
		return peer.sync.Serve(ctx, n.id.Site(), body)
	}
	return nil, fmt.Errorf("no verb %s", verb)
}

// join asks to be admitted with the token.
func (n *node) join(token string) (JoinAnswer, error) {
	d := n.describe()
	return Join(n.w.ctx, JoinConfig{Token: token, Identity: n.id, Now: n.Now, Kind: d.Kind, Addresses: d.Addresses, PortalURL: d.PortalURL,
		Request: func(ctx context.Context, to event.SiteID, _ []string, body []byte) ([]byte, error) {
			return n.Request(ctx, to, VerbJoin, body)
		}})
}

// enter joins, and takes the pins as a starting site does.
func (n *node) enter(token string) {
	n.w.t.Helper()
	a, err := n.join(token)
	must(n.w.t, err)
	if a.Pending {
		n.w.t.Fatalf("%s is pending: %v of %d", n.name, a.Endorsed, a.Needed)
	}
	must(n.w.t, Pin(n.w.ctx, n.Local, a), n.loadPins(n.w.ctx))
	_, err = n.Refresh(n.w.ctx)
	must(n.w.t, err)
}

func (n *node) invite(operator string) string {
	n.w.t.Helper()
	token, err := n.Invite(n.w.ctx, "invited", operator, 0)
	must(n.w.t, err)
	return token
}

// exchange lets all sites that are not cut off pull pages and keys from each other until nothing moves.
func (w *world) exchange() {
	w.t.Helper()
	for range 20 {
		moved := 0
		for _, to := range w.sites {
			for _, from := range w.sites {
				if to != from && !to.alone && !from.alone {
					moved += to.pull(from)
				}
			}
		}
		if moved == 0 {
			return
		}
	}
	w.t.Fatal("the exchange does not come to rest")
}

func (n *node) pull(from *node) (moved int) {
	n.w.t.Helper()
	for _, h := range from.log.Heads() {
		if !from.Federation.Allowed(n.id.Site(), h.Branch.Authority) || n.log.MayHold(h.Branch.LogID) != nil {
			continue
		}
		have, _ := n.log.Head(h.Branch)
		pages, err := from.log.Read(n.w.ctx, h.Branch, have.Page, 1<<20)
		must(n.w.t, err)
		for _, p := range pages {
			accepted, err := n.log.Accept(n.w.ctx, [][]byte{bytes.Clone(p.Raw())})
			if err != nil && !errors.Is(err, eventlog.ErrClosed) {
				n.w.t.Fatal(err)
			}
			moved += accepted
		}
	}
	_, err := n.Model.CatchUp(n.w.ctx)
	must(n.w.t, err)
	_, err = n.Refresh(n.w.ctx)
	must(n.w.t, err, n.NameLogs(n.w.ctx), n.Reconcile(n.w.ctx))
	if n.Federation.Member(n.id.Site()) {
		keys, err := n.sync.Step(n.w.ctx, from.id.Site())
		must(n.w.t, err)
		moved += keys
	}
	return moved
}

// three founds a federation of three operators.
func (w *world) three() (a, b, c *node) {
	w.t.Helper()
	a, b, c = w.site("a"), w.site("b"), w.site("c")
	must(w.t, a.Found(w.ctx, "Nordwerk", a.describe()))
	b.enter(a.invite("Südwerk"))
	w.exchange()
	token := a.invite("Kreis Nordtal")
	if answer, err := c.join(token); err != nil || !answer.Pending {
		w.t.Fatalf("one operator of two admitted a site: %+v, %v", answer, err)
	}
	w.exchange()
	must(w.t, b.Endorse(w.ctx, c.id.Site()))
	w.exchange()
	c.enter(token)
	w.exchange()
	return a, b, c
}

func (w *world) wantMembers(want ...*node) {
	w.t.Helper()
	for _, at := range want {
		if got := len(at.Federation.Members()); got != len(want) {
			w.t.Errorf("at %s there are %d members, want %d", at.name, got, len(want))
		}
		for _, n := range want {
			if !at.Federation.Member(n.id.Site()) || !at.isFolded(n.id.Site()) {
				w.t.Errorf("at %s, %s is no member by facts", at.name, n.name)
			}
		}
	}
}
