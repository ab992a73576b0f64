// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// beside makes another site that may hold the same authority; they know of each other what share gives them.
func (r *rig) beside() *rig {
	r.t.Helper()
	now := func() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }
	id, err := seal.NewIdentity(rand.Reader)
	ok(r.t, err)
	o := &rig{t: r.t, ctx: r.ctx}
	o.ring, err = keyring.Open(":memory:", keyring.Config{Identity: id, Rand: rand.Reader, Now: now, Grounds: o.grounds})
	ok(r.t, err)
	r.t.Cleanup(func() { ok(r.t, o.ring.Close()) })
	o.log, err = eventlog.Open(r.ctx, eventlog.Config{Identity: id, Store: eventlog.NewMemory(now), Clock: event.NewClock(now),
		Rand: rand.Reader, Policy: anybody{}, Keys: o.ring, Now: now})
	ok(r.t, err)
	o.model, err = readmodel.Open(r.ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: o.log, Keys: o.ring,
		Self: id.Site(), Now: now})
	ok(r.t, err)
	r.t.Cleanup(func() { ok(r.t, o.model.Close()) })
	o.Service = New(Config{Log: o.log, Model: o.model, Keys: o.ring, Rand: rand.Reader})
	pub, _ := id.SealingKey()
	ok(r.t, r.ring.Grant(r.ctx, nordtal, id.Site(), pub))
	return o
}

// giveKeys and givePages let another site have what this one has; the other site folds it.
func (r *rig) giveKeys(to *rig) {
	r.t.Helper()
	cursor, err := to.ring.Cursor(r.ctx, r.ring.Self(), nordtal)
	ok(r.t, err)
	news, end := to.ring.Subscribe()
	defer end()
	records, next, _, err := r.ring.Changes(r.ctx, nordtal, cursor, 1<<20)
	ok(r.t, err)
	_, err = to.ring.Merge(r.ctx, r.ring.Self(), nordtal, records, cursor, next)
	ok(r.t, err)
	select {
	case changed := <-news:
		var keys []readmodel.KeyRef
		for _, c := range changed {
			keys = append(keys, readmodel.KeyRef{Authority: c.Authority, KeyID: c.KeyID})
		}
		ok(r.t, to.model.KeysChanged(r.ctx, keys))
	default:
	}
}

func (r *rig) givePages(to *rig) {
	r.t.Helper()
	for _, h := range r.log.Heads() {
		for after := uint64(0); after < h.Page; {
			pages, err := r.log.Read(r.ctx, h.Branch, after, 1<<20)
			ok(r.t, err)
			for _, p := range pages {
				after = p.Number
				_, err := to.log.Accept(r.ctx, [][]byte{p.Raw()})
				ok(r.t, err)
			}
		}
	}
	_, err := to.model.CatchUp(r.ctx)
	ok(r.t, err)
	_, err = to.ring.Judge(r.ctx)
	ok(r.t, err)
}

func meet(sites ...*rig) {
	for _, from := range sites {
		for _, to := range sites {
			if from != to {
				from.giveKeys(to)
				from.givePages(to)
			}
		}
	}
}

func (r *rig) confirms(allowed ...*rig) int {
	r.t.Helper()
	var ids []event.SiteID
	for _, a := range allowed {
		ids = append(ids, a.ring.Self())
	}
	n, err := r.ConfirmErasures(r.ctx, nordtal, r.ring.Self(), ids)
	ok(r.t, err)
	return n
}

// confirmed returns, as this site sees it, how many of the given sites have confirmed the person's erasure, in their order.
func (r *rig) confirmed(id PersonID, sites ...*rig) string {
	r.t.Helper()
	list, err := r.Erasures(r.ctx, nordtal)
	ok(r.t, err)
	for _, e := range list {
		if e.Person != id {
			continue
		}
		if e.ErasedAt.IsZero() || len(e.Confirmed) > len(sites) {
			r.t.Errorf("%+v", e)
		}
		out := ""
		for i, s := range sites {
			for _, c := range e.Confirmed {
				if c == s.ring.Self() {
					out += fmt.Sprint(i)
				}
			}
		}
		return out
	}
	return "not erased"
}

func TestAnErasureIsCompleteWhenEverySiteHasConfirmed(t *testing.T) {
	a := newRig(t)
	b, c := a.beside(), a.beside()
	a.imports(house, ImportOptions{})
	meet(a, b, c)
	bert := a.find("Buche").ID
	if n := b.confirms(a, b, c); n != 0 || a.confirmed(bert, a, b, c) != "not erased" {
		t.Errorf("%d confirmed before anything was erased", n)
	}
	var st state
	_, err := a.model.State(a.ctx, nordtal, bert.Subject(), &st)
	ok(t, err)
	ok(t, a.Erase(a.ctx, nordtal, bert))
	if n := a.confirms(a, b, c); n != 1 {
		t.Errorf("%d confirmed", n)
	}
	if n := a.confirms(a, b, c); n != 0 {
		t.Errorf("%d confirmed again", n)
	}
	if got := a.confirmed(bert, a, b, c); got != "0" {
		t.Errorf("confirmed by %q", got)
	}
	// The fact arrives at b without the mark: it suffices.
	a.givePages(b)
	if n := b.confirms(a, b, c); n != 1 {
		t.Error("b does not confirm")
	}
	key := st.Person.Key
	if _, err := b.ring.Key(b.ctx, nordtal, key); !errors.Is(err, keyring.ErrErased) {
		t.Errorf("b confirms what it can still read: %v", err)
	}
	// The mark arrives at c without the fact: it waits.
	a.giveKeys(c)
	if n := c.confirms(a, b, c); n != 0 {
		t.Error("c confirms what it does not know of")
	}
	if _, err := c.ring.Key(c.ctx, nordtal, key); err != nil {
		t.Errorf("c destroys a key that no fact here erases: %v", err)
	}
	meet(a, b, c)
	if n := c.confirms(a, b); n != 0 {
		t.Error("a site that is not allowed confirms")
	}
	if got := c.confirmed(bert, a, b, c); got != "01" {
		t.Errorf("confirmed by %q", got)
	}
	if n := c.confirms(a, b, c); n != 1 {
		t.Error("c does not confirm")
	}
	meet(a, b, c)
	ok(t, b.model.Rebuild(b.ctx))
	for i, r := range []*rig{a, b, c} {
		if got := r.confirmed(bert, a, b, c); got != "012" {
			t.Errorf("site %d knows of %q", i, got)
		}
	}
	r := hashes(t, a, b, c)
	if r[0] != r[1] || r[1] != r[2] {
		t.Error("the sites differ")
	}
}

func hashes(t *testing.T, sites ...*rig) (list []string) {
	t.Helper()
	for _, s := range sites {
		h, err := s.model.StateHash(s.ctx)
		ok(t, err)
		list = append(list, h)
	}
	return list
}

func TestAKeyThatComesToLightOpensAnErasureAgain(t *testing.T) {
	a := newRig(t)
	b := a.beside()
	a.imports(house, ImportOptions{})
	meet(a, b)
	bert := a.find("Buche").ID
	key := b.recordedElsewhere(bert) // while a erases
	ok(t, a.Erase(a.ctx, nordtal, bert))
	a.confirms(a, b)
	if got := a.confirmed(bert, a, b); got != "0" {
		t.Errorf("confirmed by %q", got)
	}
	meet(a, b)
	for _, r := range []*rig{a, b} {
		if got := r.confirmed(bert, a, b); got != "" {
			t.Errorf("confirmed by %q", got)
		}
	}
	if n, err := a.FinishErasures(a.ctx, nordtal); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	meet(a, b)
	if _, err := b.ring.Key(b.ctx, nordtal, key); !errors.Is(err, keyring.ErrErased) {
		t.Errorf("the key lives: %v", err)
	}
	if a.confirms(a, b) != 1 || b.confirms(a, b) != 1 {
		t.Error("they do not confirm")
	}
	meet(a, b)
	if got := a.confirmed(bert, a, b); got != "01" {
		t.Errorf("confirmed by %q", got)
	}
}

func TestASiteConfirmsForItselfAlone(t *testing.T) {
	a := newRig(t)
	b := a.beside()
	a.imports(house, ImportOptions{})
	bert := a.find("Buche").ID
	ok(t, a.Erase(a.ctx, nordtal, bert))
	meet(a, b)
	var st state
	_, err := a.model.State(a.ctx, nordtal, bert.Subject(), &st)
	ok(t, err)
	_, err = b.log.Append(b.ctx, nordtal, event.Register, draftOf(bert.erasure(), KindErasureConfirmed, "operator",
		ErasureConfirmed{Site: a.ring.Self(), Keys: st.Person.Keys}))
	ok(t, err)
	meet(a, b)
	if got := a.confirmed(bert, a, b); got != "" {
		t.Errorf("confirmed by %q", got)
	}
	a.confirms(a, b)
	if got := a.confirmed(bert, a, b); got != "0" {
		t.Errorf("confirmed by %q", got)
	}
}

func TestKeysOfOtherDomainsAreErasedWithThePerson(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	bert := r.find("Buche").ID
	made, err := r.ring.NewKeys(r.ctx, nordtal, 3)
	ok(t, err)
	passkey, later, others := made[0].ID, made[1].ID, made[2].ID
	keys := map[PersonID][]event.KeyID{bert: {passkey}, r.find("Amsel").ID: {others}}
	var fail error
	r.Service = New(Config{Log: r.log, Model: r.model, Keys: r.ring, Rand: rand.Reader,
		MoreKeys: func(_ context.Context, a event.AuthorityID, id PersonID) ([]event.KeyID, error) {
			if a != nordtal {
				t.Errorf("asked for %s", a)
			}
			return keys[id], fail
		}})
	fail = errors.New("not now")
	if err := r.Erase(r.ctx, nordtal, bert); !errors.Is(err, fail) {
		t.Errorf("got %v", err)
	}
	fail = nil
	ok(t, r.Erase(r.ctx, nordtal, bert))
	gone := func(k event.KeyID) bool {
		_, err := r.ring.Key(r.ctx, nordtal, k)
		return errors.Is(err, keyring.ErrErased)
	}
	if !gone(passkey) || gone(others) || gone(later) {
		t.Error("the wrong keys are gone")
	}
	if n, err := r.FinishErasures(r.ctx, nordtal); err != nil || n != 0 {
		t.Errorf("finished %d, %v", n, err)
	}
	r.confirms(r)
	keys[bert] = append(keys[bert], later) // an account made at a site that did not know
	if n, err := r.FinishErasures(r.ctx, nordtal); err != nil || n != 1 || !gone(later) || gone(others) {
		t.Errorf("finished %d, %v", n, err)
	}
	if n, err := r.FinishErasures(r.ctx, nordtal); err != nil || n != 0 {
		t.Errorf("finished again %d, %v", n, err)
	}
	if got := r.confirmed(bert, r); got != "" {
		t.Errorf("still confirmed by %q", got)
	}
	if r.confirms(r) != 1 || r.confirmed(bert, r) != "0" {
		t.Error("not confirmed again")
	}
	var st state
	_, err = r.model.State(r.ctx, nordtal, bert.Subject(), &st)
	ok(t, err)
	if diff := cmp.Diff(union(st.Person.Keys, []event.KeyID{passkey, later}), union(st.Person.Destroyed)); diff != "" {
		t.Error(diff)
	}
}

// What the law keeps stays readable as a function: its name is the authority's, and the facts name its holder by id.
func TestAFunctionStaysReadableWhenItsHolderIsErased(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	anna, head := r.find("Amsel"), r.function("Leiter Stab")
	ok(t, r.Erase(r.ctx, nordtal, anna.ID))
	ok(t, r.model.Rebuild(r.ctx))
	if f := r.function("Leiter Stab"); f.ID != head.ID || f.Readable != Readable || slices.Contains(f.Holders, anna.ID) {
		t.Errorf("%+v", f)
	}
	var st state
	_, err := r.model.State(r.ctx, nordtal, head.ID.Subject(), &st)
	ok(t, err)
	if !slices.Contains(st.Function.Holders, anna.ID) {
		t.Error("who held the function is not known any more")
	}
	if p, err := r.Person(r.ctx, nordtal, anna.ID); err != nil || p.Readable != Erased || !slices.Contains(p.Functions, head.ID) {
		t.Errorf("%+v, %v", p, err)
	}
}

// A site that was taken over writes that everybody is erased. The others have the facts and keep the keys until a person looks.
func TestFactsThatEraseHundredsDestroyNothingElsewhere(t *testing.T) {
	a := newRig(t)
	rogue := a.beside()
	file := csvHead
	for i := range 400 {
		file += fmt.Sprintf("%d;Name%03d;Vorname\n", i, i)
	}
	a.imports(file, ImportOptions{})
	meet(a, rogue)
	people, _, err := a.People(a.ctx, nordtal, Search{Limit: MaxLimit})
	ok(t, err)
	var drafts []event.Draft
	var keys []event.KeyID
	for _, p := range people {
		var st state
		_, err := a.model.State(a.ctx, nordtal, p.ID.Subject(), &st)
		ok(t, err)
		keys = append(keys, st.Person.Key)
		drafts = append(drafts, draftOf(p.ID.Subject(), KindPersonErased, "operator", PersonErased{}))
	}
	if len(keys) != 400 {
		t.Fatalf("%d people", len(keys))
	}
	_, err = rogue.log.Append(rogue.ctx, nordtal, event.Register, drafts...)
	ok(t, err)
	meet(a, rogue)
	for range 2 {
		_, err = a.FinishErasures(a.ctx, nordtal)
		ok(t, err)
		a.confirms(a, rogue)
	}
	for _, k := range keys {
		if _, err := a.ring.Key(a.ctx, nordtal, k); err != nil {
			t.Fatalf("a key is gone: %v", err)
		}
	}
	demands, err := a.ring.Demands(a.ctx, nordtal)
	if err != nil || len(demands) != 1 || demands[0].State != keyring.Held || demands[0].Keys != 400 || demands[0].Site != rogue.ring.Self() {
		t.Errorf("held back: %+v, %v", demands, err)
	}
	// Its own people can erase somebody meanwhile, and whoever looks can let it happen.
	if n, err := a.ring.Release(a.ctx, nordtal, rogue.ring.Self()); n != 400 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
}
