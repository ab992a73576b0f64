// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

func now() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }

func ok(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// shows fails if the mark can be read in any file of the folder.
func shows(t *testing.T, dir string, mark []byte) {
	t.Helper()
	ok(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, mark) {
			t.Errorf("%s shows %q", info.Name(), mark)
		}
		return err
	}))
}

func TestASealedStoreShowsNoValue(t *testing.T) {
	ctx, dir, key := context.Background(), t.TempDir(), seal.Key{1}
	path := filepath.Join(dir, "local.db")
	s, err := OpenSealed(path, now, key, rand.Reader)
	ok(t, err)
	secret := []byte("the Amtsrätin's own secret")
	ok(t, s.Put(ctx, "b", "k", secret, now().Add(time.Hour)), s.PutNew(ctx, "b", "new", nil, time.Time{}), s.PutNew(ctx, "b", "taken", secret, time.Time{}))
	if err := s.PutNew(ctx, "b", "k", secret, time.Time{}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	shows(t, dir, secret)
	ok(t, s.Close())
	shows(t, dir, secret)

	s, err = OpenSealed(path, now, key, rand.Reader)
	ok(t, err)
	got, err := s.Get(ctx, "b", "k")
	if err != nil || !bytes.Equal(got, secret) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := s.Take(ctx, "b", "taken"); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := s.Get(ctx, "b", "new"); err != nil || got == nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	seen := map[string]string{}
	ok(t, s.Each(ctx, "b", func(k string, v []byte) error { seen[k] = string(v); return nil }))
	if len(seen) != 2 || seen["k"] != string(secret) {
		t.Errorf("got %v", seen)
	}
	ok(t, s.Close())
}

func TestAStoreIsOpenedAsItWasSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local.db")
	s, err := OpenSealed(path, now, seal.Key{1}, rand.Reader)
	ok(t, err, s.Close())
	if _, err := Open(path, now); !errors.Is(err, ErrStoreSealed) {
		t.Error(err)
	}
	if _, err := OpenSealed(path, now, seal.Key{2}, rand.Reader); !errors.Is(err, ErrStoreKey) {
		t.Error(err)
	}
	s, err = OpenSealed(path, now, seal.Key{1}, rand.Reader)
	ok(t, err, s.Close())
}

func TestAPlainStoreIsSealedWhenItIsOpenedWithAKey(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	path := filepath.Join(dir, "local.db")
	s, err := Open(path, now)
	ok(t, err)
	secret := []byte("written before there was a key")
	ok(t, s.Put(ctx, "b", "k", secret, now().Add(time.Hour)))
	ok(t, s.Close())
	s, err = OpenSealed(path, now, seal.Key{1}, rand.Reader)
	ok(t, err)
	shows(t, dir, secret)
	got, err := s.Get(ctx, "b", "k")
	if err != nil || !bytes.Equal(got, secret) {
		t.Errorf("got %q, %v", got, err)
	}
	later := now().Add(2 * time.Hour)
	s.now = func() time.Time { return later }
	if _, err := s.Get(ctx, "b", "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("sealing has taken the date away: %v", err)
	}
	ok(t, s.Close())
}

func TestAValueThatWasMovedDoesNotOpen(t *testing.T) {
	ctx := context.Background()
	s, err := OpenSealed(":memory:", now, seal.Key{1}, rand.Reader)
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	ok(t, s.Put(ctx, "b", "k", []byte("x"), time.Time{}))
	_, err = s.db.Exec(`UPDATE entry SET key = 'other', sum = NULL WHERE key = 'k'`)
	ok(t, err)
	// Without a sum, as somebody leaves it who does that on purpose.
	if _, err := s.Get(ctx, "b", "other"); !errors.Is(err, ErrStoreKey) {
		t.Error(err)
	}
}

func TestASealedIdentity(t *testing.T) {
	dir, key := t.TempDir(), seal.Key{1}
	id, err := CreateSealedIdentity(dir, rand.Reader, key)
	ok(t, err)
	if again, err := CreateSealedIdentity(dir, rand.Reader, key); !errors.Is(err, ErrIdentityExists) || again != nil {
		t.Errorf("a second one: %v", err)
	}
	got, err := LoadSealedIdentity(dir, key)
	if err != nil || got.Site() != id.Site() {
		t.Errorf("it does not come back: %v", err)
	}
	if _, err := LoadSealedIdentity(dir, seal.Key{2}); !errors.Is(err, ErrIdentityKey) || fault.Of(err).WayOut == "" {
		t.Error(err)
	}
	if _, err := LoadIdentity(dir); !errors.Is(err, ErrIdentitySealed) {
		t.Error(err)
	}
	if err := SealIdentity(dir, rand.Reader, key); !errors.Is(err, ErrIdentitySealed) {
		t.Error(err)
	}
	path := filepath.Join(dir, IdentityFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	ok(t, os.WriteFile(path, []byte("half"), 0o600))
	if _, err := LoadSealedIdentity(dir, key); !errors.Is(err, ErrIdentityDamaged) {
		t.Error(err)
	}
	ok(t, os.Remove(path))
	if _, err := LoadSealedIdentity(dir, key); !errors.Is(err, ErrIdentityMissing) {
		t.Error(err)
	}
}

func TestAPlainIdentityIsSealedInOneStep(t *testing.T) {
	dir, key := t.TempDir(), seal.Key{1}
	id, err := CreateIdentity(dir, rand.Reader)
	ok(t, err)
	if _, err := LoadSealedIdentity(dir, key); !errors.Is(err, ErrIdentityPlain) {
		t.Error(err)
	}
	// What an attempt that was cut off has left behind is no hindrance.
	ok(t, os.WriteFile(filepath.Join(dir, IdentityFile+".new"), []byte("half"), 0o600))
	ok(t, SealIdentity(dir, rand.Reader, key))
	got, err := LoadSealedIdentity(dir, key)
	if err != nil || got.Site() != id.Site() {
		t.Errorf("it is another one: %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	shows(t, dir, id.PEM()[30:70])
}

func TestTheFileWithTheSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if _, err := NewSecret(path); !errors.Is(err, ErrSecretFile) || !strings.Contains(err.Error(), "openssl rand") {
		t.Error(err)
	}
	// Whoever wrote a new file for a folder that is there would lose the folder.
	if _, err := LoadSecret(path); !errors.Is(err, ErrSecretMissing) || strings.Contains(err.Error(), "openssl") || !strings.Contains(err.Error(), "never write a new one") {
		t.Error(err)
	}
	want := []byte("0123456789abcdefghijklmnopqrstuv")
	ok(t, os.WriteFile(path, []byte(hex.EncodeToString(want)+"\n"), 0o440))
	if got, err := LoadSecret(path); err != nil || !bytes.Equal(got, want) {
		t.Error(err)
	}
	ok(t, os.Chmod(path, 0o444))
	if _, err := LoadSecret(path); !errors.Is(err, ErrSecretOpen) {
		t.Error(err)
	}
	ok(t, os.Chmod(path, 0o600), os.WriteFile(path, []byte("a passphrase of more than thirty-two characters"), 0o600))
	if _, err := NewSecret(path); !errors.Is(err, ErrSecretFile) {
		t.Error(err)
	}
	if _, err := LoadSecret(path); !errors.Is(err, ErrSecretOther) || strings.Contains(err.Error(), "openssl") || bytes.Contains([]byte(err.Error()), []byte("passphrase of")) {
		t.Error(err)
	}
}
