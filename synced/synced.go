// SPDX-License-Identifier: EUPL-1.2

// Package synced writes small files so that they survive a power cut: a site's key, its configuration, the marks of its logs.
//
// # Terms
//
//   - A file is synced when the system says that its content is on the medium (fsync). Until then a power cut may leave it
//     empty, although writing it has succeeded.
//   - A folder is synced when the names in it are on the medium. Until then a power cut may take away a new file whose content
//     was synced, or bring back one that was replaced.
//
// # Invariants
//
//   - Create and Replace return nil only after both the file and its folder were synced, in this order.
//   - A file that Create could not finish is not there afterwards; one that Replace could not finish has its old content.
package synced

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Disk is how files and folders are synced. Its zero value asks the system. It is safe for concurrent use.
type Disk struct {
	// Fsync takes the place of (*os.File).Sync, for tests that must see what is synced before what. Nil is the system's.
	Fsync func(*os.File) error
}

// unfinished is the suffix of a file that Replace is writing.
const unfinished = ".new"

// Create writes a new file that only this user may read. It returns an error that wraps fs.ErrExist, and changes nothing, if
// there is a file already. It blocks for the disk.
func (d Disk) Create(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(d.fill(f, content), d.Folder(filepath.Dir(path))); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// Replace writes the file, readable by this user only, so that after a crash it has either its old or its new content. It
// blocks for the disk.
func (d Disk) Replace(path string, content []byte) error {
	fresh := path + unfinished
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := d.fill(f, content); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return d.Rename(fresh, path)
}

// Rename gives a file that was synced another name in the same folder, and syncs the folder.
func (d Disk) Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return d.Folder(filepath.Dir(to))
}

// Folder makes the names in a folder survive a power cut.
func (d Disk) Folder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.sync(f), f.Close())
}

// MakeFolder makes a folder for this user only, with those above it that are missing, and syncs the folder above each new one.
func (d Disk) MakeFolder(dir string) error {
	_, err := os.Stat(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(filepath.Clean(dir))
	if err := d.MakeFolder(above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.Folder(above)
}

// fill writes and syncs the content, and closes the file.
func (d Disk) fill(f *os.File, content []byte) error {
	_, err := f.Write(content)
	if err == nil {
		err = d.sync(f)
	}
	return errors.Join(err, f.Close())
}

func (d Disk) sync(f *os.File) error {
	if d.Fsync != nil {
		return d.Fsync(f)
	}
	return f.Sync()
}
