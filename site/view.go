// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

//go:embed schema.sql
var authoritySchema string

func saveAuthority(tx *readmodel.Tx, ref readmodel.Ref, _, _ AuthorityState) error {
	_, err := tx.Exec(`INSERT INTO site_authority (id) VALUES (?) ON CONFLICT DO NOTHING`, ref.Subject.Part(1))
	return err
}

// folded is what the read model knows of the federation, at one moment.
type folded struct {
	members     Membership
	authorities map[event.AuthorityID]AuthorityState
}

func readFolded(ctx context.Context, m *readmodel.Model) (folded, error) {
	f := folded{authorities: make(map[event.AuthorityID]AuthorityState)}
	err := m.View(ctx, func(q readmodel.Query) error {
		if _, err := q.State(ctx, event.Federation, SubjectMembers, &f.members); err != nil {
			return err
		}
		ids, err := authorityIDs(ctx, q)
		if err != nil {
			return err
		}
		for _, id := range ids {
			var s AuthorityState
			if _, err := q.State(ctx, event.Federation, SubjectOf(id), &s); err != nil {
				return err
			}
			f.authorities[id] = s
		}
		return nil
	})
	if err != nil {
		return folded{}, fmt.Errorf("read the federation: %w", err)
	}
	return f, nil
}

func authorityIDs(ctx context.Context, q readmodel.Query) (ids []event.AuthorityID, err error) {
	rows, err := q.QueryContext(ctx, `SELECT id FROM site_authority ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var id event.AuthorityID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
