// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"errors"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
)

// Bounds of the keys of one authority that are taken from other sites.
const (
	// maxKeys is the room for keys that open, and for marks: ten for each of 100,000 people.
	maxKeys = 1_000_000
	// maxUnopened is the room for keys that do not open here yet, of each site that gives them. Nothing is lost beyond it:
	// when an authority key comes, everything is asked for again.
	maxUnopened = 100_000
	// maxOrphans is how many of them stay that were given by sites which the authority does not allow any more.
	maxOrphans = 4096
)

// unknownGiver stands for who gave a key that an earlier version has kept. Such a key may be this site's own, whose box is damaged or
// not here yet. They were in the file before and do not become more, so that nothing lets go of them: the box settles them.
const unknownGiver event.SiteID = "?"

// keysFull refuses a key that opens if there is no room for another one of the authority, and counts it otherwise.
func (w *writer) keysFull(authority event.AuthorityID) (full bool, err error) {
	if err := w.countKeys(authority); err != nil {
		return false, err
	}
	if w.keys >= w.ring.maxKeys {
		w.refuse(refusedKeys)
		w.lack(refusedKeys, room{})
		return true, nil
	}
	w.keys++
	return false, nil
}

// countKeys counts, once in a transaction, the keys that open and the marks. It does so in indexes.
func (w *writer) countKeys(authority event.AuthorityID) error {
	if w.keys >= 0 {
		return nil
	}
	return w.QueryRowContext(w.ctx, `SELECT (SELECT count(*) FROM secret WHERE authority = ?1)
		- (SELECT count(*) FROM secret WHERE authority = ?1 AND giver <> '')`, authority).Scan(&w.keys)
}

// keepUnopened keeps a key of which this site cannot tell yet whether it opens. It takes up the room of the peer that
// gave it, not that of keys which open; and it is handed on only when it opens (see settle), or one site's inventions
// would take up the room of all that hand them on.
func (w *writer) keepUnopened(authority event.AuthorityID, rec Record) error {
	if w.unopened < 0 {
		var err error
		if w.unopened, err = w.countUnopened(authority); err != nil {
			return err
		}
	}
	most := w.ring.maxUnopened
	if !w.ring.trusts(authority, w.peer) {
		most = min(most, maxOrphans)
	}
	if w.unopened >= most {
		w.refuse(refusedUnopened)
		return nil
	}
	w.unopened++
	slot, err := w.put(rec.Sealed)
	if err != nil {
		return err
	}
	_, err = w.ExecContext(w.ctx, `INSERT INTO secret (authority, id, name, by, slot, erased, change, giver) VALUES (?, ?, ?, ?, ?, 0, 0, ?)`,
		authority, rec.ID, rec.Name, rec.By, slot, w.peer)
	return err
}

// countUnopened counts the keys in the peer's room. All sites that the authority does not allow share one.
func (w *writer) countUnopened(authority event.AuthorityID) (n int, err error) {
	if w.ring.trusts(authority, w.peer) {
		err = w.QueryRowContext(w.ctx, `SELECT count(*) FROM secret WHERE authority = ? AND giver = ? AND giver <> ''`,
			authority, w.peer).Scan(&n)
		return n, err
	}
	_, n, err = w.ring.orphans(w.ctx, w, authority)
	return n, err
}

// settle looks at the keys again that waited for an authority key which is here now: those that it opens are keys like
// all others from then on. What it does not open stays as it is, and gives way to the true one.
func (w *writer) settle(authority event.AuthorityID, by event.KeyID) error {
	ids, err := column[event.KeyID](w.ctx, w, `SELECT id FROM secret WHERE authority = ? AND by = ? AND giver <> ''`, authority, by)
	for _, id := range ids {
		if err != nil {
			return err
		}
		err = w.settleOne(authority, id)
	}
	return err
}

func (w *writer) settleOne(authority event.AuthorityID, id event.KeyID) error {
	row, err := findSecret(w.ctx, w, authority, id)
	if err != nil {
		return err
	}
	rec := Record{ID: id, Name: row.name, By: event.KeyID(row.by), Sealed: row.sealed}
	if believed, _ := w.opens(authority, rec); believed == unopened {
		return nil
	}
	if full, err := w.keysFull(authority); err != nil || full {
		return err
	}
	_, err = w.ExecContext(w.ctx, `UPDATE secret SET giver = '', change = ? WHERE authority = ? AND id = ?`, w.next(), authority, id)
	return err
}

// shortage is a room in which something found no place.
type shortage struct {
	reason Reason
	room
}

// lack notes that something is to be asked for again when there is room.
func (w *writer) lack(why Reason, in room) {
	if w.short == nil {
		w.short = make(map[shortage]bool)
	}
	w.short[shortage{why, in}] = true
}

func (w *writer) writeShortages(authority event.AuthorityID) error {
	for s := range w.short {
		_, err := w.ExecContext(w.ctx, `INSERT OR IGNORE INTO crowded (authority, peer, reason, maker, origin) VALUES (?, ?, ?, ?, ?)`,
			authority, w.peer, s.reason, s.maker, s.origin)
		if err != nil {
			return err
		}
	}
	return nil
}

// Tidy lets go of keys that do not open here and that only sites gave which the authority does not allow any more, if
// they are many; and where there is room again for what was refused, it is asked for again. Call it when the policy has
// changed, and now and then: it is cheap when nothing is to be done.
func (r *Ring) Tidy(ctx context.Context, authority event.AuthorityID) error {
	_, orphans, err := r.orphans(ctx, r.db, authority)
	var lacking bool
	if err == nil {
		lacking, err = exists(ctx, r.db, `SELECT 1 FROM crowded WHERE authority = ?`, authority)
	}
	if err == nil && (lacking || orphans > maxOrphans) {
		err = r.write(ctx, func(w *writer) error { return w.tidy(authority) })
	}
	if err != nil {
		return fmt.Errorf("tidy the keys of %s: %w", authority, err)
	}
	return nil
}

func (w *writer) tidy(authority event.AuthorityID) error {
	givers, n, err := w.ring.orphans(w.ctx, w, authority)
	if err != nil {
		return err
	}
	if n > maxOrphans {
		for _, giver := range givers {
			if err := w.letGo(authority, giver); err != nil {
				return err
			}
		}
	}
	// What found no room among the keys that open, when their authority key came.
	late, err := column[event.KeyID](w.ctx, w, `SELECT DISTINCT by FROM secret s WHERE authority = ?1 AND giver <> '' AND EXISTS (
		SELECT 1 FROM box b WHERE b.authority = ?1 AND b.id = s.by AND b.site = ?2)`, authority, w.ring.self)
	for _, by := range late {
		if err := w.settle(authority, by); err != nil {
			return err
		}
	}
	return errors.Join(err, w.askForRefused(authority))
}

// orphans returns who gave keys that do not open here and is not allowed any more, and how many there are. Keys of which nobody
// knows who gave them are nobody's orphans.
func (r *Ring) orphans(ctx context.Context, q querier, authority event.AuthorityID) (givers []event.SiteID, n int, err error) {
	rows, err := q.QueryContext(ctx, `SELECT giver, count(*) FROM secret WHERE authority = ? AND giver <> '' AND giver <> ?
		GROUP BY giver`, authority, unknownGiver)
	if err != nil {
		return nil, 0, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var giver event.SiteID
		var keys int
		if err := rows.Scan(&giver, &keys); err != nil {
			return nil, 0, err
		}
		if !r.trusts(authority, giver) {
			givers = append(givers, giver)
			n += keys
		}
	}
	return givers, n, nil
}

// letGo takes away the keys that a site gave and that do not open here. An authority key that opens one of them brings it
// back, since everything is asked for again with it.
func (w *writer) letGo(authority event.AuthorityID, giver event.SiteID) error {
	_, err := w.ExecContext(w.ctx, `UPDATE vault SET sealed = zeroblob(length(sealed)) WHERE slot IN (
		SELECT slot FROM secret WHERE authority = ? AND giver = ? AND giver <> '')`, authority, giver)
	if err != nil {
		return err
	}
	w.burnt = true
	_, err = w.ExecContext(w.ctx, `DELETE FROM secret WHERE authority = ? AND giver = ? AND giver <> ''`, authority, giver)
	return err
}

// askForRefused makes this site ask those peers for everything again of whom it has refused something for which there is
// room now.
func (w *writer) askForRefused(authority event.AuthorityID) error {
	again, err := w.peersWithRoom(authority)
	for _, peer := range again {
		for _, table := range []string{"cursor", "crowded"} {
			_, err := w.ExecContext(w.ctx, `DELETE FROM `+table+` WHERE authority = ? AND peer = ?`, authority, peer)
			if err != nil {
				return err
			}
		}
	}
	return err
}

func (w *writer) peersWithRoom(authority event.AuthorityID) (peers []event.SiteID, err error) {
	if err := errors.Join(w.countBoxes(authority), w.countKeys(authority)); err != nil {
		return nil, err
	}
	rows, err := w.QueryContext(w.ctx, `SELECT peer, reason, maker, origin FROM crowded WHERE authority = ?`, authority)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var peer event.SiteID
		var s shortage
		if err := rows.Scan(&peer, &s.reason, &s.maker, &s.origin); err != nil {
			return nil, err
		}
		if s.reason == refusedKeys && w.keys < w.ring.maxKeys || s.reason == refusedBoxes && w.made[s.room] < maxBoxes {
			peers = append(peers, peer)
		}
	}
	return peers, nil
}
