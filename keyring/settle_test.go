// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

// waiting returns how many keys do not open at the site yet.
func (s *testSite) waiting(t testing.TB) int {
	t.Helper()
	return count(t, s, `SELECT count(*) FROM secret WHERE giver <> ''`)
}

// inventionsUnder are keys that the authority key of the id does not open.
func inventionsUnder(by event.KeyID, n int) (records []Record) {
	for i := range n {
		records = append(records, Record{ID: event.KeyID(fmt.Sprintf("%016x", i)), By: by, Sealed: bytes.Repeat([]byte{7}, 61)})
	}
	return records
}

func (s *testSite) wantBurnt(t testing.TB, sealed []byte) {
	t.Helper()
	if n := count(t, s, `SELECT count(*) FROM vault WHERE sealed = ?`, sealed); n > 0 {
		t.Errorf("%d keys that went are still in the file", n)
	}
}

func TestWhatItsKeyDoesNotOpenGoesWhenTheKeyComes(t *testing.T) {
	n, a, b, rogue, keys := world3(t, 1)
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	box, err := a.boxOf(t, b)
	must(t, err)
	rogue.sends(t, late, inventionsUnder(box.ID, 2*settledAtOnce+3)...)
	late.pull(t, a)
	a.grant(t, late)
	late.pull(t, a)
	if got := late.waiting(t); got > 0 {
		t.Errorf("%d inventions are still here", got)
	}
	late.wantBurnt(t, bytes.Repeat([]byte{7}, 61))
	late.want(t, keys[0].ID, nil)
}

// What an earlier version has kept without noting who gave it may have been made here.
func TestAKeyThatMayBeOnesOwnStays(t *testing.T) {
	n, a, b, rogue, _ := world3(t, 1)
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	box, err := a.boxOf(t, b)
	must(t, err)
	rogue.sends(t, late, inventionsUnder(box.ID, 2)...)
	_, err = late.db.Exec(`UPDATE secret SET giver = ? WHERE id = '0000000000000000'`, unknownGiver)
	must(t, err)
	a.grant(t, late)
	late.pull(t, a)
	if got := count(t, late, `SELECT count(*) FROM secret WHERE giver = ?`, unknownGiver); got != 1 || late.waiting(t) != 1 {
		t.Errorf("%d are here, %d of them may be its own", late.waiting(t), got)
	}
}

// The keys of a large authority do not hold the file while all of them are looked at.
func TestKeysAreSettledInPortions(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 1)
	keys, err := a.NewKeys(ctx, nordtal, 2*settledAtOnce+10)
	must(t, err)
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	late.pull(t, a)
	all := late.waiting(t)
	a.grant(t, late)
	box, err := a.recordsOf(ctx, nordtal, idsOf(keys[:1]), late.Self())
	must(t, err)
	must(t, late.write(ctx, func(w *writer) error {
		secret, err := late.openBox(nordtal, box[0])
		if err == nil {
			err = w.takeOwnBox(nordtal, box[0], secret, false, 0)
		}
		w.settles = nil // the program ends here
		return err
	}))
	portion := func() (more bool) {
		must(t, late.write(ctx, func(w *writer) (err error) {
			_, more, err = w.settleSome(nordtal, unopenedKey{})
			return err
		}))
		return more
	}
	if more := portion(); !more || late.waiting(t) != all-settledAtOnce {
		t.Errorf("after a portion %d of %d keys wait, more: %v", late.waiting(t), all, more)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := late.settle(ended, nordtal); err == nil {
		t.Error("settled although the program ends")
	}
	news, stop := late.Subscribe()
	defer stop()
	must(t, late.Tidy(ctx, nordtal))
	if got := late.waiting(t); got > 0 {
		t.Errorf("%d keys still wait", got)
	}
	if got := len(<-news); got != all-settledAtOnce {
		t.Errorf("%d keys were told", got)
	}
	if got := count(t, late, `SELECT count(*) FROM crowded`); got > 0 {
		t.Errorf("%d notes are left", got)
	}
}

// While there is no room for what waits, nobody tries.
func TestTidyTriesNothingWithoutRoom(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 20)
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	late.maxKeys = 10
	late.pull(t, a)
	a.grant(t, late)
	late.pull(t, a)
	late.wantRefused(t, a.Self(), refusedKeys, 1)
	for range 3 {
		must(t, late.Tidy(ctx, nordtal))
	}
	late.wantRefused(t, a.Self(), refusedKeys, 1)
	if got := late.waiting(t); got != 13 {
		t.Errorf("%d keys wait", got)
	}
}

// damageBoxes changes a bit of every authority key that is sealed to the site.
func (s *testSite) damageBoxes(t testing.TB) {
	t.Helper()
	boxes, err := s.ownBoxes(context.Background())
	must(t, err)
	for _, b := range boxes {
		b.record.Sealed[50] ^= 4
		_, err := s.db.Exec(`UPDATE vault SET sealed = ? WHERE slot = ?`, b.record.Sealed, b.slot)
		must(t, err)
	}
	s.forgetHeld()
}

// What came while the authority's key was damaged is like everything else when the key is whole again.
func TestARestoredBoxSettlesWhatCameMeanwhile(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 1)
	b.damageBoxes(t)
	b.maxUnopened = 1
	waits, refused := a.newKey(t), a.newKey(t)
	b.pull(t, a)
	b.wantRefused(t, a.Self(), refusedUnopened, 1)
	news, stop := b.Subscribe()
	defer stop()
	if found, err := b.Check(ctx, func(context.Context) error { return nil }); err != nil || found == 0 {
		t.Fatalf("%d damaged, %v", found, err)
	}
	if missing, err := b.Missing(ctx, nordtal, []event.KeyID{waits.ID}); err != nil || len(missing) > 0 {
		t.Errorf("%d are missing, %v", len(missing), err)
	}
	select {
	case <-news:
	default:
		t.Error("nobody hears of it")
	}
	b.pull(t, a)
	c := n.add(t, "")
	n.allow(a, b, rogue, c)
	b.grant(t, c)
	c.pull(t, b)
	for _, s := range []*testSite{b, c} {
		s.want(t, waits.ID, nil)
		s.want(t, refused.ID, nil)
	}
}

// A version that settles nothing may have taken the box, or a crash may have come before.
func TestWhatWaitsForAKeyThatIsHereIsSettledAtTheOpening(t *testing.T) {
	ctx := context.Background()
	n := newNetwork()
	a, b := n.add(t, ""), n.add(t, t.TempDir())
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal))
	a.grant(t, b)
	k := a.newKey(t)
	b.pull(t, a)
	_, err := b.db.Exec(`UPDATE secret SET giver = ?, change = 0`, a.Self())
	must(t, err)
	if missing, err := b.Missing(ctx, nordtal, []event.KeyID{k.ID}); err != nil || len(missing) != 1 {
		t.Fatalf("this test sees nothing: %v", err)
	}
	must(t, b.Close())
	b.open(t)
	if missing, err := b.Missing(ctx, nordtal, []event.KeyID{k.ID}); err != nil || len(missing) > 0 || b.waiting(t) > 0 {
		t.Errorf("missing %v, waiting %d, %v", missing, b.waiting(t), err)
	}
	c := n.add(t, "")
	n.allow(a, b, c)
	b.grant(t, c)
	c.pull(t, b)
	c.want(t, k.ID, nil)
}

// A key of a random id whose authority key was given up is not replaced by what somebody seals under that id.
func TestAKeyThatCannotBeJudgedGivesWayToNoneThatProvesNothing(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	key, id := a.newKey(t), randomID(t)
	box, err := a.boxOf(t, b)
	must(t, err)
	held, err := b.authorityKeys(context.Background(), b.db, nordtal, string(box.ID))
	must(t, err)
	sealed, err := held[0].secret.Seal(a.cfg.Rand, keyContext(nordtal, id, ""), key.Secret[:])
	must(t, err)
	a.sends(t, b, Record{ID: id, By: box.ID, Sealed: sealed})
	b.want(t, id, nil)
	drawn := rogue.drawn(t, 1)
	rogue.sends(t, b, rogue.box(t, drawn, b))
	must(t, func() error {
		_, err := b.db.Exec(`DELETE FROM box WHERE id = ? AND site = ?`, box.ID, b.Self())
		b.forgetHeld()
		return err
	}())
	sealedFalse, err := drawn.secret.Seal(a.cfg.Rand, keyContext(nordtal, id, ""), drawn.secret[:])
	must(t, err)
	rogue.sends(t, b, Record{ID: id, By: drawn.ID, Sealed: sealedFalse})
	if got := count(t, b, `SELECT count(*) FROM secret WHERE id = ? AND by = ?`, id, box.ID); got != 1 {
		t.Error("the key has given way")
	}
}

// A box that does not open takes nobody's place.
func TestNothingGivesWayToABoxThatDoesNotOpen(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	var idle []Record
	for range maxBoxes {
		idle = append(idle, Record{ID: randomID(t), Generation: 1, Site: a.Self(), Sealed: []byte{1}})
	}
	a.sends(t, b, idle...)
	box, err := a.boxOf(t, b)
	must(t, err)
	junk := Record{ID: box.ID, Generation: 1, Site: b.Self(), Sealed: []byte{1}}
	rogue.sends(t, b, junk, junk, junk)
	if got := count(t, b, `SELECT count(*) FROM box WHERE maker = ''`); got != maxBoxes {
		t.Errorf("%d boxes are left", got)
	}
}
