// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Found makes the authority's key, sealed to this site, and the shared keys "id", "link" and "register". Call it at the
// site where the authority is founded. Where the authority has a key already it does nothing, so it may be repeated
// after a crash.
func (r *Ring) Found(ctx context.Context, authority event.AuthorityID) error {
	pub, _ := r.cfg.Identity.SealingKey()
	err := r.write(ctx, func(w *writer) error {
		boxes, err := w.boxes(authority)
		if err != nil || len(boxes) > 0 {
			return err
		}
		key, err := w.newAuthorityKey(authority, 1, map[event.SiteID]seal.PublicKey{r.self: pub})
		if err != nil {
			return err
		}
		for _, name := range []string{NameID, NameLink, NameRegister} {
			if _, err := w.newKey(authority, name, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("found the keyring of %s: %w", authority, err)
	}
	return nil
}

// Grant seals every key of the authority that this site holds to another site, as far as that has not been done. The
// caller has checked that the authority allows the site and that pub is certified by it. It returns ErrNoAuthorityKey if
// this site has nothing to give.
func (r *Ring) Grant(ctx context.Context, authority event.AuthorityID, site event.SiteID, pub seal.PublicKey) error {
	ungranted, err := r.ungranted(ctx, authority, site)
	if err != nil {
		return fmt.Errorf("grant the keys of %s to %s: %w", authority, site.Short(), err)
	}
	if len(ungranted) == 0 {
		return nil
	}
	err = r.write(ctx, func(w *writer) error {
		for id, generation := range ungranted {
			secret, err := r.authorityKey(ctx, w, authority, string(id))
			if err != nil {
				return err
			}
			if err := w.box(authority, Key{id, secret}, generation, site, pub); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("grant the keys of %s to %s: %w", authority, site.Short(), err)
	}
	return nil
}

// ungranted returns the authority keys that we hold and the site does not, with their generations.
func (r *Ring) ungranted(ctx context.Context, authority event.AuthorityID, site event.SiteID) (map[event.KeyID]int64, error) {
	boxes, err := listBoxes(ctx, r.db, authority)
	if err != nil {
		return nil, err
	}
	ours := make(map[event.KeyID]int64)
	for _, b := range boxes {
		if b.site == r.self {
			ours[b.id] = b.generation
		}
	}
	if len(ours) == 0 {
		return nil, ErrNoAuthorityKey
	}
	for _, b := range boxes {
		if b.site == site {
			delete(ours, b.id)
		}
	}
	return ours, nil
}

// Forbid makes sure that what is sealed from now on is readable only by those who remain (this site among them): if the
// authority's newest key was ever sealed to anybody else, a new one takes its place. What a site has read before cannot
// be unread. It may be repeated; it returns ErrNoAuthorityKey if this site has no key of the authority.
func (r *Ring) Forbid(ctx context.Context, authority event.AuthorityID, remaining map[event.SiteID]seal.PublicKey) error {
	if _, ok := remaining[r.self]; !ok {
		return fault.New(fault.Invalid, "keyring.not_ours", "a site cannot make a key for an authority that does not allow it", "do it at a site that the authority allows")
	}
	exposed, _, err := r.exposed(ctx, r.db, authority, remaining)
	if err != nil || !exposed {
		return wrapForbid(err, authority)
	}
	err = r.write(ctx, func(w *writer) error {
		exposed, generation, err := r.exposed(ctx, w, authority, remaining)
		if err != nil || !exposed {
			return err
		}
		_, err = w.newAuthorityKey(authority, generation+1, remaining)
		return err
	})
	return wrapForbid(err, authority)
}

func wrapForbid(err error, authority event.AuthorityID) error {
	if err != nil {
		return fmt.Errorf("renew the key of %s: %w", authority, err)
	}
	return nil
}

// exposed reports whether the newest authority key was sealed to a site that is not among those who remain.
func (r *Ring) exposed(ctx context.Context, q querier, authority event.AuthorityID, remaining map[event.SiteID]seal.PublicKey) (bool, int64, error) {
	boxes, err := listBoxes(ctx, q, authority)
	if err != nil {
		return false, 0, err
	}
	id, generation, ok := newest(boxes, r.self)
	if !ok {
		return false, 0, ErrNoAuthorityKey
	}
	for _, b := range boxes {
		if _, stays := remaining[b.site]; b.id == id && !stays {
			return true, generation, nil
		}
	}
	return false, generation, nil
}

// Drop destroys this site's copies of the authority's keys and boxes, because the authority no longer allows this site.
// Erasure marks stay: they hold no secret, and if the site is allowed again they must still win.
func (r *Ring) Drop(ctx context.Context, authority event.AuthorityID) error {
	err := r.write(ctx, func(w *writer) error {
		res, err := w.ExecContext(ctx, `UPDATE vault SET sealed = zeroblob(length(sealed)) WHERE slot IN (
			SELECT slot FROM secret WHERE authority = ? UNION ALL SELECT slot FROM box WHERE authority = ?)`, authority, authority)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		w.burnt = true
		w.dropped = append(w.dropped, authority)
		// Not erased: other sites still have them, and if this site is allowed again they come back.
		if err := w.tellAll(authority, "", false); err != nil {
			return err
		}
		for _, table := range []string{"secret WHERE erased = 0 AND", "box WHERE", "cursor WHERE"} {
			if _, err := w.ExecContext(ctx, `DELETE FROM `+table+` authority = ?`, authority); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop the keys of %s: %w", authority, err)
	}
	return nil
}

// Authorities returns the authorities of which this site has any key or box, in order of their ids.
func (r *Ring) Authorities(ctx context.Context) ([]event.AuthorityID, error) {
	list, err := column[event.AuthorityID](ctx, r.db, `SELECT DISTINCT authority FROM secret WHERE erased = 0
		UNION SELECT DISTINCT authority FROM box ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("list the authorities of the keyring: %w", err)
	}
	return list, nil
}

// Granted returns the sites to which the authority's newest key (as this site knows it) is sealed, in order. It returns
// ErrNoAuthorityKey if this site holds none.
func (r *Ring) Granted(ctx context.Context, authority event.AuthorityID) ([]event.SiteID, error) {
	boxes, err := listBoxes(ctx, r.db, authority)
	if err != nil {
		return nil, fmt.Errorf("list the grants of %s: %w", authority, err)
	}
	id, _, ok := newest(boxes, r.self)
	if !ok {
		return nil, ErrNoAuthorityKey
	}
	var sites []event.SiteID
	for _, b := range boxes {
		if b.id == id {
			sites = append(sites, b.site)
		}
	}
	return sites, nil
}

type boxRow struct {
	id         event.KeyID
	generation int64
	site       event.SiteID
}

func listBoxes(ctx context.Context, q querier, authority event.AuthorityID) (list []boxRow, err error) {
	rows, err := q.QueryContext(ctx, `SELECT id, generation, site FROM box WHERE authority = ? ORDER BY id, site`, authority)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var b boxRow
		if err := rows.Scan(&b.id, &b.generation, &b.site); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

func (w *writer) boxes(authority event.AuthorityID) ([]boxRow, error) {
	return listBoxes(w.ctx, w.Tx, authority)
}

// readingOnly is the generation of an authority key that seals nothing any more, because a site that made it had been
// forbidden already. Who is allowed later gets it, too.
const readingOnly = 0

// newest returns the authority key of the highest generation, of equals the lowest id, among those that site holds for more
// than reading.
func newest(boxes []boxRow, site event.SiteID) (id event.KeyID, generation int64, ok bool) {
	for _, b := range boxes {
		if b.site == site && b.generation != readingOnly && (!ok || b.generation > generation || b.generation == generation && b.id < id) {
			id, generation, ok = b.id, b.generation, true
		}
	}
	return id, generation, ok
}

// current returns the authority key that seals new keys.
func (w *writer) current(authority event.AuthorityID) (Key, error) {
	boxes, err := w.boxes(authority)
	if err != nil {
		return Key{}, err
	}
	id, _, ok := newest(boxes, w.ring.self)
	if !ok {
		return Key{}, ErrNoAuthorityKey
	}
	secret, err := w.ring.authorityKey(w.ctx, w, authority, string(id))
	return Key{id, secret}, err
}

func (w *writer) newAuthorityKey(authority event.AuthorityID, generation int64, sites map[event.SiteID]seal.PublicKey) (Key, error) {
	id, err := w.newID()
	if err != nil {
		return Key{}, err
	}
	secret, err := seal.NewKey(w.ring.cfg.Rand)
	if err != nil {
		return Key{}, err
	}
	for _, site := range slices.Sorted(maps.Keys(sites)) {
		if err := w.box(authority, Key{id, secret}, generation, site, sites[site]); err != nil {
			return Key{}, err
		}
	}
	return Key{id, secret}, nil
}

// box seals an authority key to a site and stores the box.
func (w *writer) box(authority event.AuthorityID, key Key, generation int64, site event.SiteID, pub seal.PublicKey) error {
	sealed, err := seal.SealTo(pub, boxContext(authority, key.ID, site), key.Secret[:])
	if err != nil {
		return err
	}
	return w.insertBox(authority, Record{ID: key.ID, Generation: generation, Site: site, Sealed: sealed})
}

func (w *writer) insertBox(authority event.AuthorityID, rec Record) error {
	slot, err := w.put(rec.Sealed)
	if err != nil {
		return err
	}
	_, err = w.ExecContext(w.ctx, `INSERT INTO box (authority, id, generation, site, slot, change) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, authority, rec.ID, rec.Generation, rec.Site, slot, w.next())
	return err
}

// authorityKey opens the box that is sealed to us, or answers from memory. It returns ErrMissing if there is none.
func (r *Ring) authorityKey(ctx context.Context, q querier, authority event.AuthorityID, id string) (seal.Key, error) {
	// A name of its own kind: an authority key is never handed out as if it were a person's.
	name := keyName{authority, "authority key " + event.KeyID(id)}
	if k, ok := r.cached(authority, name.id); ok {
		return k, nil
	}
	var box []byte
	err := q.QueryRowContext(ctx, `SELECT v.sealed FROM box b JOIN vault v ON v.slot = b.slot
		WHERE b.authority = ? AND b.id = ? AND b.site = ?`, authority, id, r.self).Scan(&box)
	if errors.Is(err, sql.ErrNoRows) {
		return seal.Key{}, ErrMissing.Because("the key of %s that seals it", authority)
	}
	if err != nil {
		return seal.Key{}, fmt.Errorf("read the key of %s: %w", authority, err)
	}
	k, err := r.openBox(authority, event.KeyID(id), box)
	if err != nil {
		return seal.Key{}, ErrMissing.With(err)
	}
	r.keep(name, k)
	return k, nil
}

func (r *Ring) openBox(authority event.AuthorityID, id event.KeyID, box []byte) (seal.Key, error) {
	plain, err := r.cfg.Identity.Open(boxContext(authority, id, r.self), box)
	if err != nil {
		return seal.Key{}, err
	}
	if len(plain) != len(seal.Key{}) {
		return seal.Key{}, seal.ErrOpen
	}
	return seal.Key(plain), nil
}

func boxContext(authority event.AuthorityID, id event.KeyID, site event.SiteID) string {
	return "holdfast authority key " + string(authority) + " " + string(id) + " " + string(site)
}
