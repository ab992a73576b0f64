// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"bytes"
	"os"
	"testing"
)

func TestALayoutIsReadBackAndADamagedOneIsNone(t *testing.T) {
	l := layout{{1, bytes.Repeat([]byte{1}, 4096)}, {77, bytes.Repeat([]byte{2}, 4096)}}
	b := l.encode()
	if got := decodeLayout(b); len(got) != 2 || got[1].number != 77 || !bytes.Equal(got[1].content, l[1].content) {
		t.Errorf("read back are %d pages", len(got))
	}
	for i := range b {
		b[i] ^= 4
		if decodeLayout(b) != nil {
			t.Fatalf("it is believed with byte %d changed", i)
		}
		b[i] ^= 4
		if i%97 == 0 && decodeLayout(b[:i]) != nil {
			t.Fatalf("its first %d bytes are believed", i)
		}
	}
	for _, short := range []layout{nil, {{1, make([]byte, headerBytes-1)}}, {{2, make([]byte, 4096)}}, {{1, make([]byte, 4096)}, {0, nil}}} {
		if decodeLayout(short.encode()) != nil {
			t.Errorf("believed are %d pages that are no layout", len(short))
		}
	}
}

// What is written at every opening changes with the tables, and with nothing else.
func TestALayoutIsWrittenWhenTheTablesChange(t *testing.T) {
	f := newNotes(t, false)
	db, err := openRaw(f.Path)
	must(t, err)
	defer db.Close()
	kept := func() string {
		must(t, f.KeepLayout(t.Context(), db))
		b, err := os.ReadFile(f.Path + suffixLayout)
		must(t, err)
		return string(b)
	}
	first := kept()
	_, err = db.Exec(`DELETE FROM note WHERE part % 2 = 0; INSERT INTO note VALUES ('new', 1, 'new')`)
	if must(t, err); kept() != first {
		t.Error("it changes with the rows")
	}
	if bytes.Contains([]byte(first), []byte("note-0")) {
		t.Error("a row is in it")
	}
	_, err = db.Exec(`CREATE TABLE another (x)`)
	if must(t, err); kept() == first {
		t.Error("it does not change with the tables")
	}
}

// A fresh file lies elsewhere than the damaged one: the next repair must not look there.
func TestARepairLeavesNoLayoutOfTheDamagedFile(t *testing.T) {
	f := newNotesElsewhere(t)
	d, err := f.Repair(now)
	if err != nil || d == nil || rowsOf(t, f.Path) != noteCount {
		t.Fatal(d, err)
	}
	if _, err := os.Stat(f.Path + suffixLayout); err == nil {
		t.Error("the layout of the damaged file is still there")
	}
}
