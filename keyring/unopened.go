// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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

// sealedKeyBytes is how long every sealed key is. What has another length opens nowhere; what goes leaves room for others of its length alone.
const sealedKeyBytes = 61

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
	if len(rec.Sealed) != sealedKeyBytes {
		w.refuse(refusedForm)
		return nil
	}
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
	slot, err := w.putAgain(rec.Sealed)
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

// settledAtOnce is how many keys that do not open are looked at in one transaction. Everybody else waits for its end.
const settledAtOnce = 1000

// unsettled stands among the shortages while keys that do not open have to be looked at again.
const unsettled Reason = "unsettled"

// unopenedKey is a key that waits for an authority key.
type unopenedKey struct {
	giver  event.SiteID
	id, by event.KeyID
}

// opened is called when this site can open the boxes of an authority key that it could not open before: everything is looked
// at again. Records that could not be checked come anew, those that wait here are settled after the transaction, and
// subscribers hear of what became readable.
func (w *writer) opened(authority event.AuthorityID, id event.KeyID) error {
	return errors.Join(w.askAgain(authority), w.lookAgain(authority, id))
}

// openedBy is opened for a box that has come. Who made it may have everything asked for again a few times an hour:
// what was refused for lack of the key, or dropped because a false one did not open it, is not known by the key's id
// any more. Beyond that it is noted, and Tidy does it within asksPause.
func (w *writer) openedBy(authority event.AuthorityID, maker event.SiteID, id event.KeyID) error {
	ask := w.askLater
	if w.ring.mayAsk(authority, maker) {
		ask = w.askNow
	}
	return errors.Join(ask(authority), w.lookAgain(authority, id))
}

// lookAgain is what opened does with what is here.
func (w *writer) lookAgain(authority event.AuthorityID, id event.KeyID) error {
	w.ring.forgetHeldOf(authority, id)
	w.renamed = true
	waits, err := exists(w.ctx, w, waitsFor, authority, id)
	if err != nil {
		return err
	}
	if waits {
		if !slices.Contains(w.settles, authority) {
			w.settles = append(w.settles, authority)
		}
		err = w.noteUnsettled(authority)
	}
	return errors.Join(err, w.tellAll(authority, id, false))
}

// Bounds of how often boxes have everything asked for again: their content cannot say whether that is worth it, since
// whoever makes a box can make a key that waits for it. Honest makers seal all keys that they hold to a site that
// joins, one after the other, and renew the authority's key now and then.
const (
	asksPause   = time.Hour
	asksOfMaker = 4
	// asksOfOthers is asksOfMaker for all makers together that the authority does not allow, and for what was noted.
	asksOfOthers = 1
)

// asks is how often everything was asked for again since the beginning of an asksPause.
type asks struct {
	since time.Time
	times int
}

// askingMaker names a budget: of a maker that the authority allows, or ("") of all others.
type askingMaker struct {
	authority event.AuthorityID
	maker     event.SiteID
}

// mayAsk reports whether a box of the maker may have everything asked for again now, and counts it.
func (r *Ring) mayAsk(authority event.AuthorityID, maker event.SiteID) bool {
	by, most := askingMaker{authority, maker}, asksOfMaker
	if !r.trusts(authority, maker) {
		by.maker, most = "", asksOfOthers
	}
	now := r.cfg.Now()
	r.cache.Lock()
	defer r.cache.Unlock()
	a, known := r.asked[by]
	if !known || now.Sub(a.since).Abs() >= asksPause {
		a = asks{since: now}
	}
	if a.times >= most {
		return false
	}
	a.times++
	r.asked[by] = a
	return true
}

// askedLate stands among the shortages while everything has to be asked for again, when it is time.
const askedLate Reason = "again"

func (w *writer) askLater(authority event.AuthorityID) error {
	return w.note(authority, askedLate)
}

// askNow asks for everything again, also on behalf of what was noted before.
func (w *writer) askNow(authority event.AuthorityID) error {
	_, err := w.ExecContext(w.ctx, `DELETE FROM crowded WHERE authority = ? AND reason = ?`, authority, askedLate)
	return errors.Join(err, w.askAgain(authority))
}

// askForLate does what was noted, if it is time.
func (w *writer) askForLate(authority event.AuthorityID) error {
	late, err := exists(w.ctx, w, `SELECT 1 FROM crowded WHERE authority = ? AND reason = ?`, authority, askedLate)
	if err != nil || !late || !w.ring.mayAsk(authority, "") {
		return err
	}
	return w.askNow(authority)
}

func (w *writer) noteUnsettled(authority event.AuthorityID) error {
	return w.note(authority, unsettled)
}

// note puts something among the shortages that is no peer's.
func (w *writer) note(authority event.AuthorityID, what Reason) error {
	_, err := w.ExecContext(w.ctx, `INSERT OR IGNORE INTO crowded (authority, peer, reason, maker, origin)
		VALUES (?, '', ?, '', '')`, authority, what)
	return err
}

// settle looks at the keys again that do not open here: those whose authority key is here now are keys like all others from
// then on, or go if it does not open them. It does so in portions. What it leaves undone, for want of room or because ctx
// ends, is done by Tidy.
func (r *Ring) settle(ctx context.Context, authority event.AuthorityID) error {
	// The note goes first: a box that comes meanwhile makes its own.
	err := r.write(ctx, func(w *writer) error {
		_, err := w.ExecContext(ctx, `DELETE FROM crowded WHERE authority = ? AND reason = ?`, authority, unsettled)
		return err
	})
	var last unopenedKey
	for more := true; more && err == nil; {
		err = r.write(ctx, func(w *writer) (err error) {
			last, more, err = w.settleSome(authority, last)
			return errors.Join(err, w.writeShortages(authority), w.writeRefusals(authority))
		})
	}
	if err == nil {
		return nil
	}
	again := r.write(context.WithoutCancel(ctx), func(w *writer) error { return w.noteUnsettled(authority) })
	return errors.Join(fmt.Errorf("look at the keys of %s that did not open: %w", authority, err), again)
}

// settleSome is settle for a portion. It returns its last key, and whether to go on behind it.
func (w *writer) settleSome(authority event.AuthorityID, after unopenedKey) (last unopenedKey, more bool, err error) {
	list, err := w.unopenedAfter(authority, after)
	if err != nil {
		return after, false, err
	}
	boxes := make(map[event.KeyID][]heldKey)
	for _, k := range list {
		held, known := boxes[k.by]
		if !known {
			// Nobody is asked who is believed: a Ring that is being opened cannot ask.
			if held, err = w.ring.openBoxes(w.ctx, w, authority, k.by); err != nil {
				return after, false, err
			}
			boxes[k.by] = held
		}
		if len(held) == 0 {
			continue
		}
		if full, err := w.settleOne(authority, k, held); err != nil || full {
			return k, false, err
		}
	}
	if len(list) < settledAtOnce {
		return after, false, nil
	}
	return list[len(list)-1], true, nil
}

func (w *writer) unopenedAfter(authority event.AuthorityID, after unopenedKey) (list []unopenedKey, err error) {
	rows, err := w.QueryContext(w.ctx, `SELECT giver, id, by FROM secret WHERE authority = ? AND giver <> '' AND (giver, id) > (?, ?)
		ORDER BY giver, id LIMIT ?`, authority, after.giver, after.id, settledAtOnce)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var k unopenedKey
		if err := rows.Scan(&k.giver, &k.id, &k.by); err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// settleOne settles a key of which the authority keys are held that may open it, unless there is no room for it.
func (w *writer) settleOne(authority event.AuthorityID, k unopenedKey, held []heldKey) (full bool, err error) {
	row, err := findSecret(w.ctx, w, authority, k.id)
	if err != nil {
		return false, err
	}
	opens := slices.ContainsFunc(held, func(h heldKey) bool {
		_, err := openSecret(h.secret, authority, k.id, row.name, row.sealed)
		return err == nil
	})
	if !opens {
		return false, w.dropInvention(authority, k, row.slot)
	}
	w.peer = k.giver // it is their key that finds no room
	if full, err := w.keysFull(authority); err != nil || full {
		return full, errors.Join(err, w.noteUnsettled(authority))
	}
	_, err = w.ExecContext(w.ctx, `UPDATE secret SET giver = '', change = ? WHERE authority = ? AND id = ?`, w.next(), authority, k.id)
	w.renamed = w.renamed || row.name != ""
	w.news = append(w.news, Changed{authority, k.id, false})
	return false, err
}

// dropInvention takes away a key that the authority key which it names does not open, as such a key is refused when it comes
// later. One of which nobody knows who gave it stays: it may have been made here, and nobody else may have it.
func (w *writer) dropInvention(authority event.AuthorityID, k unopenedKey, slot int64) error {
	if k.giver == unknownGiver {
		return nil
	}
	if _, err := w.ExecContext(w.ctx, `DELETE FROM secret WHERE authority = ? AND id = ?`, authority, k.id); err != nil {
		return err
	}
	return w.burn(slot)
}

// settleAll settles what waits here although its authority key is here: a crash has come before, or a version that does not
// settle has taken the box.
func (r *Ring) settleAll(ctx context.Context) error {
	authorities, err := column[event.AuthorityID](ctx, r.db, `SELECT DISTINCT authority FROM secret WHERE giver <> ''`)
	for _, authority := range authorities {
		err = errors.Join(err, r.settle(ctx, authority))
	}
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
// they are many; and where there is room again for what was refused, it is asked for again, as is what may open since
// a box came that could not have it asked for at once. Call it when the policy has changed, and now and then: it is
// cheap when nothing is to be done.
func (r *Ring) Tidy(ctx context.Context, authority event.AuthorityID) error {
	_, orphans, err := r.orphans(ctx, r.db, authority)
	var lacking bool
	if err == nil {
		lacking, err = exists(ctx, r.db, `SELECT 1 FROM crowded WHERE authority = ?`, authority)
	}
	if err == nil && lacking {
		err = r.settleLate(ctx, authority)
	}
	if err == nil && (lacking || orphans > maxOrphans) {
		err = r.write(ctx, func(w *writer) error { return w.tidy(authority) })
	}
	if err != nil {
		return fmt.Errorf("tidy the keys of %s: %w", authority, err)
	}
	return nil
}

// settleLate settles what found no room among the keys that open, if there is some now.
func (r *Ring) settleLate(ctx context.Context, authority event.AuthorityID) error {
	late, err := exists(ctx, r.db, `SELECT 1 FROM crowded WHERE authority = ? AND reason = ?`, authority, unsettled)
	if err != nil || !late {
		return err
	}
	full := false
	err = r.write(ctx, func(w *writer) error {
		err := w.countKeys(authority)
		full = w.keys >= r.maxKeys
		return err
	})
	if err != nil || full {
		return err
	}
	return r.settle(ctx, authority)
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
	return errors.Join(w.askForLate(authority), w.askForRefused(authority))
}

// orphans returns who gave keys that do not open here and is not allowed any more, and how many there are. It goes from giver
// to giver, and counts no keys of those that are allowed. Keys of which nobody knows who gave them are nobody's orphans.
func (r *Ring) orphans(ctx context.Context, q querier, authority event.AuthorityID) (givers []event.SiteID, n int, err error) {
	for giver := event.SiteID(""); ; {
		err := q.QueryRowContext(ctx, `SELECT coalesce(min(giver), '') FROM secret WHERE authority = ? AND giver > ? AND giver <> ''`,
			authority, giver).Scan(&giver)
		if err != nil || giver == "" {
			return givers, n, err
		}
		if giver == unknownGiver || r.trusts(authority, giver) {
			continue
		}
		var keys int
		err = q.QueryRowContext(ctx, `SELECT count(*) FROM secret WHERE authority = ? AND giver = ? AND giver <> ''`, authority, giver).Scan(&keys)
		if err != nil {
			return nil, 0, err
		}
		givers = append(givers, giver)
		n += keys
	}
}

// letGo takes away the keys that a site gave and that do not open here. An authority key that opens one of them brings it
// back, since everything is asked for again with it.
func (w *writer) letGo(authority event.AuthorityID, giver event.SiteID) error {
	_, err := w.takeAway(`secret WHERE authority = ? AND giver = ? AND giver <> ''`, authority, giver)
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
