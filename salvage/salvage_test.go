// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver
)

const schema = `CREATE TABLE IF NOT EXISTS note (id TEXT NOT NULL, part INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (id, part)) WITHOUT ROWID;
	CREATE INDEX IF NOT EXISTS note_body ON note (body)`

const noteCount = 1000

var now = time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// newNotes makes a file with a thousand rows. With inLog the last fifty are in its write-ahead log, as kill -9 leaves it.
func newNotes(t *testing.T, inLog bool) File {
	t.Helper()
	live := filepath.Join(t.TempDir(), "live.db")
	db, err := sql.Open("sqlite", "file:"+live+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	must(t, err)
	db.SetMaxOpenConns(1)
	exec := func(query string, args ...any) {
		t.Helper()
		_, err := db.Exec(query, args...)
		must(t, err)
	}
	exec(schema)
	exec(`BEGIN`)
	for i := range noteCount {
		if i == noteCount-50 {
			exec(`COMMIT`)
			exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
			exec(`BEGIN`)
		}
		exec(`INSERT INTO note VALUES (?, ?, ?)`, fmt.Sprintf("note-%04d", i), i, strings.Repeat("x", 100))
	}
	exec(`COMMIT`)
	if !inLog {
		exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	}
	f := File{Path: filepath.Join(t.TempDir(), "notes.db"), Schema: schema, Keep: 2}
	must(t, f.copyDatabase(live, f.Path), db.Close())
	return f
}

func rowsOf(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := openRaw(path)
	must(t, err)
	defer db.Close()
	must(t, db.QueryRow(`SELECT count(*) FROM note`).Scan(&n))
	return n
}

func forget(t *testing.T, f File) {
	t.Helper()
	db, err := openRaw(f.Path)
	must(t, err, Forget(t.Context(), db), db.Close())
}

func TestAFileInOrderIsNotTouched(t *testing.T) {
	f := newNotes(t, true)
	if d, err := f.Repair(now); d != nil || err != nil {
		t.Errorf("repaired: %+v, %v", d, err)
	}
	if n := rowsOf(t, f.Path); n != noteCount {
		t.Errorf("%d rows", n)
	}
	for name, path := range map[string]string{"not there": filepath.Join(t.TempDir(), "none.db"), "empty": filepath.Join(t.TempDir(), "empty.db")} {
		if name == "empty" {
			must(t, os.WriteFile(path, nil, 0o600))
		}
		if d, err := (File{Path: path, Schema: schema, Keep: 2}).Repair(now); d != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func TestWhatCanBeReadIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		harm    func([]byte) []byte
		mayLose int
	}{
		"the header":        {func(b []byte) []byte { copy(b, make([]byte, 100)); return b }, 0},
		"the first page":    {func(b []byte) []byte { copy(b, make([]byte, 4096)); return b }, 0},
		"one page of rows":  {func(b []byte) []byte { harmPage(b, 500); return b }, 40},
		"two pages of rows": {func(b []byte) []byte { harmPage(b, 300); harmPage(b, 600); return b }, 400},
		"all":               {func(b []byte) []byte { return bytes.Repeat([]byte("nothing "), len(b)/8) }, noteCount},
	} {
		t.Run(name, func(t *testing.T) {
			f := newNotes(t, false)
			good, err := os.ReadFile(f.Path)
			must(t, err)
			bad := c.harm(bytes.Clone(good))
			must(t, os.WriteFile(f.Path, bad, 0o600))
			d, err := f.Repair(now)
			if d == nil || err != nil {
				t.Fatalf("repaired: %+v, %v", d, err)
			}
			if kept, err := os.ReadFile(d.Aside); err != nil || !bytes.Equal(kept, bad) || d.Aside != f.Path+".damaged-20261130T080000Z" {
				t.Errorf("%s does not have the damaged bytes: %v", d.Aside, err)
			}
			for _, path := range []string{f.Path, d.Aside} {
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
				}
			}
			n := rowsOf(t, f.Path)
			t.Logf("%s: %d of %d rows", d.Reason, n, noteCount)
			if n < noteCount-c.mayLose || n != d.Rows {
				t.Errorf("%d rows were kept, reported are %d; want at least %d", n, d.Rows, noteCount-c.mayLose)
			}
			if again, err := f.Repair(now.Add(time.Hour)); again == nil || *again != *d || err != nil {
				t.Errorf("before anybody has taken note: %+v, %v; want %+v", again, err, d)
			}
			forget(t, f)
			if again, err := f.Repair(now); again != nil || err != nil {
				t.Errorf("afterwards: %+v, %v", again, err)
			}
		})
	}
}

// SQLite reads up to the first damaged page, and down to the last one.
func TestWhatLiesBetweenDamagedPagesIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		harm    func([]byte)
		mayLose int
	}{
		"three pages": {func(b []byte) { harmPage(b, 200); harmPage(b, 500); harmPage(b, 800) }, 3 * 40},
		"the length of three texts": {func(b []byte) {
			for _, i := range []int{200, 500, 800} {
				b[rowAt(b, i)-2] ^= 0x40 // the last thing before the row's values is how long its text is
			}
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := newNotes(t, false)
			harm(t, f, c.harm)
			d, err := f.Repair(now)
			if d == nil || err != nil {
				t.Fatalf("repaired: %+v, %v", d, err)
			}
			t.Logf("%s: %d of %d rows", d.Reason, d.Rows, noteCount)
			if n := rowsOf(t, f.Path); n < noteCount-c.mayLose || n != d.Rows {
				t.Errorf("%d rows were kept, reported are %d; want at least %d", n, d.Rows, noteCount-c.mayLose)
			}
		})
	}
}

// What the pages say is what SQLite reads: in every kind of table, with numbers of every size, and with rows of many pages.
func TestPagesAreReadAsSQLiteReadsThem(t *testing.T) {
	const tables = `CREATE TABLE numbered (text TEXT, id INTEGER PRIMARY KEY, number, more BLOB NOT NULL DEFAULT x'');
		CREATE TABLE plain (number, text TEXT, PRIMARY KEY (text, number));
		CREATE TABLE ordered (number NOT NULL, more, text TEXT NOT NULL, PRIMARY KEY (text, number)) WITHOUT ROWID`
	dir := t.TempDir()
	src, err := openRaw(filepath.Join(dir, "from.db"))
	must(t, err)
	defer src.Close()
	dst, err := openRaw(filepath.Join(dir, "to.db"))
	must(t, err)
	defer dst.Close()
	for _, db := range []*sql.DB{src, dst} {
		_, err = db.Exec(tables + `; BEGIN`)
		must(t, err)
	}
	for i := range 600 {
		number := any(int64(1) << (i % 63) * int64(1-i%2*2))
		switch i % 5 {
		case 3:
			number = float64(i) / 7
		case 4:
			number = i % 2
		}
		text, more := fmt.Sprint("ä", i), bytes.Repeat([]byte{byte(i)}, i*i%9973)
		_, err := src.Exec(`INSERT INTO numbered VALUES (?1, ?2 * 1000003 - 5000000, ?3, ?4); INSERT INTO plain VALUES (?3, ?1);
			INSERT INTO ordered VALUES (?3, ?4, ?1)`, text, i, number, more)
		must(t, err)
	}
	list, err := tablesOf(src)
	must(t, err)
	for _, table := range list {
		rows, err := copying{table, table.name, table.columns}.copyPages(src, dst)
		if err != nil || rows != 600 {
			t.Errorf("%s: %d rows, %v", table.name, rows, err)
		}
		if from, to := contentOf(t, src, table), contentOf(t, dst, table); from != to {
			t.Errorf("%s: the rows are others", table.name)
		}
	}
}

func contentOf(t *testing.T, db *sql.DB, of table) (content string) {
	t.Helper()
	var list []string
	for _, c := range of.columns {
		list = append(list, "typeof("+c+") || quote("+c+")")
	}
	must(t, db.QueryRow(`SELECT group_concat(line) FROM (SELECT `+strings.Join(list, " || ")+` AS line FROM `+of.name+`
		ORDER BY text)`).Scan(&content))
	return content
}

// Whatever a page holds, reading it ends, and finds no more rows than there can be.
func FuzzPages(f *testing.F) {
	f.Add([]byte{leafIndex, 0, 0, 0, 1, 0, 0, 0, 0, 12, 0, 0, 3, 2, 0, 0}, uint16(0))
	f.Add([]byte{interiorTable, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 14}, uint16(40))
	f.Fuzz(func(t *testing.T, content []byte, at uint16) {
		for _, rowids := range []bool{true, false} {
			rows := 0
			tree := &tree{pages: 4, rowids: rowids, seen: make(map[uint32]bool)}
			tree.take = func(int64, []any) error { rows++; return nil }
			tree.page = func(number uint32) []byte {
				if number == 0 || number > 4 {
					return nil
				}
				p := make([]byte, 512)
				copy(p, content)
				copy(p[min(int(at), 511):], content)
				return p
			}
			must(t, tree.walk(1))
			if rows > 4*256 {
				t.Errorf("%d rows", rows)
			}
		}
	})
}

// What is in the write-ahead log is read, too.
func TestTheWriteAheadLogIsReadToo(t *testing.T) {
	f := newNotes(t, true)
	b, err := os.ReadFile(f.Path)
	must(t, err)
	harmPage(b, 500)
	must(t, os.WriteFile(f.Path, b, 0o600))
	d, err := f.Repair(now)
	if d == nil || err != nil || rowsOf(t, f.Path) < noteCount-40 {
		t.Errorf("repaired: %+v, %v", d, err)
	}
}

// SQLite throws away the log of a file without a byte.
func TestAFileThatWasCutOffToNothingIsDamaged(t *testing.T) {
	for name, c := range map[string]struct {
		log, layout bool
		rows        int
	}{
		"with its log":             {true, false, 50},
		"with its log, and layout": {true, true, 50},
		"with its layout alone":    {false, true, 0},
		"with neither: a new file": {false, false, -1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newNotes(t, c.log)
			if c.layout {
				like := newNotes(t, false)
				db, err := openRaw(like.Path)
				must(t, err, like.KeepLayout(t.Context(), db), db.Close())
				must(t, os.Rename(like.Path+suffixLayout, f.Path+suffixLayout))
			}
			must(t, os.Truncate(f.Path, 0))
			if !c.log {
				must(t, os.RemoveAll(f.Path+suffixWAL))
			}
			log, _ := os.ReadFile(f.Path + suffixWAL)
			d, err := f.Repair(now)
			must(t, err)
			if c.rows < 0 {
				if d != nil {
					t.Errorf("repaired: %+v", d)
				}
				return
			}
			if d == nil || d.Rows < c.rows || rowsOf(t, f.Path) != d.Rows {
				t.Fatalf("repaired: %+v", d)
			}
			if kept, err := os.ReadFile(d.Aside + suffixWAL); c.log && (err != nil || !bytes.Equal(kept, log)) {
				t.Errorf("the log is not kept as it was: %d bytes of %d, %v", len(kept), len(log), err)
			}
			t.Logf("%d rows: %s", d.Rows, d.Reason)
		})
	}
}

// harmPage overwrites the page of the table that has row i; in the index the columns have another order.
func harmPage(file []byte, i int) {
	at := rowAt(file, i) / 4096 * 4096
	copy(file[at:], bytes.Repeat([]byte{0x77}, 4096))
}

// A crash in the middle of a repair must not end with an empty file.
func TestARepairThatWasInterruptedIsFinished(t *testing.T) {
	for name, leave := range map[string]func(path string) error{
		"while the fresh file was filled": func(path string) error {
			return errors.Join(os.WriteFile(path+suffixFresh, []byte("half"), 0o600), os.WriteFile(path+suffixReading, []byte("half"), 0o600))
		},
		"before the fresh file had its name": func(path string) error {
			return errors.Join(os.Rename(path, path+suffixFresh), os.Remove(path+suffixWAL)) // the log has its other name by then
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newNotes(t, false)
			must(t, leave(f.Path))
			if d, err := f.Repair(now); d != nil || err != nil {
				t.Fatal(d, err)
			}
			if n := rowsOf(t, f.Path); n != noteCount {
				t.Errorf("%d rows", n)
			}
			if left, _ := filepath.Glob(f.Path + ".*"); len(left) != 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

func TestSoManyDamagedFilesAreKept(t *testing.T) {
	f := newNotes(t, false)
	for i := range 5 {
		must(t, os.WriteFile(fmt.Sprintf("%s%s2026112%dT000000Z", f.Path, suffixAside, i), []byte("old"), 0o600))
	}
	must(t, os.WriteFile(f.Path, []byte(strings.Repeat("nothing ", 1000)), 0o600))
	d, err := f.Repair(now)
	must(t, err)
	left, err := f.Aside()
	if err != nil || len(left) != 2 || left[1] != d.Aside {
		t.Errorf("kept are %v, %v", left, err)
	}
}

// What may be the only copy goes when a person says so, and not because others came after it.
func TestADamagedFileOfWhichNothingWasReadIsNotBurntAsTheOldest(t *testing.T) {
	f := newNotes(t, false)
	unread := f.Path + suffixAside + "20261101T000000Z" + suffixUnread
	must(t, os.WriteFile(unread, []byte("old"), 0o600), os.WriteFile(unread+suffixWAL, []byte("old"), 0o600))
	for i := range 4 {
		must(t, os.WriteFile(fmt.Sprintf("%s%s2026112%dT000000Z", f.Path, suffixAside, i), []byte("old"), 0o600))
	}
	must(t, f.burnOldest())
	if _, err := os.Stat(unread + suffixWAL); err != nil {
		t.Errorf("its log is gone: %v", err)
	}
	if left, err := f.Aside(); err != nil || len(left) != 3 || left[0] != unread {
		t.Errorf("kept are %v, %v", left, err)
	}
}

// In a pattern, brackets would stand for one of the signs between them.
func TestDamagedFilesAreFoundInAFolderWithBrackets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site[1]*")
	f := File{Path: filepath.Join(dir, "notes[2].db"), Schema: schema, Keep: 2}
	if found, err := f.Aside(); len(found) > 0 || err != nil {
		t.Errorf("without the folder: %v, %v", found, err)
	}
	must(t, os.Mkdir(dir, 0o700), os.WriteFile(f.Path, []byte(strings.Repeat("nothing ", 1000)), 0o600))
	d, err := f.Repair(now)
	must(t, err)
	if found, err := f.Aside(); err != nil || len(found) != 1 || found[0] != d.Aside {
		t.Errorf("found are %v, %v; want %s", found, err, d.Aside)
	}
}

// What cannot be read because of something else is not damaged.
func TestAFileThatMayNotBeReadIsNotTakenForDamaged(t *testing.T) {
	f := newNotes(t, false)
	must(t, os.Remove(f.Path), os.Mkdir(f.Path, 0o700))
	if d, err := f.Repair(now); d != nil || err == nil {
		t.Errorf("repaired: %+v, %v", d, err)
	}
}

func TestBurnOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	must(t, os.WriteFile(path, []byte("secret"), 0o600))
	same, err := os.Open(path) // keeps the bytes reachable after the name is gone
	must(t, err)
	defer same.Close()
	must(t, Burn(path), Burn(path))
	got := make([]byte, 6)
	if _, err := same.ReadAt(got, 0); err != nil || !bytes.Equal(got, make([]byte, 6)) {
		t.Errorf("the file still has %q, %v", got, err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}
}

func rowAt(file []byte, i int) int {
	return bytes.Index(file, append(fmt.Appendf(nil, "note-%04d", i), byte(i>>8), byte(i), 'x'))
}
