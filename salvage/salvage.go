// SPDX-License-Identifier: EUPL-1.2

// Package salvage repairs SQLite files that a disk has damaged and that nothing else can replace: the keyring, the local store.
//
// Such a file is never thrown away. It is set aside under another name, everything that can still be read is put into a fresh one,
// and the owner gets the rest elsewhere. The steps, each of which may be the last before a crash:
//
//	FILE ─copy─► FILE.reading ─rows that can be read, and a note of the repair─► FILE.fresh, in one transaction
//	FILE-wal ─rename─► FILE.damaged-TIME-wal   FILE ─rename─► FILE.damaged-TIME   FILE.fresh ─rename─► FILE
//
// Which tables a file has, and where, says FILE.layout if those pages are damaged; it is removed before the fresh file has its place.
//
// A crash before the first of these names was changed has the repair begin anew. After that FILE is not the whole damaged file any
// more, and the next Repair goes on with the fresh one.
//
// # Invariants
//
//   - A file that is in order is not touched. One that cannot be read for another reason (no rights, no room) is not taken for
//     damaged.
//   - The damaged file is kept, with its write-ahead log moved into it as far as SQLite does that, for its user only; of several
//     the last File.Keep, and all of which nothing that matters was read. A log that has lost its file counts as one.
//   - Where a file's own tables lie is what finds them, and not where those of a new one do (KeepLayout).
//   - An empty file beside a log, or beside where its tables lay, was cut off. It is damaged, and its log is read.
//   - A file is in order only if today's statements can use it: a flipped bit in a column's name, in a condition or in the header
//     leaves it well formed. Tables and columns that only another version has are no damage. No such file's layout is kept.
//   - The name of a damaged file tells if nothing that matters was read of it (IsUnread).
//   - A fresh file bears the note of its repair from its first moment on. Repair returns it at every opening until Forget: no crash,
//     and no owner that could not be opened, takes it away.
//   - A damaged page costs the rows in it, and those in pages that only it leads to. Pages that the table does not lead to are not
//     read: what was deleted stays so.
//   - Nobody may have the file open meanwhile.
package salvage

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/synced"
)

// What is put behind a file's name.
const (
	suffixAside   = ".damaged-"
	suffixReading = ".reading"
	suffixFresh   = ".fresh"
	suffixSample  = ".sample"
	suffixLayout  = ".layout"
	suffixWAL     = "-wal"
	suffixJournal = "-journal"
	suffixIndex   = "-shm"
	suffixUnread  = "-unread" // behind the time of what is set aside
)

// logs are what SQLite takes for a part of the database, by their names alone.
var logs = []string{suffixWAL, suffixJournal}

// File is a SQLite file that can be repaired. The owner of the file has registered the driver "sqlite". Path, Schema and Keep are
// required.
type File struct {
	Path string
	// Schema makes the tables of a new file. It is used where nothing of the damaged file's own tables can be read.
	Schema string
	// Finish is SQL that leaves out of the fresh file what is of no use without what was lost, in the transaction that fills it. It
	// may be empty.
	Finish string
	// Unread is SQL that asks of the fresh file, before Finish, whether nothing of what matters was read: then the damaged file may be
	// the only copy, see IsUnread. It may be empty.
	Unread string
	// Keep is how many damaged files are kept. Of an older one everything that could be read is in those after it. One of which nothing
	// that matters was read (IsUnread) stays, and is not counted.
	Keep int

	// step is called after each change of the disk. It is nil but in tests, which look what a crash would leave there.
	step func(done string)
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

// Repair looks whether the file is well formed and has the tables that it was made with, and if it is damaged puts a fresh one with all that can be read in
// its place. It returns what it has found, at this call or at an earlier one, until Forget; nil for a file that is in order, or not
// there. It reads the whole file: about a second for 100 MiB.
func (f File) Repair(now time.Time) (*Damage, error) {
	aside := f.Path + suffixAside + now.UTC().Format("20060102T150405Z")
	if err := f.finish(aside); err != nil {
		return nil, err
	}
	reason, noted, err := f.examine()
	if err != nil || reason == "" {
		return noted, err
	}
	d := &Damage{Reason: reason, Aside: aside}
	if err := f.copyToRead(f.Path + suffixReading); err != nil {
		return nil, err
	}
	if *d, err = f.salvage(f.Path+suffixReading, f.Path+suffixFresh, *d); err != nil {
		return nil, err
	}
	if err := f.replaceDamaged(d.Aside); err != nil {
		return nil, err
	}
	return d, f.tidy()
}

// finish does what a crash has left undone. What a repair that had not come far enough has left is burnt, and it begins anew.
func (f File) finish(aside string) error {
	begun, err := f.begun(aside)
	if err != nil {
		return err
	}
	if begun != "" {
		if err := f.replaceDamaged(begun); err != nil {
			return err
		}
	}
	return f.tidy()
}

// begun returns the name under which a repair had begun to set the damaged file aside when it was cut off, "" if none had. Then the
// fresh file is the only whole one. otherwise is the name if nothing tells it.
func (f File) begun(otherwise string) (aside string, err error) {
	if _, err := os.Stat(f.Path + suffixFresh); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	noted, whole := f.lookIntoFresh()
	_, err = os.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && noted != nil:
		return noted.Aside, nil
	case errors.Is(err, fs.ErrNotExist):
		return otherwise, nil
	case err != nil || !whole:
		return "", err
	}
	return f.movedLog(noted)
}

// lookIntoFresh reports whether the transaction that fills the fresh file was committed, and returns the note in it. The version
// before wrote none.
func (f File) lookIntoFresh() (noted *Damage, whole bool) {
	db, err := openRaw(f.Path + suffixFresh)
	if err != nil {
		return nil, false
	}
	defer func() { _ = db.Close() }() // it was only read
	tables, err := tablesOf(db)
	if err != nil || len(tables) == 0 {
		return nil, false
	}
	noted, err = f.Noted(context.Background(), db)
	return noted, err == nil
}

// movedLog returns the name for the damaged file whose log has its other name already, "" if there is none. Logs of other repairs
// are left alone: the note says which is ours, and without one it is the last.
func (f File) movedLog(noted *Damage) (aside string, err error) {
	files, err := f.Aside()
	for _, name := range slices.Backward(files) {
		base := withoutLog(name)
		if base != name && (noted == nil || noted.Aside == base) {
			return base, err
		}
	}
	return "", err
}

// examine returns why the file cannot be used, "" if it can or if there is none; and the note in a file that can.
func (f File) examine() (reason string, noted *Damage, err error) {
	info, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	if info.Size() == 0 {
		return f.examineEmpty(), nil, nil
	}
	db, err := openRaw(f.Path)
	if err != nil {
		return "", nil, err
	}
	defer f.done("examine")
	defer func() { _ = db.Close() }() // it was only read
	reason, err = f.complaint(context.Background(), db)
	if err == nil && reason == "" {
		noted, err = f.Noted(context.Background(), db)
	}
	if damaged(err) {
		return err.Error(), nil, nil
	}
	return reason, noted, err
}

// examineEmpty returns why a file without a byte cannot be used. One that a crash has left before SQLite has written its
// first page is as good as none. SQLite throws the log away when it opens a file that was cut off to nothing.
func (f File) examineEmpty() string {
	if log, err := os.Stat(f.Path + suffixWAL); err == nil && log.Size() > 0 {
		return "it is empty, and its write-ahead log is not"
	}
	if f.keptLayout() != nil {
		return "it is empty, and had tables"
	}
	return ""
}

// Integrity returns what SQLite has against the database, "" if nothing. It reads the disk and not what SQLite remembers of it, if
// the database has one connection.
func Integrity(ctx context.Context, q Querier) (string, error) {
	said := ""
	err := q.QueryRowContext(ctx, `PRAGMA shrink_memory`).Scan(&said)
	if errors.Is(err, sql.ErrNoRows) { // it answers none
		err = q.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said)
	}
	switch {
	case damaged(err):
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

// replaceDamaged gives the damaged file its other name and the fresh one its place. The logs go first: SQLite would take them for
// the fresh file's. What was done before a crash is done already.
func (f File) replaceDamaged(aside string) error {
	if err := (synced.Disk{}).Folder(filepath.Dir(f.Path)); err != nil { // the fresh file's name lasts from here on
		return err
	}
	for _, suffix := range append(slices.Clone(logs), "") {
		if err := f.rename(f.Path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(f.Path + suffixIndex); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.done("remove the index")
	if err := f.dropLayout(); err != nil { // the fresh file has another one
		return err
	}
	f.done("remove the layout")
	return f.rename(f.Path+suffixFresh, f.Path)
}

// tidy removes what a repair leaves over. The copy that it read is the last of that: while it is there, too many damaged files may be.
func (f File) tidy() error {
	reading := f.Path + suffixReading
	var err error
	if _, there := os.Stat(reading); there == nil {
		err = f.burnOldest()
	}
	return errors.Join(err, f.burn(f.Path+suffixFresh), f.burn(reading+suffixSample), f.burn(reading))
}

// Aside returns the damaged files that are kept, the oldest first. A log that is there without its file is one of them: it holds what
// the file would.
func (f File) Aside() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(f.Path)) // no pattern: a folder's name may hold what means something in one
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found []string
	for _, e := range entries {
		if name, ours := strings.CutPrefix(e.Name(), filepath.Base(f.Path)); ours && strings.HasPrefix(name, suffixAside) {
			found = append(found, f.Path+name)
		}
	}
	slices.Sort(found)
	return slices.DeleteFunc(slices.Clone(found), func(name string) bool {
		base := withoutLog(name)
		return base != name && slices.Contains(found, base) || strings.HasSuffix(name, suffixIndex) // an index holds numbers only
	}), err
}

// IsUnread reports whether nothing that matters was read of a file that Aside has returned, see File.Unread.
func IsUnread(aside string) bool { return strings.HasSuffix(withoutLog(aside), suffixUnread) }

// withoutLog returns the name of the file that a log belongs to; another name as it is.
func withoutLog(name string) string {
	for _, suffix := range logs {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

// burnOldest leaves alone what may be the only copy: a person decides about that.
func (f File) burnOldest() error {
	files, err := f.Aside()
	files = slices.DeleteFunc(files, IsUnread)
	for len(files) > f.Keep && err == nil {
		err = f.burn(files[0])
		files = files[1:]
	}
	return err
}
