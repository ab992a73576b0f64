// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"testing"

	"codeberg.org/holdfast/holdfast/keyring"
)

// TestASiteTakesTheSharedKeysOfTheFacts has a key of a lower id planted, which nobody can open: without the facts the site would
// wait for it for ever.
func TestASiteTakesTheSharedKeysOfTheFacts(t *testing.T) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	s := w.sites[0]
	want, err := s.site.ring.Named(t.Context(), nordtal, keyring.NameLink)
	w.must(err)
	planted := keyring.Record{ID: "0000000000000001", Name: keyring.NameLink, By: "00000000000000ff", Sealed: make([]byte, 60)}
	if n, err := s.site.ring.Merge(t.Context(), s.id, nordtal, []keyring.Record{planted}, keyring.Cursor{}); n != 1 || err != nil {
		t.Fatalf("took %d keys, %v", n, err)
	}
	if got, err := s.site.ring.Named(t.Context(), nordtal, keyring.NameLink); err != nil || got != want {
		t.Errorf("the shared key is %s, %v, want %s", got.ID, err, want.ID)
	}
}
