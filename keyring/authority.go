// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Found makes the authority's key, sealed to this site, and the shared keys "id", "link" and "register". Call it at the
// site where the authority is founded. Where this site has a key of the authority already it does nothing, so it may be
// repeated after a crash.
func (r *Ring) Found(ctx context.Context, authority event.AuthorityID) error {
	pub, _ := r.cfg.Identity.SealingKey()
	err := r.write(ctx, func(w *writer) error {
		boxes, err := w.boxes(authority)
		if err != nil {
			return err
		}
		if _, ok := r.newest(authority, boxes); ok {
			return nil
		}
		key, err := w.newAuthorityKey(authority, reach(boxes)+1, map[event.SiteID]seal.PublicKey{r.self: pub})
		if err != nil {
			return err
		}
		for _, name := range sharedNames {
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

// Grant seals the keys of the authority that this site holds to another site, unless it has done so before; of those
// that one other site has drawn not more than any honest one draws, see grantable. That others have done so is no
// reason not to: whether what they sealed is the key, only the other site can tell. The
// caller has checked that the authority allows the site and that pub is certified by it. It returns ErrNoAuthorityKey
// if this site has nothing to give.
func (r *Ring) Grant(ctx context.Context, authority event.AuthorityID, site event.SiteID, pub seal.PublicKey) error {
	ungranted, err := r.ungranted(ctx, r.db, authority, site)
	if err == nil && len(ungranted) > 0 {
		err = r.write(ctx, func(w *writer) error { return w.grant(authority, site, pub) })
	}
	if err != nil {
		return fmt.Errorf("grant the keys of %s to %s: %w", authority, site.Short(), err)
	}
	return nil
}

func (w *writer) grant(authority event.AuthorityID, site event.SiteID, pub seal.PublicKey) error {
	ungranted, err := w.ring.ungranted(w.ctx, w, authority, site)
	if err != nil {
		return err
	}
	for _, id := range ungranted {
		held, err := w.ring.authorityKeys(w.ctx, w, authority, string(id))
		if err != nil {
			return err
		}
		if err := w.box(authority, held[0], site, pub); err != nil {
			return err
		}
	}
	return nil
}

// ungranted returns the authority keys that we hold and have not sealed to the site, in the order of their generations:
// whoever reads our boxes finds no gap.
func (r *Ring) ungranted(ctx context.Context, q querier, authority event.AuthorityID, site event.SiteID) ([]event.KeyID, error) {
	boxes, err := listBoxes(ctx, q, authority)
	if err != nil {
		return nil, err
	}
	ours, err := r.grantable(ctx, q, authority, boxes)
	if err != nil {
		return nil, err
	}
	if len(ours) == 0 {
		return nil, ErrNoAuthorityKey
	}
	for _, b := range boxes {
		if b.site == site && (site == r.self || b.maker == r.self) {
			delete(ours, b.id)
		}
	}
	return slices.SortedFunc(maps.Keys(ours), func(a, b event.KeyID) int {
		return cmp.Or(cmp.Compare(ours[a], ours[b]), cmp.Compare(a, b))
	}), nil
}

// Forbid makes sure that what is sealed from now on is readable only by those who remain (this site among them): a new
// authority key takes the newest one's place if that was ever sealed to anybody else, if a site made it that does not
// remain, or if nobody has signed for it. What a site has read before cannot be unread. It may be repeated; it returns
// ErrNoAuthorityKey if this site has no key of the authority.
func (r *Ring) Forbid(ctx context.Context, authority event.AuthorityID, remaining map[event.SiteID]seal.PublicKey) error {
	if _, ok := remaining[r.self]; !ok {
		return fault.New(fault.Invalid, "keyring.not_ours", "a site cannot make a key for an authority that does not allow it", "do it at a site that the authority allows")
	}
	exposed, _, err := r.exposed(ctx, r.db, authority, remaining)
	if err != nil || !exposed {
		return wrapForbid(err, authority)
	}
	err = r.write(ctx, func(w *writer) error {
		exposed, next, err := r.exposed(ctx, w, authority, remaining)
		if err != nil || !exposed {
			return err
		}
		if _, err = w.newAuthorityKey(authority, next, remaining); err == nil {
			r.noteRenewal(authority)
		}
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

// renewPause is how long a key of this site's own stays the newest at least, if only others say that they have given it
// away: a site that the authority allows could otherwise make all sites renew the key without end.
const renewPause = time.Hour

// exposed reports whether the newest authority key needs a successor, and the successor's generation.
func (r *Ring) exposed(ctx context.Context, q querier, authority event.AuthorityID, remaining map[event.SiteID]seal.PublicKey) (bool, int64, error) {
	boxes, err := listBoxes(ctx, q, authority)
	if err != nil {
		return false, 0, err
	}
	if !slices.ContainsFunc(boxes, func(b boxRow) bool { return b.site == r.self }) {
		return false, 0, ErrNoAuthorityKey
	}
	next := reach(boxes) + 1
	best, ok := newest(boxes, r.self, func(site event.SiteID) bool { _, stays := remaining[site]; return stays })
	if !ok || best.origin == "" {
		return true, next, nil
	}
	for _, b := range boxes {
		if _, stays := remaining[b.site]; stays || b.id != best.id {
			continue
		}
		if b.maker == r.self || b.maker == "" || r.mayRenew(authority) {
			return true, next, nil
		}
	}
	return false, next, nil
}

func (r *Ring) noteRenewal(authority event.AuthorityID) {
	r.cache.Lock()
	defer r.cache.Unlock()
	r.renewed[authority] = r.cfg.Now()
}

// mayRenew reports whether this process has renewed no key of the authority within renewPause.
func (r *Ring) mayRenew(authority event.AuthorityID) bool {
	r.cache.RLock()
	defer r.cache.RUnlock()
	at, ok := r.renewed[authority]
	return !ok || r.cfg.Now().Sub(at).Abs() >= renewPause
}

// newAuthorityKey draws an authority key, vouches for it, and seals it to the sites.
func (w *writer) newAuthorityKey(authority event.AuthorityID, generation int64, sites map[event.SiteID]seal.PublicKey) (Key, error) {
	secret, err := seal.NewKey(w.ring.cfg.Rand)
	if err != nil {
		return Key{}, err
	}
	digest := digestOf(authority, secret)
	born := heldKey{secret, Record{ID: idOf(digest), Generation: generation, Origin: w.ring.self, Digest: digest}}
	born.Birth = w.ring.cfg.Identity.Sign(purposeBirth, born.birthMessage(authority))
	for _, site := range slices.Sorted(maps.Keys(sites)) {
		if err := w.box(authority, born, site, sites[site]); err != nil {
			return Key{}, err
		}
	}
	return Key{born.ID, secret}, nil
}

// Drop destroys this site's copies of the authority's keys and boxes, because the authority no longer allows this site, and the
// damaged files that are kept, which have them too (not one of which nothing was read, see burnAside).
// Erasure marks stay: they hold no secret, and if the site is allowed again they must still win.
func (r *Ring) Drop(ctx context.Context, authority event.AuthorityID) error {
	err := r.write(ctx, func(w *writer) error {
		// Not erased: other sites still have them, and if this site is allowed again they come back.
		if err := w.tellAll(authority, "", false); err != nil {
			return err
		}
		keys, err := w.takeAway(`secret WHERE authority = ? AND erased = 0`, authority)
		if err != nil {
			return err
		}
		boxes, err := w.takeAway(`box WHERE authority = ?`, authority)
		if err != nil {
			return err
		}
		damaged, err := w.takeAway(`damaged_box WHERE authority = ?`, authority)
		if err != nil || keys+boxes+damaged == 0 {
			return err
		}
		w.shreds = true
		w.dropped = append(w.dropped, authority)
		for _, table := range []string{"cursor", "crowded"} {
			if _, err := w.ExecContext(ctx, `DELETE FROM `+table+` WHERE authority = ?`, authority); err != nil {
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

// Granted returns the sites to which the authority's newest key (as this site knows it) is sealed, in order, as trusted
// sites say. It returns ErrNoAuthorityKey if this site holds none.
func (r *Ring) Granted(ctx context.Context, authority event.AuthorityID) ([]event.SiteID, error) {
	boxes, err := listBoxes(ctx, r.db, authority)
	if err != nil {
		return nil, fmt.Errorf("list the grants of %s: %w", authority, err)
	}
	best, ok := r.newest(authority, boxes)
	if !ok {
		return nil, ErrNoAuthorityKey
	}
	var sites []event.SiteID
	for _, b := range boxes { // in order of their sites
		if b.id == best.id && (b.maker == "" || r.trusts(authority, b.maker)) && !slices.Contains(sites, b.site) {
			sites = append(sites, b.site)
		}
	}
	return sites, nil
}
