// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

const (
	nordtal event.AuthorityID  = "lk-nordtal"
	suedtal event.AuthorityID  = "lk-suedtal"
	anna    directory.PersonID = "a11aa11aa11aa11a"
	bert    directory.PersonID = "be11be11be11be11"
)

var morning = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// world is some sites in one process that see each other's logs only when the test lets them. They share a keyring.
type world struct {
	t     testing.TB
	ctx   context.Context
	now   time.Time
	ring  *keyring.Ring
	may   map[access.Permission]bool
	units []directory.UnitID // to which rights are limited
	// marked is set where giving roles takes two people.
	marked bool
	gone   directory.PersonID // out of the register
	fails  error              // what logs answer, if set
	sites  []*node
}

type node struct {
	*Service
	w     *world
	id    event.SiteID
	log   *eventlog.Log
	model *readmodel.Model
}

func ok(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB, n int) *world {
	w := &world{t: t, ctx: context.Background(), now: morning, may: map[access.Permission]bool{access.ManagePrograms: true, access.OwnAccount: true}}
	random := rand.NewChaCha8([32]byte{99})
	id, err := seal.NewIdentity(random)
	ok(t, err)
	w.ring, err = keyring.Open(":memory:", keyring.Config{Identity: id, Rand: random, Now: w.clock})
	ok(t, err)
	t.Cleanup(func() { ok(t, w.ring.Close()) })
	ok(t, w.ring.Found(w.ctx, nordtal), w.ring.Found(w.ctx, suedtal))
	for i := range n {
		w.sites = append(w.sites, w.site(i))
	}
	return w
}

func (w *world) site(i int) *node {
	w.t.Helper()
	random := rand.NewChaCha8([32]byte{byte(i + 1)})
	id, err := seal.NewIdentity(random)
	ok(w.t, err)
	n := &node{w: w, id: id.Site()}
	quiet := slog.New(slog.DiscardHandler)
	n.log, err = eventlog.Open(w.ctx, eventlog.Config{Identity: id, Store: eventlog.NewMemory(w.clock), Clock: event.NewClock(w.clock),
		Rand: random, Policy: w, Keys: w.ring, Now: w.clock, Logger: quiet})
	ok(w.t, err)
	n.model, err = readmodel.Open(w.ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: n.log, Keys: w.ring,
		Self: n.id, Now: w.clock, Logger: quiet})
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, n.model.Close()) })
	n.Service = New(Config{Self: n.id, Log: n, Model: n.model, Keys: w.ring, Directory: w, Federation: w, Access: w, Now: w.clock, Rand: random})
	return n
}

// The world is the clock, the policy, the federation, the directory and the judge of its sites.

func (w *world) clock() time.Time                             { return w.now }
func (w *world) Member(event.SiteID) bool                     { return true }
func (w *world) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (w *world) Operator(site event.SiteID) string            { return site.Short() }
func (w *world) Held() []event.AuthorityID                    { return []event.AuthorityID{suedtal, nordtal} }

func (w *world) Judge(_ context.Context, p access.Principal, a event.AuthorityID, need access.Permission) (access.Verdict, error) {
	if p.Authority != a {
		return access.Verdict{}, access.ErrNoAuthority
	}
	if !w.may[need] {
		return access.Verdict{}, access.ErrForbidden
	}
	return access.Verdict{Grant: "00112233445566aa", Units: w.units}, nil
}

func (w *world) NeedsSecond(context.Context, access.Principal, event.AuthorityID, access.Deed, int) (bool, error) {
	return w.marked, nil
}

func (w *world) Contact(_ context.Context, a event.AuthorityID, id directory.PersonID) (directory.Person, error) {
	mail := map[directory.PersonID]string{anna: "Anna.Weiss@nordtal.example", bert: "bert@nordtal.example"}[id]
	if a != nordtal || mail == "" || id == w.gone {
		return directory.Person{}, directory.ErrPersonUnknown
	}
	return directory.Person{ID: id, Readable: directory.Readable, Reachability: []directory.Channel{{Kind: directory.Email, Address: mail}}}, nil
}

// Append is the log's, unless the world lets logs fail.
func (n *node) Append(ctx context.Context, a event.AuthorityID, c event.Class, drafts ...event.Draft) (eventlog.Receipt, error) {
	if n.w.fails != nil {
		return eventlog.Receipt{}, n.w.fails
	}
	return n.log.Append(ctx, a, c, drafts...)
}

// exchange lets all sites have all pages, and holds them to the same state.
func (w *world) exchange() {
	w.t.Helper()
	for _, to := range w.sites {
		for _, from := range w.sites {
			if to != from {
				to.pull(from)
			}
		}
	}
	want, err := w.sites[0].model.StateHash(w.ctx)
	ok(w.t, err)
	for _, n := range w.sites {
		if got, err := n.model.StateHash(w.ctx); err != nil || got != want {
			w.t.Errorf("the sites' states differ (%v)", err)
		}
		aside, err := n.model.SetAside(w.ctx)
		ok(w.t, err)
		if len(aside) > 0 {
			w.t.Errorf("set aside: %+v", aside)
		}
	}
}

func (n *node) pull(from *node) {
	n.w.t.Helper()
	for _, h := range from.log.Heads() {
		have, _ := n.log.Head(h.Branch)
		pages, err := from.log.Read(n.w.ctx, h.Branch, have.Page, 1<<20)
		ok(n.w.t, err)
		for _, p := range pages {
			_, err := n.log.Accept(n.w.ctx, [][]byte{bytes.Clone(p.Raw())})
			ok(n.w.t, err)
		}
	}
	_, err := n.model.CatchUp(n.w.ctx)
	ok(n.w.t, err)
}

// raw returns all bytes of the site's logs.
func (n *node) raw() []byte {
	n.w.t.Helper()
	var raw []byte
	for _, h := range n.log.Heads() {
		pages, err := n.log.Read(n.w.ctx, h.Branch, 0, 1<<24)
		ok(n.w.t, err)
		for _, p := range pages {
			raw = append(raw, p.Raw()...)
		}
	}
	return raw
}

func administrator() access.Principal {
	return access.Principal{Kind: access.Person, Authority: nordtal, ID: "12c0ffee12c0ffee", Way: access.ByPasskey}
}

func person(id directory.PersonID) access.Principal {
	return access.Principal{Kind: access.Person, Authority: nordtal, ID: string(id), Way: access.ByPasskey}
}

func (n *node) make(d Draft) (Program, string) {
	n.w.t.Helper()
	p, token, _, err := n.Make(n.w.ctx, administrator(), nordtal, d)
	ok(n.w.t, err)
	return p, token
}

func script() Draft {
	return Draft{Name: "Leitstelle", Kind: API, Scopes: []access.Permission{access.SeeAlarms, access.RaiseAlarm}}
}

// comes fails unless the token lets in at the site.
func (n *node) comes(token string) access.Principal {
	n.w.t.Helper()
	p, err := n.Authenticate(n.w.ctx, token)
	ok(n.w.t, err)
	return p
}

func (n *node) program(id ID) Program {
	n.w.t.Helper()
	p, err := n.Program(n.w.ctx, nordtal, id)
	ok(n.w.t, err)
	return p
}

func (n *node) refuses(token string) {
	n.w.t.Helper()
	if p, err := n.Authenticate(n.w.ctx, token); err != ErrToken || !p.IsZero() { //nolint:errorlint // the very same
		n.w.t.Errorf("got %+v, %v", p, err)
	}
}
