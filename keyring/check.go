// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/salvage"
)

// watch is what a Ring knows of its own file.
type watch struct {
	path      string // "" for one in memory
	board     *health.Board
	suspected atomic.Bool // a reader has met a damaged page
}

// OpenChecked is Open for a file that is checked first. One that is damaged is set aside, everything that can be read of it is
// put into a fresh file, and what is missing then comes from other sites, because the fresh file asks them for everything. That
// is told to the board, and returned, also of an earlier repair of which nobody was told; it is nil for a file that is in order, new,
// or in memory. It reads the whole file.
func OpenChecked(path string, cfg Config, board *health.Board) (*Ring, *salvage.Damage, error) {
	var found *salvage.Damage
	if path != ":memory:" {
		var err error
		if found, err = fileAt(path).Repair(cfg.Now()); err != nil {
			return nil, nil, fmt.Errorf("check the keyring %s: %w", path, err)
		}
	}
	r, err := Open(path, cfg)
	if err != nil {
		return nil, nil, err
	}
	r.watch.board = board
	if path != ":memory:" {
		r.watch.path = path
	}
	if found != nil {
		board.Tell(health.Condition{Store: health.Keyring, Cause: health.Damaged,
			Message: fmt.Sprintf("the keyring on this site's disk was damaged (%s); %d rows of it could be read", found.Reason, found.Rows),
			Doing:   "the keys that are missing are fetched from the other sites", WayOut: "check this machine's disk and memory"})
		if err := salvage.Forget(context.Background(), r.db); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("open the keyring %s: %w", path, err), r.Close())
		}
		r.keepLayout(path)
	}
	r.tellAside()
	return r, found, nil
}

// maxAside is how many damaged files are kept.
const maxAside = 3

// fileAt returns the keyring at path as a file that can be repaired.
func fileAt(path string) salvage.File {
	return salvage.File{Path: path, Schema: schema, Finish: leaveBehind(), Unread: nothingRead, Keep: maxAside}
}

// nothingRead asks of a fresh file whether of no key, or of no box with an authority key, both row and bytes were read: without
// either no key opens.
const nothingRead = `SELECT NOT EXISTS (SELECT 1 FROM secret JOIN vault USING (slot) WHERE erased = 0)
	OR NOT EXISTS (SELECT 1 FROM box JOIN vault USING (slot))`

// keepLayout keeps where the tables of the file lie. A site without that opens all the same: it is written at the next opening.
func (r *Ring) keepLayout(path string) {
	if path == ":memory:" {
		return
	}
	if err := fileAt(path).KeepLayout(context.Background(), r.db); err != nil {
		r.cfg.Logger.Warn("where the tables of the keyring lie was not written down; a repair would look where a new file has them", "error", err)
	}
}

// leaveBehind drops what has lost its secret, because a key without its bytes would count as held; secrets that have lost their
// row, because no erasure would find them; and what belongs to one opening of the file, so that this site asks the others for
// everything, and they ask it.
func leaveBehind() string {
	return damagedBoxes() + `
	DELETE FROM secret WHERE erased = 0 AND slot NOT IN (SELECT slot FROM vault);
	DELETE FROM box WHERE slot NOT IN (SELECT slot FROM vault);
	DELETE FROM damaged_box WHERE slot NOT IN (SELECT slot FROM vault);
	UPDATE vault SET sealed = zeroblob(length(sealed)) WHERE ` + lost + `;
	DELETE FROM vault WHERE ` + lost + `;
	DELETE FROM cursor; DELETE FROM epoch; DELETE FROM counter;
	INSERT INTO counter VALUES (1, max((SELECT coalesce(max(change), 0) FROM secret), (SELECT coalesce(max(change), 0) FROM box)))`
}

// lost says of bytes that no row points to them any more. It needs no index: a fresh file has none yet.
const lost = `slot NOT IN (SELECT slot FROM secret UNION SELECT slot FROM box UNION SELECT slot FROM damaged_box)`

// burnAside destroys the damaged files that are kept, because what is erased or dropped must not survive in one of them. What
// could be read of them is in the keyring. One of which nothing could be read may be the only copy of all other keys: whether it
// goes is a person's decision (see tellAside).
func (r *Ring) burnAside() error {
	if r.watch.path == "" {
		return nil
	}
	files, err := fileAt(r.watch.path).Aside()
	for _, file := range files {
		if !salvage.IsUnread(file) {
			err = errors.Join(err, salvage.Burn(file))
		}
	}
	if err != nil {
		return fmt.Errorf("destroy a damaged keyring that was kept: %w", err)
	}
	return nil
}

// tellAside tells of the damaged files that are kept.
func (r *Ring) tellAside() {
	if r.watch.path == "" {
		return
	}
	files, err := fileAt(r.watch.path).Aside()
	if err != nil {
		return // the next check looks again
	}
	list := make([]health.Condition, 0, len(files))
	for _, f := range files {
		c := health.Condition{Detail: filepath.Base(f), Message: "a damaged keyring is kept beside the new one",
			Doing:  "it is destroyed when the next key is erased here, because an erased key must not survive in it",
			WayOut: "delete the file when no keys are missing any more"}
		if salvage.IsUnread(f) {
			c.Message = "a damaged keyring of which no keys could be read is kept beside the new one, and may be the only copy of them"
			c.Doing = "it is not destroyed when keys are erased here, so that an erased key may survive in it"
		}
		list = append(list, c)
	}
	r.watch.board.Replace(health.Keyring, health.SetAside, list)
}

// unreadable turns a trouble of the keyring's file into ErrMissing: the key may come back, and nobody stops for it. The board and
// the next Check learn what is wrong. Other errors stay as they are.
func (r *Ring) unreadable(err error) error {
	f := fault.OfDisk(err)
	if f == nil {
		return err
	}
	r.watch.suspected.Store(true)
	if r.watch.board != nil {
		r.watch.board.Tell(failing(f))
	}
	return ErrMissing.Because("%s", f.Message)
}

func failing(f *fault.Fault) health.Condition {
	return health.Condition{Store: health.Keyring, Cause: health.Failing, Blocks: true,
		Message: "the keyring of this site cannot be read: " + f.Message, Doing: "what needs no key goes on; the file is checked",
		WayOut: "look at the data disk of this machine"}
}

// Suspected reports whether a reader has met trouble since the last Check.
func (r *Ring) Suspected() bool { return r.watch.suspected.Load() }

// checkedAtOnce is how many keys Check opens between two rests.
const checkedAtOnce = 2000

// ErrDamaged is returned by Check for a file that must be opened anew with OpenChecked, which repairs it.
var ErrDamaged = fault.New(fault.Unavailable, "keyring.damaged", "the keyring on this site's disk is damaged",
	"use another site for a moment: the file is repaired when it is opened anew; check this machine's disk and memory")

// Check reads the whole file back: its form, and every key, by opening it. A key that does not open although this site has the
// authority's key is damaged: it is restored if a single byte was changed, else it counts as missing from then on and all other
// sites are asked for everything again. Check returns how many keys were damaged, and ErrDamaged if the file as such is. It calls
// rest now and then, which may wait and whose error ends the check.
func (r *Ring) Check(ctx context.Context, rest func(context.Context) error) (damaged int, err error) {
	suspected := r.watch.suspected.Swap(false)
	reason, err := salvage.Integrity(ctx, r.db)
	if err != nil {
		return 0, fmt.Errorf("check the keyring: %w", err)
	}
	if reason != "" {
		r.watch.suspected.Store(true)
		return 0, ErrDamaged.Because("%s", reason)
	}
	left := r.payOff(ctx) // nothing else stays unchecked for it
	r.tellAside()
	err = r.burnLeftovers(ctx, rest)
	if err == nil {
		damaged, err = r.checkBoxes(ctx)
	}
	if err == nil {
		var keys int
		keys, err = r.checkKeys(ctx, rest)
		damaged += keys
	}
	if err = errors.Join(err, left); err != nil {
		return damaged, fmt.Errorf("check the keyring: %w", err)
	}
	r.watch.board.Mend(health.Keyring, health.Failing, "")
	if suspected {
		r.subs.tell([]Changed{{}}, true) // whoever was told that a key is missing looks again
	}
	return damaged, nil
}

// slotsAtOnce is how many slots of the vault Check looks at in one transaction: nobody else gets the connection meanwhile.
const slotsAtOnce = 5000

// burnLeftovers burns bytes that no row points to: earlier versions left those of keys that they gave up, and a row that named
// another one's slot has left its own.
func (r *Ring) burnLeftovers(ctx context.Context, rest func(context.Context) error) error {
	for after := int64(math.MinInt64); ; {
		var last sql.NullInt64
		err := r.write(ctx, func(w *writer) error {
			err := w.QueryRowContext(ctx, `SELECT max(slot) FROM (SELECT slot FROM vault WHERE slot > ? ORDER BY slot LIMIT ?)`,
				after, slotsAtOnce).Scan(&last)
			if err != nil || !last.Valid {
				return err
			}
			_, err = w.burnLost(`slot > ? AND slot <= ? AND sealed <> zeroblob(length(sealed))`, after, last.Int64)
			return err
		})
		if err != nil || !last.Valid {
			return err
		}
		after = last.Int64
		if err := rest(ctx); err != nil {
			return err
		}
	}
}

// place names a key.
type place keyName

func (r *Ring) checkKeys(ctx context.Context, rest func(context.Context) error) (damaged int, err error) {
	var after place
	for {
		batch, err := r.keysAfter(ctx, after)
		if err != nil || len(batch) == 0 {
			return damaged, err
		}
		for _, p := range batch {
			bad, err := r.checkKey(ctx, p)
			if err != nil {
				return damaged, err
			}
			if bad {
				damaged++
			}
		}
		after = batch[len(batch)-1]
		if err := rest(ctx); err != nil {
			return damaged, err
		}
	}
}

func (r *Ring) keysAfter(ctx context.Context, after place) ([]place, error) {
	return places(ctx, r.db, `SELECT authority, id FROM secret WHERE giver = '' AND (erased <= 0 OR slot > 0)
		AND (authority, id) > (?, ?) ORDER BY authority, id LIMIT ?`, after.authority, after.id, checkedAtOnce)
}

// places returns the rows of a query for an authority and an id.
func places(ctx context.Context, q querier, query string, args ...any) (list []place, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.authority, &p.id); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// checkKey reports whether a key is damaged, and repairs it or gives it up.
func (r *Ring) checkKey(ctx context.Context, p place) (damaged bool, err error) {
	r.fill.Lock()
	_, err = r.load(ctx, p.authority, p.id)
	r.fill.Unlock()
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, ErrMissing) && !errors.Is(err, ErrErased) {
		return false, err
	}
	row, err := findSecret(ctx, r.db, p.authority, p.id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil // it was dropped meanwhile
	}
	if err != nil {
		return false, err
	}
	if row.erased != 0 {
		return r.checkErased(ctx, p, row)
	}
	whole, ok, err := r.wholeKey(ctx, p, row)
	if err != nil {
		return false, nil // without the authority's key nobody can tell
	}
	if ok {
		return true, r.settleDamage(ctx, keyDetail(p), true, func(w *writer) (bool, error) { return w.restore(p, row.slot, whole) })
	}
	rec, ok, err := r.trueRecord(ctx, p, row)
	if err != nil {
		return false, nil // as above
	}
	return true, r.settleDamage(ctx, keyDetail(p), ok, func(w *writer) (bool, error) {
		if ok {
			return w.rename(p, row.slot, rec)
		}
		return w.giveUp(p, row.slot)
	})
}

// wholeKey returns what is sealed of a damaged key as it was, if a single byte of it was changed, or none.
func (r *Ring) wholeKey(ctx context.Context, p place, row secretRow) (whole []byte, ok bool, err error) {
	held, err := r.authorityKeys(ctx, r.db, p.authority, row.by)
	if err != nil {
		return nil, false, err
	}
	opens := func(sealed []byte) bool {
		return slices.ContainsFunc(held, func(h heldKey) bool {
			_, err := openSecret(h.secret, p.authority, p.id, row.name, sealed)
			return err == nil
		})
	}
	if opens(row.sealed) {
		return row.sealed, true, nil
	}
	whole, ok = byTrial(row.sealed, anyByte, opens)
	return whole, ok, nil
}

func keyDetail(p place) string { return fmt.Sprintf("key %s of %s", p.id, p.authority) }

// checkBoxes does for the authority keys that are sealed to this site what checkKey does for the others. What can be mended is
// mended first: whether one of the rest is the last copy shows only then.
func (r *Ring) checkBoxes(ctx context.Context) (damaged int, err error) {
	boxes, err := r.ownBoxes(ctx)
	if err != nil {
		return 0, err
	}
	var shut, lost []ownBox
	for _, b := range boxes {
		opens, err := r.checkBox(ctx, b)
		if err != nil {
			return 0, err
		}
		if !opens {
			shut = append(shut, b)
		}
	}
	for _, b := range shut {
		mended, err := r.mendBox(ctx, b)
		if err != nil {
			return len(shut), err
		}
		if !mended {
			lost = append(lost, b)
		}
	}
	for _, b := range lost {
		err := r.settleDamage(ctx, boxDetail(b), false, func(w *writer) (bool, error) { return w.settleLostBox(b) })
		if err != nil {
			return len(shut), err
		}
	}
	return len(shut), r.reviewKeptBoxes(ctx)
}

func boxDetail(b ownBox) string { return "the authority's " + keyDetail(b.place) }

// checkBox reports whether a box opens. A box for this site is stored only if it does.
func (r *Ring) checkBox(ctx context.Context, b ownBox) (opens bool, err error) {
	secret, err := r.openBox(b.authority, b.record)
	if err != nil {
		return false, nil
	}
	if b.genuine && !gives(b.authority, secret, b.id) { // it came before the true one
		err = r.write(ctx, func(w *writer) error { _, err := w.giveUpBox(b); return err })
	}
	return true, err
}

// mendBox reports whether a damaged box was mended by trial.
func (r *Ring) mendBox(ctx context.Context, b ownBox) (mended bool, err error) {
	if whole, ok := r.wholeBox(b); ok {
		return true, r.settleDamage(ctx, boxDetail(b), true, func(w *writer) (bool, error) { return w.restoreBox(b, whole) })
	}
	locked, err := r.lockedBy(ctx, r.db)
	if err != nil {
		return false, err
	}
	to, ok := r.truePlace(b, locked)
	if !ok {
		return false, nil
	}
	return true, r.settleDamage(ctx, boxDetail(b), true, func(w *writer) (bool, error) { return w.moveBox(b, to) })
}

// wholeBox returns the record of a damaged box as it was, if only its digest was changed, of which the id is a part, or a single bit
// of the sealed key.
func (r *Ring) wholeBox(b ownBox) (whole Record, ok bool) {
	whole = b.record
	if secret, err := r.openSealed(b.authority, whole); err == nil {
		whole.Digest = digestOf(b.authority, secret)
		return whole, idOf(whole.Digest) == b.id
	}
	whole.Sealed, ok = byTrial(b.record.Sealed, anyBit, func(sealed []byte) bool {
		whole.Sealed = sealed
		_, err := r.openBox(b.authority, whole)
		return err == nil
	})
	return whole, ok
}

// ownBox is an authority key that is sealed to this site.
type ownBox struct {
	place
	slot    int64
	record  Record
	genuine bool // a secret was here that gives the id
}

func (r *Ring) ownBoxes(ctx context.Context) (list []ownBox, err error) {
	rows, err := r.db.QueryContext(ctx, `SELECT b.authority, b.id, b.slot, b.maker, b.generation, b.origin, b.digest, v.sealed,
		EXISTS (SELECT 1 FROM genuine g WHERE g.authority = b.authority AND g.id = b.id)
		FROM box b JOIN vault v ON v.slot = b.slot WHERE b.site = ? ORDER BY b.authority, b.id, b.maker`, r.self)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var b ownBox
		rec := &b.record
		err := rows.Scan(&b.authority, &b.id, &b.slot, &rec.Maker, &rec.Generation, &rec.Origin, &rec.Digest, &rec.Sealed, &b.genuine)
		if err != nil {
			return nil, err
		}
		rec.ID, rec.Site = b.id, r.self
		list = append(list, b)
	}
	return list, nil
}

// settleDamage carries out what was decided about a damaged record, and tells it. What was erased or replaced since it was read,
// as do reports, is nobody's damage any more.
func (r *Ring) settleDamage(ctx context.Context, detail string, restored bool, do func(*writer) (bool, error)) error {
	still := false
	err := r.write(ctx, func(w *writer) (err error) {
		still, err = do(w)
		return err
	})
	if err != nil || !still {
		return err
	}
	c := health.Condition{Store: health.Keyring, Cause: health.Damaged, Detail: detail, Message: "a key in the keyring is damaged",
		Doing: "it is fetched again from the other sites", WayOut: "check this machine's disk and memory"}
	if restored {
		c.Doing = "a single change in it was found by trial, and the key is whole again"
	}
	r.watch.board.Tell(c)
	if restored {
		r.watch.board.Mend(c.Store, c.Cause, c.Detail)
	}
	return nil
}

// restore makes a key whole, if it is still the one that was read: an erasure in between has burnt it for ever, and its row names no
// slot any more.
func (w *writer) restore(p place, slot int64, sealed []byte) (still bool, err error) {
	return w.changes(`UPDATE vault SET sealed = ? WHERE slot = ? AND EXISTS (
		SELECT 1 FROM secret WHERE authority = ? AND id = ? AND slot = vault.slot)`, sealed, slot, p.authority, p.id)
}

// restoreBox makes a box whole. What came while it did not open is looked at again, as when a box comes.
func (w *writer) restoreBox(b ownBox, whole Record) (still bool, err error) {
	if still, err = w.hasBox(b); err != nil || !still {
		return still, err
	}
	_, err = w.ExecContext(w.ctx, `UPDATE box SET digest = ? WHERE authority = ? AND id = ? AND site = ? AND maker = ?`,
		bytesOf(whole.Digest), b.authority, b.id, whole.Site, whole.Maker)
	if err != nil {
		return false, err
	}
	if _, err := w.ExecContext(w.ctx, `UPDATE vault SET sealed = ? WHERE slot = ?`, whole.Sealed, b.slot); err != nil {
		return false, err
	}
	return true, w.opened(b.authority, b.id)
}

// giveUp makes a key that does not open a missing one, if it is still the one that was read. All other sites are asked for
// everything again. Its bytes are burnt: they are nearly those of the key, and no later erasure would find them.
func (w *writer) giveUp(p place, slot int64) (still bool, err error) {
	still, err = w.changes(`DELETE FROM secret WHERE authority = ? AND id = ? AND slot = ? AND (erased = 0 OR slot > 0)`, p.authority, p.id, slot)
	if err != nil || !still {
		return still, err
	}
	w.gone = append(w.gone, keyName(p))
	w.news = append(w.news, Changed{Authority: p.authority, KeyID: p.id})
	return true, errors.Join(w.burn(slot), w.askAgain(p.authority))
}

func (w *writer) giveUpBox(b ownBox) (still bool, err error) {
	if still, err = w.hasBox(b); err != nil || !still {
		return still, err
	}
	if err := w.unbox(b.authority, b.record, b.slot); err != nil {
		return false, err
	}
	return true, w.askAgain(b.authority)
}

// hasBox reports whether the box is still the one that was read.
func (w *writer) hasBox(b ownBox) (bool, error) {
	return exists(w.ctx, w, `SELECT 1 FROM box WHERE authority = ? AND id = ? AND site = ? AND maker = ? AND slot = ?`,
		b.authority, b.id, b.record.Site, b.record.Maker, b.slot)
}

// changes runs a statement and reports whether it has changed anything.
func (w *writer) changes(query string, args ...any) (bool, error) {
	res, err := w.ExecContext(w.ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func (w *writer) askAgain(authority event.AuthorityID) error {
	_, err := w.ExecContext(w.ctx, `DELETE FROM cursor WHERE authority = ?`, authority)
	return err
}

// anyBit are the changes that are tried of a box, which takes a hundred times as long to open as a key; anyByte those of a key.
var (
	anyBit  = []byte{1, 2, 4, 8, 16, 32, 64, 128}
	anyByte = func() (all []byte) {
		for change := 1; change < 256; change++ {
			all = append(all, byte(change))
		}
		return all
	}()
)

// byTrial looks for the one change in one byte that a disk may have made: what is sealed carries its proof, so trying all is safe.
// It takes about 20 ms for a key, and 100 ms for a box.
func byTrial(sealed, changes []byte, opens func([]byte) bool) (whole []byte, ok bool) {
	try := bytes.Clone(sealed)
	for i := range try {
		for _, c := range changes {
			try[i] ^= c
			if opens(try) {
				return try, true
			}
			try[i] ^= c
		}
	}
	return nil, false
}

// discard is a board for a ring that nobody has given one.
func discard(cfg Config) *health.Board {
	return health.NewBoard(cfg.Now, slog.New(slog.DiscardHandler))
}
