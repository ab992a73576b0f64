// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"fmt"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/seal"
)

var sharedNames = []string{keyring.NameID, keyring.NameLink, keyring.NameRegister}

// shared returns the shared keys as a site has them.
func (n *node) shared() (keys []keyring.Key) {
	n.w.t.Helper()
	for _, name := range sharedNames {
		k, err := n.Ring.Named(n.w.ctx, nordtal, name)
		must(n.w.t, err)
		keys = append(keys, k)
	}
	return keys
}

// low makes keys of all three names with ids below all others, as a site that has the authority's key can.
func (n *node) low() (records []keyring.Record) {
	n.w.t.Helper()
	all, _, _, err := n.Ring.Changes(n.w.ctx, nordtal, keyring.Cursor{}, 1<<20)
	must(n.w.t, err)
	at := slices.IndexFunc(all, func(rec keyring.Record) bool { return rec.Site == n.id.Site() })
	box := all[at]
	by, err := n.id.Open(fmt.Sprintf("holdfast authority key %s %s %s", nordtal, box.ID, n.id.Site()), box.Sealed)
	must(n.w.t, err)
	for i, name := range sharedNames {
		id := event.KeyID(fmt.Sprintf("%016x", i+1))
		sealed, err := seal.Key(by).Seal(seeded(i), fmt.Sprintf("holdfast key %s %s %s", nordtal, id, name), make([]byte, 32))
		must(n.w.t, err)
		records = append(records, keyring.Record{ID: id, Name: name, By: box.ID, Sealed: sealed})
	}
	return records
}

// wantShared has a rogue site plant keys of lower ids everywhere, and wants the shared keys to stay.
func (w *world) wantShared(rogue *node, want []keyring.Key) {
	w.t.Helper()
	for _, n := range w.sites {
		_, err := n.Ring.Merge(w.ctx, rogue.id.Site(), nordtal, rogue.low(), keyring.Cursor{})
		must(w.t, err)
		if !slices.Equal(n.shared(), want) {
			w.t.Errorf("at %s a planted key is the shared one", n.name)
		}
	}
}

// named returns how many facts that a site knows name keys and do nothing else.
func (n *node) named() (facts int) {
	for _, f := range n.Federation.snap.Load().authorities[nordtal].state.Said.inOrder() {
		if f.Fact.names() {
			facts++
		}
	}
	return facts
}

func TestAnAuthoritysSharedKeysAreThoseOfItsFounding(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District",
		Sites: []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}}))
	want := a.shared()
	w.exchange()
	w.wantShared(c, want)
	for _, n := range w.sites {
		if n.named() != 0 || len(n.Federation.SharedKeys(nordtal)) != 3 {
			t.Errorf("%s knows %d shared keys from the founding", n.name, len(n.Federation.SharedKeys(nordtal)))
		}
	}
}

func TestTheFounderOfAnOldAuthorityNamesItsKeysOnce(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	all := []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}
	must(t, a.Ring.Found(w.ctx, nordtal), a.record(w.ctx, event.Draft{Subject: SubjectOf(nordtal), Kind: KindAuthorityFounded,
		Data: AuthorityFounded{NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: all}}))
	want := a.shared()
	must(t, a.Ring.Grant(w.ctx, nordtal, b.id.Site(), sealKeyOf(b)))
	b.pull(a)
	must(t, b.Reconcile(w.ctx)) // it has the keys, and is not the one to name them
	w.exchange()
	w.wantShared(c, want)
	must(t, a.Reconcile(w.ctx), b.Reconcile(w.ctx))
	w.exchange()
	for _, n := range w.sites {
		if n.named() != 1 || n.Federation.SharedKeys("lk-other") != nil {
			t.Errorf("at %s the keys are named %d times", n.name, n.named())
		}
	}
}

func sealKeyOf(n *node) seal.PublicKey { pub, _ := n.id.SealingKey(); return pub }

// TestKeysAreNamedAgainAfterANamingThatDoesNotCount has the founding site forbidden by one that does not know the naming.
func TestKeysAreNamedAgainAfterANamingThatDoesNotCount(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	all := []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}
	must(t, a.Ring.Found(w.ctx, nordtal), a.record(w.ctx, event.Draft{Subject: SubjectOf(nordtal), Kind: KindAuthorityFounded,
		Data: AuthorityFounded{NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: all}}))
	want := a.shared()
	w.exchange()
	founding := a.Federation.snap.Load().authorities[nordtal].live[a.id.Site()][0].id
	must(t, b.record(w.ctx, event.Draft{Subject: SubjectOf(nordtal), Kind: KindForbidden,
		Data: Forbidden{Site: a.id.Site(), Withdraws: []event.ID{founding}, Named: []string{}}}))
	if keys := b.Federation.SharedKeys(nordtal); keys != nil {
		t.Errorf("the naming counts: %v", keys)
	}
	must(t, b.Allow(w.ctx, nordtal, a.id.Site()))
	w.exchange()
	w.wantShared(c, want)
	if n := a.named(); n != 2 {
		t.Errorf("the keys are named %d times, want twice", n)
	}
}

func TestWhoHasSaidTooMuchNamesNoKeys(t *testing.T) {
	w := newWorld(t)
	a, _, _ := w.three()
	must(t, a.Ring.Found(w.ctx, nordtal), a.record(w.ctx, event.Draft{Subject: SubjectOf(nordtal), Kind: KindAuthorityFounded,
		Data: AuthorityFounded{NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: []event.SiteID{a.id.Site()}}}))
	allowed := event.Draft{Subject: SubjectOf(nordtal), Kind: KindAllowed, Data: Allowed{a.id.Site()}}
	must(t, a.record(w.ctx, slices.Repeat([]event.Draft{allowed}, maxSaid)...))
	before, err := a.Model.LastStamp(w.ctx, event.Federation, SubjectOf(nordtal))
	must(t, err, a.Reconcile(w.ctx))
	if after, err := a.Model.LastStamp(w.ctx, event.Federation, SubjectOf(nordtal)); err != nil || after != before {
		t.Errorf("it says what nobody takes, %v", err)
	}
}

// keysOf are three keys that are not those of another number.
func keysOf(n int) (keys []keyring.Shared) {
	for i, name := range sharedNames {
		keys = append(keys, keyring.Shared{Name: name, ID: event.KeyID(fmt.Sprintf("%08x%08x", n, i)), Digest: make([]byte, 32)})
	}
	return keys
}

func (s *script) nameKeys(by, n int) { s.add(by, KindKeysNamed, KeysNamed{keysOf(n)}) }

// wantKeys folds the facts forwards and backwards.
func (s *script) wantKeys(t *testing.T, n int) {
	t.Helper()
	state := stateOf(t, s)
	var reverse AuthorityState
	for _, e := range slices.Backward(s.entries) {
		reverse, _ = applyAuthority(reverse, e)
	}
	for _, got := range []AuthorityState{state, reverse} {
		if keys := got.stand(castRank).keys; fmt.Sprint(keys) != fmt.Sprint(keysOf(n)) {
			t.Errorf("the shared keys are %v, want those of %d", keys, n)
		}
	}
}

func TestOnlyTheFoundingSiteNamesKeys(t *testing.T) {
	var s script
	s.authority(0, 0, 2, 3)
	s.nameKeys(2, 7)
	s.backdate(0)
	s.nameKeys(0, 1)
	s.nameKeys(3, 7)
	s.nameKeys(0, 7) // again
	s.wantKeys(t, 1)
}

func TestKeysThatAFoundingNamesStay(t *testing.T) {
	var s script
	s.add(0, KindAuthorityFounded, AuthorityFounded{NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: sitesOf(0, 2), Keys: keysOf(1)})
	s.nameKeys(0, 7)
	s.backdate(0)
	// Another site founds it too, which was admitted later.
	s.add(2, KindAuthorityFounded, AuthorityFounded{NameDE: "Nordtal", NameEN: "Nordtal", Sites: sitesOf(0, 2), Keys: keysOf(7)})
	s.backdate(0)
	s.nameKeys(2, 7)
	s.wantKeys(t, 1)
}

// TestAForbiddenFounderCannotNameOtherKeysBefore has the founding site fall into the wrong hands after it has named the keys.
func TestAForbiddenFounderCannotNameOtherKeysBefore(t *testing.T) {
	var s script
	founding := s.authority(0, 0, 2)
	s.nameKeys(0, 1)
	heard := stateOf(t, &s).namesOf(cast[0].Site(), nil)
	s.add(2, KindForbidden, Forbidden{Site: cast[0].Site(), Withdraws: founding, Named: heard})
	s.nameKeys(0, 7)
	s.backdate(0)
	s.nameKeys(0, 7)
	s.wantKeys(t, 1)
}

func TestKeysThatMakeNoSenseAreNotNamed(t *testing.T) {
	var s script
	founding := AuthorityFounded{NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: sitesOf(0)}
	for _, bad := range []keyring.Shared{{Name: "other", ID: "00000000000000aa", Digest: make([]byte, 32)},
		{Name: keyring.NameLink, ID: "aa", Digest: make([]byte, 32)}, {Name: keyring.NameLink, ID: "00000000000000aa"}} {
		founding.Keys = append(founding.Keys, bad)
		s.add(0, KindKeysNamed, KeysNamed{[]keyring.Shared{bad}})
	}
	s.add(0, KindKeysNamed, "keys")
	if st := stateOf(t, &s); len(st.Said) > 0 {
		t.Errorf("%+v", st)
	}
	s.add(0, KindAuthorityFounded, founding)
	if st := policyOf(t, &s); st.founding == nil || st.keys != nil {
		t.Errorf("%+v", st)
	}
	s.nameKeys(0, 1)
	s.wantKeys(t, 1)
}
