// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// makes returns a key as a site makes one that has the authority's key, under any id and name.
func (s *testSite) makes(t testing.TB, id event.KeyID, name string, secret seal.Key) Record {
	t.Helper()
	var by Key
	must(t, s.write(context.Background(), func(w *writer) (err error) {
		by, err = w.current(nordtal)
		return err
	}))
	sealed, err := by.Secret.Seal(rand.Reader, keyContext(nordtal, id, name), secret[:])
	must(t, err)
	return Record{ID: id, Name: name, By: by.ID, Sealed: sealed}
}

// low are keys of all three names with ids below all others.
func (s *testSite) low(t testing.TB) (records []Record) {
	t.Helper()
	for i, name := range sharedNames {
		records = append(records, s.makes(t, event.KeyID(fmt.Sprintf("%016x", i+1)), name, seal.Key{byte(i + 1)}))
	}
	return records
}

// secrets are the shared keys as a site has them.
func (s *testSite) secrets(t *testing.T) (keys []Key) {
	t.Helper()
	for _, name := range sharedNames {
		k, err := s.Named(context.Background(), nordtal, name)
		must(t, err)
		keys = append(keys, k)
	}
	return keys
}

// namedWorld is world3 with facts that name the shared keys, and a site that has none of the keys yet.
func namedWorld(t *testing.T) (n *network, a, b, rogue, fresh *testSite) {
	t.Helper()
	n, a, b, rogue, _ = world3(t, 0)
	var err error
	n.shared, err = a.Shared(context.Background(), nordtal)
	must(t, err)
	fresh = n.add(t, "")
	n.allow(a, b, rogue, fresh)
	must(t, a.Grant(context.Background(), nordtal, fresh.Self(), fresh.pub()))
	return n, a, b, rogue, fresh
}

// namesOld has the facts name keys of the version before, whose ids say nothing of them.
func (n *network) namesOld(t *testing.T, at, from *testSite) {
	t.Helper()
	for i, name := range sharedNames {
		old := Key{event.KeyID(fmt.Sprintf("%016x", 100+i)), seal.Key{byte(100 + i)}}
		from.sends(t, at, from.makes(t, old.ID, name, old.Secret))
		n.shared[i] = Shared{name, old.ID, sharedDigest(nordtal, name, old)}
	}
}

// boxesFor returns the boxes of a site that are here, without any key.
func (s *testSite) boxesFor(t *testing.T, site event.SiteID) []Record {
	t.Helper()
	records, _, _, err := s.Changes(context.Background(), nordtal, Cursor{}, 1<<20)
	must(t, err)
	return slices.DeleteFunc(records, func(rec Record) bool { return rec.Site != site })
}

func TestAPlantedKeyTakesNoSharedKeysPlace(t *testing.T) {
	_, a, b, rogue, fresh := namedWorld(t)
	want := a.secrets(t)
	rogue.sends(t, b, rogue.low(t)...)
	if got := b.secrets(t); !slices.Equal(got, want) {
		t.Error("shared keys are those that the rogue has made")
	}
	// A site that hears the rogue first waits for the true keys.
	rogue.sends(t, fresh, append(a.boxesFor(t, fresh.Self()), rogue.low(t)...)...)
	for _, name := range sharedNames {
		if k, err := fresh.Named(t.Context(), nordtal, name); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: key %s, %v before the true one has come", name, k.ID, err)
		}
	}
	fresh.pull(t, a)
	if got := fresh.secrets(t); !slices.Equal(got, want) {
		t.Error("shared keys of a new site are those that the rogue has made")
	}
	if made, err := fresh.Mend(t.Context(), nordtal); err != nil || len(made) > 0 {
		t.Errorf("made %v anew, %v", made, err)
	}
}

func TestAnotherKeyUnderASharedKeysIDIsNotTaken(t *testing.T) {
	n, a, b, rogue, fresh := namedWorld(t)
	n.namesOld(t, a, b)
	want := a.secrets(t)
	var forged []Record
	for i, k := range want {
		name := []string{sharedNames[i], "other", ""}[i%3]
		forged = append(forged, rogue.makes(t, k.ID, name, seal.Key{1}))
	}
	rogue.sends(t, fresh, append(a.boxesFor(t, fresh.Self()), forged...)...)
	for _, name := range sharedNames {
		if _, err := fresh.Named(t.Context(), nordtal, name); !errors.Is(err, ErrMissing) {
			t.Errorf("%s is there before it has come: %v", name, err)
		}
	}
	fresh.pull(t, a)
	if got := fresh.secrets(t); !slices.Equal(got, want) {
		t.Error("what the rogue has made under the ids of the shared keys counts")
	}
	rogue.sends(t, fresh, forged...)
	if got := fresh.secrets(t); !slices.Equal(got, want) {
		t.Error("what the rogue has made under the ids of the shared keys counts afterwards")
	}
}

func TestAnotherKeyUnderAPersonsKeysIDGivesWay(t *testing.T) {
	_, a, b, rogue, fresh := namedWorld(t)
	for _, name := range []string{"", "other"} {
		k := a.newKey(t)
		forged := rogue.makes(t, k.ID, name, seal.Key{1})
		rogue.sends(t, fresh, append(a.boxesFor(t, fresh.Self()), forged)...)
		if got, err := fresh.Key(t.Context(), nordtal, k.ID); err != nil || got == k.Secret {
			t.Fatalf("what the rogue has made is not there: %v", err)
		}
		fresh.pull(t, a)
		b.pull(t, a)
		rogue.sends(t, b, forged)
		for _, s := range []*testSite{fresh, b} {
			if got, err := s.Key(t.Context(), nordtal, k.ID); err != nil || got != k.Secret {
				t.Errorf("%q: what the rogue has made under a person's key's id counts, %v", name, err)
			}
		}
	}
}

// TestAForgedKeyFromBeforeTheFactsIsGivenUp has a key of the version before, whose id says nothing of it.
func TestAForgedKeyFromBeforeTheFactsIsGivenUp(t *testing.T) {
	n, a, b, rogue, fresh := namedWorld(t)
	n.namesOld(t, a, b)
	want, shared := a.secrets(t), n.shared
	old := want[1]
	n.shared = nil
	rogue.sends(t, fresh, append(a.boxesFor(t, fresh.Self()), rogue.makes(t, old.ID, NameLink, seal.Key{1}))...)
	fresh.pull(t, a)
	n.shared = shared
	if _, err := fresh.Named(t.Context(), nordtal, NameLink); !errors.Is(err, ErrMissing) {
		t.Errorf("a key that is not the named one: %v", err)
	}
	if damaged, err := fresh.Check(t.Context(), func(context.Context) error { return nil }); damaged != 1 || err != nil {
		t.Errorf("%d keys are damaged, %v", damaged, err)
	}
	fresh.pull(t, a)
	if got := fresh.secrets(t); !slices.Equal(got, want) {
		t.Error("the true key has not come again")
	}
}

func TestASharedKeyIsNotMarkedBeforeItComes(t *testing.T) {
	n, a, _, rogue, fresh := namedWorld(t)
	want := a.secrets(t)
	ids := idsOf(want)
	for _, id := range ids {
		n.facts[id] = Ground{Due: true, By: rogue.Self()}
	}
	rogue.sends(t, fresh, rogue.marksOf(true, ids...)...)
	fresh.wantRefused(t, rogue.Self(), refusedShared, len(ids))
	if err := fresh.Erase(t.Context(), nordtal, ids...); !errors.Is(err, ErrShared) {
		t.Errorf("erasing shared keys: %v", err)
	}
	fresh.pull(t, a)
	if got := fresh.secrets(t); !slices.Equal(got, want) {
		t.Error("shared keys are marked")
	}
}

func TestADemandForAKeyThatTurnsOutToBeSharedIsDropped(t *testing.T) {
	n, a, _, rogue, fresh := namedWorld(t)
	want, shared := a.secrets(t), n.shared
	n.shared = nil
	rogue.sends(t, fresh, rogue.marksOf(true, want[0].ID)...)
	n.shared = shared
	n.facts[want[0].ID] = Ground{Due: true, By: rogue.Self()}
	if erased, err := fresh.Judge(t.Context()); erased != 0 || err != nil {
		t.Errorf("%d keys erased, %v", erased, err)
	}
	if got := fresh.demands(t); got != "" {
		t.Errorf("what waits: %s", got)
	}
}

// TestAPersonsKeyThatIsNamedAsSharedStaysWhatItIs has the founding site in the wrong hands.
func TestAPersonsKeyThatIsNamedAsSharedStaysWhatItIs(t *testing.T) {
	n, a, b, _, keys := world3(t, 1)
	n.shared = []Shared{{NameLink, keys[0].ID, make([]byte, 32)}}
	b.want(t, keys[0].ID, nil)
	if damaged, err := b.Check(t.Context(), func(context.Context) error { return nil }); damaged != 0 || err != nil {
		t.Errorf("%d keys are damaged, %v", damaged, err)
	}
	if _, err := a.Named(t.Context(), nordtal, NameLink); !errors.Is(err, ErrMissing) {
		t.Errorf("a person's key is the shared one: %v", err)
	}
}

func TestOtherKeysOfANameAreForCheckingOnly(t *testing.T) {
	_, a, _, rogue, _ := namedWorld(t)
	want := a.secrets(t)[1]
	var planted []Record
	for i := range 2 * othersNamed {
		planted = append(planted, rogue.makes(t, event.KeyID(fmt.Sprintf("%016x", i)), NameLink, seal.Key{byte(i)}))
	}
	planted[1].Sealed[30]++ // does not open
	rogue.sends(t, a, planted...)
	keys, err := a.NamedAll(t.Context(), nordtal, NameLink)
	must(t, err)
	if len(keys) != othersNamed+1 || keys[0] != want || keys[1].ID != planted[0].ID || keys[2].ID != planted[2].ID {
		t.Errorf("got %d keys, first %v", len(keys), keys[0].ID)
	}
}

// TestWhatIsNamedIsTheLowestThatOpens is what the founding site of an old authority names.
func TestWhatIsNamedIsTheLowestThatOpens(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 0)
	want, err := a.Shared(t.Context(), nordtal)
	must(t, err)
	for _, s := range want {
		if !s.Valid() {
			t.Errorf("%+v is not valid", s)
		}
	}
	lost := rogue.makes(t, "0000000000000001", NameLink, seal.Key{1})
	lost.By = "00000000000000ff" // nobody has that key: it is taken all the same, since nobody can tell
	rogue.sends(t, b, lost)
	got, err := b.Shared(t.Context(), nordtal)
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := b.Shared(t.Context(), "lk-other"); !errors.Is(err, ErrMissing) {
		t.Errorf("an authority without keys: %v", err)
	}
}

// TestAnErasedKeyThatTheFactsNameHasASuccessor is a store in which a version before the last one has erased a shared key.
func TestAnErasedKeyThatTheFactsNameHasASuccessor(t *testing.T) {
	_, a, b, _, _ := namedWorld(t)
	named := a.secrets(t)[1]
	for _, s := range []*testSite{a, b} {
		must(t, s.write(t.Context(), func(w *writer) error { return w.mark(nordtal, Record{ID: named.ID, Erased: 5}) }))
		if _, err := s.Named(t.Context(), nordtal, NameLink); !errors.Is(err, ErrErased) {
			t.Errorf("an erased key: %v", err)
		}
	}
	if made, err := a.Mend(t.Context(), nordtal); err != nil || !slices.Equal(made, []string{NameLink}) {
		t.Fatalf("made %v anew, %v", made, err)
	}
	b.pull(t, a)
	if got, want := b.secrets(t), a.secrets(t); !slices.Equal(got, want) || got[1] == named {
		t.Error("the successor is not used")
	}
}
