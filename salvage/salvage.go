// SPDX-License-Identifier: EUPL-1.2

// Package salvage repairs SQLite files that a disk has damaged and that nothing else can replace: the keyring, the local store.
//
// Such a file is never thrown away. It is set aside under another name, everything that can still be read is put into a fresh one,
// and the owner gets the rest elsewhere. The steps, each of which may be the last before a crash:
//
//	FILE ─copy─► FILE.reading ─rows that can be read─► FILE.fresh
//	FILE ─rename─► FILE.damaged-TIME           FILE.fresh ─rename─► FILE
//
// # Invariants
//
//   - A file that is in order is not touched. One that cannot be read for another reason (no rights, no room) is not taken for
//     damaged.
//   - The damaged file is kept, with its write-ahead log moved into it as far as SQLite does that, for its user only; of several
//     the last File.Keep.
//   - Nobody may have the file open meanwhile.
package salvage

import (
	"context"
	"database/sql"
	"errors"
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

// What is put behind a file's name.
const (
	suffixAside   = ".damaged-"
	suffixReading = ".reading"
	suffixFresh   = ".fresh"
	suffixWAL     = "-wal"
	suffixIndex   = "-shm"
)

// File is a SQLite file that can be repaired. The owner of the file has registered the driver "sqlite". Path, Schema and Keep are
// required.
type File struct {
	Path string
	// Schema makes the tables of a new file. It is used where nothing of the damaged file's own tables can be read.
	Schema string
	// Finish is SQL that leaves out of the fresh file what is of no use without what was lost. It may be empty.
	Finish string
	// Keep is how many damaged files are kept. Of an older one everything that could be read is in those after it.
	Keep int
}

// Damage says what became of a damaged file.
type Damage struct {
	// Reason is what SQLite has found.
	Reason string
	// Aside is the name that the damaged file has now.
	Aside string
	// Rows is how many rows were read of it.
	Rows int
}

// Repair looks whether the file is well formed, and if it is damaged puts a fresh one with all that can be read in
// its place. It returns nil for a file that is in order, or not there. It reads the whole file: about a second for 100 MiB.
func (f File) Repair(now time.Time) (*Damage, error) {
	path := f.Path
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
	if d.Rows, err = f.salvage(path+suffixReading, path+suffixFresh); err != nil {
		return nil, err
	}
	if err := replaceDamaged(path, d.Aside); err != nil {
		return nil, err
	}
	return d, errors.Join(Burn(path+suffixReading), f.burnOldest())
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
	return errors.Join(err, Burn(path+suffixFresh), Burn(path+suffixReading))
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
	return Integrity(context.Background(), db)
}

// Integrity returns what SQLite has against the database, "" if nothing. It reads the disk and not what SQLite remembers of it, if
// the database has one connection.
func Integrity(ctx context.Context, q Querier) (string, error) {
	said := ""
	err := q.QueryRowContext(ctx, `PRAGMA shrink_memory`).Scan(&said)
	if errors.Is(err, sql.ErrNoRows) { // it answers none
		err = q.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said)
	}
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

// Querier is a database, or a part of one.
type Querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
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

// Aside returns the damaged files that are kept, the oldest first.
func (f File) Aside() ([]string, error) {
	found, err := filepath.Glob(f.Path + suffixAside + "*")
	slices.Sort(found)
	return slices.DeleteFunc(found, func(name string) bool {
		return strings.HasSuffix(name, suffixWAL) || strings.HasSuffix(name, suffixIndex)
	}), err
}

func (f File) burnOldest() error {
	files, err := f.Aside()
	for len(files) > f.Keep && err == nil {
		err = Burn(files[0])
		files = files[1:]
	}
	return err
}

// Burn overwrites with zeros, and removes, a file with its write-ahead log. One that is not there is no error.
func Burn(path string) error {
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
