// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
)

// A disk may change a letter of the row instead of what is sealed. Authority, id and name are a part of what is sealed
// (its context), so that it opens under the true ones only: trying others proves itself.

// likeID returns the ids that differ from this one in a single letter.
func likeID(id event.KeyID) (list []event.KeyID) {
	for i := range len(id) {
		for _, letter := range []byte("0123456789abcdef") {
			if letter != id[i] {
				list = append(list, id[:i]+event.KeyID(letter)+id[i+1:])
			}
		}
	}
	return list
}

// trueRecord returns a key that does not open as its row says, with the id or the name under which it opens.
func (r *Ring) trueRecord(ctx context.Context, p place, row secretRow) (rec Record, ok bool, err error) {
	held, err := r.authorityKeys(ctx, r.db, p.authority, row.by)
	if err != nil {
		return rec, false, err
	}
	rec = Record{ID: p.id, By: event.KeyID(row.by), Sealed: row.sealed}
	opens := func() bool {
		return slices.ContainsFunc(held, func(h heldKey) bool {
			_, err := openSecret(h.secret, p.authority, rec.ID, rec.Name, rec.Sealed)
			return err == nil
		})
	}
	for _, rec.Name = range append([]string{""}, sharedNames...) {
		if opens() {
			return rec, true, nil
		}
	}
	rec.Name = row.name
	for _, rec.ID = range likeID(p.id) {
		if opens() {
			return rec, true, nil
		}
	}
	return rec, false, nil
}

// rename gives a key its true id and name, if it is still the one that was read. It is news to the other sites, who
// have it under the wrong ones. If its true id is taken, what is under it stays as when the key came from elsewhere: a
// mark wins.
func (w *writer) rename(p place, slot int64, rec Record) (still bool, err error) {
	if _, err = findSecret(w.ctx, w, p.authority, rec.ID); err == nil && rec.ID != p.id {
		return w.renameToTaken(p, slot, rec)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	still, err = w.changes(`UPDATE secret SET id = ?, name = ?, change = ?
		WHERE authority = ? AND id = ? AND slot = ? AND erased = 0`,
		rec.ID, rec.Name, w.next(), p.authority, p.id, slot)
	if err != nil || !still {
		return still, err
	}
	w.renamed = true
	w.gone = append(w.gone, keyName(p))
	w.news = append(w.news, Changed{Authority: p.authority, KeyID: rec.ID})
	return true, nil
}

func (w *writer) renameToTaken(p place, slot int64, rec Record) (still bool, err error) {
	if still, err = w.giveUp(p, slot); err != nil || !still {
		return still, err
	}
	return true, w.mergeKey(p.authority, rec)
}

// truePlace returns under which authority and id a damaged box opens: one of those that keys here are sealed with and
// nothing opens, the id that its digest says, or one like its own.
func (r *Ring) truePlace(b ownBox, locked []place) (to place, ok bool) {
	tries := slices.Clone(locked)
	if len(b.record.Digest) >= 8 {
		tries = append(tries, place{b.authority, idOf(b.record.Digest)})
	}
	for _, id := range likeID(b.id) {
		tries = append(tries, place{b.authority, id})
	}
	rec := b.record
	for _, to = range tries {
		rec.ID = to.id
		if _, err := r.openBox(to.authority, rec); err == nil {
			return to, true
		}
	}
	return to, false
}

// moveBox puts a box under its true authority and id, as if it had come now. If one that opens is there already, it is
// given up.
func (w *writer) moveBox(b ownBox, to place) (still bool, err error) {
	if still, err = w.hasBox(b); err != nil || !still {
		return still, err
	}
	if _, err := w.ring.authorityKeys(w.ctx, w, to.authority, string(to.id)); err == nil {
		taken, err := exists(w.ctx, w, `SELECT 1 FROM box WHERE authority = ? AND id = ? AND site = ? AND maker = ?`,
			to.authority, to.id, b.record.Site, b.record.Maker)
		if err != nil {
			return false, err
		}
		if taken {
			return w.giveUpBox(b)
		}
	}
	_, err = w.ExecContext(w.ctx, `UPDATE OR REPLACE box SET authority = ?, id = ?, change = ?
		WHERE authority = ? AND id = ? AND site = ? AND maker = ?`,
		to.authority, to.id, w.next(), b.authority, b.id, b.record.Site, b.record.Maker)
	if err != nil {
		return false, err
	}
	rec := b.record
	rec.ID = to.id
	return true, errors.Join(w.noteGenuine(to.authority, rec), w.opened(to.authority, to.id))
}
