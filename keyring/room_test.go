// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

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
