// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func mustOpen(t *testing.T, path string) (*Store, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
	s, err := Open(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, c
}

func TestAnEntrySurvivesReopening(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "ö local ?#%.db")
	s, _ := mustOpen(t, path)
	if err := s.Put(ctx, "b", "k", []byte("v"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = mustOpen(t, path)
	got, err := s.Get(ctx, "b", "k")
	if err != nil || string(got) != "v" {
		t.Fatalf("got %q, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file has mode %v, want 0600 (%v)", info.Mode(), err)
	}
}

func TestAnExpiredEntryIsNeverReturnedAndIsSwept(t *testing.T) {
	ctx := context.Background()
	s, c := mustOpen(t, ":memory:")
	end := c.t.Add(time.Hour)
	for _, k := range []string{"a", "b"} {
		if err := s.Put(ctx, "b", k, nil, end); err != nil {
			t.Fatal(err)
		}
	}
	c.t = end
	if _, err := s.Get(ctx, "b", "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get returned an expired entry: %v", err)
	}
	if _, err := s.Take(ctx, "b", "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Take returned an expired entry: %v", err)
	}
	err := s.Each(ctx, "b", func(k string, _ []byte) error { return fmt.Errorf("Each returned %s", k) })
	if err != nil {
		t.Error(err)
	}
	if err := s.PutNew(ctx, "b", "a", nil, time.Time{}); err != nil {
		t.Errorf("an expired entry blocks a new one: %v", err)
	}
	var n int
	if err := s.db.QueryRow(`SELECT count(*) FROM entry`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows after sweeping, want 1 (%v)", n, err)
	}
}

func TestTakeGivesAnEntryToOneCallerOnly(t *testing.T) {
	ctx := context.Background()
	s, _ := mustOpen(t, filepath.Join(t.TempDir(), "local.db"))
	if err := s.PutNew(ctx, "b", "k", []byte("once"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutNew(ctx, "b", "k", nil, time.Time{}); !errors.Is(err, ErrExists) {
		t.Fatalf("got %v, want ErrExists", err)
	}
	var wins atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Take(ctx, "b", "k"); err == nil {
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Fatalf("%d callers got the entry", wins.Load())
	}
}

func TestEachLetsItsFunctionUseTheStore(t *testing.T) {
	ctx := context.Background()
	s, _ := mustOpen(t, ":memory:")
	for i := range 600 {
		if err := s.Put(ctx, "b", fmt.Sprintf("%03d", i), nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err := s.Each(ctx, "b", func(k string, _ []byte) error { seen++; return s.Delete(ctx, "b", k) })
	if err != nil || seen != 600 {
		t.Fatalf("saw %d entries, %v", seen, err)
	}
}

func TestABoundIsRefused(t *testing.T) {
	s, _ := mustOpen(t, ":memory:")
	if err := s.Put(context.Background(), "b", "k", make([]byte, MaxValueBytes+1), time.Time{}); !errors.Is(err, ErrTooBig) {
		t.Fatalf("got %v", err)
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, IdentityFile)
	if _, err := LoadIdentity(dir); !errors.Is(err, ErrIdentityMissing) {
		t.Fatalf("got %v, want ErrIdentityMissing", err)
	}
	made, err := CreateIdentity(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("OK", func(t *testing.T) {
		got, err := LoadIdentity(dir)
		if err != nil || got.Site() != made.Site() {
			t.Fatalf("got another site: %v", err)
		}
	})
	t.Run("ErrIdentityExists", func(t *testing.T) {
		if _, err := CreateIdentity(dir, rand.Reader); !errors.Is(err, ErrIdentityExists) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("ErrIdentityOpen", func(t *testing.T) {
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(dir); !errors.Is(err, ErrIdentityOpen) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("ErrIdentityDamaged", func(t *testing.T) {
		if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 10)); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(dir); !errors.Is(err, ErrIdentityDamaged) {
			t.Fatalf("got %v", err)
		}
	})
}
