// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// Judge looks again at all demands that wait, and at those that were rejected, which another site's facts may bear
// out. It returns how many keys it has erased. Call it when facts have come; it is cheap when nothing is demanded.
func (r *Ring) Judge(ctx context.Context) (erased int, err error) {
	authorities, err := column[event.AuthorityID](ctx, r.db, `SELECT DISTINCT authority FROM demand
		WHERE state IN (`+judged+`)`)
	if err != nil {
		return 0, fmt.Errorf("look at what is to be erased: %w", err)
	}
	for _, a := range authorities {
		ids, err := column[event.KeyID](ctx, r.db, `SELECT id FROM demand
			WHERE authority = ? AND state IN (`+judged+`) ORDER BY id`, a)
		if err != nil {
			return erased, fmt.Errorf("look at what is to be erased: %w", err)
		}
		n, err := r.judge(ctx, a, ids)
		erased += n
		if err != nil {
			return erased, err
		}
	}
	return erased, nil
}

// judged are the states of demands that facts may bear out, in SQL. What is held waits for a person.
const judged = `'waiting', 'absent', 'released', 'rejected'`

// judge erases those of the keys that are demanded, due, and not too many.
func (r *Ring) judge(ctx context.Context, authority event.AuthorityID, ids []event.KeyID) (erased int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	r.judging.Lock()
	defer r.judging.Unlock()
	for batch := range slices.Chunk(ids, judgeBatch) {
		n, err := r.judgeBatch(ctx, authority, batch)
		erased += n
		if err != nil {
			return erased, fmt.Errorf("erase keys of %s: %w", authority, err)
		}
	}
	return erased, nil
}

func (r *Ring) judgeBatch(ctx context.Context, authority event.AuthorityID, ids []event.KeyID) (erased int, err error) {
	grounds := make(map[event.KeyID]Ground)
	if r.cfg.Grounds != nil {
		if grounds, err = r.cfg.Grounds(ctx, authority, ids); err != nil || len(grounds) == 0 {
			return 0, err
		}
	}
	err = r.write(ctx, func(w *writer) (err error) {
		erased, err = w.judge(authority, ids, grounds)
		return err
	})
	return erased, err
}

// judge carries out what the grounds say. Keys that are due because of another site's facts are taken together: all of
// them are erased, or none.
func (w *writer) judge(authority event.AuthorityID, ids []event.KeyID, grounds map[event.KeyID]Ground) (erased int, err error) {
	demands, err := w.open(authority, ids)
	if err != nil {
		return 0, err
	}
	rejected, err := w.rejectedOf(authority, demands)
	if err != nil {
		return 0, err
	}
	due := make(map[event.SiteID][]openDemand)
	for _, d := range demands {
		g := grounds[d.ID]
		if w.ring.cfg.Grounds == nil {
			g = Ground{Due: d.Maker == w.ring.self}
		}
		switch {
		case !g.Due || g.Needed || d.state != Released && slices.Contains(rejected[d.ID], g.By):
		case d.state == Released || g.By == w.ring.self || d.state == Absent && d.absent && w.aDayOld(d):
			due[""] = append(due[""], d)
		default:
			due[g.By] = append(due[g.By], d)
		}
	}
	for _, by := range slices.Sorted(maps.Keys(due)) {
		n, err := w.meet(authority, by, due[by])
		erased += n
		if err != nil {
			return erased, err
		}
	}
	return erased, nil
}

// meet erases what is due because of one site's facts ("": because of time, our own facts, or a person), or holds it
// back.
func (w *writer) meet(authority event.AuthorityID, by event.SiteID, due []openDemand) (int, error) {
	if by != "" {
		over, err := w.overToll(authority, by, len(due))
		if err != nil {
			return 0, err
		}
		if over {
			return 0, w.hold(authority, by, due)
		}
		if err := w.payToll(authority, by, len(due)); err != nil {
			return 0, err
		}
	}
	for _, d := range due {
		if err := w.mark(authority, d.Record); err != nil {
			return 0, err
		}
		if err := w.undemand(`authority = ? AND id = ?`, authority, d.ID); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// undemand takes demands away.
func (w *writer) undemand(which string, args ...any) error {
	for _, table := range []string{"demand", "cosigner", "rejected"} {
		if _, err := w.ExecContext(w.ctx, `DELETE FROM `+table+` WHERE `+which, args...); err != nil {
			return err
		}
	}
	return nil
}

// hold keeps the keys until a person looks, and what is not here until it has had a day to come.
func (w *writer) hold(authority event.AuthorityID, by event.SiteID, due []openDemand) error {
	living := 0
	for _, d := range due {
		state := Absent
		if !d.absent {
			state = Held
			living++
		}
		_, err := w.ExecContext(w.ctx, `UPDATE demand SET state = ?, ordered = ?
			WHERE authority = ? AND id = ? AND state <> ?`, state, by, authority, d.ID, state)
		if err != nil {
			return err
		}
	}
	if living > 0 {
		w.heldBack = append(w.heldBack, Demand{Authority: authority, Site: by, State: Held, Keys: living})
	}
	return nil
}

// aDayOld reports whether the demand came at least a tollWindow ago.
func (w *writer) aDayOld(d openDemand) bool {
	return w.ring.cfg.Now().Sub(time.UnixMilli(d.since)) >= tollWindow
}

// overToll reports whether so many more keys are too many because of one site, or whether keys are held back because of
// it.
func (w *writer) overToll(authority event.AuthorityID, by event.SiteID, n int) (bool, error) {
	holding, err := exists(w.ctx, w, `SELECT 1 FROM demand WHERE authority = ? AND state = 'held' AND ordered = ?`,
		authority, by)
	if err != nil || holding {
		return true, err
	}
	var paid, living int
	err = w.QueryRowContext(w.ctx, `SELECT
		(SELECT coalesce(sum(keys), 0) FROM toll WHERE authority = ?1 AND site = ?2 AND hour > ?3),
		(SELECT count(*) FROM secret WHERE authority = ?1 AND erased = 0 AND giver = '')`,
		authority, by, w.hour()-int64(tollWindow.Hours())).Scan(&paid, &living)
	return paid+n > max(tollFloor, (living+paid)/tollShare), err
}

func (w *writer) payToll(authority event.AuthorityID, by event.SiteID, n int) error {
	_, err := w.ExecContext(w.ctx, `INSERT INTO toll (authority, site, hour, keys) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET keys = keys + excluded.keys`, authority, by, w.hour(), n)
	if err != nil {
		return err
	}
	// Hours of the future, too: they are of a clock that was wrong.
	_, err = w.ExecContext(w.ctx, `DELETE FROM toll WHERE hour <= ?1 - ?2 OR hour > ?1 + ?2`,
		w.hour(), int64(tollWindow.Hours()))
	return err
}

func (w *writer) hour() int64 { return w.ring.cfg.Now().Unix() / 3600 }

// openDemand is a demand that may be met: a mark, and whether its key is here.
type openDemand struct {
	Record
	state  State
	since  int64
	absent bool
}

// open returns those of the keys that are demanded and not held back. Shared keys are none of them:
// what was demanded before the key came is dropped when it turns out to be one.
func (w *writer) open(authority event.AuthorityID, ids []event.KeyID) (list []openDemand, err error) {
	text, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	err = w.undemand(`authority = ?1 AND id IN (SELECT value FROM json_each(?2))
		AND id IN (SELECT id FROM secret WHERE authority = ?1 AND (name <> '' OR erased <> 0))`, authority, string(text))
	if err != nil {
		return nil, err
	}
	rows, err := w.QueryContext(w.ctx, `SELECT id, erased, maker, signature, state, since,
		NOT EXISTS (SELECT 1 FROM secret s WHERE s.authority = d.authority AND s.id = d.id) FROM demand d
		WHERE authority = ? AND state IN (`+judged+`) AND id IN (SELECT value FROM json_each(?)) ORDER BY id`,
		authority, string(text))
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var d openDemand
		if err := rows.Scan(&d.ID, &d.Erased, &d.Maker, &d.Signature, &d.state, &d.since, &d.absent); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// rejectedOf returns, of demands, the sites of which a person has rejected the wish.
func (w *writer) rejectedOf(authority event.AuthorityID, demands []openDemand) (_ map[event.KeyID][]event.SiteID,
	err error) {
	ids := make([]event.KeyID, 0, len(demands))
	for _, d := range demands {
		ids = append(ids, d.ID)
	}
	text, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	rows, err := w.QueryContext(w.ctx, `SELECT id, site FROM rejected
		WHERE authority = ? AND id IN (SELECT value FROM json_each(?))`, authority, string(text))
	if err != nil {
		return nil, err
	}
	defer closeRows(rows, &err)
	sites := make(map[event.KeyID][]event.SiteID)
	for rows.Next() {
		var id event.KeyID
		var site event.SiteID
		if err := rows.Scan(&id, &site); err != nil {
			return nil, err
		}
		sites[id] = append(sites[id], site)
	}
	return sites, nil
}

// living returns those of the keys that bear no mark here.
func (r *Ring) living(ctx context.Context, authority event.AuthorityID, ids []event.KeyID) ([]event.KeyID, error) {
	text, err := json.Marshal(append([]event.KeyID{}, ids...))
	if err != nil {
		return nil, err
	}
	return column[event.KeyID](ctx, r.db, `SELECT value FROM json_each(?) WHERE value NOT IN (
		SELECT id FROM secret WHERE authority = ? AND erased <> 0)`, string(text), authority)
}
