// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// writer is one transaction on the keyring: it gives out change numbers and notes what the world must hear afterwards.
type writer struct {
	*sql.Tx
	ctx    context.Context
	ring   *Ring
	change int64
	// news is for subscribers, gone must leave the caches.
	news []Changed
	gone []keyName
	// dropped authorities leave the caches as a whole.
	dropped []event.AuthorityID
	// burnt is set when secret bytes were overwritten: the write-ahead log must go too.
	burnt bool
	// shreds is set when keys were erased or dropped, which must not be in a damaged file either.
	shreds bool
	// renamed is set when a shared key may now be another one.
	renamed bool
	// peer is who sent what is being merged; demanded are the marks among it that have to be judged.
	peer     event.SiteID
	demanded []event.KeyID
	// refused counts what was left out, by reason.
	refused map[Reason]int
	// made counts the boxes in each room, once it was asked for.
	made map[room]int
	// idle are the boxes that give way in a full room, once it was asked for.
	idle map[room][]boxRow
	// waits is how many demands there are because of the peer, -1 as long as nobody has asked.
	waits int
	// keys is how many keys that open and marks the authority has here, unopened how many others there are in the peer's
	// room; -1 as long as nobody has asked.
	keys, unopened int
	// short are the rooms in which something found no place.
	short map[shortage]bool
	// settles are the authorities of which keys that wait here may open now.
	settles []event.AuthorityID
	// told and heldBack are reported when the transaction is through.
	told     []Refusal
	heldBack []Demand
	// prepared are the statements that the transaction has used: a merge runs the same few thousands of times.
	prepared map[string]*sql.Stmt
}

// ExecContext runs a statement that the transaction keeps for the next time.
func (w *writer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := w.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (w *writer) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := w.prepared[query]; ok {
		return s, nil
	}
	s, err := w.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if w.prepared == nil {
		w.prepared = make(map[string]*sql.Stmt)
	}
	w.prepared[query] = s // the transaction closes it
	return s, nil
}

// QueryRowContext is ExecContext for a statement that answers one row.
func (w *writer) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := w.prepare(ctx, query)
	if err != nil {
		return w.Tx.QueryRowContext(ctx, query, args...) // it tells the error
	}
	return s.QueryRowContext(ctx, args...)
}

// write runs do in one synced transaction; then it clears the caches and the write-ahead log of what was erased, tells
// subscribers, and settles what may open now. After do's error nothing has happened. The damaged files that are kept go first, see burnAside.
func (r *Ring) write(ctx context.Context, do func(*writer) error) (err error) {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // a no-op after Commit; otherwise the first error is the one to tell
			r.forgetHeld()
		}
	}()
	w := &writer{Tx: tx, ctx: ctx, ring: r, waits: -1, keys: -1, unopened: -1}
	if err := tx.QueryRowContext(ctx, `SELECT value FROM counter`).Scan(&w.change); err != nil {
		return err
	}
	before := w.change
	if err := do(w); err != nil {
		return err
	}
	if w.change != before {
		if _, err := tx.ExecContext(ctx, `UPDATE counter SET value = ?`, w.change); err != nil {
			return err
		}
	}
	// What is kept aside goes before the commit: after a crash behind it nobody would look there again for a key that bears its mark.
	// If the commit fails then, nothing was erased, and what could be read of those files is in the keyring still. If they cannot be
	// destroyed, the key is erased here all the same, that they are left is told, and it is tried again, see pay.
	var aside error
	if w.shreds {
		aside = r.owed.aside.pay(r.burnAside)
	}
	if err := tx.Commit(); err != nil {
		return errors.Join(err, aside)
	}
	r.purge(w)
	r.report(ctx, w)
	r.subs.tell(w.news, w.change != before)
	if w.burnt {
		// The marks are durable; a cancelled caller must not keep the bytes alive.
		err = r.forgetLog(ctx)
	}
	err = errors.Join(err, aside)
	for _, authority := range w.settles {
		err = errors.Join(err, r.settle(ctx, authority))
	}
	return err
}

// forget empties the write-ahead log, which still holds what was overwritten.
func (r *Ring) forget(ctx context.Context) error {
	var busy, frames, done int
	if err := r.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &done); err != nil {
		return fmt.Errorf("truncate the keyring's write-ahead log: %w", err)
	}
	if busy != 0 {
		return errors.New("truncate the keyring's write-ahead log: another process reads it")
	}
	return nil
}

// owed is what could not be destroyed when it should have been. Erase and Check try again until it is: a mark that is here already
// says nothing of bytes that are left. A restart empties the log anyway.
type owed struct{ log, aside debt }

// debt is one thing that is owed.
type debt struct {
	paying sync.Mutex // so that nobody's success, of before, takes away what somebody owes since
	open   atomic.Bool
}

func (d *debt) pay(do func() error) error {
	d.paying.Lock()
	defer d.paying.Unlock()
	err := do()
	d.open.Store(err != nil)
	return err
}

func (r *Ring) forgetLog(ctx context.Context) error {
	return r.owed.log.pay(func() error { return r.forget(context.WithoutCancel(ctx)) })
}

// payOff destroys what is owed.
func (r *Ring) payOff(ctx context.Context) (err error) {
	if r.owed.log.open.Load() {
		err = r.forgetLog(ctx)
	}
	if r.owed.aside.open.Load() {
		err = errors.Join(err, r.owed.aside.pay(r.burnAside))
	}
	return err
}

func (r *Ring) purge(w *writer) {
	if len(w.gone) == 0 && len(w.dropped) == 0 && !w.renamed {
		return
	}
	r.fill.Lock()
	defer r.fill.Unlock()
	r.cache.Lock()
	defer r.cache.Unlock()
	for _, name := range w.gone {
		delete(r.keys, name)
	}
	for _, authority := range w.dropped {
		for name := range r.keys {
			if name.authority == authority {
				delete(r.keys, name)
			}
		}
	}
	clear(r.named)
}

func (w *writer) next() int64 {
	w.change++
	return w.change
}

// put stores secret bytes and returns where.
func (w *writer) put(sealed []byte) (int64, error) {
	res, err := w.ExecContext(w.ctx, `INSERT INTO vault (sealed) VALUES (?)`, sealed)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// putAgain is put for what comes and goes: the bytes take the place of others of that length that were burnt, or the vault would grow
// with each of them. It is not for a key that opens: whoever has read such a key, and comes back to settle what it has found, knows by
// the slot whether it still is the one.
func (w *writer) putAgain(sealed []byte) (slot int64, err error) {
	err = w.QueryRowContext(w.ctx, againInVault, sealed, len(sealed), burntAtOnce).Scan(&slot)
	if errors.Is(err, sql.ErrNoRows) {
		return w.put(sealed)
	}
	return slot, err
}

// burntAtOnce is how many burnt slots putAgain looks at. All but those that damage has left are free: no record that comes is all zeros.
const burntAtOnce = 16

const againInVault = `UPDATE vault SET sealed = ?1 WHERE slot = (SELECT slot FROM (SELECT slot FROM vault
	WHERE length(sealed) = ?2 AND sealed = zeroblob(length(sealed)) ORDER BY slot DESC LIMIT ?3) AS vault WHERE TRUE` + isLost + `
	LIMIT 1) RETURNING slot`

// burn overwrites the secret bytes that a row has pointed to, which is gone by now or points elsewhere. They stay if another row
// points to them: of two rows one is damaged, and it must not destroy its neighbour's key. The check tells them apart, and burns
// what nobody's row points to afterwards.
func (w *writer) burn(slot int64) error {
	if slot == 0 {
		return nil
	}
	burnt, err := w.burnLost(`slot = ?`, slot)
	if err == nil && burnt == 0 {
		w.ring.watch.suspected.Store(true)
	}
	return err
}

const (
	lostBytes = `UPDATE vault SET sealed = zeroblob(length(sealed)) WHERE `
	isLost    = ` AND NOT EXISTS (SELECT 1 FROM secret s WHERE s.slot = vault.slot AND s.slot > 0)
		AND NOT EXISTS (SELECT 1 FROM box b WHERE b.slot = vault.slot)
		AND NOT EXISTS (SELECT 1 FROM damaged_box d WHERE d.slot = vault.slot)`
)

// burnLost overwrites, in place, bytes that no row points to: a row of the same size never moves. It returns of how many slots.
func (w *writer) burnLost(where string, args ...any) (slots int64, err error) {
	res, err := w.ExecContext(w.ctx, lostBytes+where+isLost, args...)
	if err != nil {
		return 0, err
	}
	slots, err = res.RowsAffected()
	w.burnt = w.burnt || slots > 0
	return slots, err
}

// takeAway deletes rows that point to secret bytes, and then overwrites what they have pointed to, as burn does. It returns how many
// rows there were.
func (w *writer) takeAway(rows string, args ...any) (n int, err error) {
	slots, err := column[string](w.ctx, w, `DELETE FROM `+rows+` RETURNING slot`, args...)
	if err != nil || len(slots) == 0 {
		return 0, err
	}
	list, err := json.Marshal(slots)
	if err != nil {
		return 0, err
	}
	burnt, err := w.burnLost(`slot IN (SELECT CAST(value AS INTEGER) FROM json_each(?))`, string(list))
	if err == nil && burnt < int64(len(slots)) {
		w.ring.watch.suspected.Store(true)
	}
	return len(slots), err
}

// newKey draws a key and stores it sealed by the given authority key.
func (w *writer) newKey(authority event.AuthorityID, name string, by Key) (Key, error) {
	secret, err := seal.NewKey(w.ring.cfg.Rand)
	if err != nil {
		return Key{}, err
	}
	id := ownID(authority, name, secret)
	sealed, err := by.Secret.Seal(w.ring.cfg.Rand, keyContext(authority, id, name), secret[:])
	if err != nil {
		return Key{}, err
	}
	return Key{id, secret}, w.insert(authority, Record{ID: id, Name: name, By: by.ID, Sealed: sealed})
}

func (w *writer) insert(authority event.AuthorityID, rec Record) error {
	slot, err := w.put(rec.Sealed)
	if err != nil {
		return err
	}
	if rec.Name != "" {
		w.renamed = true
	}
	_, err = w.ExecContext(w.ctx, `INSERT INTO secret (authority, id, name, by, slot, erased, change) VALUES (?, ?, ?, ?, ?, 0, ?)`,
		authority, rec.ID, rec.Name, rec.By, slot, w.next())
	return err
}

// mark sets the erasure mark that the record is, and destroys the key. A key that is marked already stays as it is.
func (w *writer) mark(authority event.AuthorityID, rec Record) error {
	row, err := findSecret(w.ctx, w, authority, rec.ID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil && row.erased != 0 {
		return nil
	}
	w.gone = append(w.gone, keyName{authority, rec.ID})
	w.news = append(w.news, Changed{authority, rec.ID, true})
	w.shreds = true
	_, err = w.ExecContext(w.ctx, `INSERT INTO secret (authority, id, name, by, slot, erased, change, maker, signature)
		VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET slot = 0, erased = excluded.erased, change = excluded.change, maker = excluded.maker,
			signature = excluded.signature, giver = ''`,
		authority, rec.ID, row.name, row.by, rec.Erased, w.next(), rec.Maker, bytesOf(rec.Signature))
	if err != nil {
		return err
	}
	return w.burn(row.slot)
}

// The keys that open here; those of them that one authority key seals; whether it seals any at all, and any that
// waits for it. The index leads to these, however many others there are: left to itself SQLite looks at every key of
// the authority.
const (
	livingKeys = `SELECT id FROM secret WHERE authority = ? AND erased = 0 AND giver = ''`
	sealedBy   = `SELECT id FROM secret INDEXED BY secret_by WHERE authority = ? AND by = ? AND erased = 0 AND giver = ''`
	usedBy     = `SELECT 1 FROM secret INDEXED BY secret_by WHERE authority = ? AND by = ? AND erased = 0`
	waitsFor   = `SELECT 1 FROM secret INDEXED BY secret_by WHERE authority = ? AND by = ? AND giver <> ''`
)

// tellAll notes all living keys of the authority, or those that one authority key seals, as news; not those that wait to be settled.
func (w *writer) tellAll(authority event.AuthorityID, by event.KeyID, erased bool) error {
	query, args := livingKeys, []any{authority}
	if by != "" {
		query, args = sealedBy, append(args, by)
	}
	ids, err := column[event.KeyID](w.ctx, w, query, args...)
	for _, id := range ids {
		w.news = append(w.news, Changed{authority, id, erased})
	}
	return err
}

type secretRow struct {
	name, by string
	slot     int64
	erased   int64
	sealed   []byte
	giver    event.SiteID // of a key that does not open here yet
}

// querier is what reading needs of a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func findSecret(ctx context.Context, q querier, authority event.AuthorityID, id event.KeyID) (secretRow, error) {
	var row secretRow
	err := q.QueryRowContext(ctx, `SELECT s.name, s.by, s.slot, s.erased, v.sealed, s.giver FROM secret s
		LEFT JOIN vault v ON v.slot = s.slot WHERE s.authority = ? AND s.id = ?`, authority, id).
		Scan(&row.name, &row.by, &row.slot, &row.erased, &row.sealed, &row.giver)
	return row, err
}

func keyContext(authority event.AuthorityID, id event.KeyID, name string) string {
	return "holdfast key " + string(authority) + " " + string(id) + " " + name
}

func openSecret(by seal.Key, authority event.AuthorityID, id event.KeyID, name string, sealed []byte) (seal.Key, error) {
	plain, err := by.Open(keyContext(authority, id, name), sealed)
	if err != nil {
		return seal.Key{}, err
	}
	if len(plain) != len(seal.Key{}) {
		return seal.Key{}, seal.ErrOpen
	}
	return seal.Key(plain), nil
}

// column reads one column of strings.
func column[T ~string](ctx context.Context, q querier, query string, args ...any) (list []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
