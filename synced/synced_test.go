// SPDX-License-Identifier: EUPL-1.2

package synced

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// recorder notes what is synced, with the content that the file had by then.
type recorder struct {
	synced []string
	fail   error
}

func (r *recorder) disk() Disk {
	return Disk{Fsync: func(f *os.File) error {
		content, err := os.ReadFile(f.Name())
		if err != nil {
			content = []byte("folder")
		}
		r.synced = append(r.synced, filepath.Base(f.Name())+"="+string(content))
		return errors.Join(r.fail, f.Sync())
	}}
}

func (r *recorder) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(r.synced, want) {
		t.Errorf("synced %q, want %q", r.synced, want)
	}
}

func TestAFileIsSyncedBeforeItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "site.key")
	var r recorder
	if err := r.disk().MakeFolder(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	r.want(t, filepath.Base(filepath.Dir(dir))+"=folder", "data=folder")

	r = recorder{}
	if err := r.disk().Create(path, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	r.want(t, "site.key=secret", "data=folder")
	if err := r.disk().Create(path, []byte("other")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making it again: %v", err)
	}

	r = recorder{}
	if err := r.disk().Replace(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	r.want(t, "site.key.new=new", "data=folder")
	if b, err := os.ReadFile(path); err != nil || string(b) != "new" {
		t.Errorf("the file has %q, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

func TestWhatCannotBeSyncedIsUndone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.key")
	broken := errors.New("the disk is gone")
	r := recorder{fail: broken}
	if err := r.disk().Create(path, []byte("secret")); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file is there: %v", err)
	}
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.disk().Replace(path, []byte("new")); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
		t.Errorf("the file has %q, %v", b, err)
	}
}

// The zero Disk asks the system: a closed file cannot be synced, and only who asks learns that.
func TestTheZeroDiskSyncs(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := (Disk{}).sync(f); !errors.Is(err, os.ErrClosed) {
		t.Errorf("syncing a closed file: %v", err)
	}
}
