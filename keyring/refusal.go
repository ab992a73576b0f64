// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// Reason says why something that a site sent was not taken.
type Reason string

// The reasons. A healthy site gives none of them but "form", to a neighbour that is two versions older, and "unopened", if
// the authority is a large one, to a site that is newly allowed.
const (
	refusedForm      Reason = "form"      // malformed
	refusedSignature Reason = "signature" // the site that it names has not signed it
	refusedShared    Reason = "shared"    // a mark for a shared key, which is never erased
	refusedDemands   Reason = "demands"   // more marks that do not count here than may wait
	refusedKeys      Reason = "keys"      // more keys of the authority than there is room for
	refusedUnopened  Reason = "unopened"  // more keys that do not open here yet than there is room for
	refusedBox       Reason = "box"       // an authority key sealed to this site that does not open, or is not the one it says
	refusedBoxes     Reason = "boxes"     // more authority keys than there is room for
)

// Refusal is what a peer sent and this site did not take.
type Refusal struct {
	Authority event.AuthorityID
	Peer      event.SiteID
	Reason    Reason
	Times     int
	Last      time.Time
}

// Refusals returns what was not taken of the authority's keys, by peer and reason, since the store was made. Where the
// peer is this site itself, somebody asked here for a shared key to be erased.
func (r *Ring) Refusals(ctx context.Context, authority event.AuthorityID) (list []Refusal, err error) {
	rows, err := r.db.QueryContext(ctx, `SELECT peer, reason, times, last FROM refusal WHERE authority = ? ORDER BY peer, reason`, authority)
	if err != nil {
		return nil, fmt.Errorf("list what was refused of %s: %w", authority, err)
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		f := Refusal{Authority: authority}
		var last int64
		if err := rows.Scan(&f.Peer, &f.Reason, &f.Times, &last); err != nil {
			return nil, fmt.Errorf("list what was refused of %s: %w", authority, err)
		}
		f.Last = time.UnixMilli(last).UTC()
		list = append(list, f)
	}
	return list, nil
}

func (w *writer) refuse(why Reason) {
	if w.refused == nil {
		w.refused = make(map[Reason]int)
	}
	w.refused[why]++
}

// writeRefusals counts what was refused in this transaction. What is new is told after it.
func (w *writer) writeRefusals(authority event.AuthorityID) error {
	now := w.ring.cfg.Now().UnixMilli()
	for why, n := range w.refused {
		known, err := exists(w.ctx, w, `SELECT 1 FROM refusal WHERE authority = ? AND peer = ? AND reason = ? AND last > ?`,
			authority, w.peer, why, now-refusalPause.Milliseconds())
		if err != nil {
			return err
		}
		_, err = w.ExecContext(w.ctx, `INSERT INTO refusal (authority, peer, reason, times, last) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET times = times + excluded.times, last = excluded.last`, authority, w.peer, why, n, now)
		if err != nil {
			return err
		}
		if !known {
			w.told = append(w.told, Refusal{Authority: authority, Peer: w.peer, Reason: why, Times: n})
		}
	}
	return nil
}

// refusalPause is how long the log keeps silent about the same refusal of the same site. The count goes on.
const refusalPause = time.Hour

// report logs what a transaction has refused and held back.
func (r *Ring) report(ctx context.Context, w *writer) {
	for _, f := range w.told {
		r.cfg.Logger.WarnContext(ctx, "keys that a site sent were not taken; the rest was",
			"authority", f.Authority, "peer", f.Peer.Short(), "reason", f.Reason, "records", f.Times)
	}
	for _, d := range w.heldBack {
		r.cfg.Logger.ErrorContext(ctx, "a site's facts say that many keys are to be erased; they are held back until a person looks ('holdfast keys held')",
			"authority", d.Authority, "site", d.Site.Short(), "keys", d.Keys)
	}
}

func exists(ctx context.Context, q querier, query string, args ...any) (bool, error) {
	var one int
	err := q.QueryRowContext(ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// closeRows ends a query and adds its errors to err.
func closeRows(rows *sql.Rows, err *error) { *err = errors.Join(*err, rows.Err(), rows.Close()) }
