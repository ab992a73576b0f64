// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"time"

	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/seal"
)

// vault opens and makes the files of a data folder, sealed if the configuration names a file with a secret (ADR 0014). Its zero
// value leaves them plain.
type vault struct{ secret seal.Secret }

// The purposes for which keys are derived from the secret. They are part of what lies on the disk.
const (
	purposeIdentity = "site.key"
	purposeLocal    = "local.db"
	purposeLog      = "log"
)

// vault is for a data folder that is there, newVault for one that is being made: they differ in what a missing file means.
func (d Disk) vault() (vault, error)    { return d.vaultBy(localstore.LoadSecret) }
func (d Disk) newVault() (vault, error) { return d.vaultBy(localstore.NewSecret) }

func (d Disk) vaultBy(load func(path string) (seal.Secret, error)) (vault, error) {
	if d.KeyFile == "" {
		return vault{}, nil
	}
	secret, err := load(d.KeyFile)
	return vault{secret}, err
}

func (v vault) sealed() bool { return v.secret != nil }

func (v vault) createIdentity(data string) (*seal.Identity, error) {
	if !v.sealed() {
		return localstore.CreateIdentity(data, rand.Reader)
	}
	return localstore.CreateSealedIdentity(data, rand.Reader, seal.DeriveKey(v.secret, purposeIdentity))
}

func (v vault) loadIdentity(data string) (*seal.Identity, error) {
	if !v.sealed() {
		return localstore.LoadIdentity(data)
	}
	return localstore.LoadSealedIdentity(data, seal.DeriveKey(v.secret, purposeIdentity))
}

// writeIdentity writes site.key again for a site whose file is damaged.
func (v vault) writeIdentity(data string, id *seal.Identity) error {
	if !v.sealed() {
		return localstore.RewriteIdentity(data, id)
	}
	return localstore.RewriteSealedIdentity(data, id, rand.Reader, seal.DeriveKey(v.secret, purposeIdentity))
}

func (v vault) openLocal(data string, now func() time.Time) (*localstore.Store, error) {
	path := filepath.Join(data, localFile)
	if !v.sealed() {
		return localstore.Open(path, now)
	}
	return localstore.OpenSealed(path, now, seal.DeriveKey(v.secret, purposeLocal), rand.Reader)
}

// logKey returns the key that encrypts the logs, nil if they lie in the clear.
func (v vault) logKey() *seal.Key {
	if !v.sealed() {
		return nil
	}
	key := seal.DeriveKey(v.secret, purposeLog)
	return &key
}

// modelPath is where the read model lies; in memory it is folded anew at every start.
func (s *Site) modelPath() string {
	if s.config.Disk.ReadModel == modelInMemory {
		return ":memory:"
	}
	return s.path(modelFile)
}

// tellAtRest says plainly what a stolen disk would show.
func (s *Site) tellAtRest() {
	if s.config.Disk.ReadModel == modelInMemory && s.vault.sealed() {
		return
	}
	encrypted, known, why := localstore.Encrypted(s.data)
	if encrypted {
		return
	}
	level, message := slog.LevelWarn, "the data folder is not on an encrypted file system: whoever gets the disk reads "
	if !known {
		level, message = slog.LevelInfo, "it cannot be seen whether the data folder's disk is encrypted; if it is not, whoever gets it reads "
	}
	what := "names and addresses (read.db)"
	if !s.vault.sealed() {
		what += " and everything else with the site's key (site.key)"
	}
	s.logger.Log(context.Background(), level, message+what+"; see disk.key_file and disk.read_model in 'holdfast config sample'", "folder", s.data, "seen", why)
}
