// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// Cursor says how far a site has read another site's changes of one authority. The zero Cursor is the beginning.
type Cursor struct {
	Epoch string `json:"epoch,omitempty"`
	After int64  `json:"after,omitempty"`
}

// Changes returns records of the authority that came after the cursor, in order of their change, about maxBytes of them
// at most, the cursor behind them, and whether there are more. It does not ask any policy.
func (r *Ring) Changes(ctx context.Context, authority event.AuthorityID, c Cursor, maxBytes int) (records []Record, next Cursor, more bool, err error) {
	from, err := r.resolve(ctx, c)
	if err != nil {
		return nil, c, false, fmt.Errorf("read the keys of %s: %w", authority, err)
	}
	rows, err := r.db.QueryContext(ctx, `
		SELECT change, id, name, by, erased, '', 0, coalesce(v.sealed, x''), maker, signature, '', x'', x''
			FROM secret s LEFT JOIN vault v ON v.slot = s.slot WHERE authority = ?1 AND change > ?2
		UNION ALL
		SELECT change, id, '', '', 0, site, generation, v.sealed, maker, signature, origin, digest, birth
			FROM box b JOIN vault v ON v.slot = b.slot WHERE authority = ?1 AND change > ?2
		ORDER BY change LIMIT ?3`, authority, from, recordsAtOnce+1)
	if err != nil {
		return nil, c, false, fmt.Errorf("read the keys of %s: %w", authority, err)
	}
	defer closeRows(rows, &err)
	next = Cursor{r.epoch, from}
	for size := 0; rows.Next(); {
		var rec Record
		var change int64
		if err := rows.Scan(append([]any{&change}, rec.columns()...)...); err != nil {
			return nil, c, false, fmt.Errorf("read the keys of %s: %w", authority, err)
		}
		size += rec.size()
		if len(records) == recordsAtOnce || len(records) > 0 && size > maxBytes {
			return records, next, true, nil
		}
		records = append(records, rec)
		next.After = change
	}
	return records, next, false, nil
}

// End returns the cursor behind everything that this store has taken in so far, of all authorities.
func (r *Ring) End(ctx context.Context) (Cursor, error) {
	c := Cursor{Epoch: r.epoch}
	if err := r.db.QueryRowContext(ctx, `SELECT value FROM counter`).Scan(&c.After); err != nil {
		return Cursor{}, fmt.Errorf("read the end of the keyring: %w", err)
	}
	return c, nil
}

// resolve turns a cursor into a change number of ours: an epoch we do not know begins at the beginning, and one that
// ended (we were closed, or put back from a backup, before what the cursor says) is cut to its end.
func (r *Ring) resolve(ctx context.Context, c Cursor) (int64, error) {
	var end int64
	err := r.db.QueryRowContext(ctx, `SELECT coalesce((SELECT min(base) FROM epoch later WHERE later.n > e.n), (SELECT value FROM counter))
		FROM epoch e WHERE e.id = ?`, c.Epoch).Scan(&end)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return max(0, min(c.After, end)), err
}

// Cursor returns how far this site has merged a peer's changes of the authority.
func (r *Ring) Cursor(ctx context.Context, peer event.SiteID, authority event.AuthorityID) (Cursor, error) {
	var c Cursor
	err := r.db.QueryRowContext(ctx, `SELECT epoch, after FROM cursor WHERE peer = ? AND authority = ?`, peer, authority).Scan(&c.Epoch, &c.After)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Cursor{}, fmt.Errorf("read the cursor of %s at %s: %w", authority, peer.Short(), err)
	}
	return c, nil
}

// Merge takes a peer's answer in, durably and together with the cursor behind it, and returns how many records changed something
// here. asked is the cursor that was asked with: if it is not the stored one any more, the cursor stays where it is, because what
// reset it while the answer was on its way (an authority key that came, a key that was given up) wants everything again.
// Marks that count win; the others become demands, see Demand. What does not open, is malformed or has no room is left
// out and counted, see Refusals: one bad record never keeps the rest, or what comes after it, from being taken.
func (r *Ring) Merge(ctx context.Context, peer event.SiteID, authority event.AuthorityID, records []Record, asked, next Cursor) (int, error) {
	return r.takeIn(ctx, peer, authority, records, func(w *writer) error { return w.moveCursor(authority, asked, next) })
}

// mergeApart is Merge for records that are not what comes after the cursor, which stays where it is.
func (r *Ring) mergeApart(ctx context.Context, peer event.SiteID, authority event.AuthorityID, records []Record) (int, error) {
	return r.takeIn(ctx, peer, authority, records, func(*writer) error { return nil })
}

func (r *Ring) takeIn(ctx context.Context, peer event.SiteID, authority event.AuthorityID, records []Record, move func(*writer) error) (int, error) {
	changed := 0
	var demanded []event.KeyID
	err := r.write(ctx, func(w *writer) error {
		w.peer = peer
		// The cursor first: a box sealed to us resets it, so that what we could not check is looked at again.
		if err := move(w); err != nil {
			return err
		}
		for _, rec := range records {
			before := w.change
			if err := w.merge(authority, rec); err != nil {
				return err
			}
			if w.change > before {
				changed++
			}
		}
		demanded = w.demanded
		return errors.Join(w.writeShortages(authority), w.writeRefusals(authority))
	})
	if err != nil {
		return 0, fmt.Errorf("merge the keys of %s from %s: %w", authority, peer.Short(), err)
	}
	destroyed, err := r.judge(ctx, authority, demanded)
	return changed + destroyed, err
}

// moveCursor sets the peer's cursor behind an answer, if it still is where the question was asked. No cursor is the zero one.
func (w *writer) moveCursor(authority event.AuthorityID, asked, next Cursor) error {
	if asked == (Cursor{}) {
		_, err := w.ExecContext(w.ctx, `INSERT INTO cursor (peer, authority, epoch, after) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET epoch = excluded.epoch, after = excluded.after WHERE epoch = '' AND after = 0`,
			w.peer, authority, next.Epoch, next.After)
		return err
	}
	_, err := w.ExecContext(w.ctx, `UPDATE cursor SET epoch = ?, after = ? WHERE peer = ? AND authority = ? AND epoch = ? AND after = ?`,
		next.Epoch, next.After, w.peer, authority, asked.Epoch, asked.After)
	return err
}

func (w *writer) merge(authority event.AuthorityID, rec Record) error {
	if err := rec.check(); err != nil {
		w.refuse(refusedForm)
		return nil
	}
	switch {
	case rec.Site != "":
		return w.mergeBox(authority, rec)
	case rec.Erased > 0:
		return w.mergeMark(authority, rec)
	default:
		return w.mergeKey(authority, rec)
	}
}

func (w *writer) mergeKey(authority event.AuthorityID, rec Record) error {
	row, err := findSecret(w.ctx, w, authority, rec.ID)
	known := err == nil
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	case known && row.erased != 0: // the mark wins
		return nil
	case known && bytes.Equal(row.sealed, rec.Sealed) && row.by == string(rec.By) && row.name == rec.Name:
		return nil
	}
	worth, sure := w.opens(authority, rec)
	if sure && worth == unopened || known && !sure {
		return nil
	}
	if known {
		old := Record{ID: rec.ID, Name: row.name, By: event.KeyID(row.by), Sealed: row.sealed}
		before, judged := w.opens(authority, old)
		// A key that counted while its authority key was here, which is given up, gives way to none that proves nothing. Nor does one
		// that the version before has kept: it may have counted.
		if before >= worth || !judged && (row.giver == "" || row.giver == unknownGiver) && worth < proven {
			return nil
		}
		return w.replace(authority, row, rec)
	}
	if !sure {
		return w.keepUnopened(authority, rec)
	}
	if full, err := w.keysFull(authority); err != nil || full {
		return err
	}
	if err := w.insert(authority, rec); err != nil {
		return err
	}
	w.news = append(w.news, Changed{authority, rec.ID, false})
	return nil
}

// replace puts a key in the place of one that is worth less. What is burnt here opens by nothing, or only by a key for reading only, or
// it is not the key of its id.
func (w *writer) replace(authority event.AuthorityID, row secretRow, rec Record) error {
	if row.giver != "" { // it was not counted
		if full, err := w.keysFull(authority); err != nil || full {
			return err
		}
	}
	if _, err := w.ExecContext(w.ctx, `DELETE FROM secret WHERE authority = ? AND id = ?`, authority, rec.ID); err != nil {
		return err
	}
	if err := w.burn(row.slot); err != nil {
		return err
	}
	w.gone = append(w.gone, keyName{authority, rec.ID})
	w.news = append(w.news, Changed{authority, rec.ID, false})
	w.renamed = true
	return w.insert(authority, rec)
}

// What a record is worth. A higher one takes the place of a lower one, and of equals the first one stays: how far the authority key
// is believed does not count among those that open, since whoever is allowed can draw one that is believed more than the true one.
const (
	unopened = -1 + iota // by no authority key that is here
	readable             // only by one for reading only, which a forbidden site has
	good
	proven // is added if the id is made of the secret: nobody can make another one
)

// opens returns what a record is worth, and whether we can tell at all: we need an authority key of the id that seals it.
func (w *writer) opens(authority event.AuthorityID, rec Record) (worth int, sure bool) {
	held, err := w.ring.authorityKeys(w.ctx, w, authority, string(rec.By))
	if err != nil {
		return unopened, false
	}
	_, worth = w.ring.unseal(authority, held, rec)
	return worth, true
}

// unseal opens a record by that one of the authority keys with which it is worth most: bytes can be made that open by two.
func (r *Ring) unseal(authority event.AuthorityID, held []heldKey, rec Record) (best seal.Key, worth int) {
	worth = unopened
	for i, h := range held {
		if slices.ContainsFunc(held[:i], func(tried heldKey) bool { return tried.secret == h.secret }) {
			continue // it came first because it is believed more
		}
		secret, err := openSecret(h.secret, authority, rec.ID, rec.Name, rec.Sealed)
		if err != nil {
			continue
		}
		found := min(r.rank(authority, h)+readable, good)
		if ownID(authority, rec.Name, secret) == rec.ID {
			found += proven
		}
		if found > worth {
			best, worth = secret, found
		}
	}
	return best, worth
}
