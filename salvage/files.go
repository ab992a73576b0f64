// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"codeberg.org/holdfast/holdfast/synced"
)

// done tells a test that the disk was changed.
func (f File) done(what string) {
	if f.step != nil {
		f.step(what)
	}
}

func (f File) rename(from, to string) error {
	err := (synced.Disk{}).Rename(from, to)
	if err == nil {
		f.done("rename to " + filepath.Base(to))
	}
	return err
}

func openRaw(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: "_pragma=synchronous(FULL)&_pragma=secure_delete(ON)"}).String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// makeRaw makes a new file for this user only.
func makeRaw(path string) (*sql.DB, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return openRaw(path)
}

// copyDatabase copies a database that nobody has open, with its logs.
func (f File) copyDatabase(from, to string) error {
	for _, suffix := range append([]string{""}, logs...) {
		content, err := os.Open(from + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue
		}
		if err != nil {
			return err
		}
		copied, err := os.OpenFile(to+suffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = io.Copy(copied, content)
			err = errors.Join(err, copied.Close())
		}
		if err = errors.Join(err, content.Close()); err != nil {
			return err
		}
		f.done("copy " + suffix)
	}
	return nil
}

// Burn overwrites with zeros, and removes, a file with its logs. One that is not there is no error.
func Burn(path string) error { return File{}.burn(path) }

// burn leaves the file itself for the end, so that no log is ever without it.
func (f File) burn(path string) error {
	var errs []error
	for _, suffix := range []string{suffixWAL, suffixJournal, suffixIndex, ""} {
		errs = append(errs, f.burnFile(path+suffix))
	}
	return errors.Join(errs...)
}

func (f File) burnFile(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		_, err = io.CopyN(file, zeros{}, info.Size())
	}
	err = errors.Join(err, file.Sync(), file.Close())
	f.done("overwrite")
	err = errors.Join(err, os.Remove(path))
	f.done("remove")
	return err
}

// zeros is an endless file of zeros.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
