// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/synced"
)

// A keyring is no copy of anything: what it alone has is lost with it. So a damaged file is never thrown away. It is set aside
// under another name, everything that can still be read is put into a fresh one, and what is missing then is fetched from other
// sites. The steps, each of which may be the last before a crash:
//
//	keyring.db ─copy─► keyring.db.reading ─rows that can be read─► keyring.db.fresh
//	keyring.db ─rename─► keyring.db.damaged-TIME       keyring.db.fresh ─rename─► keyring.db
const (
	suffixAside   = ".damaged-"
	suffixReading = ".reading"
	suffixFresh   = ".fresh"
	suffixWAL     = "-wal"
	suffixIndex   = "-shm"
	// maxAside is how many damaged files are kept. Of an older one everything that could be read is in those after it.
	maxAside = 3
)

// Damage says what became of a damaged file.
type Damage struct {
	// Reason is what SQLite has found.
	Reason string
	// Aside is the name that the damaged file has now.
	Aside string
	// Rows is how many rows were read of it.
	Rows int
}

// repair looks whether the file at path is what was written, and if it is damaged puts a fresh one with all that can be read in
// its place. It returns nil for a file that is in order, or not there. It reads the whole file: about a second for 100 MiB.
func repair(path string, now time.Time) (*Damage, error) {
	if err := finishRepair(path); err != nil {
		return nil, err
	}
	reason, err := reasonOf(path)
	if err != nil || reason == "" {
		return nil, err
	}
	d := &Damage{Reason: reason, Aside: path + suffixAside + now.UTC().Format("20060102T150405Z")}
	if err := copyDatabase(path, path+suffixReading); err != nil {
		return nil, err
	}
	if d.Rows, err = salvage(path+suffixReading, path+suffixFresh); err != nil {
		return nil, err
	}
	if err := replaceDamaged(path, d.Aside); err != nil {
		return nil, err
	}
	return d, errors.Join(burnDatabase(path+suffixReading), burnOldest(path))
}

// finishRepair does what a crash has left undone: the fresh file is whole before the damaged one gets its other name.
func finishRepair(path string) error {
	_, err := os.Stat(path)
	_, fresh := os.Stat(path + suffixFresh)
	if errors.Is(err, fs.ErrNotExist) && fresh == nil {
		err = (synced.Disk{}).Rename(path+suffixFresh, path)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, burnDatabase(path+suffixFresh), burnDatabase(path+suffixReading))
}

// reasonOf returns why the file cannot be used, "" if it can or if there is none.
func reasonOf(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	db, err := openRaw(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }() // it was only read
	return integrity(context.Background(), db)
}

// integrity returns what SQLite has against the database, "" if nothing.
func integrity(ctx context.Context, q querier) (string, error) {
	said := ""
	err := q.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said)
	switch f := fault.OfDisk(err); {
	case f != nil && f.Code == fault.ErrFileDamaged.Code:
		return err.Error(), nil
	case err != nil:
		return "", err
	case said != "ok":
		return said, nil
	}
	return "", nil
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

func copyDatabase(from, to string) error {
	for _, suffix := range []string{"", suffixWAL} {
		content, err := os.Open(from + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue
		}
		if err != nil {
			return err
		}
		f, err := os.OpenFile(to+suffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = io.Copy(f, content)
			err = errors.Join(err, f.Close())
		}
		if err = errors.Join(err, content.Close()); err != nil {
			return err
		}
	}
	return nil
}

// replaceDamaged gives the damaged file its other name and the fresh one its place. The write-ahead log goes first: SQLite would
// take it for the fresh file's.
func replaceDamaged(path, aside string) error {
	var d synced.Disk
	for _, suffix := range []string{suffixWAL, ""} {
		if err := d.Rename(path+suffix, aside+suffix); err != nil && !(suffix != "" && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	if err := os.Remove(path + suffixIndex); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.Rename(path+suffixFresh, path)
}

// asideFiles returns the damaged files that are kept beside the one at path, the oldest first.
func asideFiles(path string) ([]string, error) {
	found, err := filepath.Glob(path + suffixAside + "*")
	slices.Sort(found)
	return slices.DeleteFunc(found, func(name string) bool {
		return strings.HasSuffix(name, suffixWAL) || strings.HasSuffix(name, suffixIndex)
	}), err
}

func burnOldest(path string) error {
	files, err := asideFiles(path)
	for len(files) > maxAside && err == nil {
		err = burnDatabase(files[0])
		files = files[1:]
	}
	return err
}

// burnAside destroys the damaged files that are kept when a key was erased, because it must not survive in one of them. What
// could be read of them is in the keyring.
func (r *Ring) burnAside(news []Changed) error {
	if r.watch.path == "" || !slices.ContainsFunc(news, func(c Changed) bool { return c.Erased }) {
		return nil
	}
	files, err := asideFiles(r.watch.path)
	for _, file := range files {
		err = errors.Join(err, burnDatabase(file))
	}
	if err != nil {
		return fmt.Errorf("destroy a damaged keyring that was kept: %w", err)
	}
	return nil
}

// burnDatabase overwrites and removes a file with its write-ahead log. One that is not there is no error.
func burnDatabase(path string) error {
	var errs []error
	for _, suffix := range []string{"", suffixWAL, suffixIndex} {
		errs = append(errs, burnFile(path+suffix))
	}
	return errors.Join(errs...)
}

func burnFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = io.CopyN(f, zeros{}, info.Size())
	}
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}

// zeros is an endless file of zeros.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
