// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

var cipherKey = seal.Key{1, 2, 3}

// flipEncrypted changes one byte in the middle of a page that cannot be found by its bytes. What the engine puts around each
// page is as long for all of them, give or take a digit, and encryption keeps lengths.
func (d *testDisk) flipEncrypted(t *testing.T, b eventlog.Branch, pages []*eventlog.Page, page uint64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "jetstream", storeAccount, "streams", streamOf(b), "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d block files, %v", len(files), err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	total, before := 0, 0
	for i, p := range pages {
		total += len(p.Raw())
		if uint64(i+1) < page {
			before += len(p.Raw())
		}
	}
	around := (len(content) - total) / len(pages)
	content[before+int(page)*around+len(pages[page-1].Raw())/2-around/2] ^= 0x20
	if err := os.WriteFile(files[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start opens the directory with a key, and closes it again at once if that succeeds.
func (d *testDisk) start(t *testing.T, key *seal.Key) error {
	t.Helper()
	s, err := Start(Config{Identity: logtest.Identity(t, 1), Dir: d.dir, CipherKey: key, Rand: rand.Reader, Now: time.Now, Logger: quiet()})
	if err != nil {
		return err
	}
	return s.Close()
}

// snapshot returns the content of all files but the lock.
func (d *testDisk) snapshot(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestEncryptedLogsOpenWithTheirKeyOnly(t *testing.T) {
	d := newTestDisk(t)
	d.key = &cipherKey
	s, w := d.open(t), logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	mark := []byte("Amtsraetin-Weiss-")
	p1, p2 := w.Page(t, string(mark)+"one"), w.Page(t, string(mark)+"two")
	if !bytes.Contains(p1.Raw(), mark) {
		t.Fatal("the mark is not in the page")
	}
	mustAppend(t, s, b, p1)
	if err := d.server.Close(); err != nil {
		t.Fatal(err)
	}
	d.server = nil
	was := d.snapshot(t)
	for path, content := range was {
		if bytes.Contains([]byte(content), mark) {
			t.Errorf("%s shows a page", path)
		}
	}
	for name, tt := range map[string]struct {
		key  *seal.Key
		want error
	}{"none": {nil, ErrCipherMissing}, "another": {&seal.Key{9}, ErrCipherKey}} {
		if err := d.start(t, tt.key); !errors.Is(err, tt.want) || fault.Of(err).WayOut == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for path, content := range d.snapshot(t) {
		if was[path] != content {
			t.Errorf("%s was changed by somebody without the key", path)
		}
	}
	s = d.open(t)
	mustAppend(t, s, b, p2)
	got, err := s.Read(t.Context(), b, 0, 1<<20)
	if err != nil || len(got) != 2 || got[0].Hash != p1.Hash || got[1].Hash != p2.Hash {
		t.Errorf("got %d pages and %v", len(got), err)
	}
}

func TestLogsInTheClearAreNotOpenedWithAKey(t *testing.T) {
	d := newTestDisk(t)
	s, w := d.open(t), logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	mustAppend(t, s, b, w.Page(t, "one"))
	if err := d.server.Close(); err != nil {
		t.Fatal(err)
	}
	d.server = nil
	if err := d.start(t, &cipherKey); !errors.Is(err, ErrCipherPlain) || fault.Of(err).WayOut == "" {
		t.Error(err)
	}
	s = d.open(t)
	if got, err := s.Read(t.Context(), b, 0, 1<<20); err != nil || len(got) != 1 {
		t.Errorf("got %d pages and %v", len(got), err)
	}
}
