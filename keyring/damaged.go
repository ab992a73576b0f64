// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"errors"
	"strings"

	"codeberg.org/holdfast/holdfast/health"
)

// A damaged box may be the only copy of an authority key, and all keys hang on it. As long as keys are here that no
// box opens, it is not burnt: it goes from its place, which another site's copy can take then, into a table apart. An
// authority key is nobody's personal key, so that no erasure waits for it.

// damagedBoxes makes that table. A damaged file of the version before has none, and lost asks it.
func damagedBoxes() string {
	table, _, _ := strings.Cut(schema[strings.Index(schema, "CREATE TABLE IF NOT EXISTS damaged_box"):], ";")
	return table + ";"
}

// lockedBy returns the authority keys that keys here are sealed with and no box here opens. Keys that only a peer says
// are such are left out: it can name any authority key.
func (r *Ring) lockedBy(ctx context.Context, q querier) (locked []place, err error) {
	used, err := r.sealing(ctx, q)
	for _, p := range used {
		held, openErr := r.openBoxes(ctx, q, p.authority, p.id)
		if err = errors.Join(err, openErr); len(held) == 0 {
			locked = append(locked, p)
		}
	}
	return locked, err
}

func (r *Ring) sealing(ctx context.Context, q querier) ([]place, error) {
	return places(ctx, q, `SELECT DISTINCT authority, by FROM secret WHERE erased = 0 AND giver IN ('', ?)`, unknownGiver)
}

// settleLostBox decides about a box that no trial opens.
func (w *writer) settleLostBox(b ownBox) (still bool, err error) {
	locked, err := w.ring.lockedBy(w.ctx, w)
	if err != nil {
		return false, err
	}
	if len(locked) == 0 {
		return w.giveUpBox(b)
	}
	return w.keepBox(b)
}

// keepBox is giveUpBox for one that may be the only copy.
func (w *writer) keepBox(b ownBox) (still bool, err error) {
	const columns = `slot, authority, id, generation, site, maker, signature, origin, digest, birth`
	still, err = w.changes(`INSERT INTO damaged_box (`+columns+`) SELECT `+columns+` FROM box
		WHERE authority = ? AND id = ? AND site = ? AND maker = ? AND slot = ?`,
		b.authority, b.id, b.record.Site, b.record.Maker, b.slot)
	if err != nil || !still {
		return still, err
	}
	w.dropped = append(w.dropped, b.authority)
	w.ring.forgetHeld()
	_, err = w.ExecContext(w.ctx, `DELETE FROM box WHERE authority = ? AND id = ? AND site = ? AND maker = ?`,
		b.authority, b.id, b.record.Site, b.record.Maker)
	return true, errors.Join(err, w.askAgain(b.authority))
}

// reviewKeptBoxes burns the damaged boxes that are kept once all keys here can be opened without them, and tells of
// them before.
func (r *Ring) reviewKeptBoxes(ctx context.Context) error {
	kept, err := r.keptBoxes(ctx)
	if err != nil {
		return err
	}
	if len(kept) > 0 {
		err = r.write(ctx, func(w *writer) error {
			locked, err := r.lockedBy(ctx, w)
			if err != nil || len(locked) > 0 {
				return err
			}
			kept = nil
			_, err = w.takeAway(`damaged_box`)
			return err
		})
	}
	if err == nil {
		r.tellKeptBoxes(kept)
	}
	return err
}

func (r *Ring) keptBoxes(ctx context.Context) ([]place, error) {
	return places(ctx, r.db, `SELECT DISTINCT authority, id FROM damaged_box ORDER BY authority, id`)
}

func (r *Ring) tellKeptBoxes(kept []place) {
	list := make([]health.Condition, 0, len(kept))
	for _, p := range kept {
		list = append(list, health.Condition{
			Detail:  "the authority's " + keyDetail(p),
			Message: "an authority's key in the keyring is damaged, and keys here cannot be opened without it",
			Doing: "it is fetched again from the other sites; until then what is left of it is kept, " +
				"as it may be the only copy",
			WayOut: "connect another site of the authority, or put back the last backup of the keyring",
		})
	}
	r.watch.board.Replace(health.Keyring, health.Apart, list)
}
