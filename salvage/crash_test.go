// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// crashes collects what the disk holds after each step of a repair: what the next start finds if that step was the last.
type crashes struct {
	t     *testing.T
	seen  map[[sha256.Size]byte]bool
	found []crash
}

type crash struct {
	after string
	files map[string][]byte
}

// watched returns f with its steps noted.
func (c *crashes) watched(f File, before string) File {
	f.step = func(done string) {
		files := filesOf(c.t, filepath.Dir(f.Path))
		if sum := sha256.Sum256(fmt.Appendf(nil, "%q", files)); !c.seen[sum] {
			c.seen[sum] = true
			c.found = append(c.found, crash{before + done, files})
		}
	}
	return f
}

func filesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := os.ReadDir(dir)
	must(t, err)
	files := make(map[string][]byte)
	for _, n := range names {
		if strings.HasSuffix(n.Name(), suffixIndex) {
			continue // SQLite makes it anew
		}
		files[n.Name()], err = os.ReadFile(filepath.Join(dir, n.Name()))
		must(t, err)
	}
	return files
}

// restarted returns the file as a start after the crash finds it.
func (c crash) restarted(t *testing.T) File {
	t.Helper()
	dir := t.TempDir()
	for name, content := range c.files {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return File{Path: filepath.Join(dir, "notes.db"), Schema: schema, Keep: 2}
}

func harm(t *testing.T, f File, do func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(f.Path)
	must(t, err)
	do(b)
	must(t, os.WriteFile(f.Path, b, 0o600))
}

// newNotesInLog makes a file with a thousand rows of which two hundred are in its log only. SQLite cannot move this log into the file:
// the page size that the damaged header tells is not the log's.
func newNotesInLog(t *testing.T) File {
	t.Helper()
	live := newNotes(t, false)
	db, err := sql.Open("sqlite", "file:"+live.Path+"?_pragma=journal_mode(WAL)")
	must(t, err)
	db.SetMaxOpenConns(1)
	const fifth = `FROM note WHERE part % 5 = 0`
	_, err = db.Exec(`DROP INDEX note_body; CREATE TEMP TABLE fifth AS SELECT * ` + fifth + `; DELETE ` + fifth + `;
		PRAGMA wal_checkpoint(TRUNCATE)`)
	must(t, err)
	_, err = db.Exec(`INSERT INTO note SELECT * FROM fifth`)
	f := File{Path: filepath.Join(t.TempDir(), "notes.db"), Schema: schema, Keep: 2}
	must(t, err, f.copyDatabase(live.Path, f.Path), db.Close())
	harm(t, f, func(b []byte) { b[16], b[17] = 2, 0 })
	return f
}

// newNotesCutOff makes a file without a byte whose log has rows.
func newNotesCutOff(t *testing.T) File {
	t.Helper()
	f := newNotes(t, true)
	must(t, os.Truncate(f.Path, 0))
	return f
}

// newNotesElsewhere makes a file whose table lies where no new one has it, and of which the pages that say so are damaged.
func newNotesElsewhere(t *testing.T) File {
	t.Helper()
	f := newNotes(t, false)
	db, err := openRaw(f.Path)
	must(t, err)
	_, err = db.Exec(`DROP INDEX note_body; ALTER TABLE note RENAME TO moved; ` + schema + `; INSERT INTO note SELECT * FROM moved; DROP TABLE moved`)
	must(t, err)
	// So long that the list of tables needs more pages than the first.
	_, err = db.Exec(`CREATE INDEX other ON note (part) WHERE body <> '` + strings.Repeat("x", 5000) + `'`)
	must(t, err, f.KeepLayout(t.Context(), db))
	l, err := layoutOf(t.Context(), db)
	if must(t, err, db.Close()); len(l) < 2 {
		t.Fatal("the list of tables is in one page: this test sees less than it should")
	}
	harm(t, f, func(b []byte) {
		for _, p := range l {
			clear(b[(p.number-1)*4096 : p.number*4096])
		}
	})
	return f
}

// A crash may come between any two steps, and another one between those of the restart.
func TestACrashAtAnyStepLosesNoRowAndNoNote(t *testing.T) {
	harmed := func(do func([]byte)) func(*testing.T) File {
		return func(t *testing.T) File {
			f := newNotes(t, false)
			harm(t, f, do)
			return f
		}
	}
	for name, c := range map[string]struct {
		file  func(*testing.T) File
		least int
		step  string // that must be among the steps
		twice bool   // the restart crashes, too
	}{
		"the page size, with a log": {newNotesInLog, noteCount, "rename to notes.db.damaged-20261130T080000Z-wal", true},
		"the header":                {harmed(func(b []byte) { clear(b[:100]) }), noteCount, "make a sample", false},
		"where its tables lie":      {newNotesElsewhere, noteCount, "remove the layout", false},
		"a column's name":           {harmed(func(b []byte) { copy(b[bytes.Index(b, []byte("body TEXT")):], "bodi") }), noteCount, "commit", false},
		"all but its log":           {newNotesCutOff, 50, "patch the empty copy", true},
		"one page of rows":          {harmed(func(b []byte) { harmPage(b, 500) }), noteCount - 40, "commit", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for the disk most of the time
			f := c.file(t)
			must(t, os.WriteFile(f.Path+suffixAside+"20261128T080000Z", []byte("old"), 0o600),
				os.WriteFile(f.Path+suffixAside+"20261129T080000Z", []byte("old"), 0o600))
			all := &crashes{t: t, seen: make(map[[sha256.Size]byte]bool)}
			first, err := all.watched(f, "").Repair(now)
			if first == nil || err != nil || first.Rows < c.least {
				t.Fatal(first, err)
			}
			once := len(all.found)
			if !slices.ContainsFunc(all.found, func(found crash) bool { return found.after == c.step }) {
				t.Errorf("no crash after %q", c.step)
			}
			for i := 0; i < len(all.found); i++ {
				again := all.found[i].restarted(t)
				if i < once && c.twice {
					again = all.watched(again, all.found[i].after+", then ")
				}
				all.check(again, all.found[i].after, first.Rows)
			}
			t.Logf("%d of %d rows; %d states after one crash, %d after two", first.Rows, noteCount, once, len(all.found)-once)
		})
	}
}

func (c *crashes) check(f File, after string, rows int) {
	t := c.t
	t.Helper()
	d, err := f.Repair(now.Add(time.Hour))
	if d == nil || err != nil {
		t.Errorf("crash after %s: the repair is %+v, %v", after, d, err)
		return
	}
	if n := rowsOf(t, f.Path); n != rows || d.Rows != rows {
		t.Errorf("crash after %s: %d rows, noted %d; want %d", after, n, d.Rows, rows)
	}
	kept, err := f.Aside()
	if err != nil || len(kept) == 0 || len(kept) > 2 || kept[len(kept)-1] != d.Aside {
		t.Errorf("crash after %s: kept are %v, %v; the last should be %s", after, kept, err, d.Aside)
	}
	for _, name := range kept {
		must(t, Burn(name))
	}
	for name := range filesOf(t, filepath.Dir(f.Path)) {
		if name != "notes.db" {
			t.Errorf("crash after %s: %s outlives what is kept", after, name)
		}
	}
}

// The version before kept no note, and burnt the fresh file while the log had its other name already.
func TestARepairOfTheVersionBeforeIsFinished(t *testing.T) {
	f := newNotesInLog(t)
	c := &crashes{t: t, seen: make(map[[sha256.Size]byte]bool)}
	_, err := c.watched(f, "").Repair(now)
	must(t, err)
	for _, crash := range c.found {
		if crash.after != "rename to notes.db.damaged-20261130T080000Z-wal" {
			continue
		}
		f = crash.restarted(t)
		fresh, err := sql.Open("sqlite", f.Path+suffixFresh)
		must(t, err, Forget(t.Context(), fresh), fresh.Close())
		d, err := f.Repair(now.Add(time.Hour))
		kept, asideErr := f.Aside()
		if d != nil || err != nil || rowsOf(t, f.Path) != noteCount || asideErr != nil || len(kept) != 1 {
			t.Errorf("%d rows, kept %v, repaired %+v, %v", rowsOf(t, f.Path), kept, d, errors.Join(err, asideErr))
		}
		return
	}
	t.Error("the log was not moved first")
}

// A fresh file that was filled by halves is worth nothing, also where an older repair has left a log.
func TestAFreshFileFilledByHalvesIsNotBelieved(t *testing.T) {
	f := newNotes(t, false)
	half, err := makeRaw(f.Path + ".half")
	must(t, err)
	_, err = half.Exec(`PRAGMA cache_size = 1; BEGIN; ` + schema)
	must(t, err)
	for i := range 300 {
		_, err := half.Exec(`INSERT INTO note VALUES (?, ?, ?)`, fmt.Sprint("half-", i), i, strings.Repeat("y", 100))
		must(t, err)
	}
	must(t, f.copyDatabase(f.Path+".half", f.Path+suffixFresh), half.Close(), os.Remove(f.Path+".half"))
	if b, err := os.ReadFile(f.Path + suffixFresh); err != nil || !bytes.Contains(b, []byte("half-")) {
		t.Fatalf("nothing is in the fresh file yet: %d bytes, %v", len(b), err)
	}
	orphan := f.Path + suffixAside + "20261129T080000Z" + suffixWAL
	must(t, os.WriteFile(orphan, []byte("old"), 0o600))
	if d, err := f.Repair(now); d != nil || err != nil || rowsOf(t, f.Path) != noteCount {
		t.Errorf("%d rows, repaired %+v, %v", rowsOf(t, f.Path), d, err)
	}
	if kept, err := f.Aside(); err != nil || len(kept) != 1 || kept[0] != orphan {
		t.Errorf("kept are %v, %v", kept, err)
	}
}

// A log whose file is gone is found, and goes with the oldest.
func TestALogWithoutItsFileIsKeptAndBurntLikeAFile(t *testing.T) {
	f := newNotes(t, false)
	orphan := f.Path + suffixAside + "20261101T000000Z" + suffixWAL
	must(t, os.WriteFile(orphan, []byte("old"), 0o600))
	for i := range 3 {
		whole := fmt.Sprintf("%s%s2026112%dT000000Z", f.Path, suffixAside, i)
		must(t, os.WriteFile(whole, []byte("old"), 0o600), os.WriteFile(whole+suffixWAL, []byte("old"), 0o600))
	}
	if kept, err := f.Aside(); err != nil || len(kept) != 4 || kept[0] != orphan {
		t.Errorf("kept are %v, %v", kept, err)
	}
	must(t, f.burnOldest())
	if _, err := os.Stat(orphan); err == nil {
		t.Error("the log is still there")
	}
}
