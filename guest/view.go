// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

const (
	// maxListed bounds a list of guests.
	maxListed = 1000
	// maxAlike bounds how many codes of one mark are tried. Marks are drawn apart; only sites that do not see each other may
	// draw the same.
	maxAlike = 3
)

// row is a guest with their state.
type row struct {
	id     ID
	name   string
	status directory.Readability
	state  state
}

func scan(rows interface{ Scan(...any) error }) (r row, err error) {
	var text string
	if err := rows.Scan(&r.id, &r.name, &r.status, &text); err != nil {
		return row{}, err
	}
	if err := json.Unmarshal([]byte(text), &r.state); err != nil {
		return row{}, fmt.Errorf("read the state of a guest: %w", err)
	}
	return r, nil
}

// guest returns what is shown of a row at a moment.
func (r row) guest(now time.Time) Guest {
	s := r.state
	g := Guest{ID: r.id, Name: r.name, Readable: r.status, Incident: s.Incident, Until: s.Until, InvitedBy: s.InvitedBy,
		InvitedAt: s.InvitedAt, State: s.at(now)}
	for _, u := range s.Uses {
		g.Sites = append(g.Sites, u.Site)
	}
	if len(s.Uses) > 0 {
		g.EnteredAt = s.Uses[0].At
	}
	if a := s.away(); a != nil {
		g.SentAwayBy, g.SentAwayAt = a.By, a.At
	}
	return g
}

func findGuest(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id ID) (row, error) {
	return scan(q.QueryRowContext(ctx, `SELECT id, name, status, state FROM guest_guest WHERE authority = ? AND id = ?`, authority, id))
}

func listGuests(ctx context.Context, q readmodel.Query, authority event.AuthorityID, now time.Time) ([]row, error) {
	return collect(q.QueryContext(ctx, `SELECT id, name, status, state FROM guest_guest WHERE authority = ?
		ORDER BY away = 1 OR until_ms <= ?, invited_ms DESC, id LIMIT ?`, authority, now.UnixMilli(), maxListed))
}

// byMark returns guests whose current code has the mark and whose time is not over.
func byMark(ctx context.Context, q readmodel.Query, authority event.AuthorityID, mark string, now time.Time) ([]row, error) {
	return collect(q.QueryContext(ctx, `SELECT id, name, status, state FROM guest_guest
		WHERE authority = ? AND mark = ? AND away = 0 AND until_ms > ? ORDER BY id LIMIT ?`, authority, mark, now.UnixMilli(), maxAlike))
}

// liveMarks returns the marks of all guests who are neither gone nor expired, and how many guests those are.
func liveMarks(ctx context.Context, q readmodel.Query, authority event.AuthorityID, now time.Time) (marks map[string]bool, guests int, err error) {
	rows, err := q.QueryContext(ctx, `SELECT mark FROM guest_guest WHERE authority = ? AND away = 0 AND until_ms > ?`, authority, now.UnixMilli())
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	marks = make(map[string]bool)
	for ; rows.Next(); guests++ {
		var mark string
		if err := rows.Scan(&mark); err != nil {
			return nil, 0, err
		}
		marks[mark] = true
	}
	return marks, guests, rows.Err()
}

// past returns the keys of guests whose end was before the moment and whose name can still be read somewhere.
func past(ctx context.Context, q readmodel.Query, authority event.AuthorityID, before time.Time) ([]event.KeyID, error) {
	list, err := collect(q.QueryContext(ctx, `SELECT id, name, status, state FROM guest_guest WHERE authority = ? AND status IN (?, ?) AND until_ms < ?
		ORDER BY id LIMIT ?`, authority, directory.Readable, directory.NotYet, before.UnixMilli(), maxListed))
	keys := make([]event.KeyID, 0, len(list))
	for _, r := range list {
		keys = append(keys, r.state.Key)
	}
	return keys, err
}

// keyUses returns those of the keys that guests' names are sealed with, and whether all of those guests' ends were before the moment.
func keyUses(ctx context.Context, q readmodel.Query, authority event.AuthorityID, keys []event.KeyID, before time.Time) (map[event.KeyID]bool, error) {
	wanted, err := json.Marshal(append([]event.KeyID{}, keys...))
	if err != nil {
		return nil, err
	}
	rows, err := q.QueryContext(ctx, `SELECT json_extract(state, '$.key') AS key, max(until_ms) < ? FROM guest_guest WHERE authority = ?
		AND key IN (SELECT value FROM json_each(?)) GROUP BY key`, before.UnixMilli(), authority, string(wanted))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	over := make(map[event.KeyID]bool)
	for rows.Next() {
		var key event.KeyID
		var past bool
		if err := rows.Scan(&key, &past); err != nil {
			return nil, err
		}
		over[key] = past
	}
	return over, rows.Err()
}

func collect(rows *sql.Rows, err error) (list []row, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// isNone reports whether a query found nothing.
func isNone(err error) bool { return errors.Is(err, sql.ErrNoRows) }
