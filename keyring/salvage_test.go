// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"os"
	"strings"
	"testing"
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
