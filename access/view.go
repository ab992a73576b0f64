// SPDX-License-Identifier: EUPL-1.2

package access

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

// save writes the row of one subject. The policy needs none: its state is read.
func save(tx *readmodel.Tx, ref readmodel.Ref, _, is State) error {
	id := ref.Subject.Part(1)
	switch {
	case is.Grant != nil:
		return saveGrant(tx, ref.Authority, id, is.Grant)
	case is.Approval != nil && is.Approval.Asked != nil:
		return saveApproval(tx, ref.Authority, id, is.Approval)
	}
	return nil
}

func saveGrant(tx *readmodel.Tx, authority event.AuthorityID, id string, g *grantState) error {
	state, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("encode a grant: %w", err)
	}
	var f Granted
	if g.Granted != nil {
		f = *g.Granted
	}
	_, err = tx.Exec(`INSERT INTO access_grant (authority, id, granted, live, granted_at, role, unit, person, function, from_ms, until_ms, state)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
		ON CONFLICT (authority, id) DO UPDATE SET granted = ?3, live = ?4, granted_at = ?5, role = ?6, unit = ?7, person = ?8, function = ?9,
			from_ms = ?10, until_ms = ?11, state = ?12`,
		string(authority), id, g.Granted != nil, g.Granted != nil && g.Withdrawn == nil, g.At.Wall, string(f.Role), string(f.Unit), string(f.Person), string(f.Function),
		f.From, f.Until, string(state))
	return err
}

func saveApproval(tx *readmodel.Tx, authority event.AuthorityID, id string, a *approvalState) error {
	state, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO access_approval (authority, id, same, asked_by, asked_at, expires, decided, state)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
		ON CONFLICT (authority, id) DO UPDATE SET same = ?3, asked_by = ?4, asked_at = ?5, expires = ?6, decided = ?7, state = ?8`,
		string(authority), id, sameness(a.Asked.Deed, a.Asked.Args), a.At.By, a.At.Wall, a.Asked.Expires, len(a.Decisions) > 0, string(state))
	return err
}

// grantsHeld returns the grants in force of a person and of the functions that they hold or deputise.
func grantsHeld(ctx context.Context, q readmodel.Query, authority event.AuthorityID, person directory.PersonID, functions []directory.FunctionID, now time.Time) ([]held, error) {
	query := `SELECT id, role, unit, from_ms, until_ms FROM access_grant WHERE authority = ?1 AND live = 1 AND person <> '' AND person = ?2`
	args := []any{string(authority), string(person)}
	if len(functions) > 0 {
		names, err := json.Marshal(functions)
		if err != nil {
			return nil, fmt.Errorf("encode functions: %w", err)
		}
		query += ` UNION ALL SELECT id, role, unit, from_ms, until_ms FROM access_grant
			WHERE authority = ?1 AND live = 1 AND function <> '' AND function IN (SELECT value FROM json_each(?3))`
		args = append(args, string(names))
	}
	var list []held
	err := each(ctx, q, func(scan func(...any) error) error {
		var h held
		var from, until int64
		if err := scan(&h.id, &h.role, &h.unit, &from, &until); err != nil {
			return err
		}
		if inForce(from, until, now) {
			list = append(list, h)
		}
		return nil
	}, query, args...)
	return list, err
}

// listGrants returns live grants and, unless only those are wanted, withdrawn ones.
func listGrants(ctx context.Context, q readmodel.Query, authority event.AuthorityID, liveOnly bool) (list []Grant, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		g, err := scanGrant(scan)
		list = append(list, g)
		return err
	}, `SELECT id, state FROM access_grant WHERE authority = ?1 AND granted = 1 AND (live = 1 OR NOT ?2)
		ORDER BY live DESC, granted_at DESC, id LIMIT ?3`, string(authority), liveOnly, MaxGrants)
	return list, err
}

func oneGrant(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id string) (Grant, error) {
	g, err := scanGrant(q.QueryRowContext(ctx, `SELECT id, state FROM access_grant WHERE authority = ? AND id = ? AND granted = 1`,
		string(authority), id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return g, ErrGrantUnknown
	}
	return g, deed(err, "look up a grant")
}

func scanGrant(scan func(...any) error) (g Grant, err error) {
	var state string
	if err := scan(&g.ID, &state); err != nil {
		return g, err
	}
	s := grantState{Granted: new(Granted)}
	if err := json.Unmarshal([]byte(state), &s); err != nil {
		return g, fmt.Errorf("decode a grant: %w", err)
	}
	g.Role, g.Unit, g.Person, g.Function = s.Granted.Role, s.Granted.Unit, s.Granted.Person, s.Granted.Function
	g.From, g.Until = timeOf(s.Granted.From), timeOf(s.Granted.Until)
	g.GrantedBy, g.GrantedAt = s.At.By, timeOf(s.At.Wall)
	if w := s.Withdrawn; w != nil {
		g.Withdrawn, g.WithdrawnBy, g.WithdrawnAt, g.WithdrawnStamp = true, w.By, timeOf(w.Wall), w.Stamp
	}
	return g, nil
}

// countPending returns how many requests wait for somebody, and how many of them one asker has asked for.
func countPending(ctx context.Context, q readmodel.Query, authority event.AuthorityID, asker string, now time.Time) (all, own int, err error) {
	err = q.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(asked_by = ?1), 0) FROM access_approval WHERE authority = ?2 AND decided = 0 AND expires > ?3`,
		asker, string(authority), now.UnixMilli()).Scan(&all, &own)
	return all, own, err
}

// listApprovals returns requests, each with its twins among all that are listed.
func listApprovals(ctx context.Context, q readmodel.Query, authority event.AuthorityID, now time.Time) ([]Approval, error) {
	list, same, err := approvals(ctx, q, now, `SELECT id, state, same FROM access_approval WHERE authority = ?1
		ORDER BY (decided = 0 AND expires > ?2) DESC, asked_at DESC, id LIMIT ?3`, string(authority), now.UnixMilli(), MaxListed)
	if err != nil {
		return nil, err
	}
	groups := make(map[string][]Approval)
	for i, a := range list {
		groups[same[i]] = append(groups[same[i]], a)
	}
	for i := range list {
		list[i].Elsewhere = twins(list[i], groups[same[i]])
	}
	return list, nil
}

func oneApproval(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id string, now time.Time) (Approval, error) {
	list, same, err := approvals(ctx, q, now, `SELECT id, state, same FROM access_approval WHERE authority = ? AND id = ?`, string(authority), id)
	if err != nil {
		return Approval{}, err
	}
	if len(list) == 0 {
		return Approval{}, ErrApprovalUnknown
	}
	others, err := alikeApprovals(ctx, q, authority, same[0], now)
	list[0].Elsewhere = twins(list[0], others)
	return list[0], err
}

// alikeApprovals returns the youngest requests of one deed and arguments.
func alikeApprovals(ctx context.Context, q readmodel.Query, authority event.AuthorityID, same string, now time.Time) ([]Approval, error) {
	list, _, err := approvals(ctx, q, now, `SELECT id, state, same FROM access_approval WHERE authority = ? AND same = ?
		ORDER BY asked_at DESC, id LIMIT ?`, string(authority), same, MaxListed)
	return list, err
}

func approvals(ctx context.Context, q readmodel.Query, now time.Time, query string, args ...any) (list []Approval, same []string, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		var id, state, alike string
		if err := scan(&id, &state, &alike); err != nil {
			return err
		}
		var s approvalState
		if err := json.Unmarshal([]byte(state), &s); err != nil {
			return fmt.Errorf("decode a request: %w", err)
		}
		list, same = append(list, s.approval(id, now)), append(same, alike)
		return nil
	}, query, args...)
	return list, same, err
}

// each calls scan for every row.
func each(ctx context.Context, q readmodel.Query, row func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
