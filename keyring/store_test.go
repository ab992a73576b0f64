// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

var update = flag.Bool("update", false, "write the golden files of new kinds; old ones stay for ever")

func TestTheStoreIsSyncedBeforeAnythingIsAcknowledged(t *testing.T) {
	n := newNetwork()
	a := n.add(t, t.TempDir())
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "secure_delete": "1"} {
		var got string
		must(t, a.db.QueryRow("PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	// What an open transaction has not committed is nowhere; what was acknowledged is in the files that another process
	// sees.
	must(t, a.Found(context.Background(), nordtal))
	k := a.newKey(t)
	if !a.holds(t, a.sealed(t, k.ID)) {
		t.Error("an acknowledged key is not in the files")
	}
}

// identityOf returns the site of a fixed key.
func identityOf(t testing.TB, b byte) *seal.Identity {
	t.Helper()
	id, err := seal.NewIdentity(bytes.NewReader(bytes.Repeat([]byte{b}, 32)))
	must(t, err)
	return id
}

// before opens a copy of a store that the version before has written: it has two living keys and an erased one, its
// link key was erased by another site, a key of generation 2^40 was planted, and it has granted the authority's key to
// a second site.
func before(t *testing.T) (a, second *testSite, keys []struct {
	ID     event.KeyID
	Secret []byte
}) {
	t.Helper()
	n := newNetwork()
	dir := t.TempDir()
	for _, name := range []string{"keyring.db", "keys.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", "before", name))
		must(t, err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	b, err := os.ReadFile(filepath.Join(dir, "keys.json"))
	must(t, err, json.Unmarshal(b, &keys))
	a = &testSite{id: identityOf(t, 1), net: n, path: filepath.Join(dir, "keyring.db")}
	second = &testSite{id: identityOf(t, 2), net: n, path: ":memory:"}
	for _, s := range []*testSite{a, second} {
		s.open(t)
		n.sites[s.Self()] = s
		t.Cleanup(func() { _ = s.Close() })
	}
	n.allow(a, second)
	return a, second, keys
}

func TestAStoreOfTheVersionBeforeGoesOn(t *testing.T) {
	ctx := context.Background()
	a, second, keys := before(t)
	check := func() {
		t.Helper()
		for _, k := range keys[:2] {
			got, err := a.Key(ctx, nordtal, k.ID)
			if err != nil || !bytes.Equal(got[:], k.Secret) {
				t.Errorf("key %s: %v", k.ID, err)
			}
		}
		a.want(t, keys[2].ID, ErrErased)
	}
	check()
	second.pull(t, a) // by the unsigned box of before
	if got, err := second.Key(ctx, nordtal, keys[0].ID); err != nil || !bytes.Equal(got[:], keys[0].Secret) {
		t.Errorf("the second site reads nothing: %v", err)
	}
	if _, generation := a.newestAt(t); generation != 1 {
		t.Errorf("generation %d seals", generation)
	}
	// Its keys are signed from the first renewal on, once.
	a.forbid(t, a, second)
	a.forbid(t, a, second)
	if _, generation := a.newestAt(t); generation != 2 {
		t.Errorf("generation %d seals", generation)
	}
	after := a.newKey(t)
	second.pull(t, a)
	second.want(t, after.ID, nil)

	if _, err := a.Named(ctx, nordtal, NameLink); !errors.Is(err, ErrErased) {
		t.Errorf("the lost link key: %v", err)
	}
	made, err := a.Mend(ctx, nordtal)
	if err != nil || !slices.Equal(made, []string{NameLink}) {
		t.Errorf("made anew: %v, %v", made, err)
	}
	if again, err := a.Mend(ctx, nordtal); err != nil || len(again) > 0 {
		t.Errorf("made again: %v, %v", again, err)
	}
	link, err := a.Named(ctx, nordtal, NameLink)
	must(t, err)
	second.pull(t, a)
	if got, err := second.Named(ctx, nordtal, NameLink); err != nil || got != link {
		t.Errorf("the second site's link key: %v", err)
	}
	must(t, a.Close())
	a.open(t)
	check()
}

func TestARingWithoutTheSharedKeysYetMakesNone(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b := n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()))
	box, err := a.boxOf(t, b)
	must(t, err)
	a.sends(t, b, box)
	if made, err := b.Mend(ctx, nordtal); err != nil || len(made) > 0 {
		t.Errorf("made %v, %v: they only have not come yet", made, err)
	}
}

func TestEveryKeyThatASiteHoldsIsGranted(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b, late := n.add(t, ""), n.add(t, ""), n.add(t, "")
	gone := n.add(t, "")
	n.allow(a, b, gone)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, gone.Self(), gone.pub()))
	first := a.newKey(t)
	n.allow(a, b)
	a.forbid(t, a, b)
	second := a.newKey(t)
	n.allow(a, b, late)
	must(t, a.Grant(ctx, nordtal, late.Self(), late.pub()))
	late.pull(t, a)
	late.want(t, first.ID, nil)
	late.want(t, second.ID, nil)
}

func TestDroppingAnAuthorityKeepsItsMarks(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b := n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()))
	k := a.newKey(t)
	b.pull(t, a)
	must(t, b.erase(k.ID), b.Drop(ctx, nordtal))
	b.want(t, k.ID, ErrErased)
	must(t, b.takeAll(a))
	b.want(t, k.ID, ErrErased)
	records, _, _, err := b.Changes(ctx, nordtal, Cursor{}, answerBytes)
	if err != nil || !slices.ContainsFunc(records, func(rec Record) bool { return rec.ID == k.ID && rec.Erased > 0 }) {
		t.Errorf("the mark is not handed on any more: %v", err)
	}
}

// takeAll takes everything that another site has, once.
func (s *testSite) takeAll(from *testSite) error {
	records, next, _, err := from.Changes(context.Background(), nordtal, Cursor{}, answerBytes)
	if err == nil {
		_, err = s.Merge(context.Background(), from.Self(), nordtal, records, Cursor{}, next)
	}
	return err
}

// TestAnyOrderGivesTheSameKeys merges what three honest sites and a rogue have made, in many orders, and compares what
// the sites can read, what is erased, and what seals next.
func TestAnyOrderGivesTheSameKeys(t *testing.T) {
	for seed := range uint64(12) {
		rnd := mrand.New(mrand.NewPCG(seed, 7))
		n, a, b, rogue, keys := world3(t, 6)
		c := n.add(t, "")
		n.allow(a, b, c, rogue)
		for _, s := range []*testSite{a, b} {
			must(t, s.Grant(context.Background(), nordtal, c.Self(), c.pub()))
		}
		keys = append(keys, a.newKey(t), b.newKey(t))
		must(t, a.erase(keys[0].ID), b.erase(keys[1].ID))
		n.facts[keys[2].ID] = Ground{Due: true, Needed: true, By: rogue.Self()}
		n.allow(a, b, c)
		a.forbid(t, a, b, c)
		b.forbid(t, a, b, c)
		keys = append(keys, a.newKey(t), b.newKey(t))
		n.allow(a, b, c, rogue)
		var pool []Record
		for _, s := range []*testSite{a, b, c} {
			far, near := rogue.drawn(t, maxGeneration), rogue.drawn(t, 2)
			pool = append(pool, rogue.falseFor(t, s, idsOf(keys)...)...)
			forged, _ := forgedBox(t, randomID(t), maxGeneration-1, s)
			pool = append(pool, rogue.box(t, far, s), rogue.box(t, near, s), forged)
		}
		pool = append(pool, rogue.marksOf(true, idsOf(keys)...)...)
		pool = append(pool, rogue.marksOf(false, a.named(t)...)...)
		for _, s := range []*testSite{a, b} {
			records, _, _, err := s.Changes(context.Background(), nordtal, Cursor{}, answerBytes)
			must(t, err)
			pool = append(pool, records...)
		}
		n.allow(a, b, c, rogue)
		for i, s := range []*testSite{a, b, c} {
			for range 2 { // a box that comes last makes it all come anew
				rnd.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
				for part := range slices.Chunk(pool, 1+rnd.IntN(9)) {
					rogue.sends(t, s, part...)
				}
			}
			if i == 0 {
				n.allow(a, b, c) // the others take it all when the rogue is forbidden already
			}
		}
		want := a.view(t, keys)
		for _, s := range []*testSite{b, c} {
			if got := s.view(t, keys); got != want {
				t.Fatalf("seed %d: a site sees\n%s\nwant\n%s", seed, got, want)
			}
		}
		if !strings.Contains(want, "generation 2") {
			t.Fatalf("seed %d: %s", seed, want)
		}
	}
}

// view is what a site can read, what is erased, and what seals next.
func (s *testSite) view(t *testing.T, keys []Key) (out string) {
	t.Helper()
	for _, k := range keys {
		got, err := s.Key(context.Background(), nordtal, k.ID)
		out += fmt.Sprintln(k.ID, "read", err == nil && got == k.Secret, "erased", errors.Is(err, ErrErased))
	}
	for _, name := range sharedNames {
		k, err := s.Named(context.Background(), nordtal, name)
		out += fmt.Sprintln(name, k.ID, err)
	}
	id, generation := s.newestAt(t)
	return out + fmt.Sprintln("seals", id, "generation", generation)
}

// The JSON of every kind of record is kept for ever: neighbours of an older and of a newer version read it.
func TestRecordsKeepTheirForm(t *testing.T) {
	id := identityOf(t, 1)
	secret := seal.Key(bytes.Repeat([]byte{7}, 32))
	digest := digestOf(nordtal, secret)
	mark := Record{ID: "00000000000000aa", Erased: 1764489600000, Maker: id.Site()}
	mark.Signature = id.Sign(purposeMark, mark.markMessage(nordtal))
	box := Record{
		ID:         idOf(digest),
		Generation: 3,
		Site:       identityOf(t, 2).Site(),
		Sealed:     []byte("sealed"),
		Maker:      id.Site(),
		Origin:     id.Site(),
		Digest:     digest,
	}
	box.Birth = id.Sign(purposeBirth, box.birthMessage(nordtal))
	box.Signature = id.Sign(purposeBox, box.boxMessage(nordtal))
	records := map[string]Record{
		"key":         {ID: "00000000000000aa", By: "00000000000000bb", Sealed: []byte("sealed")},
		"key.shared":  {ID: "00000000000000aa", Name: NameID, By: "00000000000000bb", Sealed: []byte("sealed")},
		"mark":        mark,
		"mark.before": {ID: "00000000000000aa", By: "00000000000000bb", Erased: 1764489600000},
		"box":         box,
		"box.before":  {ID: "00000000000000aa", Generation: 1, Site: box.Site, Sealed: []byte("sealed")},
	}
	for name, rec := range records {
		path := filepath.Join("testdata", "record", name+".json")
		got, err := json.MarshalIndent(rec, "", "  ")
		must(t, err)
		if *update {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, append(got, '\n'), 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		var back Record
		must(t, json.Unmarshal(want, &back), back.check())
		if !back.signed(nordtal) {
			t.Errorf("%s: the signatures of the golden form are not good any more", name)
		}
	}
}

// FuzzRecord looks for records that pass the check and cannot be merged, or that count without a signature.
func FuzzRecord(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "record", "*.json"))
	must(f, err)
	for _, name := range files {
		b, err := os.ReadFile(name)
		must(f, err)
		f.Add(b)
	}
	_, a, _, rogue, keys := world3(f, 1)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var rec Record
		if json.Unmarshal(raw, &rec) != nil {
			return
		}
		rogue.sends(t, a, rec)
		if _, err := a.Key(context.Background(), nordtal, keys[0].ID); err != nil {
			t.Fatal(err)
		}
		if _, err := a.NewKeys(context.Background(), nordtal, 1); err != nil {
			t.Fatal(err)
		}
	})
}
