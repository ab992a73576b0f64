// SPDX-License-Identifier: EUPL-1.2

package program

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
	// maxListed bounds a list of programs.
	maxListed = 1000
	// maxNamesakes bounds the programs of one id, which only the chance of 2^-64, or malice, puts into two authorities.
	maxNamesakes = 8
)

// row is a program with its state.
type row struct {
	authority event.AuthorityID
	id        ID
	name      string
	status    directory.Readability
	state     state
}

const columns = `SELECT authority, id, name, status, state FROM program_program `

func scan(rows interface{ Scan(...any) error }) (r row, err error) {
	var text string
	if err := rows.Scan(&r.authority, &r.id, &r.name, &r.status, &text); err != nil {
		return row{}, err
	}
	if err := json.Unmarshal([]byte(text), &r.state); err != nil {
		return row{}, fmt.Errorf("read the state of a program: %w", err)
	}
	return r, nil
}

// program returns what is shown of a row at a moment.
func (r row) program(now time.Time) Program {
	s := r.state
	last := s.lastUse()
	return Program{ID: r.id, Name: r.name, Readable: r.status, Kind: s.Kind, Scopes: s.Scopes, Owner: s.Owner, Expires: s.Expires,
		MadeBy: s.MadeBy, MadeAt: s.MadeAt, WithdrawnBy: s.WithdrawnBy, WithdrawnAt: s.WithdrawnAt, LastUsed: last.At, UsedAt: last.Site, State: s.at(now)}
}

func findProgram(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id ID) (row, error) {
	return scan(q.QueryRowContext(ctx, columns+`WHERE authority = ? AND id = ?`, authority, id))
}

// named returns the programs of an id in all authorities.
func named(ctx context.Context, q readmodel.Query, id ID) ([]row, error) {
	return collect(q.QueryContext(ctx, columns+`WHERE id = ? ORDER BY authority LIMIT ?`, id, maxNamesakes))
}

func listPrograms(ctx context.Context, q readmodel.Query, authority event.AuthorityID, now time.Time) ([]row, error) {
	return collect(q.QueryContext(ctx, columns+`WHERE authority = ? ORDER BY withdrawn = 1 OR expires_ms <= ?, made_ms DESC, id LIMIT ?`,
		authority, now.UnixMilli(), maxListed))
}

func listOwned(ctx context.Context, q readmodel.Query, authority event.AuthorityID, owner directory.PersonID, now time.Time) ([]row, error) {
	return collect(q.QueryContext(ctx, columns+`WHERE authority = ? AND owner = ? ORDER BY withdrawn = 1 OR expires_ms <= ?, made_ms DESC, id LIMIT ?`,
		authority, owner, now.UnixMilli(), maxListed))
}

// countLiving returns how many programs of the owner ("" for those without) are neither withdrawn nor expired.
func countLiving(ctx context.Context, q readmodel.Query, authority event.AuthorityID, owner directory.PersonID, now time.Time) (n int, err error) {
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM program_program WHERE authority = ? AND owner = ? AND withdrawn = 0 AND expires_ms > ?`,
		authority, owner, now.UnixMilli()).Scan(&n)
	return n, err
}

// keyUses returns the owners of the programs that use the keys.
func keyUses(ctx context.Context, q readmodel.Query, authority event.AuthorityID, keys []event.KeyID) (map[event.KeyID][]directory.PersonID, error) {
	wanted, err := json.Marshal(append([]event.KeyID{}, keys...))
	if err != nil {
		return nil, err
	}
	rows, err := q.QueryContext(ctx, `SELECT json_extract(state, '$.key') AS key, owner FROM program_program WHERE authority = ?
		AND key IN (SELECT value FROM json_each(?)) ORDER BY owner`, authority, string(wanted))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	uses := make(map[event.KeyID][]directory.PersonID)
	for rows.Next() {
		var key event.KeyID
		var owner directory.PersonID
		if err := rows.Scan(&key, &owner); err != nil {
			return nil, err
		}
		uses[key] = append(uses[key], owner)
	}
	return uses, rows.Err()
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
