// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

const nordtal event.AuthorityID = "lk-nordtal"

const (
	nord = "portal.nord.test"
	sued = "portal.sued.test"
)

var (
	atNord  = Origin{Host: nord, URL: "https://portal.nord.test:8443"}
	atSued  = Origin{Host: sued, URL: "https://portal.sued.test:8443"}
	console = access.Principal{Kind: access.Console, Way: access.ByConsole}
	noon    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// world is some sites with real logs, replicators, keyrings, directories and read models, on one thread and one clock.
type world struct {
	t     testing.TB
	now   time.Time
	net   *logtest.Network
	sites []*station
	// people are those of the authority by given name.
	people map[string]directory.PersonID
	told   []tellLine
	// forbidden is a member that the authority does not allow.
	forbidden event.SiteID
}

type tellLine struct {
	site   event.SiteID
	person directory.PersonID
	text   string
}

// station is one site.
type station struct {
	*Service
	w     *world
	id    *seal.Identity
	name  event.SiteID
	ring  *keyring.Ring
	log   *eventlog.Log
	port  *logtest.Port
	rep   *eventlog.Replicator
	model *readmodel.Model
	dir   *directory.Service
	local *localstore.Store
	// mute makes the site's messenger fail.
	mute bool
}

// The world is the policy and the federation of its sites.

func (w *world) Member(site event.SiteID) bool {
	for _, s := range w.sites {
		if s.name == site {
			return true
		}
	}
	return false
}
func (w *world) Allowed(site event.SiteID, a event.AuthorityID) bool {
	return (a == event.Federation || w.Member(site)) && site != w.forbidden
}
func (w *world) Operator(event.SiteID) string { return "one" }
func (w *world) Held() []event.AuthorityID    { return []event.AuthorityID{nordtal} }
func (w *world) clock() time.Time             { return w.now }

func newWorld(t testing.TB, sites int) *world {
	t.Helper()
	w := &world{t: t, now: noon, net: logtest.NewNetwork(1), people: make(map[string]directory.PersonID)}
	for range sites {
		id, err := seal.NewIdentity(rand.Reader)
		ok(t, err)
		w.sites = append(w.sites, &station{w: w, id: id, name: id.Site()})
	}
	for _, s := range w.sites {
		s.start()
	}
	ok(t, w.sites[0].ring.Found(w.ctx(), nordtal))
	for _, s := range w.sites[1:] {
		pub, _ := s.id.SealingKey()
		ok(t, w.sites[0].ring.Grant(w.ctx(), nordtal, s.name, pub))
	}
	var file strings.Builder
	file.WriteString("Personalnummer;Nachname;Vorname;Mobil;E-Mail\n")
	for i, name := range []string{"Anna", "Bernd", "Clara", "Dora", "Emil"} {
		fmt.Fprintf(&file, "%d;%sson;%s;+4917100000%d;%s@nordtal.test\n", 100+i, name, name, i, strings.ToLower(name))
	}
	_, err := w.sites[0].dir.Import(w.ctx(), nordtal, directory.ImportOptions{}, strings.NewReader(file.String()))
	ok(t, err)
	people, _, err := w.sites[0].dir.People(w.ctx(), nordtal, directory.Search{})
	ok(t, err)
	for _, p := range people {
		w.people[p.GivenName] = p.ID
	}
	w.merge()
	return w
}

func (w *world) ctx() context.Context { return w.t.Context() }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start opens everything of a site, in memory.
func (s *station) start() {
	t, w := s.w.t, s.w
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	var err error
	s.ring, err = keyring.Open(":memory:", keyring.Config{Identity: s.id, Rand: rand.Reader, Now: w.clock, Grounds: s.grounds})
	ok(t, err)
	s.log, err = eventlog.Open(w.ctx(), eventlog.Config{Identity: s.id, Store: eventlog.NewMemory(w.clock), Clock: event.NewClock(w.clock),
		Rand: rand.Reader, Policy: w, Keys: s.ring, Now: w.clock, Logger: logger})
	ok(t, err)
	s.port = w.net.Join(s.name)
	s.rep, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{Log: s.log, Link: s.port, Policy: w, Self: s.name, Now: w.clock, Rand: rand.Reader, Logger: logger,
		Peers: func() (ids []event.SiteID) {
			for _, o := range w.sites {
				ids = append(ids, o.name)
			}
			return ids
		}})
	ok(t, err)
	s.port.Serve(s.rep)
	s.model, err = readmodel.Open(w.ctx(), readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{directory.Fold(), Fold()}, Source: s.log,
		Keys: s.ring, Self: s.name, Now: w.clock})
	ok(t, err)
	s.local, err = localstore.Open(":memory:", w.clock)
	ok(t, err)
	t.Cleanup(func() { ok(t, errors.Join(s.model.Close(), s.local.Close(), s.ring.Close())) })
	s.dir = directory.New(directory.Config{Log: s.log, Model: s.model, Keys: s.ring, Rand: rand.Reader})
	s.Service = New(Config{
		Self: s.name, Identity: s.id, Federation: w, Log: s.log, Model: s.model, Directory: s.dir, Keys: s.ring, Local: s.local, Messenger: s,
		Names: func(event.AuthorityID) []string { return []string{nord, sued} },
		Administrators: func(context.Context, event.AuthorityID) ([]directory.PersonID, error) {
			return []directory.PersonID{w.people["Emil"]}, nil
		},
		Now: w.clock, Rand: rand.Reader, Logger: logger,
	})
}

// grounds is the part of the rule for erasing keys that register and accounts know: the person was erased.
func (s *station) grounds(ctx context.Context, a event.AuthorityID, keys []event.KeyID) (map[event.KeyID]keyring.Ground, error) {
	found := make(map[event.KeyID]keyring.Ground)
	add := func(key event.KeyID, erased bool, by event.SiteID) {
		g := found[key]
		found[key] = keyring.Ground{Due: g.Due || erased, Needed: g.Needed || !erased, By: by}
	}
	uses, err := s.dir.KeyUses(ctx, a, keys)
	if err != nil {
		return nil, err
	}
	for _, u := range uses {
		add(u.Key, u.Erased, u.By)
	}
	erasers, err := s.dir.Erasers(ctx, a)
	if err != nil {
		return nil, err
	}
	accounts, err := s.KeyUses(ctx, a, keys)
	for key, people := range accounts {
		for _, p := range people {
			by, erased := erasers[p]
			add(key, erased, by)
		}
	}
	return found, err
}

// Tell is the site's messenger.
func (s *station) Tell(_ context.Context, _ event.AuthorityID, person directory.PersonID, m Message) error {
	if s.mute {
		return errors.New("no gateway")
	}
	s.w.told = append(s.w.told, tellLine{s.name, person, m.TextDE})
	return nil
}

// merge lets all sites have everything of each other.
func (w *world) merge() {
	w.t.Helper()
	for range 3 {
		for _, s := range w.sites {
			for _, o := range w.sites {
				if o == s {
					continue
				}
				records, next, _, err := o.ring.Changes(w.ctx(), nordtal, keyring.Cursor{}, 1<<20)
				ok(w.t, err)
				_, err = s.ring.Merge(w.ctx(), o.name, nordtal, records, keyring.Cursor{}, next)
				ok(w.t, err)
				if _, err := s.rep.Step(w.ctx(), o.name); err != nil && fault.KindOf(err) != fault.Unavailable {
					w.t.Fatal(err)
				}
			}
			_, err := s.model.CatchUp(w.ctx())
			ok(w.t, err)
			_, err = s.ring.Judge(w.ctx())
			ok(w.t, err)
		}
	}
	w.refresh()
	w.converged()
}

// refresh shows again what keys have come or gone for.
func (w *world) refresh() {
	for _, s := range w.sites {
		records, _, _, err := s.ring.Changes(w.ctx(), nordtal, keyring.Cursor{}, 1<<20)
		ok(w.t, err)
		var refs []readmodel.KeyRef
		for _, r := range records {
			refs = append(refs, readmodel.KeyRef{Authority: nordtal, KeyID: r.ID})
		}
		ok(w.t, s.model.KeysChanged(w.ctx(), refs))
	}
}

// converged fails unless all sites have the same state and nothing is set aside.
func (w *world) converged() {
	w.t.Helper()
	want := ""
	for _, s := range w.sites {
		got, err := s.model.StateHash(w.ctx())
		ok(w.t, err)
		if want == "" {
			want = got
		}
		if got != want {
			w.t.Error("the sites' states differ")
		}
		if aside, err := s.model.SetAside(w.ctx()); err != nil || len(aside) > 0 {
			w.t.Errorf("set aside: %v, %v", aside, err)
		}
	}
}

// begin gives somebody a full session by a link of the console.
func (s *station) begin(name string) access.Principal {
	s.w.t.Helper()
	secret, _, err := s.Link(s.w.ctx(), console, nordtal, s.w.people[name], 0)
	ok(s.w.t, err)
	p, err := s.UseLink(s.w.ctx(), secret)
	ok(s.w.t, err)
	return p
}

// enrol enrols a device under a name.
func (s *station) enrol(p access.Principal, d *authenticator.Device, o Origin) Passkey {
	s.w.t.Helper()
	options, err := s.BeginPasskey(s.w.ctx(), p, o)
	ok(s.w.t, err)
	answer, err := d.Create(o.URL, options)
	ok(s.w.t, err)
	made, _, err := s.FinishPasskey(s.w.ctx(), p, o, "Diensthandy", answer)
	ok(s.w.t, err)
	return made
}

// signIn signs in with a device.
func (s *station) signIn(d *authenticator.Device, o Origin) (access.Principal, error) {
	s.w.t.Helper()
	options, err := s.BeginSignIn(s.w.ctx(), o)
	ok(s.w.t, err)
	answer, err := d.Get(o.URL, options)
	ok(s.w.t, err)
	return s.FinishSignIn(s.w.ctx(), o, answer)
}

func (s *station) sheet(p access.Principal) []string {
	s.w.t.Helper()
	codes, _, err := s.IssueCodes(s.w.ctx(), p)
	ok(s.w.t, err)
	return codes
}

func (s *station) account(name string) Account {
	s.w.t.Helper()
	a, err := s.Account(s.w.ctx(), nordtal, s.w.people[name])
	ok(s.w.t, err)
	return a
}

func refused(t testing.TB, err error, want *fault.Fault) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}
