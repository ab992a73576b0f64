// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
)

// SQLite's result codes (https://www.sqlite.org/rescode.html).
const (
	sqliteError    = 1 // what our own statements get only from a damaged list of tables or header
	sqliteReadOnly = 8
	sqliteCorrupt  = 11
	sqliteFormat   = 24
	sqliteNotADB   = 26
)

func codeOf(err error) int {
	coded, ok := errors.AsType[interface {
		error
		Code() int
	}](err)
	if !ok {
		return 0
	}
	return coded.Code()
}

// damaged reports whether the file itself is to blame for the error.
func damaged(err error) bool {
	switch codeOf(err) & 0xff {
	case sqliteError, sqliteCorrupt, sqliteFormat, sqliteNotADB:
		return true
	}
	return false
}

// errUnlike says that the tables are not as they were made.
type errUnlike string

func (e errUnlike) Error() string { return string(e) }

// complaint returns what there is against the file, "" if nothing. A flipped bit in the text of a table leaves it well formed, so that
// SQLite has nothing against it, and no statement of the owner finds its column.
func (f File) complaint(ctx context.Context, db *sql.DB) (string, error) {
	reason, err := Integrity(ctx, db)
	if err != nil || reason != "" {
		return reason, err
	}
	err = f.probe(ctx, db)
	if err == nil {
		err = f.writable(ctx, db)
	}
	if err == nil {
		err = f.likeKept(ctx, db, smallDamage)
	}
	if unlike := errUnlike(""); errors.As(err, &unlike) || damaged(err) {
		return err.Error(), nil
	}
	return "", err
}

// probe looks for every table and column of today, and has SQLite prepare to write them. A file of another version lacks some or has
// more; one that lacks some *and* has more is damaged.
func (f File) probe(ctx context.Context, db *sql.DB) error {
	today, err := f.today()
	if err != nil {
		return err
	}
	have, err := tablesOf(db)
	for _, t := range have {
		if err != nil {
			return err
		}
		if t.form == "" {
			return errUnlike("the table " + t.name + " is listed under another name")
		}
		if want, ok := t.todays(today, have); ok {
			err = t.probe(ctx, db, want)
		}
	}
	return err
}

func (t table) probe(ctx context.Context, db *sql.DB, want table) error {
	if t.name != want.name {
		return errUnlike(fmt.Sprintf("the table %s is called %s", want.name, t.name))
	}
	missing, unknown := without(want.columns, t.columns), without(t.columns, want.columns)
	if len(missing) > 0 && len(unknown) > 0 {
		return errUnlike(fmt.Sprintf("the table %s has no %s, but %s", t.name, strings.Join(missing, ", "), strings.Join(unknown, ", ")))
	}
	set := make([]string, len(t.columns))
	for i, c := range t.columns {
		set[i] = quoted(c) + " = " + quoted(c)
	}
	_, err := db.ExecContext(ctx, `EXPLAIN UPDATE `+quoted(t.name)+` SET `+strings.Join(set, ", ")+`;
		EXPLAIN INSERT INTO `+quoted(t.name)+` DEFAULT VALUES`)
	return err
}

// writable has SQLite begin to write, and nothing written. A flipped bit in the header forbids it. What else stands in the way (rights, a
// full disk) the owner meets.
func (f File) writable(ctx context.Context, db *sql.DB) error {
	tables, err := namesOf(db)
	if err != nil || len(tables) == 0 {
		return err
	}
	_, err = db.ExecContext(ctx, `DELETE FROM `+quoted(tables[0].name)+` WHERE 0`)
	if codeOf(err) == sqliteReadOnly {
		file, denied := os.OpenFile(f.Path, os.O_RDWR, 0)
		if denied == nil {
			return errors.Join(errUnlike("its header forbids to write it"), file.Close())
		}
	}
	if damaged(err) {
		return err
	}
	return nil
}

// How much may be different where the tables lie, while SQLite counts no change of them, until that is damage: in a file that is well
// formed a few bytes, because a repair by a version that knows no layouts may have come to the same count; in one that is not, nothing.
const (
	smallDamage = 8
	anyDamage   = 1 << 30
)

// likeKept returns an error if the layout is not the one that was kept, and SQLite has not changed it since.
func (f File) likeKept(ctx context.Context, db *sql.DB, atMost int) error {
	kept := f.keptLayout()
	if kept == nil {
		return nil
	}
	l, err := layoutOf(ctx, db)
	if err != nil {
		return err
	}
	if n := l.differences(kept); n > 0 && n <= atMost {
		return errUnlike("its list of tables is not what was written")
	}
	return nil
}

// differences counts the bytes that differ between two layouts of the same tables; none between those of others.
func (l layout) differences(kept layout) (n int) {
	if !bytes.Equal(l[0].content[40:44], kept[0].content[40:44]) { // the schema cookie, which every change of the tables counts on
		return 0
	}
	for i := range max(len(l), len(kept)) {
		if i >= len(l) || i >= len(kept) || l[i].number != kept[i].number || len(l[i].content) != len(kept[i].content) {
			n += smallDamage + 1
			continue
		}
		for j := range l[i].content {
			if l[i].content[j] != kept[i].content[j] {
				n++
			}
		}
	}
	return n
}

// fits reports whether a file has its tables where they were, and as they were made.
func (f File) fits(db *sql.DB) error {
	ctx := context.Background()
	if err := f.probe(ctx, db); err != nil {
		return err
	}
	return f.likeKept(ctx, db, anyDamage)
}
