// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// waitFor makes a site say that pages on its disk wait for these keys.
func (s *testSite) waitFor(ids ...event.KeyID) {
	s.sync.Needed = func(ctx context.Context, authority event.AuthorityID) ([]event.KeyID, error) {
		return s.Missing(ctx, authority, ids)
	}
}

func (s *testSite) forbid(t *testing.T, remaining ...*testSite) {
	t.Helper()
	keys := make(map[event.SiteID]seal.PublicKey)
	for _, r := range remaining {
		keys[r.Self()] = r.pub()
	}
	must(t, s.Forbid(context.Background(), nordtal, keys))
}

// newestAt returns the authority key that seals what a site makes next.
func (s *testSite) newestAt(t *testing.T) (event.KeyID, int64) {
	t.Helper()
	boxes, err := listBoxes(context.Background(), s.db, nordtal)
	must(t, err)
	best, ok := s.newest(nordtal, boxes)
	if !ok {
		t.Fatal("the site has no key to seal with")
	}
	return best.id, best.generation
}

// renewed is a world in which C was forbidden, did not hear of it, and took a new authority key itself, since D was forbidden
// too: what it made then is sealed by a key that only C's boxes give to A and B.
func renewed(t *testing.T) (n *network, a, b, c *testSite) {
	t.Helper()
	ctx := context.Background()
	n = newNetwork()
	a, b, c = n.add(t, ""), n.add(t, ""), n.add(t, "")
	d := n.add(t, "")
	n.allow(a, b, c, d)
	must(t, a.Found(ctx, nordtal))
	for _, s := range []*testSite{b, c, d} {
		must(t, a.Grant(ctx, nordtal, s.Self(), s.pub()))
	}
	b.pull(t, a)
	c.pull(t, a)
	c.forbid(t, a, b, c)
	n.allow(a, b)
	return n, a, b, c
}

func TestKeysAreTakenFromAForbiddenSiteThatHadRenewedTheAuthoritysKey(t *testing.T) {
	ctx := context.Background()
	for _, known := range []bool{false, true} { // whether the keys came another way, and only what opens them is lacking
		_, a, b, c := renewed(t)
		k, other := c.newKey(t), c.newKey(t)
		by, _ := c.newestAt(t)
		before, _ := a.newestAt(t)
		if known {
			records, _, _, err := c.Changes(ctx, nordtal, Cursor{}, answerBytes)
			must(t, err)
			records = slices.DeleteFunc(records, func(rec Record) bool { return rec.ID != k.ID })
			_, err = a.Merge(ctx, b.Self(), nordtal, records, Cursor{}, Cursor{})
			must(t, err)
		}
		if a.pull(t, c) != 0 {
			t.Error("without need something was taken from a forbidden site")
		}
		a.waitFor(k.ID)
		told, cancel := a.Subscribe()
		a.pull(t, c)
		a.want(t, k.ID, nil)
		a.want(t, other.ID, ErrMissing)
		cancel()
		select {
		case got := <-told:
			if !slices.Contains(got, Changed{nordtal, k.ID, false}) {
				t.Errorf("nobody was told that the key became readable: %v", got)
			}
		default:
			t.Error("nobody was told anything")
		}
		if a.pull(t, c) != 0 {
			t.Error("the exchange does not come to rest")
		}
		if id, _ := a.newestAt(t); id != before {
			t.Error("what is made next is sealed by a key that the forbidden site has")
		}

		// A hands it on, for reading only, to whoever does not reach C, and to who is allowed later.
		must(t, a.Grant(ctx, nordtal, b.Self(), b.pub()))
		b.pull(t, a)
		b.want(t, k.ID, nil)
		if id, _ := b.newestAt(t); id != before {
			t.Error("B seals by the key of the forbidden site")
		}

		a.forbid(t, a, b)
		b.pull(t, a)
		if id, _ := b.newestAt(t); id == by || id == before {
			t.Error("after the renewal a key seals that the forbidden site has")
		}
	}
}

func TestAForbiddenSiteAllowedAgainChangesNoSealing(t *testing.T) {
	ctx := context.Background()
	n, a, b, c := renewed(t)
	k := c.newKey(t)
	by, _ := c.newestAt(t)
	a.waitFor(k.ID)
	a.pull(t, c)
	a.forbid(t, a, b)
	n.allow(a, b, c)
	must(t, a.Grant(ctx, nordtal, c.Self(), c.pub()))
	for range 2 {
		a.pull(t, c)
		c.pull(t, a)
		b.pull(t, a)
	}
	if id, _ := a.newestAt(t); id == by {
		t.Error("a key that was taken for reading only seals after all")
	}
	after := a.newKey(t)
	b.pull(t, a)
	c.pull(t, a)
	for _, s := range []*testSite{a, b, c} {
		s.want(t, after.ID, nil)
	}
	a.want(t, k.ID, nil)
}

// offering is a peer that answers with these records, whatever it is asked.
func (n *network) offering(t *testing.T, s *testSite, records ...Record) {
	t.Helper()
	s.sync.Link = parrotOf(t, given{Authority: nordtal, Records: records, Next: Cursor{"e", 1}})
}

func forgedBox(t *testing.T, id event.KeyID, generation int64, to *testSite) (Record, seal.Key) {
	t.Helper()
	secret, err := seal.NewKey(rand.Reader)
	must(t, err)
	sealed, err := seal.SealTo(to.pub(), boxContext(nordtal, id, to.Self()), secret[:])
	must(t, err)
	return Record{ID: id, Generation: generation, Site: to.Self(), Sealed: sealed}, secret
}

func TestAForbiddenSiteCannotForgeAnAuthorityKeyForGood(t *testing.T) {
	ctx := context.Background()
	n, a, b, c := renewed(t)
	b.forbid(t, a, b) // a true key that has not come to A yet
	k, later := b.newKey(t), b.newKey(t)
	by, _ := b.newestAt(t)
	before, _ := a.newestAt(t)

	forged, secret := forgedBox(t, by, maxGeneration, a)
	sealed, err := secret.Seal(rand.Reader, keyContext(nordtal, k.ID, ""), make([]byte, len(seal.Key{})))
	must(t, err)
	a.waitFor(k.ID)
	honest := a.sync.Link
	n.offering(t, a, forged)
	if a.pull(t, c) != 0 {
		t.Error("an authority key was taken that opens nothing that is needed")
	}
	row, err := findSecret(ctx, b.db, nordtal, k.ID)
	must(t, err)
	n.offering(t, a, forged, Record{ID: k.ID, By: by, Sealed: row.sealed})
	a.pull(t, c)
	boxes, err := listBoxes(ctx, a.db, nordtal)
	if err != nil || slices.ContainsFunc(boxes, func(box boxRow) bool { return box.id == by }) {
		t.Errorf("an authority key was taken that does not open what is needed: %v", err)
	}
	n.offering(t, a, forged, Record{ID: k.ID, By: by, Sealed: sealed})
	a.pull(t, c)
	if id, _ := a.newestAt(t); id != before {
		t.Error("a forged key seals what is made next")
	}
	a.want(t, k.ID, nil) // as far as A can tell

	a.sync.Link = honest
	a.pull(t, b)
	for _, key := range []Key{k, later} {
		if got, err := a.Key(ctx, nordtal, key.ID); err != nil || got != key.Secret {
			t.Errorf("the true key did not take the forged one's place: %v", err)
		}
	}
	if id, _ := a.newestAt(t); id != by {
		t.Error("the true authority key does not seal what is made next")
	}
}

func TestAKeyForReadingOnlyIsNotEnoughToMakeKeys(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a := n.add(t, "")
	box, _ := forgedBox(t, "00000000000000aa", 0, a)
	_, err := a.Merge(ctx, "somebody", nordtal, []Record{box}, Cursor{}, Cursor{})
	must(t, err)
	if _, err := a.NewKeys(ctx, nordtal, 1); !errors.Is(err, ErrNoAuthorityKey) {
		t.Errorf("made a key: %v", err)
	}
	if _, err := a.Granted(ctx, nordtal); !errors.Is(err, ErrNoAuthorityKey) {
		t.Errorf("granted: %v", err)
	}
}

func parrotOf(t *testing.T, g given) parrot {
	t.Helper()
	raw, err := json.Marshal(answer{Given: []given{g}})
	must(t, err)
	return raw
}
