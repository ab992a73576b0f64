// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// falseBox is a box with another key than that of the id, for which nobody has signed.
func (s *testSite) falseBox(t *testing.T, id event.KeyID, to *testSite) Record {
	t.Helper()
	secret, err := seal.NewKey(rand.Reader)
	must(t, err)
	return s.box(t, heldKey{secret, Record{ID: id, Generation: 1}}, to)
}

// loseBoxes destroys the boxes for the site that others than the rogue have made.
func (s *testSite) loseBoxes(t *testing.T, rogue *testSite) {
	t.Helper()
	_, err := s.db.Exec(`UPDATE vault SET sealed = zeroblob(length(sealed)) WHERE slot IN (
		SELECT slot FROM box WHERE site = ? AND maker <> ?)`, s.Self(), rogue.Self())
	must(t, err)
	s.forgetHeld()
}

// Whenever a false box comes under the id of the authority's key, nothing is judged by it.
func TestNoKeyIsJudgedByAFalseBox(t *testing.T) {
	ctx := context.Background()
	for name, before := range map[string]bool{"that came before the true one": true, "that comes after the true one": false} {
		t.Run(name, func(t *testing.T) {
			n, a, _, rogue, _ := world3(t, 1)
			c := n.add(t, t.TempDir())
			n.allow(a, c, rogue)
			id := a.held1(t).ID
			plant := rogue.falseBox(t, id, c)
			if before {
				rogue.sends(t, c, plant)
			}
			a.grant(t, c)
			old := a.oldKey(t)
			c.pull(t, a)
			own, err := c.NewKeys(ctx, nordtal, 3) // nobody else has them yet
			must(t, err)
			rogue.sends(t, c, plant)
			c.loseBoxes(t, rogue)
			must(t, c.Close())
			c.open(t)
			for range 2 {
				rogue.sends(t, c, plant) // everybody is asked for everything again
				rogue.sends(t, c, rogue.falseFor(t, c, old.ID)...)
				if _, err := c.Check(ctx, noRest); err != nil {
					t.Fatal(err)
				}
			}
			must(t, c.Close())
			c.open(t)
			rogue.sends(t, c, plant)
			if got := count(t, c, `SELECT count(*) FROM box WHERE id = ? AND site = ?`, id, c.Self()); got != 0 {
				t.Errorf("%d false boxes are here", got)
			}
			c.pull(t, a)
			for _, k := range append(own, old) {
				c.reads(t, k)
			}
		})
	}
}

// A digest that no secret has can be given the id of an older key: what is said in boxes for others makes no key a false one.
func TestABoxForAnotherSiteMakesNoKeyAFalseOne(t *testing.T) {
	a, second, keys := before(t)
	rogue := a.net.add(t, "")
	a.net.allow(a, second, rogue)
	boxes, err := a.ownBoxes(context.Background())
	must(t, err)
	for _, b := range boxes {
		id, err := hex.DecodeString(string(b.id))
		must(t, err)
		digest := append(id, make([]byte, 24)...)
		rec := Record{ID: b.id, Generation: 1, Site: second.Self(), Sealed: []byte{1}, Maker: rogue.Self(), Origin: rogue.Self(), Digest: digest}
		rec.Birth = rogue.id.Sign(purposeBirth, rec.birthMessage(nordtal))
		rec.Signature = rogue.id.Sign(purposeBox, rec.boxMessage(nordtal))
		rogue.sends(t, a, rec)
	}
	must(t, a.Close())
	a.open(t)
	for _, k := range keys[:2] {
		a.want(t, k.ID, nil)
	}
}

// What others can make a site remember goes with their boxes.
func TestWhatNothingNeedsIsNotRemembered(t *testing.T) {
	n := newNetwork()
	a, rogue := n.add(t, t.TempDir()), n.add(t, "")
	n.allow(a, rogue)
	must(t, a.Found(t.Context(), nordtal))
	for range 3 {
		rogue.sends(t, a, rogue.box(t, rogue.drawn(t, 1), a))
	}
	remembered := func() int { return count(t, a, `SELECT count(*) FROM genuine`) }
	if got := remembered(); got != 4 {
		t.Errorf("%d are remembered", got)
	}
	boxes, err := listBoxes(t.Context(), a.db, nordtal)
	must(t, err)
	must(t, a.write(t.Context(), func(w *writer) error {
		for _, b := range boxes {
			if err := w.dropBox(nordtal, b); err != nil {
				return err
			}
		}
		return nil
	}))
	if got := remembered(); got != 1 {
		t.Errorf("%d are remembered, want that of the shared keys", got)
	}
	_, err = a.db.Exec(`DELETE FROM secret`)
	must(t, err, a.Close())
	a.open(t)
	if got := remembered(); got != 0 {
		t.Errorf("%d are remembered of nothing", got)
	}
}
