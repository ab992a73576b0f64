// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

const nordtal event.AuthorityID = "lk-nordtal"

// rig is one site with everything the directory stands on, in memory.
type rig struct {
	*Service
	t     testing.TB
	ctx   context.Context
	log   *eventlog.Log
	ring  *keyring.Ring
	model *readmodel.Model
}

// anybody lets every site hold everything.
type anybody struct{}

func (anybody) Member(event.SiteID) bool                     { return true }
func (anybody) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (anybody) Operator(event.SiteID) string                 { return "one" }

// grounds is the part of the rule for erasing keys that the directory knows: nobody who lives needs the key.
func (r *rig) grounds(ctx context.Context, a event.AuthorityID, keys []event.KeyID) (map[event.KeyID]keyring.Ground, error) {
	uses, err := r.KeyUses(ctx, a, keys)
	found := make(map[event.KeyID]keyring.Ground)
	for _, u := range uses {
		g := found[u.Key]
		found[u.Key] = keyring.Ground{Due: g.Due || u.Erased, Needed: g.Needed || !u.Erased, By: u.By}
	}
	return found, err
}

func newRig(t testing.TB) *rig { return newRigAt(t, ":memory:") }

func newRigAt(t testing.TB, path string) *rig {
	t.Helper()
	now := func() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }
	id, err := seal.NewIdentity(rand.Reader)
	ok(t, err)
	r := &rig{t: t, ctx: context.Background()}
	r.ring, err = keyring.Open(":memory:", keyring.Config{Identity: id, Rand: rand.Reader, Now: now, Grounds: r.grounds})
	ok(t, err)
	t.Cleanup(func() { ok(t, r.ring.Close()) })
	ok(t, r.ring.Found(r.ctx, nordtal))
	r.log, err = eventlog.Open(r.ctx, eventlog.Config{Identity: id, Store: eventlog.NewMemory(now), Clock: event.NewClock(now),
		Rand: rand.Reader, Policy: anybody{}, Keys: r.ring, Now: now})
	ok(t, err)
	r.model, err = readmodel.Open(r.ctx, readmodel.Config{Path: path, Folds: []readmodel.Fold{Fold()}, Source: r.log, Keys: r.ring,
		Self: id.Site(), Now: now})
	ok(t, err)
	t.Cleanup(func() { ok(t, r.model.Close()) })
	r.Service = New(Config{Log: r.log, Model: r.model, Keys: r.ring, Rand: rand.Reader})
	return r
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) imports(file string, o ImportOptions) Report {
	r.t.Helper()
	report, err := r.Import(r.ctx, nordtal, o, strings.NewReader(file))
	ok(r.t, err)
	aside, err := r.model.SetAside(r.ctx)
	ok(r.t, err)
	if len(aside) > 0 {
		r.t.Fatalf("subjects were set aside: %+v", aside)
	}
	return report
}

// find returns the only person that a text finds.
func (r *rig) find(text string) Person {
	r.t.Helper()
	people, total, err := r.People(r.ctx, nordtal, Search{Text: text})
	ok(r.t, err)
	if total != 1 || len(people) != 1 {
		r.t.Fatalf("%q finds %d people, want one: %+v", text, total, people)
	}
	return people[0]
}

func (r *rig) everybody() []Person {
	r.t.Helper()
	people, _, err := r.People(r.ctx, nordtal, Search{Limit: MaxLimit})
	ok(r.t, err)
	return people
}

// facts returns the kinds of all facts in the register, in order, and all their bytes.
func (r *rig) facts() (kinds []event.Kind, raw []byte) {
	r.t.Helper()
	for _, h := range r.log.Heads() {
		for after := uint64(0); after < h.Page; {
			pages, err := r.log.Read(r.ctx, h.Branch, after, 1<<20)
			ok(r.t, err)
			for _, p := range pages {
				after = p.Number
				raw = append(raw, p.Raw()...)
				for _, e := range p.Events {
					kinds = append(kinds, e.Kind)
				}
			}
		}
	}
	return kinds, raw
}

func (r *rig) function(name string) Function {
	r.t.Helper()
	functions, err := r.Functions(r.ctx, nordtal)
	ok(r.t, err)
	for _, f := range functions {
		if f.Name == name {
			return f
		}
	}
	r.t.Fatalf("no function %q in %+v", name, functions)
	return Function{}
}

func (r *rig) unit(name string) Unit {
	r.t.Helper()
	units, err := r.Units(r.ctx, nordtal)
	ok(r.t, err)
	for _, u := range units {
		if u.Name == name {
			return u
		}
	}
	r.t.Fatalf("no unit %q in %+v", name, units)
	return Unit{}
}

func (r *rig) names(list []PersonID) []string {
	r.t.Helper()
	var out []string
	for _, id := range list {
		p, err := r.Person(r.ctx, nordtal, id)
		ok(r.t, err)
		out = append(out, p.GivenName)
	}
	return out
}

// refusal returns the only refusal of an import.
func (r Report) refusal(t testing.TB) *fault.Fault {
	t.Helper()
	if r.RefusedTotal != 1 || len(r.Refused) != 1 {
		t.Fatalf("%d refusals, want one: %v", r.RefusedTotal, r.Refused)
	}
	return r.Refused[0]
}

// drain reads a whole file without a register behind it.
func drain(file []byte, o ImportOptions) (*batch, Report, error) {
	var report Report
	src, err := openSource(bytes.NewReader(file), o, &report)
	if err != nil {
		return nil, report, err
	}
	b := newBatch(seal.Key{1}, &report)
	err = b.read(context.Background(), src)
	return b, report, err
}
