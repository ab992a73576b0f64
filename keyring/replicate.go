// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Record is what sites exchange: a sealed key, an erasure mark (Erased > 0), or an authority key's box (Site set).
type Record struct {
	ID     event.KeyID `json:"i"`
	Name   string      `json:"n,omitempty"`
	By     event.KeyID `json:"b,omitempty"`
	Sealed []byte      `json:"s,omitempty"`
	// Erased is when the key was erased, in milliseconds since 1970.
	Erased int64        `json:"e,omitempty"`
	Site   event.SiteID `json:"t,omitempty"`
	// Generation says, of boxes, which key is the newest; 0 is one for reading only.
	Generation int64 `json:"g,omitempty"`
}

// Cursor says how far a site has read another site's changes of one authority. The zero Cursor is the beginning.
type Cursor struct {
	Epoch string `json:"epoch,omitempty"`
	After int64  `json:"after,omitempty"`
}

// Bounds of what a peer may send.
const (
	maxSealedBytes = 256
	maxNameBytes   = 40
	maxGeneration  = 1 << 40
	recordsAtOnce  = 4096
)

// ErrRecord is returned for a record that no honest site sends.
var ErrRecord = fault.New(fault.Invalid, "keyring.record", "the keys that a site sent are malformed",
	"compare the versions of the two sites; a healthy site never sends this")

func (rec Record) check() error {
	site := rec.Site != ""
	switch {
	case !hexID(rec.ID) || rec.By != "" && !hexID(rec.By):
		return ErrRecord.Because("an id")
	case len(rec.Sealed) > maxSealedBytes || len(rec.Name) > maxNameBytes:
		return ErrRecord.Because("its length")
	case rec.Erased < 0 || rec.Generation < 0 || rec.Generation > maxGeneration:
		return ErrRecord.Because("its numbers")
	case site && (rec.Erased != 0 || len(rec.Sealed) == 0):
		return ErrRecord.Because("a box")
	case !site && rec.Erased == 0 && (len(rec.Sealed) == 0 || rec.By == ""):
		return ErrRecord.Because("a key")
	}
	if site {
		if _, err := seal.KeyOf(rec.Site); err != nil {
			return ErrRecord.Because("a site")
		}
	}
	return nil
}

func hexID(id event.KeyID) bool {
	b, err := hex.DecodeString(string(id))
	return err == nil && len(b) == 8
}

// Changes returns records of the authority that came after the cursor, in order of their change, about maxBytes of them
// at most, the cursor behind them, and whether there are more. It does not ask any policy.
func (r *Ring) Changes(ctx context.Context, authority event.AuthorityID, c Cursor, maxBytes int) (records []Record, next Cursor, more bool, err error) {
	from, err := r.resolve(ctx, c)
	if err != nil {
		return nil, c, false, fmt.Errorf("read the keys of %s: %w", authority, err)
	}
	rows, err := r.db.QueryContext(ctx, `
		SELECT change, id, name, by, erased, '', 0, coalesce(v.sealed, x'') FROM secret s LEFT JOIN vault v ON v.slot = s.slot
			WHERE authority = ?1 AND change > ?2
		UNION ALL
		SELECT change, id, '', '', 0, site, generation, v.sealed FROM box b JOIN vault v ON v.slot = b.slot
			WHERE authority = ?1 AND change > ?2
		ORDER BY change LIMIT ?3`, authority, from, recordsAtOnce+1)
	if err != nil {
		return nil, c, false, fmt.Errorf("read the keys of %s: %w", authority, err)
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	next = Cursor{r.epoch, from}
	for size := 0; rows.Next(); {
		var rec Record
		var change int64
		if err := rows.Scan(&change, &rec.ID, &rec.Name, &rec.By, &rec.Erased, &rec.Site, &rec.Generation, &rec.Sealed); err != nil {
			return nil, c, false, fmt.Errorf("read the keys of %s: %w", authority, err)
		}
		size += 100 + len(rec.Name) + len(rec.Site) + len(rec.Sealed)*4/3
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

// Merge takes a peer's records in, durably and together with the cursor behind them, and returns how many changed
// something here. Marks win; what does not open is left out. It returns ErrRecord, and takes nothing, if one is malformed.
func (r *Ring) Merge(ctx context.Context, peer event.SiteID, authority event.AuthorityID, records []Record, next Cursor) (int, error) {
	for _, rec := range records {
		if err := rec.check(); err != nil {
			return 0, err
		}
	}
	changed := 0
	err := r.write(ctx, func(w *writer) error {
		// The cursor first: a box sealed to us resets it, so that what we could not check is looked at again.
		_, err := w.ExecContext(ctx, `INSERT INTO cursor (peer, authority, epoch, after) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET epoch = excluded.epoch, after = excluded.after`, peer, authority, next.Epoch, next.After)
		if err != nil {
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
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("merge the keys of %s from %s: %w", authority, peer.Short(), err)
	}
	return changed, nil
}

func (w *writer) merge(authority event.AuthorityID, rec Record) error {
	switch {
	case rec.Site != "":
		return w.mergeBox(authority, rec)
	case rec.Erased > 0:
		return w.mark(authority, rec.ID, rec.Erased)
	default:
		return w.mergeKey(authority, rec)
	}
}

func (w *writer) mergeKey(authority event.AuthorityID, rec Record) error {
	row, err := findSecret(w.ctx, w.Tx, authority, rec.ID)
	known := err == nil
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	case known && row.erased > 0: // the mark wins
		return nil
	case known && bytes.Equal(row.sealed, rec.Sealed) && row.by == string(rec.By) && row.name == rec.Name:
		return nil
	}
	opens, sure := w.opens(authority, rec)
	if sure && !opens || known && !sure {
		return nil
	}
	if known {
		old := Record{ID: rec.ID, Name: row.name, By: event.KeyID(row.by), Sealed: row.sealed}
		if ok, _ := w.opens(authority, old); ok {
			return nil
		}
		return w.replace(authority, row, rec)
	}
	if err := w.insert(authority, rec); err != nil {
		return err
	}
	w.news = append(w.news, Changed{authority, rec.ID, false})
	return nil
}

// replace puts a key that opens in the place of one that does not.
func (w *writer) replace(authority event.AuthorityID, row secretRow, rec Record) error {
	if err := w.burn(row.slot); err != nil {
		return err
	}
	if _, err := w.ExecContext(w.ctx, `DELETE FROM secret WHERE authority = ? AND id = ?`, authority, rec.ID); err != nil {
		return err
	}
	w.news = append(w.news, Changed{authority, rec.ID, false})
	w.renamed = true
	return w.insert(authority, rec)
}

// opens reports whether a record opens, and whether we can tell at all: we need the authority key that seals it.
func (w *writer) opens(authority event.AuthorityID, rec Record) (opens, sure bool) {
	by, err := w.ring.authorityKey(w.ctx, w, authority, string(rec.By))
	if err != nil {
		return false, false
	}
	_, err = openSecret(by, authority, rec.ID, rec.Name, rec.Sealed)
	return err == nil, true
}

func (w *writer) mergeBox(authority event.AuthorityID, rec Record) error {
	var generation, slot int64
	err := w.QueryRowContext(w.ctx, `SELECT generation, slot FROM box WHERE authority = ? AND id = ? AND site = ?`,
		authority, rec.ID, rec.Site).Scan(&generation, &slot)
	known := err == nil
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	case known && (rec.Site != w.ring.self || generation != readingOnly || rec.Generation == readingOnly):
		return nil
	case rec.Site != w.ring.self:
		return w.insertBox(authority, rec)
	}
	secret, err := w.ring.openBox(authority, rec.ID, rec.Sealed)
	if err != nil {
		w.ring.cfg.Logger.WarnContext(w.ctx, "an authority key that was sealed to this site does not open", "authority", authority, "key", rec.ID)
		return nil
	}
	if known {
		if old, err := w.ring.authorityKey(w.ctx, w, authority, string(rec.ID)); err == nil && old == secret {
			return nil // it stays for reading only: a forbidden site has it
		}
		if err := w.unbox(authority, rec, slot); err != nil {
			return err
		}
	}
	if _, err := w.ExecContext(w.ctx, `DELETE FROM cursor WHERE authority = ?`, authority); err != nil {
		return err
	}
	if err := w.tellAll(authority, rec.ID, false); err != nil {
		return err
	}
	w.renamed = true
	return w.insertBox(authority, rec)
}

// unbox takes away an authority key that a forbidden site gave and an allowed one does not confirm, and all that it opened
// from memory. The records come again, since the cursors go with it.
func (w *writer) unbox(authority event.AuthorityID, rec Record, slot int64) error {
	if err := w.burn(slot); err != nil {
		return err
	}
	w.dropped = append(w.dropped, authority)
	_, err := w.ExecContext(w.ctx, `DELETE FROM box WHERE authority = ? AND id = ? AND site = ?`, authority, rec.ID, rec.Site)
	return err
}
