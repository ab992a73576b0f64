// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// Bounds of the boxes of one authority. An honest site makes one box for each site and authority key; an authority key
// is renewed when a site is forbidden.
const (
	// maxBoxes is the room for boxes that one site makes of the keys that one site has drawn, see room.
	maxBoxes = 4096
	// maxOfOrigin is how many keys of one other site a site grants on. An authority allows 64 sites: what an honest site
	// makes of another one's keys always finds room.
	maxOfOrigin = 64
	// maxOfOthers is maxOfOrigin for the keys whose origin is not allowed now, or which nobody has signed for, altogether.
	maxOfOthers = 256
	// maxStrangers is how many boxes of one authority key, for this site, are kept of makers that the authority does not
	// allow. Anybody can make up such makers, each with another false key of the id, and every record that names the id is
	// tried with all of them. An allowed site is one maker: what it hands over itself always has a place.
	maxStrangers = 8
)

// generationStep is how far above the one before it a generation may be and still count. An honest site takes the next
// number; some may be unknown here for a while.
const generationStep = 8

// readingOnly is the generation of an authority key that seals nothing any more, because a site that made it had been
// forbidden already, and that nobody has signed for. Who is allowed later gets it, too.
const readingOnly = 0

// boxRow is a box without its content. Of two boxes here that of the lower change came first.
type boxRow struct {
	id         event.KeyID
	generation int64
	site       event.SiteID
	maker      event.SiteID
	origin     event.SiteID
	change     int64
}

func listBoxes(ctx context.Context, q querier, authority event.AuthorityID) (list []boxRow, err error) {
	rows, err := q.QueryContext(ctx, `SELECT id, generation, site, maker, origin, change FROM box WHERE authority = ?
		ORDER BY id, site, maker`, authority)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var b boxRow
		if err := rows.Scan(&b.id, &b.generation, &b.site, &b.maker, &b.origin, &b.change); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

func (w *writer) boxes(authority event.AuthorityID) ([]boxRow, error) {
	return listBoxes(w.ctx, w.Tx, authority)
}

// trusts reports whether what the site has made counts: it is this one, or the authority allows it now.
func (r *Ring) trusts(authority event.AuthorityID, site event.SiteID) bool {
	return site == r.self || site != "" && (r.cfg.Allowed == nil || r.cfg.Allowed(site, authority))
}

// reach returns the highest generation that is not too far above the one before it, 0 if there is none. All boxes are
// steps, whoever made them: what an honest site has built upon does not fall when a step's maker is forbidden.
func reach(boxes []boxRow) (top int64) {
	generations := make([]int64, 0, len(boxes))
	for _, b := range boxes {
		if b.generation != readingOnly {
			generations = append(generations, b.generation)
		}
	}
	slices.Sort(generations)
	for i, g := range generations {
		if i > 0 && g > top+generationStep {
			break
		}
		top = g
	}
	return top
}

// newest returns the box of the authority key that seals what is made next: of the keys sealed to site whose origin is
// trusted, that of the highest generation within reach, of equals that of the lowest id, of equals that of the lowest
// origin. Keys that nobody has signed for count only where there is no other, and those of a site that has drawn more
// than others grant on do not count. It depends on nothing but its arguments, in whatever order they are.
func newest(boxes []boxRow, site event.SiteID, trusted func(event.SiteID) bool) (best boxRow, ok bool) {
	top, many := reach(boxes), crowded(boxes, site)
	for _, b := range boxes {
		if b.site != site || b.generation == readingOnly || b.generation > top || b.origin != "" && (!trusted(b.origin) || many[b.origin]) {
			continue
		}
		if !ok || olderThan(best, b) {
			best, ok = b, true
		}
	}
	return best, ok
}

// crowded returns the origins other than site itself of which more keys are sealed to it than it grants on: what it
// seals must be sealed with a key that it grants on.
func crowded(boxes []boxRow, site event.SiteID) map[event.SiteID]bool {
	keys := make(map[event.SiteID]map[event.KeyID]bool)
	many := make(map[event.SiteID]bool)
	for _, b := range boxes {
		if b.site != site || b.origin == "" || b.origin == site {
			continue
		}
		if keys[b.origin] == nil {
			keys[b.origin] = make(map[event.KeyID]bool)
		}
		keys[b.origin][b.id] = true
		many[b.origin] = len(keys[b.origin]) > maxOfOrigin
	}
	return many
}

// olderThan reports whether b's key takes a's place.
func olderThan(a, b boxRow) bool {
	if signed := cmp.Compare(min(len(a.origin), 1), min(len(b.origin), 1)); signed != 0 {
		return signed < 0
	}
	return cmp.Or(-cmp.Compare(a.generation, b.generation), cmp.Compare(a.id, b.id), cmp.Compare(a.origin, b.origin)) > 0
}

func (r *Ring) newest(authority event.AuthorityID, boxes []boxRow) (boxRow, bool) {
	return newest(boxes, r.self, func(site event.SiteID) bool { return r.trusts(authority, site) })
}

// current returns the authority key that seals new keys.
func (w *writer) current(authority event.AuthorityID) (Key, error) {
	boxes, err := w.boxes(authority)
	if err != nil {
		return Key{}, err
	}
	b, ok := w.ring.newest(authority, boxes)
	if !ok {
		return Key{}, ErrNoAuthorityKey
	}
	held, err := w.ring.authorityKeys(w.ctx, w, authority, string(b.id))
	if err != nil {
		return Key{}, err
	}
	for _, h := range held {
		if h.Origin == b.origin {
			return Key{b.id, h.secret}, nil
		}
	}
	return Key{}, ErrMissing.Because("the key of %s", authority)
}

// heldKey is an authority key as a box sealed to this site has it. Of one id there are several if somebody gave a false
// one.
type heldKey struct {
	secret seal.Key
	Record
}

// rank says how far a key is believed, the more the higher: signed by a trusted origin, signed by another one,
// unsigned, for reading only.
func (r *Ring) rank(authority event.AuthorityID, h heldKey) int {
	switch {
	case h.Origin != "" && r.trusts(authority, h.Origin):
		return 3
	case h.Origin != "":
		return 2
	case h.Generation != readingOnly:
		return 1
	}
	return 0
}

// heldKeys remembers the authority keys that boxes here hold, so that a box is opened once.
type heldKeys struct {
	lists map[keyName][]heldKey
	// version grows when boxes change, so that a list that was read before is not remembered after.
	version int
}

// authorityKeys opens the boxes of one authority key that are sealed to us, or answers from memory; the most believed
// first. It returns ErrMissing if there is none.
func (r *Ring) authorityKeys(ctx context.Context, q querier, authority event.AuthorityID, id string) ([]heldKey, error) {
	name := keyName{authority, event.KeyID(id)}
	r.cache.RLock()
	list, ok := r.held.lists[name]
	version := r.held.version
	r.cache.RUnlock()
	if !ok {
		var err error
		if list, err = r.openBoxes(ctx, q, authority, name.id); err != nil {
			return nil, fmt.Errorf("read the key of %s: %w", authority, err)
		}
		r.cache.Lock()
		if r.held.version == version && len(list) > 0 {
			r.held.lists[name] = list
		}
		r.cache.Unlock()
	}
	if len(list) == 0 {
		return nil, ErrMissing.Because("the key of %s that seals it", authority)
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b heldKey) int { return cmp.Compare(r.rank(authority, b), r.rank(authority, a)) })
	return list, nil
}

func (r *Ring) openBoxes(ctx context.Context, q querier, authority event.AuthorityID, id event.KeyID) (list []heldKey, err error) {
	rows, err := q.QueryContext(ctx, `SELECT b.maker, b.generation, b.origin, b.digest, b.birth, v.sealed,
		EXISTS (SELECT 1 FROM genuine g WHERE g.authority = b.authority AND g.id = b.id) FROM box b JOIN vault v ON v.slot = b.slot
		WHERE b.authority = ? AND b.id = ? AND b.site = ? ORDER BY b.maker`, authority, id, r.self)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		rec, genuine := Record{ID: id, Site: r.self}, false
		if err := rows.Scan(&rec.Maker, &rec.Generation, &rec.Origin, &rec.Digest, &rec.Birth, &rec.Sealed, &genuine); err != nil {
			return nil, err
		}
		if secret, err := r.openBox(authority, rec); err == nil && (!genuine || gives(authority, secret, id)) {
			rec.Sealed = nil
			list = append(list, heldKey{secret, rec})
		}
	}
	return distinct(list), nil
}

// distinct orders a list by the makers of the boxes, and leaves out those that say the same as one before.
func distinct(list []heldKey) (out []heldKey) {
	type content struct {
		secret     seal.Key
		origin     event.SiteID
		generation int64
	}
	seen := make(map[content]bool, len(list))
	slices.SortFunc(list, func(a, b heldKey) int { return cmp.Compare(a.Maker, b.Maker) })
	for _, h := range list {
		if c := (content{h.secret, h.Origin, h.Generation}); !seen[c] {
			seen[c] = true
			out = append(out, h)
		}
	}
	return out
}

// openBox opens a box that is sealed to us. It returns seal.ErrOpen also for a key that is not the one its origin has
// signed for.
func (r *Ring) openBox(authority event.AuthorityID, rec Record) (seal.Key, error) {
	secret, err := r.openSealed(authority, rec)
	if err != nil {
		return seal.Key{}, err
	}
	if rec.Origin != "" && !bytes.Equal(rec.Digest, digestOf(authority, secret)) {
		return seal.Key{}, seal.ErrOpen
	}
	return secret, nil
}

// openSealed returns the key that is in a box, whatever its origin has signed for.
func (r *Ring) openSealed(authority event.AuthorityID, rec Record) (seal.Key, error) {
	plain, err := r.cfg.Identity.Open(boxContext(authority, rec.ID, r.self), rec.Sealed)
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

// forgetHeld makes sure that no list of authority keys from before a change of boxes is used after it.
func (r *Ring) forgetHeld() {
	r.cache.Lock()
	defer r.cache.Unlock()
	clear(r.held.lists)
	r.held.version++
}

// forgetHeldOf is forgetHeld for the boxes of one id: whoever sends boxes must not have all others opened again with
// each of them.
func (r *Ring) forgetHeldOf(authority event.AuthorityID, id event.KeyID) {
	r.cache.Lock()
	defer r.cache.Unlock()
	delete(r.held.lists, keyName{authority, id})
	r.held.version++
}

// rememberHeld puts a list in place that a transaction knows, so that the boxes behind it need not be opened again.
func (r *Ring) rememberHeld(authority event.AuthorityID, id event.KeyID, list []heldKey) {
	r.cache.Lock()
	defer r.cache.Unlock()
	r.held.lists[keyName{authority, id}] = distinct(list)
}

// box seals an authority key to a site, in this site's name, and stores the box. What is known of the key's birth goes
// along.
func (w *writer) box(authority event.AuthorityID, key heldKey, site event.SiteID, pub seal.PublicKey) error {
	sealed, err := seal.SealTo(pub, boxContext(authority, key.ID, site), key.secret[:])
	if err != nil {
		return err
	}
	rec := Record{ID: key.ID, Generation: key.Generation, Site: site, Sealed: sealed, Maker: w.ring.self,
		Origin: key.Origin, Digest: key.Digest, Birth: key.Birth}
	rec.Signature = w.ring.cfg.Identity.Sign(purposeBox, rec.boxMessage(authority))
	return w.insertBox(authority, rec)
}

func (w *writer) insertBox(authority event.AuthorityID, rec Record) error {
	slot, err := w.put(rec.Sealed)
	if err != nil {
		return err
	}
	if rec.Site == w.ring.self {
		w.ring.forgetHeldOf(authority, rec.ID)
	}
	_, err = w.ExecContext(w.ctx, `INSERT INTO box (authority, id, generation, site, slot, change, maker, signature, origin, digest, birth)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, authority, rec.ID, rec.Generation, rec.Site, slot, w.next(),
		rec.Maker, bytesOf(rec.Signature), rec.Origin, bytesOf(rec.Digest), bytesOf(rec.Birth))
	return errors.Join(err, w.noteGenuine(authority, rec))
}

// bytesOf returns b, or no bytes in the place of nil, which SQLite would take for NULL.
func bytesOf(b []byte) []byte { return append([]byte{}, b...) }

// mergeBox takes a box over. One that is sealed to us and does not open is left out; for another site we cannot tell,
// so each maker has a place of its own.
func (w *writer) mergeBox(authority event.AuthorityID, rec Record) error {
	var generation, slot int64
	err := w.QueryRowContext(w.ctx, `SELECT generation, slot FROM box WHERE authority = ? AND id = ? AND site = ? AND maker = ?`,
		authority, rec.ID, rec.Site, rec.Maker).Scan(&generation, &slot)
	known, ours := err == nil, rec.Site == w.ring.self
	// What nobody has signed may be replaced if it was for reading only: it came from a forbidden site.
	replaceable := ours && rec.Maker == "" && generation == readingOnly && rec.Generation != readingOnly
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	case known && !replaceable:
		return nil
	}
	if !rec.signed(authority) {
		w.refuse(refusedSignature)
		return nil
	}
	if ours {
		return w.mergeOwnBox(authority, rec, known, slot)
	}
	if full, err := w.boxesFull(authority, rec); err != nil || full {
		return err
	}
	return w.insertBox(authority, rec)
}

// mergeOwnBox is mergeBox for a box that is sealed to this site. It is opened before anything gives way to it, or it is
// counted.
func (w *writer) mergeOwnBox(authority event.AuthorityID, rec Record, known bool, slot int64) error {
	secret, err := w.ring.openBox(authority, rec)
	if err != nil {
		w.refuse(refusedBox)
		return nil
	}
	if no, err := w.isFalse(authority, rec.ID, secret); err != nil || no {
		w.refuse(refusedBox)
		return err
	}
	if !known { // else it takes the place of the one that is here
		if no, err := w.tooStrange(authority, rec, secret); err != nil || no {
			return err
		}
		if full, err := w.boxesFull(authority, rec); err != nil || full {
			return err
		}
	}
	return w.takeOwnBox(authority, rec, secret, known, slot)
}

// tooStrange reports whether a box is one too many of makers that the authority does not allow. One with the key that
// the id is made of has a place as long as that key is not here; one with a key that is here says nothing new, and is
// left out in silence. A stranger that is allowed later hands its boxes over itself, to a site that has no cursor of
// it.
func (w *writer) tooStrange(authority event.AuthorityID, rec Record, secret seal.Key) (bool, error) {
	if rec.Maker == "" || w.ring.trusts(authority, rec.Maker) { // there is one place for what nobody has signed
		return false, nil
	}
	// As many makers as are allowed, and the one without a name, may stand before them.
	makers, err := column[event.SiteID](w.ctx, w, `SELECT maker FROM box
		WHERE authority = ? AND id = ? AND site = ? LIMIT ?`, authority, rec.ID, w.ring.self, maxOfOrigin+1+maxStrangers)
	if err != nil {
		return false, err
	}
	strangers := 0
	for _, maker := range makers {
		if maker != "" && !w.ring.trusts(authority, maker) {
			strangers++
		}
	}
	if strangers < maxStrangers {
		return false, nil
	}
	held, err := w.heldOf(authority, rec.ID)
	if err != nil || has(held, secret) {
		return true, err
	}
	if gives(authority, secret, rec.ID) {
		return false, nil
	}
	w.refuse(refusedBoxes)
	return true, nil
}

// heldOf is authorityKeys without the error that there are none.
func (w *writer) heldOf(authority event.AuthorityID, id event.KeyID) ([]heldKey, error) {
	held, err := w.ring.authorityKeys(w.ctx, w, authority, string(id))
	if errors.Is(err, ErrMissing) {
		return nil, nil
	}
	return held, err
}

func has(held []heldKey, secret seal.Key) bool {
	return slices.ContainsFunc(held, func(h heldKey) bool { return h.secret == secret })
}

// takeOwnBox stores a box that opens. If it has a key that we did not have, everything is looked at again, see
// openedBy.
func (w *writer) takeOwnBox(authority event.AuthorityID, rec Record, secret seal.Key, known bool, slot int64) error {
	held, err := w.heldOf(authority, rec.ID)
	if err != nil {
		return err
	}
	same := has(held, secret)
	if known {
		if same {
			return nil // it stays for reading only: a forbidden site has it
		}
		if err := w.unbox(authority, rec, slot); err != nil {
			return err
		}
		held, err = w.heldOf(authority, rec.ID) // without that one
	}
	if err := errors.Join(err, w.insertBox(authority, rec)); err != nil {
		return err
	}
	if !same {
		held, err = w.clearFalse(authority, heldKey{secret, rec}, held)
		if err = errors.Join(err, w.openedBy(authority, rec.Maker, rec.ID)); err != nil {
			return err
		}
	}
	rec.Sealed, rec.Signature = nil, nil // as openBoxes has them
	w.ring.rememberHeld(authority, rec.ID, append(held, heldKey{secret, rec}))
	return nil
}

// clearFalse lets go of all other boxes of an id, once the key has come that it is made of: none of them has that
// key, or it would have been here. It returns what is left of those that were held.
func (w *writer) clearFalse(authority event.AuthorityID, key heldKey, held []heldKey) ([]heldKey, error) {
	if len(held) == 0 || !gives(authority, key.secret, key.ID) {
		return held, nil
	}
	boxes, err := w.ownBoxesOf(authority, key.ID)
	if err != nil {
		return nil, err
	}
	opened, err := column[event.KeyID](w.ctx, w, sealedBy, authority, key.ID)
	if err != nil {
		return nil, err
	}
	for _, k := range opened { // by the false ones, perhaps
		w.gone = append(w.gone, keyName{authority, k})
	}
	for _, b := range boxes {
		if b.maker == key.Maker {
			continue
		}
		if err := w.dropBox(authority, b); err != nil {
			return nil, err
		}
		if w.made != nil {
			w.made[w.ring.roomOf(authority, b.maker, b.origin, b.site)]--
		}
	}
	return nil, nil
}

// ownBoxesOf returns the boxes of one authority key that are sealed to this site.
func (w *writer) ownBoxesOf(authority event.AuthorityID, id event.KeyID) (list []boxRow, err error) {
	rows, err := w.QueryContext(w.ctx, `SELECT maker, origin FROM box WHERE authority = ? AND id = ? AND site = ?`,
		authority, id, w.ring.self)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		b := boxRow{id: id, site: w.ring.self}
		if err := rows.Scan(&b.maker, &b.origin); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// unbox takes away an authority key that a forbidden site gave and an allowed one does not confirm, and all that it
// opened from memory. The records come again, since the cursors go with it.
func (w *writer) unbox(authority event.AuthorityID, rec Record, slot int64) error {
	w.dropped = append(w.dropped, authority)
	w.ring.forgetHeldOf(authority, rec.ID)
	_, err := w.ExecContext(w.ctx, `DELETE FROM box WHERE authority = ? AND id = ? AND site = ? AND maker = ?`,
		authority, rec.ID, rec.Site, rec.Maker)
	if err != nil {
		return err
	}
	return w.burn(slot)
}
