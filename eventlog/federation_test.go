// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// federation is some sites on one in-memory network, and the policy that they share.
type federation struct {
	t       testing.TB
	net     *logtest.Network
	now     time.Time
	sites   []*testSite
	allowed map[event.AuthorityID][]event.SiteID // an authority that is not named allows everybody
	running bool                                 // real time, for tests of Run
}

type testSite struct {
	f           *federation
	id          *seal.Identity
	name        event.SiteID
	operator    string
	policy      eventlog.Policy // what this site goes by; the federation unless a test says otherwise
	disk        *eventlog.Memory
	keys        *testKeys
	incarnation string
	rnd         *rand.ChaCha8
	log         *eventlog.Log
	port        *logtest.Port
	rep         *eventlog.Replicator
	space       func() (free, reserve uint64)
}

// testKeys is a keyring that knows only which keys are missing.
type testKeys struct {
	missing map[event.KeyID]bool
	asked   int
}

func (k *testKeys) Missing(_ context.Context, _ event.AuthorityID, ids []event.KeyID) ([]event.KeyID, error) {
	var out []event.KeyID
	for _, id := range ids {
		if k.missing[id] {
			out = append(out, id)
		}
	}
	return out, nil
}

func benchFederation(b *testing.B, operators ...string) *federation {
	f := newFederation(b, operators...)
	f.running = true
	return f
}

func newFederation(t testing.TB, operators ...string) *federation {
	f := &federation{
		t: t, net: logtest.NewNetwork(1), now: time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC),
		allowed: make(map[event.AuthorityID][]event.SiteID),
	}
	for i, op := range operators {
		var seed [32]byte
		seed[0] = byte(i + 1)
		s := &testSite{f: f, operator: op, rnd: rand.NewChaCha8(seed), keys: &testKeys{missing: make(map[event.KeyID]bool)}}
		id, err := seal.NewIdentity(s.rnd)
		if err != nil {
			t.Fatal(err)
		}
		s.id, s.name, s.disk, s.policy = id, id.Site(), eventlog.NewMemory(f.clock), f
		f.sites = append(f.sites, s)
	}
	for _, s := range f.sites {
		s.start()
	}
	return f
}

func (f *federation) clock() time.Time {
	if f.running {
		return time.Now()
	}
	return f.now
}

func (f *federation) Member(site event.SiteID) bool { return f.Operator(site) != "" }

func (f *federation) Allowed(site event.SiteID, authority event.AuthorityID) bool {
	list, named := f.allowed[authority]
	return f.Member(site) && (!named || slices.Contains(list, site))
}

func (f *federation) Operator(site event.SiteID) string {
	for _, s := range f.sites {
		if s.name == site {
			return s.operator
		}
	}
	return ""
}

func (f *federation) peers() []event.SiteID {
	var out []event.SiteID
	for _, s := range f.sites {
		out = append(out, s.name)
	}
	return out
}

// start opens the site on its disk, as after a crash or a first start.
func (s *testSite) start() {
	s.f.t.Helper()
	logger := slog.New(slog.DiscardHandler)
	log, err := eventlog.Open(s.f.t.Context(), eventlog.Config{
		Identity: s.id, Store: s.disk, Clock: event.NewClock(s.f.clock), Rand: s.rnd, Policy: s.policy, Keys: s.keys,
		Now: s.f.clock, Logger: logger, Incarnation: s.incarnation,
		OnIncarnation: func(i string) error { s.incarnation = i; return nil },
		Space:         s.space,
		Vouched:       func(id eventlog.LogID) bool { return s.rep.Vouched(id) },
	})
	if err != nil {
		s.f.t.Fatal(err)
	}
	s.log, s.port = log, s.f.net.Join(s.name)
	s.rep, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: log, Link: s.port, Policy: s.policy, Self: s.name, Peers: s.f.peers, Now: s.f.clock, Rand: s.rnd, Logger: logger,
		NeedKeys: func(context.Context, event.SiteID) error { s.keys.asked++; return nil },
	})
	if err != nil {
		s.f.t.Fatal(err)
	}
	s.port.Serve(s.rep)
}

func (s *testSite) append(authority event.AuthorityID, what string, keys ...event.KeyID) eventlog.Receipt {
	s.f.t.Helper()
	return s.write(authority, event.Operations, what, keys...)
}

// record writes what is not urgent.
func (s *testSite) record(authority event.AuthorityID, what string) eventlog.Receipt {
	s.f.t.Helper()
	return s.write(authority, event.Record, what)
}

func (s *testSite) write(authority event.AuthorityID, class event.Class, what string, keys ...event.KeyID) eventlog.Receipt {
	s.f.t.Helper()
	r, err := s.log.Append(s.f.t.Context(), authority, class, event.Draft{
		Subject: event.Subject("note/" + what), Kind: "note.Written", Actor: "operator", Mode: event.Test, Keys: keys,
	})
	if err != nil {
		s.f.t.Fatal(err)
	}
	return r
}

// step does one step with the peer; being cut off is no trouble, anything else is.
func (s *testSite) step(peer *testSite) int {
	s.f.t.Helper()
	n, err := s.rep.Step(s.f.t.Context(), peer.name)
	if err != nil && fault.KindOf(err) != fault.Unavailable {
		s.f.t.Fatal(err)
	}
	return n
}

// exchange lets everybody step with everybody until nothing moves.
func (f *federation) exchange() {
	f.t.Helper()
	for still := 0; still < 2; still++ {
		for _, a := range f.sites {
			for _, b := range f.sites {
				if a != b && a.step(b) > 0 {
					still = 0
				}
			}
		}
	}
}

// content lists a site's events by log, fork or not, as subjects.
func (s *testSite) content() string {
	s.f.t.Helper()
	var lines []string
	for _, h := range s.log.Heads() {
		pages, err := s.log.Read(s.f.t.Context(), h.Branch, 0, 64<<20)
		if err != nil {
			s.f.t.Fatal(err)
		}
		for _, p := range pages {
			for _, e := range p.Events {
				lines = append(lines, fmt.Sprintf("%s %d %s %s", h.Branch.LogID, p.Number, p.Hash, e.Subject))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (f *federation) wantEqual(lines int) {
	f.t.Helper()
	want := f.sites[0].content()
	if n := len(strings.Split(want, "\n")); n != lines {
		f.t.Errorf("the first site has %d events, want %d:\n%s", n, lines, want)
	}
	for _, s := range f.sites[1:] {
		if got := s.content(); got != want {
			f.t.Errorf("site %s has\n%s\nwant\n%s", s.operator, got, want)
		}
	}
}
