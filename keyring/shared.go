// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
)

// Mend makes those shared keys anew of which an earlier version has let every one be erased, and returns their names.
// What depended on a lost key stays lost: reply links that are out do not work any more, people of the next import get
// new ids, and what the register key sealed stays unreadable until it is recorded again. Two sites that do so at once
// make two keys; of them the lower id is used by everybody. It returns ErrNoAuthorityKey if that would be needed and
// this site has no key of the authority, and is cheap when nothing is to be done.
func (r *Ring) Mend(ctx context.Context, authority event.AuthorityID) (made []string, err error) {
	lost, err := lostNames(ctx, r.db, authority)
	if err == nil && len(lost) > 0 {
		err = r.write(ctx, func(w *writer) (err error) {
			made, err = w.remake(authority)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("make the lost shared keys of %s anew: %w", authority, err)
	}
	for _, name := range made {
		r.cfg.Logger.ErrorContext(ctx, "a shared key of an authority had been erased by a site; there is a new one now, and what depended on the old one is lost",
			"authority", authority, "key", name)
	}
	return made, nil
}

func (w *writer) remake(authority event.AuthorityID) ([]string, error) {
	lost, err := lostNames(w.ctx, w, authority)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	by, err := w.current(authority)
	if err != nil {
		return nil, err
	}
	for _, name := range lost {
		if _, err := w.newKey(authority, name, by); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// lostNames returns the names of shared keys of which this site has marks and no key. Where it has neither, they have
// not come yet.
func lostNames(ctx context.Context, q querier, authority event.AuthorityID) ([]string, error) {
	return column[string](ctx, q, `SELECT name FROM secret WHERE authority = ? AND name IN (?, ?, ?)
		GROUP BY name HAVING min(erased <> 0) ORDER BY name`, authority, NameID, NameLink, NameRegister)
}
