// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Shared says which key is an authority's shared one of a name. It is for facts, which everybody may read.
type Shared struct {
	Name string      `json:"name"`
	ID   event.KeyID `json:"id"`
	// Digest identifies the secret and tells nothing of it: who can make keys of the authority could make another one of the id.
	Digest []byte `json:"digest"`
}

// Valid reports whether it is of the form that Ring.Shared returns: of one of the three names.
func (s Shared) Valid() bool {
	return slices.Contains(sharedNames, s.Name) && hexID(s.ID) && len(s.Digest) == sha256.Size
}

func sharedDigest(authority event.AuthorityID, name string, k Key) []byte {
	sum := sha256.Sum256(message("holdfast shared key digest", string(authority), name, string(k.ID), string(k.Secret[:])))
	return sum[:]
}

func (r *Ring) shared(authority event.AuthorityID) []Shared {
	if r.cfg.Shared == nil {
		return nil
	}
	return r.cfg.Shared(authority)
}

// sharedKey returns which key the facts name as the shared one of the name, if they name one.
func (r *Ring) sharedKey(authority event.AuthorityID, name string) (Shared, bool) {
	for _, s := range r.shared(authority) {
		if s.Name == name {
			return s, true
		}
	}
	return Shared{}, false
}

// isShared reports whether the facts name the key as a shared one.
func (r *Ring) isShared(authority event.AuthorityID, id event.KeyID) bool {
	return slices.ContainsFunc(r.shared(authority), func(s Shared) bool { return s.ID == id })
}

// forged reports whether a key has the id and the name of one that the facts name, and is another one.
func (r *Ring) forged(authority event.AuthorityID, k Key, name string) bool {
	s, ok := r.sharedKey(authority, name)
	return ok && s.ID == k.ID && !bytes.Equal(s.Digest, sharedDigest(authority, name, k))
}

// Shared returns which keys are to be named as the authority's shared ones where no fact names any: of each name the one of the
// lowest id that opens here. It returns ErrMissing if this site has none of a name, or only keys that it cannot open yet.
func (r *Ring) Shared(ctx context.Context, authority event.AuthorityID) (list []Shared, err error) {
	r.fill.Lock()
	defer r.fill.Unlock()
	for _, name := range sharedNames {
		k, err := r.lowest(ctx, authority, name)
		if err != nil {
			return nil, fmt.Errorf("look for the shared keys of %s: %w", authority, err)
		}
		list = append(list, Shared{name, k.ID, sharedDigest(authority, name, k)})
	}
	return list, nil
}

// lowest returns the key of the name that has the lowest id of those that open. The caller holds fill.
func (r *Ring) lowest(ctx context.Context, authority event.AuthorityID, name string) (Key, error) {
	ids, err := column[event.KeyID](ctx, r.db, `SELECT id FROM secret WHERE authority = ? AND name = ? AND erased = 0 ORDER BY id`, authority, name)
	if err != nil {
		return Key{}, err
	}
	for _, id := range ids {
		secret, err := r.load(ctx, authority, id)
		if !errors.Is(err, ErrMissing) {
			return Key{id, secret}, err
		}
	}
	return Key{}, ErrMissing.Because("the key %q of %s", name, authority)
}

// Named returns the shared key of the name: the one that the facts name, and where they name none, or this site has its erasure
// mark, that of the lowest id. It returns ErrMissing if this site does not hold it (yet), whatever other keys of the name it holds,
// and ErrErased if every key of the name was erased.
func (r *Ring) Named(ctx context.Context, authority event.AuthorityID, name string) (Key, error) {
	keys, err := r.NamedAll(ctx, authority, name)
	if err != nil {
		return Key{}, err
	}
	return keys[0], nil
}

// othersNamed bounds the keys that NamedAll returns besides the first.
const othersNamed = 7

// NamedAll returns the key that Named returns, and behind it other keys of the name that open here: at most othersNamed, those of
// the lowest ids. They are for checking what a site has made while it took another key for the shared one; every site that can
// make such a key has the true one, too. The list is only read. It returns the errors of Named.
func (r *Ring) NamedAll(ctx context.Context, authority event.AuthorityID, name string) ([]Key, error) {
	s, _ := r.sharedKey(authority, name)
	key := namedKey{authority, name, s.ID}
	r.cache.RLock()
	keys := r.named[key]
	r.cache.RUnlock()
	if len(keys) > 0 {
		return keys, nil
	}
	r.fill.Lock()
	defer r.fill.Unlock()
	keys, err := r.openNamed(ctx, key)
	if err != nil {
		return nil, err
	}
	r.cache.Lock()
	r.named[key] = keys
	r.cache.Unlock()
	return keys, nil
}

// openNamed opens the keys of a name, the one that counts first. The caller holds fill.
func (r *Ring) openNamed(ctx context.Context, key namedKey) (keys []Key, err error) {
	ids, err := r.candidates(ctx, key)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		secret, err := r.load(ctx, key.authority, id)
		switch {
		case err == nil:
			keys = append(keys, Key{id, secret})
		case i == 0 || fault.KindOf(err) == fault.Internal:
			return nil, err
		}
	}
	return keys, nil
}

// candidates returns the ids of the keys of a name, the one that counts first.
func (r *Ring) candidates(ctx context.Context, key namedKey) ([]event.KeyID, error) {
	ids, err := column[event.KeyID](ctx, r.db, `SELECT id FROM secret WHERE authority = ? AND name = ? AND id <> ?
		ORDER BY erased > 0, id LIMIT ?`, key.authority, key.name, key.id, othersNamed+1)
	if err != nil {
		return nil, fmt.Errorf("look up the key %q of %s: %w", key.name, key.authority, err)
	}
	missing := ErrMissing.Because("the key %q of %s", key.name, key.authority)
	if key.id != "" {
		row, err := findSecret(ctx, r.db, key.authority, key.id)
		switch {
		case errors.Is(err, sql.ErrNoRows) || err == nil && row.erased == 0 && row.name != key.name:
			return nil, missing // another key of the name is no substitute: its maker may be holding the true one back
		case err != nil:
			return nil, fmt.Errorf("look up the key %q of %s: %w", key.name, key.authority, err)
		case row.erased == 0 || len(ids) == 0:
			ids = slices.Insert(ids[:min(len(ids), othersNamed)], 0, key.id)
		}
	}
	if len(ids) == 0 {
		return nil, missing
	}
	return ids, nil
}

// Mend makes those shared keys anew of which an earlier version has let every one be erased, and returns their names.
// What depended on a lost key stays lost: reply links that are out do not work any more, people of the next import get
// new ids, and what the register key sealed stays unreadable until it is recorded again. Two sites that do so at once
// make two keys; of them the lower id is used by everybody, until a fact names one. It returns ErrNoAuthorityKey if that would be needed and
// this site has no key of the authority, and is cheap when nothing is to be done.
func (r *Ring) Mend(ctx context.Context, authority event.AuthorityID) (made []string, err error) {
	lost, err := lostNames(ctx, r.db, authority)
	if err == nil && len(lost) > 0 {
		err = r.write(ctx, func(w *writer) (err error) {
			made, err = w.remake(authority)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("make the lost shared keys of %s anew: %w", authority, err)
	}
	for _, name := range made {
		r.cfg.Logger.ErrorContext(ctx, "a shared key of an authority had been erased by a site; there is a new one now, and what depended on the old one is lost",
			"authority", authority, "key", name)
	}
	return made, nil
}

func (w *writer) remake(authority event.AuthorityID) ([]string, error) {
	lost, err := lostNames(w.ctx, w, authority)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	by, err := w.current(authority)
	if err != nil {
		return nil, err
	}
	for _, name := range lost {
		if _, err := w.newKey(authority, name, by); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// lostNames returns the names of shared keys of which this site has marks and no key. Where it has neither, they have
// not come yet.
func lostNames(ctx context.Context, q querier, authority event.AuthorityID) ([]string, error) {
	return column[string](ctx, q, `SELECT name FROM secret WHERE authority = ? AND name IN (?, ?, ?)
		GROUP BY name HAVING min(erased) > 0 ORDER BY name`, authority, NameID, NameLink, NameRegister)
}
