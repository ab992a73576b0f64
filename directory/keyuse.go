// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"context"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// KeyUse says that something of a person is, or was, sealed with a key.
type KeyUse struct {
	Key    event.KeyID
	Person PersonID
	// Erased says that the person was erased, by a fact of the site By.
	Erased bool
	By     event.SiteID
}

// KeyUses returns whose fields are sealed with each of the keys, as far as this site's facts tell: of people who are
// not erased the key that opens their record, of erased ones every key that any fact names as theirs. People who were
// only removed keep their key. A key may be used by several people; one that nobody uses is left out.
func (s *Service) KeyUses(ctx context.Context, authority event.AuthorityID, keys []event.KeyID) (list []KeyUse, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		list, err = keyUses(ctx, q, authority, keys)
		return err
	})
	return list, deed(err, "look up whose keys these are")
}

// Erasers returns everybody of the authority who was erased, each with the site whose fact did that first.
func (s *Service) Erasers(ctx context.Context, authority event.AuthorityID) (by map[PersonID]event.SiteID, err error) {
	by = make(map[PersonID]event.SiteID)
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		return each(ctx, q, func(scan func(...any) error) error {
			var person PersonID
			var site event.SiteID
			err := scan(&person, &site)
			by[person] = site
			return err
		}, `SELECT person, site FROM directory_erased WHERE authority = ?`, authority)
	})
	return by, deed(err, "list who was erased")
}

func keyUses(ctx context.Context, q readmodel.Query, authority event.AuthorityID, keys []event.KeyID) (list []KeyUse, err error) {
	add := func(erased bool) func(func(...any) error) error {
		return func(scan func(...any) error) error {
			u := KeyUse{Erased: erased}
			err := scan(&u.Key, &u.Person, &u.By)
			list = append(list, u)
			return err
		}
	}
	wanted := keysJSON(keys)
	err = each(ctx, q, add(false), `SELECT key, id, '' FROM directory_person WHERE authority = ? AND key IN (SELECT value FROM json_each(?))
		AND id NOT IN (SELECT person FROM directory_erased WHERE authority = ?)
		ORDER BY id`, authority, wanted, authority)
	if err != nil {
		return nil, err
	}
	err = each(ctx, q, add(true), `SELECT k.value, e.person, e.site FROM directory_erased e, json_each(e.keys) k
		WHERE e.authority = ? AND k.value IN (SELECT value FROM json_each(?)) ORDER BY e.person`, authority, wanted)
	return list, err
}
