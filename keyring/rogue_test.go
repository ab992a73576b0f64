// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// world3 is an authority with a person's keys at two honest sites, a and b, and a rogue one.
func world3(t testing.TB, people int) (n *network, a, b, rogue *testSite, keys []Key) {
	t.Helper()
	ctx := context.Background()
	n = newNetwork()
	a, b, rogue = n.add(t, ""), n.add(t, ""), n.add(t, "")
	n.allow(a, b, rogue)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()))
	must(t, a.Grant(ctx, nordtal, rogue.Self(), rogue.pub()))
	keys, err := a.NewKeys(ctx, nordtal, people)
	must(t, err)
	b.pull(t, a)
	rogue.pull(t, a)
	return n, a, b, rogue, keys
}

// sends merges what a rogue makes up, as a site takes it from that rogue.
func (s *testSite) sends(t testing.TB, to *testSite, records ...Record) {
	t.Helper()
	_, err := to.Merge(context.Background(), s.Self(), nordtal, records, Cursor{}, Cursor{"rogue", 1})
	must(t, err)
}

// marksOf returns marks for the keys, signed by the site or (unsigned) as the version before made them.
func (s *testSite) marksOf(signed bool, ids ...event.KeyID) (marks []Record) {
	for _, id := range ids {
		rec := Record{ID: id, Erased: 5}
		if signed {
			rec.Maker = s.Self()
			rec.Signature = s.id.Sign(purposeMark, rec.markMessage(nordtal))
		}
		marks = append(marks, rec)
	}
	return marks
}

func idsOf(keys []Key) (ids []event.KeyID) {
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

func (s *testSite) named(t *testing.T) (ids []event.KeyID) {
	t.Helper()
	for _, name := range sharedNames {
		k, err := s.Named(context.Background(), nordtal, name)
		must(t, err)
		ids = append(ids, k.ID)
	}
	return ids
}

func (s *testSite) demands(t *testing.T) string {
	t.Helper()
	list, err := s.Demands(context.Background(), nordtal)
	must(t, err)
	out := ""
	for _, d := range list {
		out += fmt.Sprintf("%s %s %d;", d.Site.Short(), d.State, d.Keys)
	}
	return out
}

func TestMarksThatNoFactBearsOutDestroyNothing(t *testing.T) {
	ctx := context.Background()
	_, a, b, rogue, keys := world3(t, 500)
	shared := b.named(t)
	var unheard []event.KeyID
	for i := range 9_500 {
		unheard = append(unheard, event.KeyID(fmt.Sprintf("%016x", i)))
	}
	rogue.sends(t, b, append(rogue.marksOf(false, shared...), rogue.marksOf(false, append(unheard, idsOf(keys)...)...)...)...)
	rogue.sends(t, b, append(rogue.marksOf(true, shared...), rogue.marksOf(true, idsOf(keys)...)...)...)
	if got := b.named(t); fmt.Sprint(got) != fmt.Sprint(shared) {
		t.Error("shared keys are others now")
	}
	if n, err := b.Judge(ctx); n != 0 || err != nil {
		t.Errorf("%d keys erased, %v", n, err)
	}
	if missing, err := b.Missing(ctx, nordtal, idsOf(keys)); err != nil || len(missing) > 0 {
		t.Errorf("%d keys are gone, %v", len(missing), err)
	}
	for _, k := range keys[:3] {
		b.want(t, k.ID, nil)
	}
	b.wantRefused(t, rogue.Self(), refusedShared, 6)
	if got := b.demands(t); got != rogue.Self().Short()+" waiting 10000;" {
		t.Errorf("what waits: %s", got)
	}
	if a.pull(t, b) != 0 {
		t.Error("marks that do not count are handed on")
	}
	if n, err := b.Reject(ctx, nordtal, rogue.Self()); n != 10_000 || err != nil {
		t.Errorf("rejected %d, %v", n, err)
	}
}

func TestAForgedMarkIsLeftOut(t *testing.T) {
	n, a, b, rogue, keys := world3(t, 2)
	marks := a.marksOf(true, keys[0].ID)
	marks[0].Erased++ // not what A has signed
	n.facts[keys[0].ID] = Ground{Due: true, By: a.Self()}
	rogue.sends(t, b, marks...)
	b.want(t, keys[0].ID, nil)
	b.wantRefused(t, rogue.Self(), refusedSignature, 1)
	marks = a.marksOf(true, keys[0].ID)
	marks[0].ID = keys[1].ID
	rogue.sends(t, b, marks...)
	b.want(t, keys[1].ID, nil)
	b.wantRefused(t, rogue.Self(), refusedSignature, 2)
}

func TestAMarkCountsWhenItsFactHasCome(t *testing.T) {
	ctx := context.Background()
	n, a, b, _, keys := world3(t, 2)
	n.unfolded[b.Self()] = true
	must(t, a.erase(keys[0].ID))
	b.pull(t, a)
	b.want(t, keys[0].ID, nil)
	if got := b.demands(t); got != a.Self().Short()+" waiting 1;" {
		t.Errorf("what waits: %s", got)
	}
	delete(n.unfolded, b.Self())
	if n, err := b.Judge(ctx); n != 1 || err != nil {
		t.Errorf("%d keys erased, %v", n, err)
	}
	b.want(t, keys[0].ID, ErrErased)
	b.want(t, keys[1].ID, nil)
	if got := b.demands(t); got != "" {
		t.Errorf("what waits: %s", got)
	}
	c := n.add(t, "")
	n.allow(a, b, c)
	b.pull(t, a)
	must(t, b.Grant(ctx, nordtal, c.Self(), c.pub()))
	c.pull(t, b)
	records, _, _, err := c.Changes(ctx, nordtal, Cursor{}, answerBytes)
	must(t, err)
	for _, rec := range records {
		if rec.ID == keys[0].ID && (rec.Maker != a.Self() || !rec.signed(nordtal)) {
			t.Errorf("who made the mark is not known any more: %+v", rec)
		}
	}
	c.want(t, keys[0].ID, ErrErased)
}

func TestAKeyThatSomethingElseNeedsStays(t *testing.T) {
	n, _, b, rogue, keys := world3(t, 1)
	n.facts[keys[0].ID] = Ground{Due: true, Needed: true, By: b.Self()}
	rogue.sends(t, b, rogue.marksOf(true, keys[0].ID)...)
	if err := b.Erase(context.Background(), nordtal, keys[0].ID); !errors.Is(err, ErrHeld) {
		t.Errorf("got %v", err)
	}
	b.want(t, keys[0].ID, nil)
}

func TestMarksByTheHundredWaitForAPerson(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, keys := world3(t, 800)
	for _, k := range keys[:500] { // facts of the rogue that every site has folded
		n.facts[k.ID] = Ground{Due: true, By: rogue.Self()}
	}
	rogue.sends(t, b, rogue.marksOf(true, idsOf(keys)...)...)
	// Whoever follows the facts without marks is held back in the same way.
	if err := a.Erase(ctx, nordtal, idsOf(keys[:500])...); !errors.Is(err, ErrHeld) {
		t.Errorf("got %v", err)
	}
	for _, s := range []*testSite{a, b} {
		s.want(t, keys[0].ID, nil)
		s.want(t, keys[499].ID, nil)
	}
	short := rogue.Self().Short()
	if got := a.demands(t); got != short+" held 500;" {
		t.Errorf("what waits at A: %s", got)
	}
	if got := b.demands(t); got != short+" held 500;"+short+" waiting 300;" {
		t.Errorf("what waits at B: %s", got)
	}
	// While something is held back, nothing more passes because of the same site; what others order does.
	n.facts[keys[600].ID] = Ground{Due: true, By: rogue.Self()}
	if _, err := b.Judge(ctx); err != nil {
		t.Error(err)
	}
	b.want(t, keys[600].ID, nil)
	must(t, a.erase(keys[700].ID))
	b.pull(t, a)
	b.want(t, keys[700].ID, ErrErased)

	if n, err := b.Reject(ctx, nordtal, rogue.Self()); err != nil || n != 799 {
		t.Errorf("rejected %d, %v", n, err)
	}
	rogue.sends(t, b, rogue.marksOf(true, idsOf(keys)...)...)
	if n, err := b.Judge(ctx); n != 0 || err != nil {
		t.Errorf("what a person has rejected was erased: %d, %v", n, err)
	}
	if n, err := a.Release(ctx, nordtal, rogue.Self()); n != 500 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
	a.want(t, keys[0].ID, ErrErased)
	a.want(t, keys[600].ID, nil)
}

// A person rejects what a rogue wants erased and no fact bears out. That keeps no key of somebody whom another site
// erases by a fact.
func TestWhatAPersonRejectedIsErasedWhenAnotherSitesFactSaysSo(t *testing.T) {
	ctx := context.Background()
	rejected := func(t *testing.T) (n *network, a, b, rogue *testSite, keys []Key) {
		n, a, b, rogue, keys = world3(t, 10)
		rogue.sends(t, b, rogue.marksOf(true, idsOf(keys)...)...)
		if n, err := b.Reject(ctx, nordtal, rogue.Self()); n != 10 || err != nil {
			t.Fatalf("rejected %d, %v", n, err)
		}
		return n, a, b, rogue, keys
	}
	for name, erase := range map[string]func(n *network, a, b *testSite, k Key) error{
		"its mark comes": func(_ *network, a, b *testSite, k Key) error {
			err := a.erase(k.ID)
			b.pull(t, a)
			return err
		},
		"no mark comes": func(n *network, a, b *testSite, k Key) error {
			n.facts[k.ID] = Ground{Due: true, By: a.Self()}
			_, err := b.Judge(ctx)
			return err
		},
		"it is this site's own": func(_ *network, _, b *testSite, k Key) error { return b.erase(k.ID) },
		"its time is over": func(n *network, _, b *testSite, k Key) error {
			n.facts[k.ID] = Ground{Due: true}
			_, err := b.Judge(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, a, b, rogue, keys := rejected(t)
			must(t, erase(n, a, b, keys[3]))
			b.want(t, keys[3].ID, ErrErased)
			b.want(t, keys[4].ID, nil)
			if got := b.demands(t); got != rogue.Self().Short()+" rejected 9;" {
				t.Errorf("what waits: %s", got)
			}
			if got := count(t, b, `SELECT count(*) FROM rejected`); got != 9 {
				t.Errorf("%d notes are kept of 9 keys", got)
			}
		})
	}
	t.Run("but not when the rejected site's own facts do", func(t *testing.T) {
		n, _, b, rogue, keys := rejected(t)
		n.facts[keys[3].ID] = Ground{Due: true, By: rogue.Self()}
		rogue.sends(t, b, rogue.marksOf(true, keys[3].ID)...)
		if _, err := b.Judge(ctx); err != nil {
			t.Error(err)
		}
		if err := b.Erase(ctx, nordtal, keys[3].ID); !errors.Is(err, ErrHeld) {
			t.Errorf("got %v", err)
		}
		b.want(t, keys[3].ID, nil)
		if n, err := b.Release(ctx, nordtal, rogue.Self()); n != 1 || err != nil {
			t.Errorf("released %d, %v", n, err)
		}
		b.want(t, keys[3].ID, ErrErased)
	})
}

// Whom a person has rejected stays rejected, also when the facts of another one come, and go again.
func TestWhoWasRejectedOnceStaysRejected(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, keys := world3(t, tollFloor+1)
	by := func(s *testSite) {
		for _, k := range keys {
			n.facts[k.ID] = Ground{Due: true, By: s.Self()}
		}
		_, err := b.Judge(ctx)
		must(t, err)
	}
	rogue.sends(t, b, rogue.marksOf(true, idsOf(keys)...)...)
	for _, s := range []*testSite{rogue, a} {
		by(s)
		if got, want := b.demands(t), fmt.Sprintf("%s held %d;", s.Self().Short(), len(keys)); got != want {
			t.Errorf("what waits: %s, want %s", got, want)
		}
		if n, err := b.Reject(ctx, nordtal, s.Self()); n != len(keys) || err != nil {
			t.Errorf("rejected %d, %v", n, err)
		}
	}
	keys = keys[:3] // few enough to pass, if they were not rejected
	for _, s := range []*testSite{rogue, a} {
		by(s)
		if got, want := b.demands(t), fmt.Sprintf("%s rejected %d;", a.Self().Short(), tollFloor+1); got != want {
			t.Errorf("what waits: %s, want %s", got, want)
		}
	}
}

// A store of the version before knows of one site alone.
func TestWhatTheVersionBeforeRejectedStaysRejected(t *testing.T) {
	n := newNetwork()
	a, b, rogue := n.add(t, ""), n.add(t, t.TempDir()), n.add(t, "")
	n.allow(a, b, rogue)
	must(t, a.Found(t.Context(), nordtal))
	a.grant(t, b)
	mine, others := a.newKey(t), a.newKey(t)
	b.pull(t, a)
	rogue.sends(t, b, rogue.marksOf(true, mine.ID, others.ID)...)
	_, err := b.Reject(t.Context(), nordtal, rogue.Self())
	must(t, err)
	_, err = b.db.Exec(`DROP TABLE rejected`)
	must(t, err, b.Close())
	b.open(t)
	n.facts[mine.ID], n.facts[others.ID] = Ground{Due: true, By: rogue.Self()}, Ground{Due: true, By: a.Self()}
	if erased, err := b.Judge(t.Context()); erased != 1 || err != nil {
		t.Errorf("%d erased, %v", erased, err)
	}
	b.want(t, mine.ID, nil)
	b.want(t, others.ID, ErrErased)
}

func TestAFewErasuresADayPassAndManyDoNot(t *testing.T) {
	n, a, b, _, keys := world3(t, tollFloor+50)
	for i, k := range keys[:tollFloor] {
		must(t, a.erase(k.ID))
		if i%100 == 99 {
			b.pull(t, a)
		}
	}
	b.want(t, keys[tollFloor-1].ID, ErrErased)
	must(t, a.erase(keys[tollFloor].ID)) // one's own facts pass: two people have looked at each
	b.pull(t, a)
	b.want(t, keys[tollFloor].ID, nil)
	n.allow(a, b)
	if got := b.demands(t); got != a.Self().Short()+" held 1;" {
		t.Errorf("what waits: %s", got)
	}
}

// A site that joins hears of all erasures there ever were on one day. Nobody is asked about keys that are not there.
func TestASiteThatJoinsWaitsForNobodyToErase(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, keys := world3(t, tollFloor+100)
	must(t, a.erase(idsOf(keys)...))
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	must(t, a.Grant(ctx, nordtal, late.Self(), late.pub()))
	late.pull(t, a)
	if got, want := late.demands(t), fmt.Sprintf("%s absent %d;", a.Self().Short(), len(keys)); got != want {
		t.Errorf("what waits: %s, want %s", got, want)
	}
	if missing, err := late.Missing(ctx, nordtal, idsOf(keys)); err != nil || len(missing) > 0 {
		t.Errorf("pages wait for %d keys that were erased, %v", len(missing), err)
	}
	// One of them comes, from a site that has not heard of it: that one is held back like any other.
	late.pull(t, b)
	records, _, _, err := b.Changes(ctx, nordtal, Cursor{}, 1<<20)
	must(t, err)
	b.sends(t, late, records...)
	late.now = at().Add(tollWindow)
	if _, err := late.Judge(ctx); err != nil {
		t.Error(err)
	}
	if got, want := late.demands(t), fmt.Sprintf("%s held %d;", a.Self().Short(), len(keys)); got != want {
		t.Errorf("what waits: %s, want %s", got, want)
	}

	other := n.add(t, "")
	n.allow(a, b, rogue, other)
	must(t, a.Grant(ctx, nordtal, other.Self(), other.pub()))
	other.pull(t, a)
	other.now = at().Add(tollWindow)
	if n, err := other.Judge(ctx); n != len(keys) || err != nil {
		t.Errorf("marked a day later: %d, %v", n, err)
	}
	other.want(t, keys[0].ID, ErrErased)
}

func TestDemandsOfOnePeerAreBounded(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	var many []event.KeyID
	for i := range maxDemands + 10 {
		many = append(many, event.KeyID(fmt.Sprintf("%016x", i)))
	}
	rogue.sends(t, b, rogue.marksOf(false, many...)...)
	b.wantRefused(t, rogue.Self(), refusedDemands, 10)
	a.sends(t, b, a.marksOf(true, "00000000ffffffff")...)
	got := b.demands(t)
	for _, want := range []string{
		fmt.Sprintf("%s waiting %d;", rogue.Self().Short(), maxDemands),
		fmt.Sprintf("%s waiting 1;", a.Self().Short()),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("what waits: %s, want %s", got, want)
		}
	}
}

// unmarked returns how many of the keys another site has signed no mark for, as this one knows.
func (s *testSite) unmarked(t *testing.T, by *testSite, ids ...event.KeyID) int {
	t.Helper()
	list, err := s.Unmarked(context.Background(), nordtal, by.Self(), ids)
	must(t, err)
	return len(list)
}

// What a site has signed itself counts for the end of its log, whoever else has marked the key before.
func TestNoMarkHidesAnother(t *testing.T) {
	n, a, b, rogue, keys := world3(t, 2)
	late := n.add(t, t.TempDir())
	n.allow(a, b, rogue, late)
	n.unfolded[late.Self()] = true // the facts are behind the end of a's log
	ids := idsOf(keys)
	must(t, b.erase(ids...), a.erase(ids...))
	late.pull(t, b)
	if got := late.unmarked(t, a, ids...); got != 2 {
		t.Errorf("a has not marked %d keys, want 2: nothing of a has come", got)
	}
	forged := a.marksOf(true, ids...)
	for i := range forged {
		forged[i].Erased++
	}
	rogue.sends(t, late, forged...)
	late.wantRefused(t, rogue.Self(), refusedSignature, 2)
	if got := late.unmarked(t, a, ids...); got != 2 {
		t.Errorf("a has not marked %d keys, want 2: its signatures were forged", got)
	}
	late.pull(t, a)
	for _, by := range []*testSite{a, b} {
		if got := late.unmarked(t, by, ids...); got > 0 {
			t.Errorf("of the marks of %s %d are not here", by.Self().Short(), got)
		}
	}
	if err := late.Erase(t.Context(), nordtal, ids...); !errors.Is(err, ErrHeld) { // its own takes the place of b's
		t.Error(err)
	}
	if got := late.unmarked(t, b, ids...); got > 0 {
		t.Errorf("of b's marks %d are not here any more", got)
	}

	// A store of the version before knows the first one alone, and asks again.
	_, err := late.db.Exec(`DROP TABLE cosigner`)
	must(t, err, late.Close())
	late.open(t)
	late.pull(t, a)
	if got := late.unmarked(t, a, ids...); got > 0 {
		t.Errorf("after the upgrade %d of a's marks do not come", got)
	}
	delete(n.unfolded, late.Self())
	if erased, err := late.Judge(t.Context()); erased != 2 || err != nil {
		t.Errorf("%d keys erased, %v", erased, err)
	}
	if got := count(t, late, `SELECT count(*) FROM cosigner`); got > 0 {
		t.Errorf("%d marks are kept for keys that are gone", got)
	}
}

func TestFurtherMarksOfOnePeerAreBounded(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	ids := []event.KeyID{"0000000000000001", "0000000000000002"}
	a.sends(t, b, a.marksOf(true, ids...)...)
	must(t, b.write(t.Context(), func(w *writer) error {
		w.peer = rogue.Self()
		w.waits = maxDemands - 1
		for _, rec := range rogue.marksOf(true, ids...) {
			if err := w.merge(nordtal, rec); err != nil {
				return err
			}
		}
		return w.writeRefusals(nordtal)
	}))
	b.wantRefused(t, rogue.Self(), refusedDemands, 1)
	if got := b.unmarked(t, rogue, ids...); got != 1 {
		t.Errorf("%d marks found no place, want 1", got)
	}
}

// drawn is an authority key that a site has drawn and signed for, as no honest site would.
func (s *testSite) drawn(t testing.TB, generation int64) heldKey {
	t.Helper()
	secret, err := seal.NewKey(rand.Reader)
	must(t, err)
	digest := digestOf(nordtal, secret)
	k := heldKey{secret, Record{ID: idOf(digest), Generation: generation, Origin: s.Self(), Digest: digest}}
	k.Birth = s.id.Sign(purposeBirth, k.birthMessage(nordtal))
	return k
}

// box seals an authority key to a site, signed by this one.
func (s *testSite) box(t testing.TB, k heldKey, to *testSite) Record {
	t.Helper()
	rec := k.Record
	rec.Site, rec.Maker = to.Self(), s.Self()
	var err error
	rec.Sealed, err = seal.SealTo(to.pub(), boxContext(nordtal, rec.ID, to.Self()), k.secret[:])
	must(t, err)
	rec.Signature = s.id.Sign(purposeBox, rec.boxMessage(nordtal))
	return rec
}

func TestAGenerationOutOfReachSealsNothingAndBreaksNothing(t *testing.T) {
	n, a, b, rogue, _ := world3(t, 1)
	planted := rogue.drawn(t, maxGeneration)
	for _, s := range []*testSite{a, b} {
		unsigned, _ := forgedBox(t, "00000000000000bb", maxGeneration, s)
		rogue.sends(t, s, rogue.box(t, planted, s), unsigned)
		if _, generation := s.newestAt(t); generation != 1 {
			t.Errorf("generation %d seals", generation)
		}
	}
	n.allow(a, b)
	a.forbid(t, a, b)
	if _, generation := a.newestAt(t); generation != 2 {
		t.Errorf("the renewed key is of generation %d", generation)
	}
	after := a.newKey(t)
	b.pull(t, a)
	b.want(t, after.ID, nil)
	back := b.newKey(t)
	a.pull(t, b)
	a.want(t, back.ID, nil)
	if _, generation := b.newestAt(t); generation != 2 {
		t.Errorf("B seals by a key of generation %d", generation)
	}
}

func TestTheKeysOfAForbiddenSiteSealNothingMore(t *testing.T) {
	n, a, b, rogue, _ := world3(t, 1)
	drawn := rogue.drawn(t, 2)
	rogue.sends(t, a, rogue.box(t, drawn, a))
	if id, _ := a.newestAt(t); id != drawn.ID {
		t.Fatal("a key of an allowed site does not count: this test sees nothing")
	}
	n.allow(a, b)
	if id, _ := a.newestAt(t); id == drawn.ID {
		t.Error("a key that a forbidden site drew seals")
	}
	a.forbid(t, a, b)
	if _, generation := a.newestAt(t); generation != 3 {
		t.Errorf("the renewed key is of generation %d", generation)
	}
}

func TestNobodyDrawsAKeyInTheNameOfAnother(t *testing.T) {
	n, a, b, rogue, _ := world3(t, 1)
	drawn := rogue.drawn(t, 2)
	drawn.Origin = b.Self() // who stays allowed when the rogue is not
	rogue.sends(t, a, rogue.box(t, drawn, a))
	a.wantRefused(t, rogue.Self(), refusedSignature, 1)
	// Nor does a key become a newer one on its way.
	held := rogue.held1(t)
	held.Generation = 3
	rogue.sends(t, a, rogue.box(t, held, a))
	a.wantRefused(t, rogue.Self(), refusedSignature, 2)
	n.allow(a, b)
	if _, generation := a.newestAt(t); generation != 1 {
		t.Errorf("generation %d seals", generation)
	}
}

func TestAnAllowedSiteCannotMakeOthersRenewTheKeyWithoutEnd(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	var generations []int64
	for range 5 {
		_, generation := a.newestAt(t)
		generations = append(generations, generation)
		rec := rogue.held1(t).Record
		rec.Site, rec.Sealed, rec.Maker = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", []byte{1}, rogue.Self()
		rec.Signature = rogue.id.Sign(purposeBox, rec.boxMessage(nordtal))
		rogue.sends(t, a, rec)
		a.forbid(t, a, b, rogue)
		rogue.pull(t, a)
	}
	if got := generations[4]; got != 2 {
		t.Errorf("generations %v: the key was renewed again and again", generations)
	}
}

func TestAPlantedBoxLocksNobodyOut(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, keys := world3(t, 1)
	id, generation := a.newestAt(t)
	late := n.add(t, "")
	// Without a name and in the rogue's own: boxes that have another key, and one that does not open.
	forged, _ := forgedBox(t, id, generation, late)
	shut := rogue.box(t, rogue.held1(t), late)
	shut.Sealed = []byte{1}
	shut.Signature = rogue.id.Sign(purposeBox, shut.boxMessage(nordtal))
	drawn := rogue.drawn(t, generation)
	renamed := rogue.box(t, drawn, late)
	renamed.ID = id
	plants := []Record{shut, forged, renamed, rogue.box(t, drawn, late)}
	for _, s := range []*testSite{a, b} {
		rogue.sends(t, s, plants...)
	}
	n.allow(a, b, rogue, late)
	must(t, a.Grant(ctx, nordtal, late.Self(), late.pub()))
	late.pull(t, b) // B has only what the rogue planted
	late.pull(t, a)
	late.want(t, keys[0].ID, nil)
	made := late.newKey(t) // by the honest key or by the rogue's own: the authority allows that site, too
	must(t, late.Grant(ctx, nordtal, a.Self(), a.pub()))
	a.pull(t, late)
	a.want(t, made.ID, nil)
}

// held1 returns the authority key that a site holds.
func (s *testSite) held1(t *testing.T) heldKey {
	t.Helper()
	id, _ := s.newestAt(t)
	held, err := s.authorityKeys(context.Background(), s.db, nordtal, string(id))
	must(t, err)
	return held[0]
}

func TestABoxWithAnotherKeyThanItsOriginSignedIsLeftOut(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	true1, err := a.boxOf(t, b)
	must(t, err)
	secret, err := seal.NewKey(rand.Reader)
	must(t, err)
	rec := true1
	rec.Maker = rogue.Self()
	rec.Sealed, err = seal.SealTo(b.pub(), boxContext(nordtal, rec.ID, b.Self()), secret[:])
	must(t, err)
	rec.Signature = rogue.id.Sign(purposeBox, rec.boxMessage(nordtal))
	rogue.sends(t, b, rec)
	b.wantRefused(t, rogue.Self(), refusedBox, 1)
	rec.Signature[0]++
	rogue.sends(t, b, rec)
	b.wantRefused(t, rogue.Self(), refusedSignature, 1)
}

// boxOf returns the box that a site has made for another one.
func (s *testSite) boxOf(t *testing.T, to *testSite) (Record, error) {
	t.Helper()
	records, _, _, err := s.Changes(context.Background(), nordtal, Cursor{}, answerBytes)
	for _, rec := range records {
		if rec.Site == to.Self() && rec.Maker == s.Self() {
			return rec, err
		}
	}
	return Record{}, errors.Join(err, errors.New("no such box"))
}

func TestOneBadRecordKeepsNothingElseFromComing(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	k := a.newKey(t)
	records, next, _, err := a.Changes(context.Background(), nordtal, Cursor{}, answerBytes)
	must(t, err)
	bad := []Record{{ID: "x"}, {ID: "00000000000000ff", Generation: maxGeneration + 1, Site: b.Self(), Sealed: []byte{1}},
		{ID: "00000000000000ff", Erased: -1}, {ID: "00000000000000ff", Erased: 1, Maker: a.Self()}}
	_, err = b.Merge(context.Background(), rogue.Self(), nordtal, append(bad, records...), Cursor{}, next)
	must(t, err)
	b.want(t, k.ID, nil)
	b.wantRefused(t, rogue.Self(), refusedForm, 4)
	if c, err := b.Cursor(context.Background(), rogue.Self(), nordtal); err != nil || c != next {
		t.Errorf("the cursor stands at %v, %v", c, err)
	}
}

func TestBoxesOfOthersAreBounded(t *testing.T) {
	_, _, b, rogue, _ := world3(t, 1)
	stranger := event.SiteID("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	var flood []Record
	for i := range maxBoxes + 20 {
		id := event.KeyID(fmt.Sprintf("%016x", i))
		flood = append(flood, Record{ID: id, Generation: 1, Site: stranger, Sealed: []byte{1}})
	}
	rogue.sends(t, b, flood...)
	b.wantRefused(t, rogue.Self(), refusedBoxes, 20)
	// Whoever signs and is allowed has room of its own.
	drawn := rogue.drawn(t, 2)
	rogue.sends(t, b, rogue.box(t, drawn, b))
	if id, _ := b.newestAt(t); id != drawn.ID {
		t.Error("an honest site's box found no room")
	}
}

func TestKeysOfAnAuthorityAreBounded(t *testing.T) {
	_, a, b, _, _ := world3(t, 1)
	b.maxKeys = 50
	keys, err := a.NewKeys(context.Background(), nordtal, 60)
	must(t, err)
	b.pull(t, a)
	b.wantRefused(t, a.Self(), refusedKeys, 60-(50-4)) // four keys are there before
	must(t, b.Tidy(context.Background(), nordtal))
	if b.pull(t, a) != 0 {
		t.Error("what finds no room is asked for again and again")
	}
	// With room for more, as in a later version, what was refused comes.
	b.maxKeys = 100
	must(t, b.Tidy(context.Background(), nordtal))
	b.pull(t, a)
	for _, k := range keys {
		b.want(t, k.ID, nil)
	}
}

func TestSharedKeysAreNotErasedHere(t *testing.T) {
	_, a, _, _, keys := world3(t, 1)
	shared := a.named(t)
	if err := a.erase(append(shared, keys[0].ID)...); !errors.Is(err, ErrShared) {
		t.Errorf("got %v", err)
	}
	a.want(t, keys[0].ID, ErrErased)
	if got := a.named(t); fmt.Sprint(got) != fmt.Sprint(shared) {
		t.Error("shared keys are others now")
	}
	a.wantRefused(t, a.Self(), refusedShared, 3)
}

func TestASharedKeyWhoseMarkCameFirstStays(t *testing.T) {
	n, a, b, rogue, _ := world3(t, 1)
	shared := a.named(t)
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	for _, id := range shared {
		n.facts[id] = Ground{Due: true, By: rogue.Self()}
	}
	n.unfolded[late.Self()] = true
	rogue.sends(t, late, rogue.marksOf(true, shared...)...) // before it has the keys
	must(t, a.Grant(context.Background(), nordtal, late.Self(), late.pub()))
	late.pull(t, a)
	delete(n.unfolded, late.Self())
	if n, err := late.Judge(context.Background()); n != 0 || err != nil {
		t.Errorf("%d erased, %v", n, err)
	}
	if got := late.named(t); fmt.Sprint(got) != fmt.Sprint(shared) || late.demands(t) != "" {
		t.Error("shared keys are others now")
	}
}

// oldKey makes a key as the versions before did, under an id that says nothing of it.
func (s *testSite) oldKey(t testing.TB) (k Key) {
	t.Helper()
	must(t, s.write(context.Background(), func(w *writer) error {
		by, err := w.current(nordtal)
		if err != nil {
			return err
		}
		k = Key{randomID(t), seal.Key{7, 7}}
		return w.insert(nordtal, sealedKey(t, k, "", by))
	}))
	return k
}

// sealedKey is the record of a key, sealed by an authority key.
func sealedKey(t testing.TB, k Key, name string, by Key) Record {
	t.Helper()
	sealed, err := by.Secret.Seal(rand.Reader, keyContext(nordtal, k.ID, name), k.Secret[:])
	must(t, err)
	return Record{ID: k.ID, Name: name, By: by.ID, Sealed: sealed}
}

// falseFor returns what gives a site false keys under the ids of others, the most believed that a rogue can make: sealed by an
// authority key that it has drawn and signed for.
func (s *testSite) falseFor(t testing.TB, to *testSite, ids ...event.KeyID) []Record {
	t.Helper()
	drawn := s.drawn(t, 2)
	records := []Record{s.box(t, drawn, to)}
	for i, id := range ids {
		records = append(records, sealedKey(t, Key{id, seal.Key{0xff, byte(i)}}, "", Key{drawn.ID, drawn.secret}))
	}
	return records
}

// reads fails unless the site has the very key.
func (s *testSite) reads(t *testing.T, k Key) {
	t.Helper()
	if got, err := s.Key(context.Background(), nordtal, k.ID); err != nil || got != k.Secret {
		t.Errorf("key %s is another one here, or gone: %v", k.ID, err)
	}
}

func TestAKeyThatOpensGivesWayToNoneThatIsBelievedMore(t *testing.T) {
	t.Run("whose authority key's origin was forbidden", func(t *testing.T) {
		n, a, b, rogue, _ := world3(t, 0)
		old := a.oldKey(t)
		b.pull(t, a)
		n.allow(b, rogue)
		rogue.sends(t, b, rogue.falseFor(t, b, old.ID)...)
		b.reads(t, old)
	})
	t.Run("whose authority key nobody has signed for", func(t *testing.T) {
		a, second, keys := before(t)
		rogue := a.net.add(t, "")
		a.net.allow(a, second, rogue)
		old := Key{keys[0].ID, seal.Key(keys[0].Secret)}
		rogue.sends(t, a, rogue.falseFor(t, a, old.ID)...)
		a.reads(t, old)
		second.pull(t, a)
		second.reads(t, old)
	})
}

func TestAKeyForReadingOnlyGivesWayToOneThatIsNot(t *testing.T) {
	_, a, b, _, _ := world3(t, 0)
	k := Key{randomID(t), seal.Key{1}}
	forged, secret := forgedBox(t, randomID(t), readingOnly, b)
	shut := sealedKey(t, Key{k.ID, seal.Key{2}}, "", Key{forged.ID, secret})
	a.sends(t, b, forged, shut)
	if _, err := b.Key(t.Context(), nordtal, k.ID); err != nil {
		t.Fatal("what is for reading only is not read: this test sees nothing")
	}
	held := a.held1(t)
	a.sends(t, b, sealedKey(t, k, "", Key{held.ID, held.secret}))
	b.reads(t, k)
	a.sends(t, b, shut)
	b.reads(t, k)
}

// TestWhateverComesFirstTheTrueKeyIsTheOneThatIsRead has a rogue that allowed sites believe more than the site that made the key.
func TestWhateverComesFirstTheTrueKeyIsTheOneThatIsRead(t *testing.T) {
	for _, name := range []string{"", NameID} {
		_, a, b, rogue, _ := world3(t, 0)
		k := a.newKey(t)
		plants := rogue.falseFor(t, b, k.ID)
		plants[1] = rogue.under(t, k.ID, name)
		rogue.sends(t, b, plants...)
		if got, err := b.Key(t.Context(), nordtal, k.ID); err != nil || got == k.Secret {
			t.Fatalf("what the rogue has made is not there: this test sees nothing (%v)", err)
		}
		told, cancel := b.Subscribe()
		if b.pull(t, a) == 0 {
			t.Fatal("the true key does not take its place")
		}
		if got := <-told; !slices.Contains(got, Changed{nordtal, k.ID, false}) {
			t.Errorf("nobody was told of the true key: %v", got)
		}
		cancel()
		b.reads(t, k)
		rogue.sends(t, b, plants...)
		rogue.sends(t, a, append(rogue.falseFor(t, a, k.ID), rogue.under(t, k.ID, name))...)
		for range 3 {
			a.pull(t, b)
			b.pull(t, a)
		}
		if a.pull(t, b)+b.pull(t, a) != 0 {
			t.Error("the exchange does not come to rest")
		}
		a.reads(t, k)
		b.reads(t, k)
	}
}

// under is a false key under the id of another one, sealed as what the site makes itself.
func (s *testSite) under(t *testing.T, id event.KeyID, name string) Record {
	t.Helper()
	held := s.held1(t)
	return sealedKey(t, Key{id, seal.Key{0xee}}, name, Key{held.ID, held.secret})
}

// Even an authority key for reading only is enough for a key that proves itself, and none is for one that does not.
func TestAKeyOfItsIDIsWorthMoreThanAnyOther(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 0)
	k := a.newKey(t)
	rogue.sends(t, b, rogue.falseFor(t, b, k.ID)...)
	forged, secret := forgedBox(t, randomID(t), readingOnly, b)
	a.sends(t, b, forged, sealedKey(t, k, "", Key{forged.ID, secret}))
	b.reads(t, k)
	rogue.sends(t, b, rogue.falseFor(t, b, k.ID)...)
	b.reads(t, k)
	b.pull(t, a) // sealed by a key that the authority allows
	if row, err := findSecret(t.Context(), b.db, nordtal, k.ID); err != nil || row.by == string(forged.ID) {
		t.Errorf("a key that only one for reading only opens was kept: %v", err)
	}
	b.reads(t, k)
}

func TestEveryKeyThatIsMadeHasTheIDOfItsSecret(t *testing.T) {
	_, a, _, _, keys := world3(t, 3)
	for _, k := range keys {
		if k.ID != ownID(nordtal, "", k.Secret) {
			t.Errorf("key %s could be another one", k.ID)
		}
	}
	for _, name := range sharedNames {
		k, err := a.Named(t.Context(), nordtal, name)
		must(t, err)
		if k.ID != ownID(nordtal, name, k.Secret) || k.ID == ownID("lk-other", name, k.Secret) || k.ID == ownID(nordtal, "", k.Secret) {
			t.Errorf("the key %s could be another one", name)
		}
	}
	if got := ownID(nordtal, "", seal.Key{1}); got != "f90bd5de994098fa" { // it is how every site tells, for ever
		t.Errorf("the id is made in another way: %s", got)
	}
}

// An id that is not that of the secret is what all older keys have: it is no damage.
func TestTheCheckGivesUpNoKeyThatOpens(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 0)
	old, k := a.oldKey(t), a.newKey(t)
	rogue.sends(t, b, rogue.falseFor(t, b, k.ID)...)
	a.pull(t, b)
	for _, s := range []*testSite{a, b} {
		if n, err := s.Check(t.Context(), noRest); n != 0 || err != nil {
			t.Errorf("%d damaged, %v", n, err)
		}
	}
	a.reads(t, old)
	a.reads(t, k)
	b.want(t, k.ID, nil)
}

func randomID(t testing.TB) event.KeyID {
	t.Helper()
	var b [8]byte
	_, err := rand.Read(b[:])
	must(t, err)
	return event.KeyID(hex.EncodeToString(b[:]))
}
