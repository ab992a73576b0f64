// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// maxKey bounds a key that ByKey looks for.
const maxKey = 256

// ByKey returns the person whom a source of people knows by the key (a personnel number, an objectGUID), as an import has read
// it. It returns ErrPersonUnknown for nobody, and for a key by which two sources know different people.
func (s *Service) ByKey(ctx context.Context, authority event.AuthorityID, key string) (PersonID, error) {
	if key == "" || len(key) > maxKey {
		return "", ErrPersonUnknown
	}
	named, err := s.cfg.Keys.Named(ctx, authority, "id")
	if err != nil {
		return "", deed(err, "look up a person by key")
	}
	var found []PersonID
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		sources, err := sourcesOf(ctx, q, authority)
		if err != nil {
			return err
		}
		for _, source := range sources {
			id := PersonID(idOf(named.Secret, "person", source, key))
			p, err := findPerson(ctx, q, authority, id)
			if errors.Is(err, sql.ErrNoRows) || err == nil && p.Readable == Erased {
				continue
			}
			if err != nil {
				return err
			}
			found = append(found, id)
		}
		return nil
	})
	if err != nil {
		return "", deed(err, "look up a person by key")
	}
	if found = slices.Compact(found); len(found) != 1 {
		return "", ErrPersonUnknown
	}
	return found[0], nil
}

// sourcesOf returns the numberings by which people of the authority are known.
func sourcesOf(ctx context.Context, q readmodel.Query, authority event.AuthorityID) (sources []string, err error) {
	rows, err := q.QueryContext(ctx, `SELECT DISTINCT source FROM directory_person WHERE authority = ? AND status <> 'removed' LIMIT 16`, string(authority))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, rows.Err()
}
