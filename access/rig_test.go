// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

const (
	nordtal  event.AuthorityID = "lk-nordtal"
	westmark event.AuthorityID = "sv-westmark" // held here too
	farland  event.AuthorityID = "sv-farland"  // exists, not held here
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

// world is some sites on one clock, with one register of people that all of them know.
type world struct {
	t         testing.TB
	now       time.Time
	people    map[event.AuthorityID]map[directory.PersonID]directory.Person
	functions map[event.AuthorityID][]directory.Function
	units     map[event.AuthorityID][]directory.Unit
	sites     []*station
}

// station is one site.
type station struct {
	*Service
	w     *world
	ctx   context.Context
	log   *eventlog.Log
	model *readmodel.Model
	// slow is how far the site's clock is behind.
	slow time.Duration
}

// anybody lets every site hold everything.
type anybody struct{}

func (anybody) Member(event.SiteID) bool                     { return true }
func (anybody) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (anybody) Operator(event.SiteID) string                 { return "one" }

// newWorld has the people anna, bert and carl in both authorities that are held, function s1 held by dora and deputised by
// emil, and the units haus > nord > eins, haus > sued.
func newWorld(t testing.TB, sites int) *world {
	w := &world{t: t, now: noon, people: map[event.AuthorityID]map[directory.PersonID]directory.Person{},
		functions: map[event.AuthorityID][]directory.Function{}, units: map[event.AuthorityID][]directory.Unit{}}
	for _, a := range []event.AuthorityID{nordtal, westmark, farland} {
		w.people[a] = map[directory.PersonID]directory.Person{}
		for _, id := range []directory.PersonID{"anna", "bert", "carl", "dora", "emil"} {
			w.people[a][id] = directory.Person{ID: id, Units: []directory.UnitID{"eins"}, Readable: directory.Readable}
		}
		w.assign(a, "s1", "dora", "emil")
		w.units[a] = []directory.Unit{{ID: "haus"}, {ID: "nord", Parent: "haus"}, {ID: "eins", Parent: "nord"}, {ID: "sued", Parent: "haus"}}
	}
	for i := range sites {
		w.sites = append(w.sites, w.station(byte(i+1)))
	}
	return w
}

func (w *world) assign(a event.AuthorityID, f directory.FunctionID, holder, deputy directory.PersonID) {
	w.functions[a] = append(w.functions[a], directory.Function{ID: f, Holders: []directory.PersonID{holder}, Deputies: []directory.PersonID{deputy}})
	for _, id := range []directory.PersonID{holder, deputy} {
		p := w.people[a][id]
		p.Functions = append(p.Functions, f)
		w.people[a][id] = p
	}
}

func (w *world) station(seed byte) *station {
	w.t.Helper()
	s := &station{w: w, ctx: context.Background()}
	now := func() time.Time { return w.now.Add(-s.slow) }
	rnd := rand.NewChaCha8([32]byte{seed})
	id, err := seal.NewIdentity(rnd)
	ok(w.t, err)
	s.log, err = eventlog.Open(s.ctx, eventlog.Config{Identity: id, Store: eventlog.NewMemory(now), Clock: event.NewClock(now),
		Rand: rnd, Policy: anybody{}, Now: now})
	ok(w.t, err)
	s.model, err = readmodel.Open(s.ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: s.log, Self: id.Site(), Now: now})
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, s.model.Close()) })
	s.Service = New(Config{Log: s.log, Model: s.model, Directory: w, Held: func(a event.AuthorityID) bool { return a == nordtal || a == westmark },
		Now: now, Rand: rand.NewChaCha8([32]byte{seed, 1})})
	return s
}

// The world is the directory of its sites.

func (w *world) Person(_ context.Context, a event.AuthorityID, id directory.PersonID) (directory.Person, error) {
	p, known := w.people[a][id]
	if !known {
		return p, directory.ErrPersonUnknown
	}
	return p, nil
}

func (w *world) Functions(_ context.Context, a event.AuthorityID) ([]directory.Function, error) {
	return w.functions[a], nil
}

func (w *world) Units(_ context.Context, a event.AuthorityID) ([]directory.Unit, error) {
	return w.units[a], nil
}

// pass hands all pages of one site to another, which folds them.
func pass(t testing.TB, from, to *station) {
	t.Helper()
	for _, h := range from.log.Heads() {
		pages, err := from.log.Read(from.ctx, h.Branch, 0, 64<<20)
		ok(t, err)
		var raw [][]byte
		for _, p := range pages {
			raw = append(raw, p.Raw())
		}
		_, err = to.log.Accept(to.ctx, raw)
		ok(t, err)
	}
	_, err := to.model.CatchUp(to.ctx)
	ok(t, err)
}

// merge lets every site have everything, and holds them to the same state.
func (w *world) merge() {
	w.t.Helper()
	for _, a := range w.sites {
		for _, b := range w.sites {
			if a != b {
				pass(w.t, a, b)
			}
		}
	}
	want := ""
	for _, s := range w.sites {
		got, err := s.model.StateHash(s.ctx)
		ok(w.t, err)
		if want == "" {
			want = got
		}
		aside, err := s.model.SetAside(s.ctx)
		ok(w.t, err)
		if got != want || len(aside) > 0 {
			w.t.Errorf("the sites' states differ, or something was set aside: %v", aside)
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

func person(id string) Principal {
	return Principal{Kind: Person, Authority: nordtal, ID: id, Way: ByPasskey, Session: fmt.Sprintf("%032x", 1)}
}

var console = Principal{Kind: Console, Way: ByConsole}

// grants gives a role at the console.
func (s *station) grants(role Role, to directory.PersonID, unit ...directory.UnitID) Grant {
	s.w.t.Helper()
	d := GrantDraft{Role: role, Person: to}
	if len(unit) > 0 {
		d.Unit = unit[0]
	}
	return s.mustGrant(d)
}

func (s *station) mustGrant(d GrantDraft) Grant {
	s.w.t.Helper()
	g, _, err := s.Grant(s.ctx, console, nordtal, d)
	ok(s.w.t, err)
	return g
}

// may fails unless somebody may, or may not, do something now.
func (s *station) may(p Principal, need Permission, want bool) Verdict {
	s.w.t.Helper()
	v, err := s.Judge(s.ctx, p, nordtal, need)
	if want {
		ok(s.w.t, err)
	} else {
		wantErr(s.w.t, err, ErrForbidden)
	}
	return v
}

// grantOf returns one grant as the list shows it.
func (s *station) grantOf(id string) Grant {
	s.w.t.Helper()
	list, err := s.Grants(s.ctx, nordtal)
	ok(s.w.t, err)
	i := slices.IndexFunc(list, func(g Grant) bool { return g.ID == id })
	if i < 0 {
		s.w.t.Fatalf("grant %s is not in the list", id)
	}
	return list[i]
}

func (s *station) ask(p Principal, d Deed, args string) Approval {
	s.w.t.Helper()
	a, _, err := s.Ask(s.ctx, p, nordtal, d, []byte(args), 900, 0)
	ok(s.w.t, err)
	return a
}

// approves carries a request out, with the given result.
func (s *station) approves(p Principal, id, result string) Approval {
	s.w.t.Helper()
	a, _, err := s.Approve(s.ctx, p, nordtal, id, func(context.Context, Approval) (string, error) { return result, nil })
	ok(s.w.t, err)
	return a
}

func (s *station) request(id string) Approval {
	s.w.t.Helper()
	a, err := s.Approval(s.ctx, nordtal, id)
	ok(s.w.t, err)
	return a
}
