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
)

// IdentityFile is the name of the file that holds the site's private key.
const IdentityFile = "site.key"

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
)

// CreateIdentity draws a new identity from random and writes it to site.key in dir, with mode 0600. When it returns, the
// file and its name are on the disk. It returns ErrIdentityExists, and changes nothing, if the file is there already.
func CreateIdentity(dir string, random io.Reader) (*seal.Identity, error) {
	id, err := seal.NewIdentity(random)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, IdentityFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrIdentityExists.Because("%s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("create the site key: %w", err)
	}
	_, err = f.Write(id.PEM())
	if err := errors.Join(err, f.Sync(), f.Close(), syncDir(dir)); err != nil {
		// Half a key is worse than none: the next attempt would be told that there is one.
		return nil, errors.Join(fmt.Errorf("write the site key: %w", err), os.Remove(path))
	}
	return id, nil
}

// LoadIdentity reads site.key in dir. It returns ErrIdentityMissing, ErrIdentityDamaged, or ErrIdentityOpen if the
// file's mode lets group or others read it.
func LoadIdentity(dir string) (*seal.Identity, error) {
	path := filepath.Join(dir, IdentityFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrIdentityMissing.Because("%s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the site key: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the site key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, ErrIdentityOpen.Because("%s has mode %04o", path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("read the site key: %w", err)
	}
	id, err := seal.ParseIdentity(b)
	if err != nil {
		return nil, ErrIdentityDamaged.Because("%s", path).With(err)
	}
	return id, nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
