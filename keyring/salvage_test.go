// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/salvage"
)

// A site that stops between the repair and its telling tells it when it starts again.
func TestARepairThatNobodyWasToldOfIsToldByTheNextOpening(t *testing.T) {
	d := newDamaged(t)
	d.change(func(f []byte) []byte { copy(f[4096:], bytes.Repeat([]byte{0xff}, 300)); return f })
	_, err := fileAt(d.site.path).Repair(at())
	must(t, err)
	if d.reopen() == nil || !strings.Contains(d.said.String(), "was damaged") {
		t.Errorf("told is %s", d.said.String())
	}
	must(t, d.site.Close())
	if found := d.reopen(); found != nil {
		t.Errorf("told again: %+v", found)
	}
}

// The log of a damaged file may have its other name before the file has, and holds keys like the file.
func TestErasingAKeyDestroysALogThatHasLostItsFile(t *testing.T) {
	d := newDamaged(t)
	log := d.site.path + ".damaged-20261129T000000Z-wal"
	must(t, os.WriteFile(log, []byte("a key"), 0o600))
	if d.reopen() != nil {
		t.Fatal("the keyring is taken for damaged")
	}
	must(t, d.site.erase(d.own[3].ID))
	if _, err := os.Stat(log); err == nil {
		t.Error("the log is still there")
	}
}

// An erased key must not survive in a damaged file, whatever the folder is called.
func TestErasingAKeyDestroysADamagedFileInAFolderWithBrackets(t *testing.T) {
	n := newNetwork()
	dir := filepath.Join(t.TempDir(), "site[1]")
	must(t, os.Mkdir(dir, 0o700))
	d := &damaged{t: t, site: n.add(t, dir)}
	n.allow(d.site)
	must(t, d.site.Found(t.Context(), nordtal))
	key := d.site.newKey(t)
	sealed := d.site.sealed(t, key.ID)
	must(t, d.site.Close())
	d.change(tornFirstPage)
	found := d.reopen()
	must(t, d.site.erase(key.ID))
	if b, err := os.ReadFile(found.Aside); err == nil && bytes.Contains(b, sealed) {
		t.Error("the erased key is still in the damaged file that is kept")
	}
}

// madeBy is a damaged site whose file had other tables when it was made.
func madeBy(t *testing.T, tables string) *damaged {
	return newDamagedAfter(t, func(s *testSite) {
		must(t, s.Close(), os.Remove(s.path))
		db, err := sql.Open("sqlite", s.path)
		must(t, err)
		_, err = db.Exec(`PRAGMA journal_mode = WAL; ` + tables)
		must(t, err, db.Close())
		s.open(t)
	})
}

func tornFirstPage(f []byte) []byte {
	copy(f, bytes.Repeat([]byte{0xaa}, 4096))
	return f
}

// Where a file's tables lie depends on which version made it, and on whether it was repaired.
func TestAKeyringWithAnotherLayoutIsRepairedWhenItsFirstPageIsDamaged(t *testing.T) {
	before, err := os.ReadFile(filepath.Join("testdata", "before", "schema.sql"))
	must(t, err)
	for name, made := range map[string]func(*testing.T) *damaged{
		"made by the version before": func(t *testing.T) *damaged { return madeBy(t, string(before)) },
		"repaired once": func(t *testing.T) *damaged {
			d := newDamaged(t)
			d.change(tornFirstPage)
			d.reopen()
			must(t, d.site.Close())
			return d
		},
		"repaired once by a site that stopped": func(t *testing.T) *damaged {
			d := newDamaged(t)
			d.change(tornFirstPage)
			_, err := fileAt(d.site.path).Repair(at())
			must(t, err)
			d.site.open(t) // and nobody has forgotten the repair
			must(t, d.site.Close())
			return d
		},
		"today's": newDamaged,
	} {
		t.Run(name, func(t *testing.T) {
			d := made(t)
			boxes := 2
			d.change(tornFirstPage)
			found := d.reopen()
			if found == nil || d.lost(d.own) > 0 || d.lost(d.shared) > 0 {
				t.Errorf("found is %+v; of 300 keys of its own %d are gone", found, d.lost(d.own))
			}
			if got := count(t, d.site, `SELECT count(*) FROM box`); got != boxes {
				t.Errorf("%d boxes, want %d", got, boxes)
			}
		})
	}
}

// What was kept of the layout tells nobody a secret, is for this user only, and is worth nothing when it is damaged itself.
func TestTheLayoutHoldsNoSecret(t *testing.T) {
	d := newDamaged(t)
	path := d.site.path + ".layout"
	b, err := os.ReadFile(path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	for _, k := range d.own {
		if bytes.Contains(b, d.sealed(k)) || bytes.Contains(b, []byte(k.ID)) {
			t.Fatal("a key is in it")
		}
	}
	d.reopen()
	again, err := os.Stat(path)
	if must(t, err); !os.SameFile(info, again) {
		t.Error("it was written although nothing is new")
	}
	must(t, d.site.Close())
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	d.change(tornFirstPage)
	d.reopen()
	if n := d.lost(d.own); n > 0 {
		t.Errorf("%d keys are gone", n)
	}
}

// rootOf returns the number of the page at which a table begins.
func (d *damaged) rootOf(table string) (page int) {
	d.t.Helper()
	db, err := sql.Open("sqlite", d.site.path)
	must(d.t, err)
	defer db.Close()
	must(d.t, db.QueryRow(`SELECT rootpage FROM sqlite_schema WHERE name = ?`, table).Scan(&page))
	return page
}

// A damaged file of which no key could be read may be the only copy of all of them, also if all rows that point to keys were read.
func TestErasingAKeyDestroysNoDamagedFileOfWhichNothingWasRead(t *testing.T) {
	for _, table := range []string{"secret", "vault"} {
		t.Run(table, func(t *testing.T) {
			d := newDamaged(t)
			key := d.sealed(d.own[150])
			root := d.rootOf(table)
			d.change(func(f []byte) []byte { clear(f[(root-1)*4096 : root*4096]); return f })
			found := d.reopen()
			if found == nil || !salvage.IsUnread(found.Aside) {
				t.Fatalf("found is %+v", found)
			}
			told := ""
			for _, c := range d.board.List() {
				told += c.Detail + ": " + c.Message + "\n"
			}
			if !strings.Contains(told, filepath.Base(found.Aside)+": a damaged keyring of which no keys could be read") {
				t.Errorf("told is %s", told)
			}
			for range 2 {
				d.other.pull(t, d.site)
				d.site.pull(t, d.other)
			}
			must(t, d.site.erase(d.shared[3].ID))
			kept, err := os.ReadFile(found.Aside)
			if err != nil || !bytes.Contains(kept, key) {
				t.Errorf("the only copy of a key is gone: %v", err)
			}
		})
	}
}

// A crash behind the commit leaves a mark, and nobody looks for the bytes of a key again that bears one.
func TestTheDamagedFilesAreDestroyedBeforeTheMarkIsThere(t *testing.T) {
	d := newDamaged(t)
	key := d.sealed(d.own[3])
	d.change(tornFirstPage)
	d.reopen()
	_, err := d.site.db.Exec(`PRAGMA foreign_keys = ON; CREATE TABLE never (n REFERENCES counter (one) DEFERRABLE INITIALLY DEFERRED)`)
	must(t, err)
	err = d.site.write(t.Context(), func(w *writer) error {
		_, err := w.ExecContext(w.ctx, `INSERT INTO never VALUES (2)`) // the commit fails for it, and nothing before
		return errors.Join(err, w.mark(nordtal, Record{ID: d.own[3].ID, Erased: 5}))
	})
	if err == nil {
		t.Fatal("the transaction is through")
	}
	left, err := fileAt(d.site.path).Aside()
	if must(t, err); len(left) > 0 {
		t.Errorf("there are still %v", left)
	}
	if n := d.lost(d.own); n > 0 {
		t.Errorf("%d keys are gone although nothing was erased", n)
	}
	must(t, d.site.erase(d.own[3].ID))
	if d.site.holds(t, key) {
		t.Error("the erased key is still in a file")
	}
}

func TestADroppedAuthoritysKeysAreInNoDamagedFile(t *testing.T) {
	d := newDamaged(t)
	key := d.sealed(d.own[3])
	d.change(tornFirstPage)
	d.reopen()
	must(t, d.site.Drop(t.Context(), nordtal))
	if d.site.holds(t, key) {
		t.Error("the dropped authority's keys are still in a file")
	}
}

func TestADamagedFileThatCouldNotBeDestroyedIsDestroyedLater(t *testing.T) {
	d := newDamaged(t)
	d.change(tornFirstPage)
	found := d.reopen()
	stuck := found.Aside + "-wal" // a directory with something in it is in the way
	must(t, os.MkdirAll(filepath.Join(stuck, "x"), 0o700))
	for range 2 {
		if err := d.site.erase(d.own[3].ID); err == nil {
			t.Error("an erasure is done although a damaged file is left")
		}
	}
	d.site.want(t, d.own[3].ID, ErrErased)
	must(t, os.RemoveAll(stuck), d.site.erase(d.own[3].ID))
	if left, err := fileAt(d.site.path).Aside(); err != nil || len(left) > 0 {
		t.Errorf("still kept: %v, %v", left, err)
	}
}

// A site that stopped could not try again, and does not know that it has to.
func TestErasingAKeyAgainDestroysADamagedFileThatIsLeft(t *testing.T) {
	d := newDamaged(t)
	key := d.sealed(d.own[3])
	d.change(tornFirstPage)
	found := d.reopen()
	kept, err := os.ReadFile(found.Aside)
	must(t, err, d.site.erase(d.own[3].ID), os.WriteFile(found.Aside, kept, 0o600), d.site.Close())
	d.reopen()
	must(t, d.site.erase(d.own[3].ID))
	if d.site.holds(t, key) {
		t.Error("the erased key is still in a file")
	}
}

// Three more repairs would burn it if it were like the others.
func TestADamagedFileOfWhichNothingWasReadOutlivesLaterRepairs(t *testing.T) {
	d := newDamaged(t)
	root := d.rootOf("secret")
	d.change(func(f []byte) []byte { clear(f[(root-1)*4096 : root*4096]); return f })
	found := d.reopen()
	if !salvage.IsUnread(found.Aside) {
		t.Fatalf("found is %+v", found)
	}
	for i := range maxAside {
		must(t, d.site.Close())
		d.change(tornFirstPage)
		again, err := fileAt(d.site.path).Repair(at().Add(time.Duration(i+1) * time.Hour))
		if must(t, err); again == nil {
			t.Fatal("the damage was not found")
		}
		d.site.open(t)
		must(t, salvage.Forget(t.Context(), d.site.db))
		d.site.keepLayout(d.site.path)
	}
	if _, err := os.Stat(found.Aside); err != nil {
		t.Errorf("the only copy of the keys is gone, and no person has decided so: %v", err)
	}
}

// SQLite finds such a file well formed: every statement that names the column would fail from then on, or every repair.
func TestAFlippedBitInTheTextOfATableCostsNoKey(t *testing.T) {
	d := newDamaged(t)
	whole, err := os.ReadFile(d.site.path)
	must(t, err)
	layout, err := os.ReadFile(d.site.path + ".layout")
	must(t, err)
	for what, with := range map[string]string{
		"birth      BLOB NOT": "birti      BLOB NOT", "sealed BLOB": "sealee BLOB", "CHECK (one = 1)": "CHECK (one = 5)",
		"CREATE TABLE vault": "CREATE TABLE vaumt", "CREATE TABLE secret (": "CREATE TABLE secreu (", "CREATE TABLE cursor": "CREATE TABLE cursos",
		"maker      TEXT": "makes      TEXT", "id        TEXT NOT": "id        TEXU NOT", "giver <> ''": "giver >> ''",
	} {
		for _, kept := range [][]byte{layout, nil} {
			path := filepath.Join(t.TempDir(), "keyring.db")
			must(t, os.WriteFile(path, bytes.Replace(whole, []byte(what), []byte(with), 1), 0o600))
			if !bytes.Contains(whole, []byte(what)) {
				t.Errorf("%q is not in the file", what)
			}
			if kept != nil {
				must(t, os.WriteFile(path+".layout", kept, 0o600))
			}
			d.site.path = path
			found := d.reopen()
			if found == nil && kept != nil {
				t.Errorf("%s: the damage was not found", with)
			}
			if n := d.lost(d.own); n > 0 {
				t.Errorf("%s: %d keys are gone, found is %+v", with, n, found)
			}
			if _, err := d.site.Check(t.Context(), noRest); err != nil {
				t.Errorf("%s: the check says %v", with, err)
			}
			must(t, d.site.Close())
		}
	}
}

// Byte 18 forbids to write the file, 19 to read it, and 47 is the form of its rows.
func TestAFlippedBitInTheHeaderCostsNoKey(t *testing.T) {
	d := newDamaged(t)
	whole, err := os.ReadFile(d.site.path)
	must(t, err)
	layout, err := os.ReadFile(d.site.path + ".layout")
	must(t, err)
	for _, at := range []int{16, 17, 18, 19, 20, 21, 43, 44, 47, 52, 55, 56, 59, 64} {
		path := filepath.Join(t.TempDir(), "keyring.db")
		file := bytes.Clone(whole)
		file[at] ^= 8
		must(t, os.WriteFile(path, file, 0o600), os.WriteFile(path+".layout", layout, 0o600))
		d.site.path = path
		found := d.reopen()
		if n := d.lost(d.own); n > 0 {
			t.Errorf("byte %d: %d keys are gone, found is %+v", at, n, found)
		}
		must(t, d.site.erase(d.own[at].ID), d.site.Close())
	}
}
