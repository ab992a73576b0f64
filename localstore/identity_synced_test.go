// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/synced"
)

// A site is its key: one that other sites have heard of and that a power cut takes away is a site lost.
func TestTheSiteKeyAndItsNameAreSynced(t *testing.T) {
	key, err := seal.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func(synced.Disk, string) error
		want string
	}{
		"plain": {func(d synced.Disk, dir string) error {
			_, err := createIdentity(d, dir, rand.Reader, plainPEM)
			return err
		}, IdentityFile},
		"sealed afterwards": {func(d synced.Disk, dir string) error {
			if _, err := CreateIdentity(dir, rand.Reader); err != nil {
				return err
			}
			return sealIdentity(d, dir, rand.Reader, key)
		}, IdentityFile + ".new"},
		"written again": {func(d synced.Disk, dir string) error {
			id, err := CreateIdentity(dir, rand.Reader)
			if err != nil {
				return err
			}
			return rewriteIdentity(d, dir, id, plainPEM)
		}, IdentityFile + ".new"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var got []string
			d := synced.Disk{Fsync: func(f *os.File) error {
				got = append(got, filepath.Base(f.Name()))
				return f.Sync()
			}}
			if err := c.make(d, dir); err != nil {
				t.Fatal(err)
			}
			if want := []string{c.want, filepath.Base(dir)}; !slices.Equal(got, want) {
				t.Errorf("synced %q, want %q", got, want)
			}
			if _, err := os.Stat(filepath.Join(dir, IdentityFile)); err != nil {
				t.Error(err)
			}
		})
	}
}
