// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// testDisk is a directory with a server on it whose free space and clock the test sets.
type testDisk struct {
	dir    string
	server *Server
	key    *seal.Key
	free   atomic.Uint64
	ahead  atomic.Int64 // of the clock, in nanoseconds
}

func newTestDisk(t *testing.T) *testDisk {
	d := &testDisk{dir: t.TempDir()}
	d.free.Store(1 << 40)
	t.Cleanup(func() {
		if d.server != nil {
			_ = d.server.Close()
		}
	})
	return d
}

func (d *testDisk) now() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) }

func (d *testDisk) open(t *testing.T) *Store {
	t.Helper()
	if d.server != nil {
		if err := d.server.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Start(Config{
		Identity: logtest.Identity(t, 1), Dir: d.dir, CipherKey: d.key, Rand: rand.Reader, Now: d.now,
		Free: func() (uint64, error) { return d.free.Load(), nil }, Patience: 5 * time.Second, Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	d.server = s
	return s.Store()
}

// flip changes one byte in the middle of the first place where mark occurs in any block file.
func (d *testDisk) flip(t *testing.T, mark []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "jetstream", storeAccount, "streams", "*", "msgs", "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, mark); i >= 0 {
			b[i+len(mark)/2] ^= 0x20
			if err := os.WriteFile(f, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("the bytes are in none of %d block files", len(files))
}

func TestStoreConforms(t *testing.T) { conforms(t, nil) }

func TestEncryptedStoreConforms(t *testing.T) { conforms(t, &cipherKey) }

func conforms(t *testing.T, key *seal.Key) {
	logtest.Run(t, func(t *testing.T) logtest.Disk {
		d := newTestDisk(t)
		d.key = key
		return logtest.Disk{
			Open: func(t *testing.T) eventlog.Store { return d.open(t) },
			// The index that JetStream writes only on a clean end is thrown away: the streams are read from their blocks.
			Crash: func(t *testing.T, _ eventlog.Store) { d.crash(t) },
			Full: func(_ *testing.T, _ eventlog.Store, full bool) {
				d.free.Store(1 << 40)
				if full {
					d.free.Store(DefaultReserve - 1)
				}
				d.ahead.Add(int64(time.Second))
			},
			Damage: func(t *testing.T, s eventlog.Store, b eventlog.Branch, page uint64) eventlog.Store {
				pages, err := s.Read(t.Context(), b, 0, 8<<20)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.server.Close(); err != nil {
					t.Fatal(err)
				}
				d.server = nil
				if key == nil {
					d.flip(t, pages[page-1].Raw())
				} else {
					d.flipEncrypted(t, b, pages, page)
				}
				return d.open(t)
			},
		}
	})
}

func (d *testDisk) crash(t *testing.T) {
	t.Helper()
	if err := d.server.Close(); err != nil {
		t.Fatal(err)
	}
	d.server = nil
	indexes, err := filepath.Glob(filepath.Join(d.dir, "jetstream", storeAccount, "streams", "*", "msgs", "index.db"))
	if err != nil || len(indexes) == 0 {
		t.Fatalf("no index files: %v", err)
	}
	for _, f := range indexes {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(d.dir, "tails.json")); err != nil {
		t.Fatal(err)
	}
}

func mustAppend(t *testing.T, s *Store, b eventlog.Branch, pages ...*eventlog.Page) {
	t.Helper()
	for _, p := range pages {
		if err := s.Append(t.Context(), b, p); err != nil {
			t.Fatalf("append page %d: %v", p.Number, err)
		}
	}
}

// Damage that JetStream would mend by cutting the rest of the file off must neither be read nor be written over.
func TestFlippedByteIsFound(t *testing.T) {
	for _, tt := range []struct {
		name    string
		page    uint64
		reindex bool
	}{
		{"in the first page", 1, false},
		{"in the middle", 3, false},
		{"in the last page", 5, false},
		{"in the first page, index lost", 1, true},
		{"in the middle, index lost", 3, true},
		{"in the last page, index lost", 5, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestDisk(t)
			s, w := d.open(t), logtest.NewWriter(t, 1, 1)
			b := eventlog.Branch{LogID: w.Log}
			var pages []*eventlog.Page
			for range 5 {
				pages = append(pages, w.Page(t, logtest.Large(300)))
			}
			mustAppend(t, s, b, pages...)
			next := w.Page(t, "six")
			tails := filepath.Join(d.dir, "tails.json")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			written, err := os.ReadFile(tails)
			if err != nil {
				t.Fatal(err)
			}
			if tt.reindex {
				d.crash(t)
				if err := os.WriteFile(tails, written, 0o600); err != nil {
					t.Fatal(err)
				}
			} else if err := d.server.Close(); err != nil {
				t.Fatal(err)
			}
			d.server = nil
			d.flip(t, pages[tt.page-1].Raw())
			s = d.open(t)
			after := uint64(0)
			for {
				got, err := s.Read(t.Context(), b, after, 1<<20)
				if errors.Is(err, eventlog.ErrDamaged) {
					if !strings.Contains(err.Error(), w.Log.String()) || !strings.Contains(err.Error(), "page ") {
						t.Errorf("the error does not name the branch and the page: %v", err)
					}
					break
				}
				if err != nil || len(got) == 0 {
					t.Fatalf("after page %d: got %d pages and %v, want ErrDamaged", after, len(got), err)
				}
				after = got[len(got)-1].Number
			}
			if after >= tt.page {
				t.Errorf("page %d was passed off as good", tt.page)
			}
			// Going on in a log whose end is gone would fork it.
			if after+1 == tt.page && tt.page == 5 || tt.reindex {
				if err := s.Append(t.Context(), b, next); err == nil {
					t.Error("a damaged branch took another page")
				}
				own := *w
				own.Number, own.Prev = after, pages[0].Hash
				if err := s.Append(t.Context(), b, own.Page(t, "another one")); !errors.Is(err, eventlog.ErrDamaged) {
					t.Errorf("append behind the damage: got %v, want ErrDamaged", err)
				}
				if len(s.Damaged()) != 1 {
					t.Errorf("known damage: %v, want one branch", s.Damaged())
				}
			}
			if err := s.Delete(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, b, pages...)
			if got, err := s.Read(t.Context(), b, 0, 1<<20); err != nil || len(got) != 5 {
				t.Errorf("fetched again: got %d pages and %v", len(got), err)
			}
		})
	}
}

func TestLostStreamIsDamage(t *testing.T) {
	d := newTestDisk(t)
	s, w := d.open(t), logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1 := w.Page(t, "one")
	mustAppend(t, s, b, p1)
	if err := d.server.Close(); err != nil {
		t.Fatal(err)
	}
	d.server = nil
	if err := os.WriteFile(filepath.Join(d.dir, "jetstream", storeAccount, "streams", streamOf(b), "meta.inf"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = d.open(t)
	if _, err := s.Read(t.Context(), b, 0, 1<<20); !errors.Is(err, eventlog.ErrDamaged) {
		t.Errorf("read: got %v, want ErrDamaged", err)
	}
	if err := s.Append(t.Context(), b, p1); !errors.Is(err, eventlog.ErrDamaged) {
		t.Errorf("append: got %v, want ErrDamaged", err)
	}
	if err := s.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, b, p1)
}

// A stuck engine is started again by whoever writes next, and what the disk holds is believed, not what was remembered.
func TestDoubtIsSettledByStartingAgain(t *testing.T) {
	d := newTestDisk(t)
	s, w := d.open(t), logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	p1, p2, p3 := w.Page(t, "one"), w.Page(t, "two"), w.Page(t, "three")
	mustAppend(t, s, b, p1)
	old, err := d.server.current()
	if err != nil {
		t.Fatal(err)
	}
	// The page reaches the disk, but its answer does not reach us.
	if err := old.publish(streamOf(b), p2, time.Second, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	s.suspect(old)
	s.known(b).doubt()
	d.free.Store(0)
	d.ahead.Add(int64(time.Second))
	if err := s.Append(t.Context(), b, p3); !errors.Is(err, eventlog.ErrNoRoom) {
		t.Errorf("without room: got %v, want ErrNoRoom", err)
	}
	if got, err := s.Read(t.Context(), b, 0, 1<<20); err != nil || len(got) != 1 {
		t.Errorf("in doubt only what was acknowledged is read: got %d pages and %v", len(got), err)
	}
	if got, err := s.Read(t.Context(), b, 1, 1<<20); fault.KindOf(err) != fault.Unavailable || errors.Is(err, eventlog.ErrNoRoom) {
		t.Errorf("whether there is a page 2 cannot be told: got %d pages and %v", len(got), err)
	}
	d.free.Store(1 << 40)
	if got, err := s.Read(t.Context(), b, 1, 1<<20); err != nil || len(got) != 1 || got[0].Hash != p2.Hash {
		t.Errorf("with room it is found: got %d pages and %v", len(got), err)
	}
	mustAppend(t, s, b, p3)
	if now, err := d.server.current(); err != nil || now == old {
		t.Errorf("the engine was not started again: %v", err)
	}
	// An engine that is dead is found out by its silence.
	now, err := d.server.current()
	if err != nil {
		t.Fatal(err)
	}
	now.ns.Shutdown()
	mustAppend(t, s, b, w.Page(t, "four"))
	if got, err := s.Read(t.Context(), b, 0, 1<<20); err != nil || len(got) != 4 {
		t.Errorf("got %d pages and %v, want 4", len(got), err)
	}
}

func TestDirectoryIsUsedByOneProcess(t *testing.T) {
	d := newTestDisk(t)
	d.open(t)
	_, err := Start(Config{Identity: logtest.Identity(t, 1), Dir: d.dir, Rand: rand.Reader, Now: time.Now, Logger: quiet()})
	if err == nil || !strings.Contains(err.Error(), d.dir) {
		t.Errorf("got %v, want an error that names the directory", err)
	}
}

func TestStreamNamesAreReversible(t *testing.T) {
	w := logtest.NewWriter(t, 1, 1)
	for _, b := range []eventlog.Branch{{LogID: w.Log}, {LogID: w.Log, Fork: "0123456789abcdef"}} {
		got, ok := branchOf(streamOf(b))
		if !ok || got != b {
			t.Errorf("got %v %v, want %v", got, ok, b)
		}
	}
	for _, name := range []string{"", "x", streamOf(eventlog.Branch{LogID: w.Log}) + "_../..", streamOf(eventlog.Branch{LogID: w.Log, Fork: "0123456789ABCDEF"})} {
		if _, ok := branchOf(name); ok {
			t.Errorf("%q passes for a stream's name", name)
		}
	}
	s := newTestDisk(t).open(t)
	bad := eventlog.Branch{LogID: w.Log, Fork: "../../../../x"}
	if err := s.Append(context.Background(), bad, w.Page(t, "one")); err == nil {
		t.Error("a branch with a path in its name was stored")
	}
}

func TestManyBranchesOpenQuickly(t *testing.T) {
	d := newTestDisk(t)
	s := d.open(t)
	const n = 120
	for i := range byte(n) {
		w := logtest.NewWriter(t, 1, i)
		mustAppend(t, s, eventlog.Branch{LogID: w.Log}, w.Page(t, "one"), w.Page(t, "two"))
	}
	begin := time.Now()
	s = d.open(t)
	t.Logf("%d branches opened in %s", n, time.Since(begin))
	heads, err := s.Heads(t.Context())
	if err != nil || len(heads) != n {
		t.Fatalf("got %d heads and %v", len(heads), err)
	}
	for _, h := range heads {
		if h.Page != 2 {
			t.Errorf("%v, want page 2", h)
		}
	}
}
