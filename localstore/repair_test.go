// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/salvage"
	"codeberg.org/holdfast/holdfast/seal"
)

// harmPageWith overwrites the page of the table that holds the bytes.
func harmPageWith(t *testing.T, path, what string) {
	t.Helper()
	changeFile(t, path, func(b []byte) {
		at := bytes.Index(b, []byte(what))
		copy(b[at/4096*4096:], bytes.Repeat([]byte{0x99}, 4096))
	})
}

// Our logs go on in a new incarnation after a repair. Whatever keeps the store from being opened after it, that is not forgotten.
func TestARepairIsNotedAlsoIfTheStoreIsNotOpened(t *testing.T) {
	key := seal.Key{1}
	for name, between := range map[string]func(path string) error{
		"without the key": func(path string) error {
			if _, err := Open(path, now); !errors.Is(err, ErrStoreSealed) {
				return errors.Join(errors.New("it opens"), err)
			}
			return nil
		},
		"with another key": func(path string) error {
			if _, err := OpenSealed(path, now, seal.Key{2}, rand.Reader); !errors.Is(err, ErrStoreKey) {
				return errors.Join(errors.New("it opens"), err)
			}
			return nil
		},
		"a crash after the repair": func(path string) error {
			_, err := repair(path, now())
			return err
		},
		"a crash before the fresh file has its name": func(path string) error {
			_, err := repair(path, now())
			return errors.Join(err, os.Rename(path, path+".fresh"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t, &key)
			harmPageWith(t, path, "token-200")
			ok(t, between(path))
			s := openFor(t, path, &key)
			if n := sessions(t, s); n < 300 || n == 400 {
				t.Errorf("%d sessions are left", n)
			}
			stopped := errors.New("stopped")
			if err := s.TakeRepair(t.Context(), func(salvage.Damage) error { return stopped }); !errors.Is(err, stopped) {
				t.Errorf("what keeps somebody from taking note is %v", err)
			}
			ok(t, s.Close())
			s = openFor(t, path, &key)
			if d := taken(t, s); d == nil || d.Reason == "" || d.Rows < 300 {
				t.Errorf("the repair: %+v", d)
			}
			if d := taken(t, s); d != nil {
				t.Errorf("the repair again: %+v", d)
			}
		})
	}
}

// The proof is the first entry. Whoever sealed the others for want of it would seal them a second time.
func TestAStoreThatHasLostItsProofIsNotSealedTwice(t *testing.T) {
	key := seal.Key{1}
	path := filled(t, &key)
	harmPageWith(t, path, sealKey)
	_, err := repair(path, now())
	ok(t, err) // and a crash
	if _, err := OpenSealed(path, now, seal.Key{2}, rand.Reader); !errors.Is(err, ErrStoreKey) {
		t.Errorf("with another key: %v", err)
	}
	s := openFor(t, path, &key)
	if n := sessions(t, s); n < 300 {
		t.Errorf("%d sessions are left", n)
	}
	if d := taken(t, s); d == nil {
		t.Error("the repair is not noted")
	}
	ok(t, s.Close())
	if _, err := OpenSealed(path, now, seal.Key{2}, rand.Reader); !errors.Is(err, ErrStoreKey) {
		t.Errorf("with another key, and a new proof: %v", err)
	}
	if n := sessions(t, openFor(t, path, &key)); n < 300 {
		t.Errorf("%d sessions are left at the next opening", n)
	}
}

// A store that never had a proof has not lost it.
func TestAPlainStoreThatWasRepairedIsSealedLikeAnyOther(t *testing.T) {
	path := filled(t, nil)
	harmPageWith(t, path, "token-200")
	_, err := repair(path, now())
	ok(t, err)
	s := openFor(t, path, &seal.Key{1})
	if n := sessions(t, s); n < 300 {
		t.Errorf("%d sessions are left", n)
	}
	if d := taken(t, s); d == nil {
		t.Error("the repair is not noted")
	}
	ok(t, s.Close())
	if _, err := Open(path, now); !errors.Is(err, ErrStoreSealed) {
		t.Errorf("without the key: %v", err)
	}
}

// The version before has put its note among the entries.
func TestTheNoteOfTheVersionBeforeIsTaken(t *testing.T) {
	s := openFor(t, filled(t, nil), nil)
	ok(t, s.Put(t.Context(), bucketRepair, keyRepair, []byte(`{"Reason":"a page","Aside":"x","Rows":7}`), time.Time{}))
	if d := taken(t, s); d == nil || d.Reason != "a page" || d.Rows != 7 {
		t.Errorf("the repair: %+v", d)
	}
	if d := taken(t, s); d != nil {
		t.Errorf("the repair again: %+v", d)
	}
}

// A flipped bit where the entries are listed (in the header, in the text of the table, of its index, of its trigger) costs none of them.
func TestAFlippedBitWhereTheEntriesAreListedCostsNone(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	key := seal.Key{1}
	path := filled(t, &key)
	whole, err := os.ReadFile(path)
	ok(t, err)
	layout, err := os.ReadFile(path + ".layout")
	ok(t, err)
	begin := bytes.Index(whole, []byte("CREATE"))
	for _, at := range append([]int{18, 19, 40, 47, 56, 103, 104, 108, 109, bytes.Index(whole, []byte("SET sum")) + 4}, steps(begin-30, 4096, 37)...) {
		f := bytes.Clone(whole)
		f[at] ^= 1 << (at / 37 % 8)
		path := filepath.Join(t.TempDir(), "local.db")
		ok(t, os.WriteFile(path, f, 0o600), os.WriteFile(path+".layout", layout, 0o600))
		s, err := OpenSealed(path, now, key, rand.Reader)
		if err != nil {
			t.Errorf("byte %d near %q: %v", at, whole[max(0, at-15):min(at+15, 4096)], err)
			continue
		}
		if n := sessions(t, s); n != 400 {
			t.Errorf("byte %d near %q: %d sessions", at, whole[max(0, at-15):min(at+15, 4096)], n)
		}
		ok(t, s.Put(t.Context(), "session", "token-000", []byte("x"), time.Time{}), s.Close())
	}
}

func steps(from, to, by int) (list []int) {
	for ; from < to; from += by {
		list = append(list, from)
	}
	return list
}
