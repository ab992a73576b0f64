// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/salvage"
	"codeberg.org/holdfast/holdfast/seal"
)

// boarded has what is wrong with the store told to a board, and returns what the board has logged.
func boarded(s *Store) (*health.Board, *bytes.Buffer) {
	var said bytes.Buffer
	b := health.NewBoard(now, slog.New(slog.NewTextHandler(&said, nil)))
	s.Watch(b)
	return b, &said
}

func noRest(context.Context) error { return nil }

// filled makes a store with a session each for a few hundred people, in a file that nobody has open.
func filled(t *testing.T, key *seal.Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "local.db")
	s := openFor(t, path, key)
	_, err := s.db.Exec(`PRAGMA synchronous = OFF`) // four hundred syncs take seconds
	ok(t, err)
	for i := range 400 {
		ok(t, s.Put(t.Context(), "session", fmt.Sprintf("token-%03d", i), fmt.Appendf(nil, "person number %03d, signed in", i), time.Time{}))
	}
	ok(t, s.Put(t.Context(), "meta", "incarnation", []byte("0123456789abcdef"), time.Time{}))
	ok(t, s.Close())
	return path
}

func openFor(t *testing.T, path string, key *seal.Key) *Store {
	t.Helper()
	var s *Store
	var err error
	if key != nil {
		s, err = OpenSealed(path, now, *key, rand.Reader)
	} else {
		s, err = Open(path, now)
	}
	ok(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func changeFile(t *testing.T, path string, change func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	ok(t, err)
	change(b)
	ok(t, os.WriteFile(path, b, 0o600))
}

// sessions returns how many of the sessions are there, and fails if one is another than it was.
func sessions(t *testing.T, s *Store) (n int) {
	t.Helper()
	for i := range 400 {
		got, err := s.Get(t.Context(), "session", fmt.Sprintf("token-%03d", i))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		ok(t, err)
		if want := fmt.Sprintf("person number %03d, signed in", i); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
		n++
	}
	return n
}

// taken takes note of a repair.
func taken(t *testing.T, s *Store) (found *salvage.Damage) {
	t.Helper()
	ok(t, s.TakeRepair(t.Context(), func(d salvage.Damage) error { found = &d; return nil }))
	return found
}

func TestADamagedStoreIsSetAsideAndGoesOnWithWhatCanBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		harm  func([]byte)
		least int
	}{
		"its header":     {func(b []byte) { copy(b, make([]byte, 100)) }, 400},
		"its first page": {func(b []byte) { copy(b, make([]byte, 4096)) }, 400},
		"a page": {func(b []byte) {
			at := bytes.Index(b, []byte("token-200"))
			copy(b[at/4096*4096:], bytes.Repeat([]byte{0x99}, 4096))
		}, 300},
		"all of it": {func(b []byte) { copy(b, bytes.Repeat([]byte("nothing "), len(b)/8+1)) }, 0},
	} {
		for _, key := range []*seal.Key{nil, {1}} {
			t.Run(fmt.Sprint(name, ", sealed ", key != nil), func(t *testing.T) {
				path := filled(t, key)
				changeFile(t, path, c.harm)
				s := openFor(t, path, key)
				board, said := boarded(s)
				if n := sessions(t, s); n < c.least {
					t.Errorf("%d sessions are left, want at least %d", n, c.least)
				}
				ok(t, s.Put(t.Context(), "session", "new", []byte("x"), time.Time{}))
				if list := board.List(); len(list) != 1 || list[0].Cause != health.SetAside || !strings.Contains(said.String(), "local.db.damaged-") {
					t.Errorf("told is %+v", list)
				}
				ok(t, s.Close())
				// Whoever opens it next, if it was not this one, learns of it, once.
				s = openFor(t, path, key)
				if d := taken(t, s); d == nil || d.Reason == "" {
					t.Errorf("the repair: %+v", d)
				}
				if d := taken(t, s); d != nil {
					t.Errorf("the repair again: %+v", d)
				}
				if key != nil {
					ok(t, s.Close())
					if _, err := OpenSealed(path, now, seal.Key{2}, rand.Reader); !errors.Is(err, ErrStoreKey) {
						t.Errorf("with another key: %v", err)
					}
				}
			})
		}
	}
}

// A flipped bit in an entry is found when the entry is read, before anybody believes it.
func TestADamagedEntryIsNotBelieved(t *testing.T) {
	path := filled(t, nil)
	changeFile(t, path, func(b []byte) {
		b[bytes.Index(b, []byte("0123456789abcdef"))+3] ^= 1
		b[bytes.Index(b, []byte("person number 200"))+16] ^= 1
	})
	s := openFor(t, path, nil)
	board, said := boarded(s)
	for range 5 {
		if got, err := s.Get(t.Context(), "meta", "incarnation"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the incarnation is %q, %v", got, err)
		}
	}
	if n := sessions(t, s); n != 399 {
		t.Errorf("%d sessions, want all but one", n)
	}
	seen := 0
	ok(t, s.Each(t.Context(), "session", func(string, []byte) error { seen++; return nil }))
	if seen != 399 {
		t.Errorf("listed are %d sessions", seen)
	}
	if err := s.PutNew(t.Context(), "meta", "incarnation", []byte("second"), time.Time{}); !errors.Is(err, ErrExists) {
		t.Errorf("the place of a damaged entry is free: %v", err)
	}
	ok(t, s.Check(t.Context(), noRest))
	if n := strings.Count(said.String(), "level=ERROR"); n != 2 || len(board.List()) != 2 {
		t.Errorf("told %d times:\n%s", n, said.String())
	}
	ok(t, s.Put(t.Context(), "meta", "incarnation", []byte("fedcba9876543210"), time.Time{}), s.Delete(t.Context(), "session", "token-200"),
		s.Check(t.Context(), noRest))
	for _, c := range board.List() {
		if c.Open() {
			t.Errorf("still told: %+v", c)
		}
	}
}

func TestTheCheckFindsAPageThatWasDamagedWhileTheSiteRuns(t *testing.T) {
	path := filled(t, nil)
	s := openFor(t, path, nil)
	boarded(s)
	ok(t, s.Check(t.Context(), noRest))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0x99}, 3*4096), 4096)
	ok(t, err, f.Close())
	if err := s.Check(t.Context(), noRest); !errors.Is(err, ErrDamaged) || !s.Suspected() {
		t.Errorf("the check says %v", err)
	}
}

// The version before knows no sums. What it writes into a newer file is believed, as everything that it writes is.
func TestAFileMayGoBackToAVersionWithoutSums(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local.db")
	before := func(query string, args ...any) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		ok(t, err)
		_, err = db.Exec(query, args...)
		ok(t, err, db.Close())
	}
	const old = `CREATE TABLE IF NOT EXISTS entry (bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires INTEGER NOT NULL,
		PRIMARY KEY (bucket, key)) WITHOUT ROWID; CREATE INDEX IF NOT EXISTS entry_expires ON entry (expires) WHERE expires > 0;`
	const oldPut = `INSERT INTO entry (bucket, key, value, expires) VALUES (?, ?, ?, 0)
		ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires`
	before(old)
	before(oldPut, "b", "first", []byte("old"))
	s := openFor(t, path, nil)
	ok(t, s.Put(t.Context(), "b", "second", []byte("new"), time.Time{}), s.Close())
	before(old+oldPut, "b", "second", []byte("changed"))
	before(oldPut, "b", "third", []byte("added"))
	s = openFor(t, path, nil)
	for key, want := range map[string]string{"first": "old", "second": "changed", "third": "added"} {
		if got, err := s.Get(t.Context(), "b", key); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", key, got, err, want)
		}
	}
	ok(t, s.Put(t.Context(), "b", "second", []byte("again"), time.Time{}))
	var sum sql.NullInt64
	ok(t, s.db.QueryRow(`SELECT sum FROM entry WHERE key = 'second'`).Scan(&sum))
	if !sum.Valid {
		t.Error("what this version writes has no sum")
	}
}

// The error says what a person can do, and not that something went wrong.
func TestAFullDiskIsAClearFault(t *testing.T) {
	s := openFor(t, filepath.Join(t.TempDir(), "local.db"), nil)
	_, err := s.db.Exec(`PRAGMA max_page_count = 8`)
	ok(t, err)
	for i := 0; err == nil && i < 100; i++ {
		err = s.Put(t.Context(), "session", fmt.Sprint(i), make([]byte, 4000), time.Time{})
	}
	if f := fault.OfDisk(err); f == nil || f.Code != fault.ErrDiskFull.Code || f.Kind != fault.Exhausted {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get(t.Context(), "session", "0"); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	_, err = s.db.Exec(`PRAGMA max_page_count = 1000000`)
	ok(t, err, s.Put(t.Context(), "session", "more", make([]byte, 4000), time.Time{}))
}

// What is acknowledged is synced.
func TestTheStoreSyncsEveryWrite(t *testing.T) {
	s := openFor(t, filepath.Join(t.TempDir(), "local.db"), nil)
	var mode string
	var level int
	ok(t, s.db.QueryRow(`PRAGMA journal_mode`).Scan(&mode), s.db.QueryRow(`PRAGMA synchronous`).Scan(&level))
	if mode != "wal" || level != 2 {
		t.Errorf("journal %s, synchronous %d; want wal and 2, which is FULL", mode, level)
	}
}

// Where the entries lie in a file that something else was in before, only the file knows, and what is kept of that beside it.
func TestAFileWithAnotherLayoutIsRepairedWhenItsFirstPageIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local.db")
	db, err := sql.Open("sqlite", path)
	ok(t, err)
	_, err = db.Exec(`PRAGMA journal_mode = WAL; CREATE TABLE before (one INTEGER)`)
	ok(t, err, db.Close())
	s := openFor(t, path, nil)
	ok(t, s.Put(t.Context(), "meta", "incarnation", []byte("0123456789abcdef"), time.Time{}), s.Close())
	for range 2 { // the fresh file has another layout again
		changeFile(t, path, func(b []byte) { clear(b[:4096]) })
		s = openFor(t, path, nil)
		if taken(t, s) == nil {
			t.Fatal("the damage was not found")
		}
		if got, err := s.Get(t.Context(), "meta", "incarnation"); err != nil || string(got) != "0123456789abcdef" {
			t.Errorf("got %q, %v", got, err)
		}
		ok(t, s.Close())
	}
}
