// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// parcels has what a bit of damage can hide in: a key, a check, a default, a counter, a trigger.
const parcels = `CREATE TABLE IF NOT EXISTS parcel (id INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT NOT NULL, weight INTEGER NOT NULL CHECK (weight > 1));
	CREATE TABLE IF NOT EXISTS house (street TEXT NOT NULL, number TEXT NOT NULL, people INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (street, number)) WITHOUT ROWID;
	CREATE INDEX IF NOT EXISTS house_people ON house (people) WHERE people > 4;
	CREATE TRIGGER IF NOT EXISTS parcel_moved AFTER UPDATE OF weight ON parcel BEGIN UPDATE parcel SET sender = NEW.sender WHERE id = NEW.id; END;`

const parcelCount = 40

// newParcels makes a file of few pages, with its layout.
func newParcels(t *testing.T) File {
	t.Helper()
	f := File{Path: filepath.Join(t.TempDir(), "parcels.db"), Schema: parcels, Finish: `INSERT OR REPLACE INTO parcel VALUES (1, 'first', 4)`, Keep: 2}
	db, err := sql.Open("sqlite", "file:"+f.Path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	must(t, err)
	_, err = db.Exec(parcels)
	must(t, err)
	for i := range parcelCount {
		_, err := db.Exec(`INSERT INTO parcel (sender, weight) VALUES ('first', 4); INSERT INTO house VALUES (?, ?, 4)`, fmt.Sprint("street ", i), "12")
		must(t, err)
	}
	must(t, f.KeepLayout(t.Context(), db), db.Close())
	return f
}

// useParcels does what their owner does with a file that was opened, and returns how many rows are there.
func useParcels(f File) (rows int, err error) {
	db, err := sql.Open("sqlite", "file:"+f.Path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.Exec(parcels); err != nil {
		return 0, err
	}
	err = db.QueryRow(`SELECT (SELECT count(id) FROM parcel WHERE sender = 'first' AND weight = 4) +
		(SELECT count(*) FROM house WHERE number = '12' AND street > '' AND people = 4)`).Scan(&rows)
	if err == nil {
		_, err = db.Exec(`INSERT INTO parcel (sender, weight) VALUES ('x', 9); INSERT INTO house (street, number) VALUES ('x', '1');
			UPDATE parcel SET weight = 5 WHERE sender = 'x'`)
	}
	return rows, err
}

// openAfter repairs a file with these bytes, and has it used.
func (f File) openAfter(t *testing.T, file, kept []byte) (d *Damage, rows int, err error) {
	t.Helper()
	f.Path = filepath.Join(t.TempDir(), "parcels.db")
	must(t, os.WriteFile(f.Path, file, 0o600))
	if kept != nil {
		must(t, os.WriteFile(f.Path+suffixLayout, kept, 0o600))
	}
	if d, err = f.Repair(now); err == nil {
		rows, err = useParcels(f)
	}
	return d, rows, err
}

// SQLite finds a file with such a bit well formed, or refuses to write it, or does not know its format.
func TestAFlippedBitWhereTheTablesAreListedCostsNoRow(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	f := newParcels(t)
	whole, err := os.ReadFile(f.Path)
	must(t, err)
	kept, err := os.ReadFile(f.Path + suffixLayout)
	must(t, err)
	tried := 0
	for at := 16; at < 4096; at++ {
		bits := []int{at * 3 % 8}
		switch zero := whole[at] == 0 && at >= headerBytes; {
		case at == 18 || at == 47:
			bits = []int{0, 1, 2, 3, 4, 5, 6, 7}
		case zero || at > 60 && at%4 != 1: // all of them were looked at once; it takes more than a minute
			continue
		}
		for _, bit := range bits {
			file := bytes.Clone(whole)
			file[at] ^= 1 << bit
			what := fmt.Sprintf("byte %d, bit %d, near %q", at, bit, whole[max(0, at-12):min(at+12, 4096)])
			if d, rows, err := f.openAfter(t, file, kept); err != nil || rows != 2*parcelCount {
				t.Errorf("%s: %d rows, %v; found %+v", what, rows, err, d)
			}
			if tried++; tried%3 > 0 {
				continue
			}
			if d, _, err := f.openAfter(t, file, nil); err != nil {
				t.Errorf("%s, without a layout: %v; found %+v", what, err, d)
			}
		}
	}
	t.Logf("%d bits", tried)
}

// Without a layout nothing but the owner's tables tells what a name was.
func TestAFlippedBitInANameIsUndoneWithoutALayout(t *testing.T) {
	f := newParcels(t)
	whole, err := os.ReadFile(f.Path)
	must(t, err)
	for what, with := range map[string]string{
		"sender TEXT": "sendez TEXT", "people INTEGER": "qeople INTEGER", "CHECK (weight > 1)": "CHECK (weight > 9)",
		"TABLE parcel": "TABLE parcem", "TABLE house": "TABLE iouse", "sequence(name": "sequence(namg",
		"TABLE sqlite_sequence": "TABLe sqlite_sequence", "sqlite_sequence(": "sqlite_sequenge(", "parcel SET sender": "parcel SET sendes",
	} {
		file := bytes.Replace(whole, []byte(what), []byte(with), 1)
		if bytes.Equal(file, whole) {
			t.Errorf("%q is not in the file", what)
		}
		if d, rows, err := f.openAfter(t, file, nil); err != nil || rows != 2*parcelCount {
			t.Errorf("%s: %d rows, %v; found %+v", with, rows, err, d)
		}
	}
}

// A table of another version has fewer columns, or more. Neither is damage.
func TestAFileOfAnotherVersionIsNotTakenForDamaged(t *testing.T) {
	for name, made := range map[string]string{
		"before":         `CREATE TABLE parcel (id INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT NOT NULL)`,
		"after":          parcels + `; ALTER TABLE house ADD COLUMN colour TEXT NOT NULL DEFAULT ''; CREATE TABLE street (name TEXT)`,
		"something else": `CREATE TABLE before (one INTEGER)`,
	} {
		f := File{Path: filepath.Join(t.TempDir(), "parcels.db"), Schema: parcels, Keep: 2}
		db, err := openRaw(f.Path)
		must(t, err)
		_, err = db.Exec(made)
		must(t, err, db.Close())
		if d, err := f.Repair(now); d != nil || err != nil {
			t.Errorf("%s: repaired: %+v, %v", name, d, err)
		}
	}
}

// A column of an earlier version's table is called what it was, and the table stays that version's.
func TestAFlippedBitInATableOfTheVersionBeforeIsUndone(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "parcels.db"), Schema: parcels, Keep: 2}
	db, err := openRaw(f.Path)
	must(t, err)
	_, err = db.Exec(`CREATE TABLE house (street TEXT NOT NULL PRIMARY KEY, numbes TEXT NOT NULL) WITHOUT ROWID; INSERT INTO house VALUES ('a', '1')`)
	must(t, err, db.Close())
	d, err := f.Repair(now)
	if d == nil || err != nil || d.Rows != 1 {
		t.Fatalf("repaired: %+v, %v", d, err)
	}
	forget(t, f)
	db, err = openRaw(f.Path)
	must(t, err)
	defer db.Close()
	list, err := tablesOf(db)
	if err != nil || len(list) != 1 || !slices.Equal(list[0].columns, []string{"street", "number"}) {
		t.Errorf("its tables are %+v, %v", list, err)
	}
}

// The layout is the only thing that tells what was there.
func TestALayoutIsNotReplacedByThatOfADamagedFile(t *testing.T) {
	for what, with := range map[string]string{"sender TEXT": "sendez TEXT", "weight > 1": "weight > 0"} {
		f := newParcels(t)
		before, err := os.ReadFile(f.Path + suffixLayout)
		must(t, err)
		harm(t, f, func(b []byte) { copy(b[bytes.Index(b, []byte(what)):], with) })
		db, err := openRaw(f.Path)
		must(t, err)
		err = f.KeepLayout(t.Context(), db)
		must(t, db.Close())
		if after, same := os.ReadFile(f.Path + suffixLayout); err == nil || same != nil || !bytes.Equal(after, before) {
			t.Errorf("%s: it is another one: %v", with, errors.Join(err, same))
		}
	}
}
