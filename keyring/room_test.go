// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// grant seals what a site holds to others, as each site does when keys have come.
func (s *testSite) grant(t testing.TB, to ...*testSite) {
	t.Helper()
	for _, other := range to {
		must(t, s.Grant(context.Background(), nordtal, other.Self(), other.pub()))
	}
}

// flood sends so many authority keys of one site's own, sealed to another one.
func (s *testSite) flood(t testing.TB, to *testSite, n int, generation func(int) int64) (drawn []heldKey) {
	t.Helper()
	records := make([]Record, 0, n)
	for i := range n {
		k := s.drawn(t, generation(i))
		drawn = append(drawn, k)
		records = append(records, s.box(t, k, to))
	}
	s.sends(t, to, records...)
	return drawn
}

func count(t testing.TB, s *testSite, query string, args ...any) (n int) {
	t.Helper()
	must(t, s.db.QueryRow(query, args...).Scan(&n))
	return n
}

// A rogue draws so many authority keys that what an honest site grants on would fill its room at another one.
func TestKeysOfOneSiteUseUpNobodyElsesRoom(t *testing.T) {
	for name, flood := range map[string]struct {
		keys       int
		generation func(int) int64
	}{
		"one generation": {maxBoxes + 10, func(int) int64 { return 1 }},
		"a staircase":    {maxOfOrigin * 3, func(i int) int64 { return int64(i + 2) }},
	} {
		t.Run(name, func(t *testing.T) {
			n, a, b, rogue, _ := world3(t, 1)
			rogue.flood(t, a, flood.keys, flood.generation)
			a.wantRefused(t, rogue.Self(), refusedBoxes, max(0, flood.keys-maxBoxes))
			a.grant(t, b, rogue)
			b.pull(t, a)
			if got := count(t, a, `SELECT count(*) FROM box WHERE maker = ? AND origin = ? AND site = ?`, a.Self(), rogue.Self(), b.Self()); got > maxOfOrigin {
				t.Errorf("%d keys of one site were granted on", got)
			}
			b.wantRefused(t, a.Self(), refusedBoxes, 0)
			meanwhile := a.newKey(t) // while the rogue is allowed
			b.pull(t, a)
			b.want(t, meanwhile.ID, nil)

			n.allow(a, b)
			a.forbid(t, a, b)
			wantReadable(t, a, b)
		})
	}
}

// wantReadable has two sites that may hold the authority read what the other one makes, also after the second one has renewed its key.
func wantReadable(t *testing.T, a, b *testSite) {
	t.Helper()
	after := a.newKey(t)
	b.pull(t, a)
	b.want(t, after.ID, nil)
	b.forbid(t, a, b)
	back := b.newKey(t)
	a.pull(t, b)
	a.want(t, back.ID, nil)
}

// A box costs the same however many keys the authority has, and a burnt slot is found however many there are.
func TestAnIndexLeadsToWhatABoxOpensAndToWhatWasBurnt(t *testing.T) {
	_, _, b, _, _ := world3(t, 1)
	for query, index := range map[string]string{
		usedBy:       "USING INDEX secret_by (authority=? AND by=?)",
		sealedBy:     "USING INDEX secret_by (authority=? AND by=?)",
		againInVault: "USING INDEX vault_burnt (<expr>=?)",
	} {
		rows, err := b.db.Query(`EXPLAIN QUERY PLAN `+query, 1, 2, 3)
		must(t, err)
		plan := ""
		for rows.Next() {
			var id, parent, unused int
			var does string
			must(t, rows.Scan(&id, &parent, &unused, &does))
			plan += does + "\n"
		}
		must(t, rows.Close())
		if !strings.Contains(plan, index) {
			t.Errorf("%s\nis done by\n%s", query, plan)
		}
	}
}

// The room of an honest site may be full from the days before what it grants on was bounded.
func TestAFullRoomOfAnotherOriginRefusesNoKeyOfASite(t *testing.T) {
	n, a, b, rogue, _ := world3(t, 1)
	drawn := rogue.drawn(t, 1)
	records := make([]Record, 0, maxBoxes)
	for range maxBoxes {
		rec := drawn.Record
		rec.ID = randomID(t)
		rec.Site, rec.Maker, rec.Sealed = b.Self(), a.Self(), []byte{1}
		records = append(records, rec)
	}
	must(t, b.write(context.Background(), func(w *writer) error {
		for _, rec := range records {
			if err := w.insertBox(nordtal, rec); err != nil {
				return err
			}
		}
		return nil
	}))
	for range 2 { // while the rogue is allowed, and when it is not
		a.forbid(t, a, b)
		k := a.newKey(t)
		b.pull(t, a)
		b.want(t, k.ID, nil)
		n.allow(a, b)
	}
}

// What a site seals while a rogue's key is the newest is sealed with a key that it grants on.
func TestAKeyThatSealsIsGrantedOn(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	var made []Key
	for range 2 {
		newer := rogue.flood(t, a, 1, func(int) int64 { return int64(2 + len(made)) })
		if id, _ := a.newestAt(t); id != newer[0].ID {
			t.Fatal("the rogue's key does not seal: this test sees nothing")
		}
		made = append(made, a.newKey(t))
		rogue.flood(t, a, 40, func(int) int64 { return 1 })
	}
	rogue.flood(t, a, 1, func(int) int64 { return 4 }) // one of too many: it does not count
	made = append(made, a.newKey(t))
	a.grant(t, b)
	b.pull(t, a)
	for _, k := range made {
		b.want(t, k.ID, nil)
	}
}

// A site of which more keys are here than are granted on is not cut off: what it makes with its own keys is read.
func TestKeysOfASiteThatHasDrawnManyAreStillRead(t *testing.T) {
	n, a, b, rogue, _ := world3(t, 1)
	n.allow(a, b)
	a.forbid(t, a, b)
	for i := range maxOfOrigin + 3 {
		a.now = at().Add(renewPause * 2)
		others := []*testSite{rogue}
		n.allow(append(others, a, b)...)
		a.grant(t, rogue)
		n.allow(a, b)
		a.forbid(t, a, b)
		if _, generation := a.newestAt(t); generation != int64(i+3) {
			t.Fatalf("round %d: generation %d seals: this test sees nothing", i, generation)
		}
	}
	wantReadable(t, a, b)
}

// In a full room of keys whose origin is not allowed, what opens a record that is here has a place.
func TestWhatOpensNothingGivesWay(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 1)
	gone := n.add(t, "")
	n.allow(a, b, rogue, gone)
	a.grant(t, gone)
	gone.pull(t, a)
	drawn := gone.flood(t, a, 1, func(int) int64 { return 2 })[0]
	k := a.newKey(t) // sealed with the key of a site that goes
	n.allow(a, b, rogue)
	records, _, _, err := a.Changes(ctx, nordtal, Cursor{}, answerBytes)
	must(t, err)
	var idle, useful []Record
	for range maxBoxes {
		rec := Record{ID: randomID(t), Generation: 1, Site: gone.Self(), Sealed: []byte{1}, Maker: a.Self()}
		rec.Signature = a.id.Sign(purposeBox, rec.boxMessage(nordtal))
		idle = append(idle, rec)
	}
	for _, rec := range records {
		if rec.ID == k.ID {
			useful = append(useful, rec)
		}
	}
	a.sends(t, b, append(idle, useful...)...)
	b.want(t, k.ID, ErrMissing)
	a.sends(t, b, a.box(t, drawn, b))
	b.want(t, k.ID, nil)
	a.sends(t, b, idle...)
	b.wantRefused(t, a.Self(), refusedBoxes, 1)
}

// Boxes that lead to a later generation stay, whatever gives way.
func TestNoStepGivesWay(t *testing.T) {
	boxes := []boxRow{{generation: 1}, {generation: 9}, {generation: 9}, {generation: 17}, {generation: 1000}, {generation: readingOnly}}
	steps := stepsOf(boxes)
	if steps[1] != 1 || steps[9] != 2 || steps[17] != 1 || steps[1000] != 0 || steps[readingOnly] != 0 {
		t.Errorf("steps: %v", steps)
	}
}

// Sites that nobody knows, which a rogue makes up, use up no room of those that the authority allows.
func TestOriginsThatARogueMakesUpUseUpNobodysRoom(t *testing.T) {
	n, a, b, rogue, _ := world3(t, 1)
	var records []Record
	for range maxOfOthers + 50 {
		id, err := seal.NewIdentity(rand.Reader)
		must(t, err)
		k := (&testSite{id: id, Ring: &Ring{self: id.Site()}}).drawn(t, 1)
		records = append(records, rogue.box(t, k, a))
	}
	rogue.sends(t, a, records...)
	a.grant(t, b)
	if got := count(t, a, `SELECT count(*) FROM box WHERE maker = ? AND site = ?`, a.Self(), b.Self()); got > maxOfOthers+2 {
		t.Errorf("%d keys were granted on", got)
	}
	n.allow(a, b)
	a.forbid(t, a, b)
	k := a.newKey(t)
	b.pull(t, a)
	b.want(t, k.ID, nil)
}

// inventedBoxes are boxes for a site under one id, each with another secret and made by another invented site.
func inventedBoxes(t testing.TB, id event.KeyID, to *testSite, n int) (list []Record) {
	t.Helper()
	for range n {
		who, err := seal.NewIdentity(rand.Reader)
		must(t, err)
		secret, err := seal.NewKey(rand.Reader)
		must(t, err)
		maker := &testSite{id: who, Ring: &Ring{self: who.Site()}}
		list = append(list, maker.box(t, heldKey{secret, Record{ID: id, Generation: 1}}, to))
	}
	return list
}

// heldNow returns how many authority keys of an id are in memory: whoever asks for more has to open the boxes again.
func (r *Ring) heldNow(id event.KeyID) int {
	r.cache.RLock()
	defer r.cache.RUnlock()
	return len(r.held.lists[keyName{nordtal, id}])
}

// One answer may have thousands of boxes. Each is opened once, however many there are under its id, and none has
// others opened again.
func TestBoxesOfInventedMakersCostTheirNumberOnly(t *testing.T) {
	const id event.KeyID = "00000000000000aa"
	_, a, b, rogue, keys := world3(t, 1)
	b.reads(t, keys[0])
	own := b.held1(t).ID
	boxes := inventedBoxes(t, id, b, maxStrangers+20)
	must(t, b.write(t.Context(), func(w *writer) error {
		w.peer = rogue.Self()
		for i, rec := range boxes {
			if err := w.merge(nordtal, rec); err != nil {
				return err
			}
			if got, true1 := b.heldNow(id), b.heldNow(own); got != min(i+1, maxStrangers) || true1 == 0 {
				return fmt.Errorf("after %d boxes %d of their keys are in memory, and %d of the authority's", i+1, got, true1)
			}
		}
		return w.writeRefusals(nordtal)
	}))
	b.wantRefused(t, rogue.Self(), refusedBoxes, 20)
	remembered, err := b.authorityKeys(t.Context(), b.db, nordtal, string(id))
	must(t, err)
	b.forgetHeld()
	opened, err := b.authorityKeys(t.Context(), b.db, nordtal, string(id))
	if err != nil || fmt.Sprint(opened) != fmt.Sprint(remembered) {
		t.Errorf("what is remembered is not what the boxes hold: %v", err)
	}
	b.pull(t, a)
	before, err := b.Cursor(t.Context(), a.Self(), nordtal)
	must(t, err, b.Tidy(t.Context(), nordtal))
	if after, err := b.Cursor(t.Context(), a.Self(), nordtal); err != nil || after != before || before == (Cursor{}) {
		t.Errorf("what has no place is asked for again and again: the cursor went from %v to %v, %v", before, after, err)
	}
}

// Whatever has been made up under an id before: the box of an allowed site has a place, and one with the key of the
// id clears the others.
func TestInventedMakersKeepNoBoxOut(t *testing.T) {
	ctx := context.Background()
	n, a, _, rogue, keys := world3(t, 1)
	c := n.add(t, t.TempDir())
	n.allow(a, c, rogue)
	id, old := a.held1(t).ID, a.oldKey(t)
	rogue.sends(t, c, append(inventedBoxes(t, id, c, maxStrangers+1), rogue.falseBox(t, id, c))...)
	rogue.sends(t, c, inventedBoxes(t, "00000000000000aa", c, maxStrangers)...)
	of := func(id event.KeyID) int {
		return count(t, c, `SELECT count(*) FROM box WHERE id = ? AND site = ?`, id, c.Self())
	}
	if got := of(id); got != maxStrangers+1 {
		t.Fatalf("%d false boxes are here: this test sees nothing", got)
	}
	// The true one, by a maker that nobody knows any more.
	gone := n.add(t, "")
	c.pull(t, rogue)
	rogue.sends(t, c, gone.box(t, a.held1(t), c))
	if got := of(id); got != 1 || c.heldNow(id) != 1 {
		t.Errorf("%d boxes are left, %d in memory", got, c.heldNow(id))
	}
	c.pull(t, a)
	c.reads(t, keys[0])
	c.reads(t, old)
	// Of an older key, whose id proves nothing, all makers that are allowed have their places.
	secret, err := seal.NewKey(rand.Reader)
	must(t, err)
	a.sends(t, c, a.box(t, heldKey{secret, Record{ID: "00000000000000aa", Generation: 1}}, c))
	older := Key{randomID(t), seal.Key{9}}
	a.sends(t, c, sealedKey(t, older, "", Key{"00000000000000aa", secret}))
	c.reads(t, older)
	must(t, c.Close())
	c.open(t)
	for _, k := range append(keys, old, older) {
		c.reads(t, k)
	}
	if damaged, err := c.Check(ctx, noRest); err != nil || damaged != 0 {
		t.Errorf("%d damaged, %v", damaged, err)
	}
}

// Further boxes of strangers with a key that is here say nothing new: they are left out, and nobody is told of a wrong.
func TestBoxesOfSitesThatAreGoneAreNoRefusal(t *testing.T) {
	n, a, b, _, _ := world3(t, 1)
	held := a.held1(t)
	var boxes []Record
	for range maxStrangers + 5 {
		boxes = append(boxes, n.add(t, "").box(t, held, b))
	}
	a.sends(t, b, boxes...)
	b.wantRefused(t, a.Self(), refusedBoxes, 0)
	if got := count(t, b, `SELECT count(*) FROM box WHERE id = ? AND site = ?`, held.ID, b.Self()); got != maxStrangers+1 {
		t.Errorf("%d boxes are here", got)
	}
	if got := b.heldNow(held.ID); got != 1 {
		t.Errorf("the same key is tried %d times", got)
	}
}
