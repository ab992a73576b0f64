// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/synced"
)

// IdentityFile is the name of the file that holds the site's private key, plain or sealed.
const IdentityFile = "site.key"

// maxKeyFile bounds what is read of a file that holds a key or a secret.
const maxKeyFile = 4096

// The refusals around the identity file.
var (
	ErrIdentityExists = fault.New(fault.Conflict, "identity.exists", "there is already a site key",
		"this directory belongs to a site; choose another data directory, or go on with the site that is there")
	ErrIdentityMissing = fault.New(fault.NotFound, "identity.missing", "there is no site key",
		"make a site first with 'holdfast init' or 'holdfast join', or name the right data directory")
	ErrIdentityOpen = fault.New(fault.Forbidden, "identity.readable", "others on this machine may read the site key",
		"find out who could have read it; if nobody did: chmod 600 on the file; if somebody may have: make a new site and have this one removed")
	ErrIdentityDamaged = fault.New(fault.Invalid, "identity.damaged", "the file does not hold a site key",
		"put the site key back from its backup; if the site was just being made, delete the file and make it again")
	ErrIdentitySealed = fault.New(fault.Forbidden, "identity.sealed", "the site key is sealed, and no secret was given to open it",
		"name the file with the secret under which this site was made")
	ErrIdentityKey = fault.New(fault.Forbidden, "identity.wrong_key", "the site key does not open with this secret, or its file is damaged",
		"name the file with the secret under which this site was made; if that is the one: put the site key back from its backup")
	ErrIdentityPlain = fault.New(fault.Conflict, "identity.plain", "the site key is not sealed, although a secret was given",
		"seal it first, or start without the secret")
)

// The refusals around the file that holds the secret.
var (
	ErrSecretFile = fault.New(fault.Invalid, "secret.unusable", "the file does not hold a usable secret",
		"put at least 32 random bytes into it, raw, in hexadecimal or in base64: openssl rand -base64 48")
	ErrSecretMissing = fault.New(fault.Unavailable, "secret.missing", "the file with the secret of this data folder is not there, or cannot be read",
		"insert or mount the medium that it lies on, or put the file back from its backup; never write a new one: only the secret under which this site was made opens its data")
	ErrSecretOther = fault.New(fault.Forbidden, "secret.other", "the file is there, and is not the secret of this data folder",
		"look whether the right medium is mounted, or put the file back from its backup; never write a new one: only the secret under which this site was made opens its data")
	ErrSecretOpen = fault.New(fault.Forbidden, "secret.readable", "others on this machine may read the file with the secret",
		"find out who could have read it; then chmod 600 on the file, or make a new site with a new secret")
)

// NewSecret reads the file that holds the secret under which a data folder is to be made, see seal.ParseSecret. It returns
// ErrSecretFile, which says how to write one, or ErrSecretOpen if everybody on the machine may read the file; a group may,
// since secret stores hand out files that way.
func NewSecret(path string) (seal.Secret, error) {
	return loadSecret(path, ErrSecretFile, ErrSecretFile)
}

// LoadSecret is NewSecret for a data folder that is there already: whoever wrote a new file now would lose the folder. It
// returns ErrSecretMissing, ErrSecretOther for a file that holds no secret, or ErrSecretOpen.
func LoadSecret(path string) (seal.Secret, error) {
	return loadSecret(path, ErrSecretMissing, ErrSecretOther)
}

func loadSecret(path string, missing, unusable *fault.Fault) (seal.Secret, error) {
	b, mode, err := readKeyFile(path)
	if err != nil {
		return nil, missing.Because("%s", path).With(err)
	}
	if mode.Perm()&0o007 != 0 {
		return nil, ErrSecretOpen.Because("%s has mode %04o", path, mode.Perm())
	}
	secret, err := seal.ParseSecret(b)
	if err != nil {
		return nil, unusable.Because("%s", path)
	}
	return secret, nil
}

// CreateIdentity draws a new identity from random and writes it to site.key in dir, with mode 0600. When it returns, the
// file and its name are on the disk. It returns ErrIdentityExists, and changes nothing, if the file is there already.
func CreateIdentity(dir string, random io.Reader) (*seal.Identity, error) {
	return createIdentity(synced.Disk{}, dir, random, plainPEM)
}

// CreateSealedIdentity is CreateIdentity for a file that only the holder of key can read. The plain key never touches the
// disk.
func CreateSealedIdentity(dir string, random io.Reader, key seal.Key) (*seal.Identity, error) {
	return createIdentity(synced.Disk{}, dir, random, func(id *seal.Identity) ([]byte, error) { return id.SealedPEM(random, key) })
}

func plainPEM(id *seal.Identity) ([]byte, error) { return id.PEM(), nil }

func createIdentity(d synced.Disk, dir string, random io.Reader, encode func(*seal.Identity) ([]byte, error)) (*seal.Identity, error) {
	id, err := seal.NewIdentity(random)
	if err != nil {
		return nil, err
	}
	b, err := encode(id)
	if err != nil {
		return nil, err
	}
	if err := createFile(d, filepath.Join(dir, IdentityFile), b); err != nil {
		return nil, err
	}
	return id, nil
}

// RewriteIdentity replaces a damaged or missing site.key in dir by the key that the caller still has. After a crash there is the
// old or the new file.
func RewriteIdentity(dir string, id *seal.Identity) error {
	return rewriteIdentity(synced.Disk{}, dir, id, plainPEM)
}

// RewriteSealedIdentity is RewriteIdentity for a file that only the holder of key can read.
func RewriteSealedIdentity(dir string, id *seal.Identity, random io.Reader, key seal.Key) error {
	return rewriteIdentity(synced.Disk{}, dir, id, func(id *seal.Identity) ([]byte, error) { return id.SealedPEM(random, key) })
}

func rewriteIdentity(d synced.Disk, dir string, id *seal.Identity, encode func(*seal.Identity) ([]byte, error)) error {
	b, err := encode(id)
	if err == nil {
		err = d.Replace(filepath.Join(dir, IdentityFile), b)
	}
	if err != nil {
		return fmt.Errorf("write the site key again: %w", err)
	}
	return nil
}

// createFile writes and syncs a new file, or returns ErrIdentityExists.
func createFile(d synced.Disk, path string, content []byte) error {
	err := d.Create(path, content)
	if errors.Is(err, fs.ErrExist) {
		return ErrIdentityExists.Because("%s", path)
	}
	if err != nil {
		return fmt.Errorf("write the site key: %w", err)
	}
	return nil
}

// LoadIdentity reads site.key in dir. It returns ErrIdentityMissing, ErrIdentityDamaged, ErrIdentitySealed for a sealed key,
// or ErrIdentityOpen if the file's mode lets group or others read it.
func LoadIdentity(dir string) (*seal.Identity, error) {
	return loadIdentity(dir, seal.ParseIdentity)
}

// LoadSealedIdentity reads site.key in dir, which CreateSealedIdentity or SealIdentity has written. It returns
// ErrIdentityKey for another key or a damaged file, ErrIdentityPlain for a key that is not sealed, and else what LoadIdentity
// returns.
func LoadSealedIdentity(dir string, key seal.Key) (*seal.Identity, error) {
	return loadIdentity(dir, func(b []byte) (*seal.Identity, error) { return seal.ParseSealedIdentity(b, key) })
}

func loadIdentity(dir string, parse func([]byte) (*seal.Identity, error)) (*seal.Identity, error) {
	path := filepath.Join(dir, IdentityFile)
	b, mode, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrIdentityMissing.Because("%s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the site key: %w", err)
	}
	if mode.Perm()&0o077 != 0 {
		return nil, ErrIdentityOpen.Because("%s has mode %04o", path, mode.Perm())
	}
	id, err := parse(b)
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, seal.ErrSealed):
		return nil, ErrIdentitySealed.Because("%s", path)
	case errors.Is(err, seal.ErrPlain):
		return nil, ErrIdentityPlain.Because("%s", path)
	case errors.Is(err, seal.ErrOpen):
		return nil, ErrIdentityKey.Because("%s", path)
	}
	return nil, ErrIdentityDamaged.Because("%s", path).With(err)
}

func readKeyFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	return b, info.Mode(), err
}

// SealIdentity replaces the plain site.key in dir by one sealed under key: after a crash there is either the old or the new
// file. It returns what LoadIdentity returns. The blocks of the old file may stay readable on the disk for a while: a key
// that was never plain is made with CreateSealedIdentity.
func SealIdentity(dir string, random io.Reader, key seal.Key) error {
	return sealIdentity(synced.Disk{}, dir, random, key)
}

func sealIdentity(d synced.Disk, dir string, random io.Reader, key seal.Key) error {
	id, err := LoadIdentity(dir)
	if err != nil {
		return err
	}
	b, err := id.SealedPEM(random, key)
	if err != nil {
		return err
	}
	if err := d.Replace(filepath.Join(dir, IdentityFile), b); err != nil {
		return fmt.Errorf("seal the site key: %w", err)
	}
	return nil
}
