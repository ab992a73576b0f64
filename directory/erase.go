// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// erasureState is which sites have confirmed the erasure of a person, and of which keys.
type erasureState struct {
	Confirmed map[event.SiteID][]event.KeyID `json:"confirmed,omitempty"`
}

// apply takes a confirmation over. A site speaks for itself alone: what it says of another one counts for nothing.
func (s *erasureState) apply(e readmodel.Entry) error {
	var f ErasureConfirmed
	if err := e.Decode(&f); err != nil {
		return err
	}
	if f.Site != e.Place.Site {
		return nil // setting the subject aside instead would let one site stop the confirmations of all
	}
	if s.Confirmed == nil {
		s.Confirmed = make(map[event.SiteID][]event.KeyID)
	}
	keys := union(s.Confirmed[f.Site], f.Keys)
	s.Confirmed[f.Site] = keys[:min(len(keys), maxPersonKeys)]
	return nil
}

// maxPersonKeys bounds the keys that a site confirms of one person.
const maxPersonKeys = 1000

// union returns the keys of all lists, each once, sorted.
func union(lists ...[]event.KeyID) []event.KeyID {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// covers reports whether every wanted key is among those that are there.
func covers(there, wanted []event.KeyID) bool { return len(without(wanted, there)) == 0 }

// without returns the keys that are not among others.
func without(keys, others []event.KeyID) []event.KeyID {
	return slices.DeleteFunc(slices.Clone(keys), func(k event.KeyID) bool { return slices.Contains(others, k) })
}

// Erasure is how far the erasure of a person has come.
type Erasure struct {
	Person PersonID
	// ErasedAt is when the person was erased first, by the wall clock of the site where that was done.
	ErasedAt time.Time
	// By is the actor who did that ("person/12c0…", "operator"); where it took two, the one who approved.
	By string
	// Confirmed are the sites that hold the marks of all keys of the person that are known here, and show the person as
	// erased; ordered by id. The erasure is complete when every site that the authority allows is among them. A site that
	// was removed from the federation before it confirmed never will: list it as unconfirmed.
	Confirmed []event.SiteID
}

// Erase records that the person is erased and destroys the person's keys, also those of other domains
// (Config.MoreKeys). From then on nobody at this site can read the person's fields, in any log, and every other site
// follows when it has the fact; free text elsewhere is not touched. Erasing again is no error, and finishes what a
// failure has left. It returns ErrPersonUnknown for somebody never recorded here, and keyring.ErrHeld if the person is
// erased and a key is not, because something that is not to be forgotten is sealed with it, too.
func (s *Service) Erase(ctx context.Context, authority event.AuthorityID, id PersonID) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	var st state
	var found bool
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		found, err = q.State(ctx, authority, id.Subject(), &st)
		return err
	})
	if err != nil {
		return deed(err, "erase a person")
	}
	if !found || st.Person == nil {
		return ErrPersonUnknown
	}
	more, err := s.moreKeys(ctx, authority, id)
	if err != nil {
		return deed(err, "erase a person")
	}
	keys := union(st.Person.Keys, more)
	tell := !st.Person.Erased || !covers(st.Person.Destroyed, keys)
	return deed(s.destroy(ctx, authority, id, keys, tell), "erase a person")
}

func (s *Service) moreKeys(ctx context.Context, authority event.AuthorityID, id PersonID) ([]event.KeyID, error) {
	if s.cfg.MoreKeys == nil {
		return nil, nil
	}
	return s.cfg.MoreKeys(ctx, authority, id)
}

// destroy tells that the keys are to be destroyed, and destroys them. The fact comes first, because it is what a key is
// destroyed for, at this site as at every other. If this site stops in between, ConfirmErasures goes on.
func (s *Service) destroy(ctx context.Context, authority event.AuthorityID, id PersonID, keys []event.KeyID, tell bool) error {
	if tell {
		r, err := s.cfg.Log.Append(ctx, authority, event.Register, draftOf(id.Subject(), KindPersonErased, s.actor, PersonErased{Keys: keys}))
		if err != nil {
			return err
		}
		if err := s.wait(ctx, r); err != nil {
			return err
		}
	}
	err := s.cfg.Keys.Erase(ctx, authority, keys...)
	if errors.Is(err, keyring.ErrShared) {
		return nil // whatever fact names a shared key as the person's, the person is erased without it
	}
	return err
}

// FinishErasures destroys keys that came to light after their person had been erased: another site, not knowing of the
// erasure, recorded the person, or an account of theirs, with a key of its own. It returns how many people that
// concerned and is cheap when there are none; call it now and then.
func (s *Service) FinishErasures(ctx context.Context, authority event.AuthorityID) (int, error) {
	late, err := s.lateKeys(ctx, authority)
	if err != nil {
		return 0, deed(err, "finish erasures")
	}
	if len(late) == 0 {
		return 0, nil
	}
	// The facts name the late keys, so that every site sees that the people have no living key left.
	var drafts []event.Draft
	var keys []event.KeyID
	for _, l := range late {
		drafts = append(drafts, draftOf(l.person.Subject(), KindPersonErased, s.actor, PersonErased{Keys: l.keys}))
		keys = append(keys, l.keys...)
	}
	r, err := s.cfg.Log.Append(ctx, authority, event.Register, drafts...)
	if err == nil {
		err = s.wait(ctx, r)
	}
	if err == nil {
		err = s.eraseDue(ctx, authority, keys) // all at once: if they are very many, none is erased before a person has looked
	}
	return len(late), deed(err, "finish erasures")
}

// eraseDue erases what the keyring lets be erased. What it holds back it keeps in mind.
func (s *Service) eraseDue(ctx context.Context, authority event.AuthorityID, keys []event.KeyID) error {
	err := s.cfg.Keys.Erase(ctx, authority, keys...)
	if errors.Is(err, keyring.ErrHeld) || errors.Is(err, keyring.ErrShared) {
		return nil
	}
	return err
}

// lateKeys are keys of an erased person that still have to be destroyed.
type lateKeys struct {
	person PersonID
	keys   []event.KeyID
}

func (s *Service) lateKeys(ctx context.Context, authority event.AuthorityID) (late []lateKeys, err error) {
	var erased []erasedRow
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		if late, err = lateRecordings(ctx, q, authority); err == nil && s.cfg.MoreKeys != nil {
			erased, err = listErased(ctx, q, authority)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, e := range erased {
		more, err := s.moreKeys(ctx, authority, e.person)
		if err != nil {
			return nil, err
		}
		if keys := without(more, e.keys); len(keys) > 0 {
			late = append(late, lateKeys{e.person, union(keys)})
		}
	}
	return late, nil
}

// ConfirmErasures destroys the keys of everybody whom a fact erases, as far as their marks are not here, and says, for
// every erased person of whom that is true and not said yet, that this site (self) holds the marks of all keys of the
// person that it knows of and shows the person as erased. It returns how many people that were, at most confirmBatch at
// a time. It does nothing if self is not among the sites that the authority allows. It is cheap when there is nothing
// to say; call it now and then.
func (s *Service) ConfirmErasures(ctx context.Context, authority event.AuthorityID, self event.SiteID, allowed []event.SiteID) (int, error) {
	if !slices.Contains(allowed, self) {
		return 0, nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	var open []erasedRow
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		open, err = unconfirmed(ctx, q, authority, self)
		return err
	})
	if err != nil {
		return 0, deed(err, "confirm erasures")
	}
	if err := s.follow(ctx, authority, open); err != nil {
		return 0, deed(err, "confirm erasures")
	}
	var drafts []event.Draft
	for _, e := range open {
		living, err := s.living(ctx, authority, e.keys)
		if err != nil {
			return 0, deed(err, "confirm erasures")
		}
		if len(living) == 0 && len(drafts) < confirmBatch {
			drafts = append(drafts, draftOf(e.person.erasure(), KindErasureConfirmed, "site/"+self.Short(), ErasureConfirmed{Site: self, Keys: e.keys}))
		}
	}
	if len(drafts) == 0 {
		return 0, nil
	}
	r, err := s.cfg.Log.Append(ctx, authority, event.Register, drafts...)
	if err != nil {
		return 0, deed(err, "confirm erasures")
	}
	return len(drafts), deed(s.wait(ctx, r), "confirm erasures")
}

// confirmBatch bounds the confirmations that are written at once.
const confirmBatch = 1000

// follow destroys the keys that facts of other sites name, whether or not their marks have come. What the keyring holds
// back stays.
func (s *Service) follow(ctx context.Context, authority event.AuthorityID, open []erasedRow) error {
	var due []event.KeyID
	for _, e := range open {
		living, err := s.living(ctx, authority, e.keys)
		if err != nil {
			return err
		}
		due = append(due, living...)
	}
	if len(due) == 0 {
		return nil
	}
	return s.eraseDue(ctx, authority, due)
}

// living returns those of the keys whose erasure mark this site does not hold.
func (s *Service) living(ctx context.Context, authority event.AuthorityID, keys []event.KeyID) (list []event.KeyID, err error) {
	for _, k := range keys {
		_, err := s.cfg.Keys.Key(ctx, authority, k)
		switch {
		case errors.Is(err, keyring.ErrErased):
		case err == nil, errors.Is(err, keyring.ErrMissing), errors.Is(err, keyring.ErrNoAuthorityKey):
			list = append(list, k)
		default:
			return nil, err
		}
	}
	return list, nil
}

// Erasures returns everybody of the authority who was erased, the latest first, with the sites that have confirmed it.
func (s *Service) Erasures(ctx context.Context, authority event.AuthorityID) (list []Erasure, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		erased, err := listErased(ctx, q, authority)
		if err != nil {
			return err
		}
		list, err = confirmations(ctx, q, authority, erased)
		return err
	})
	return list, deed(err, "list erasures")
}

// erasure is the subject under which sites confirm that the person is erased.
func (id PersonID) erasure() event.Subject { return event.Subject("erasure/" + string(id)) }

// erasedRow is an erased person with all keys of theirs that are known.
type erasedRow struct {
	person PersonID
	at     int64
	by     string
	keys   []event.KeyID
}

func saveErased(tx *readmodel.Tx, authority event.AuthorityID, id PersonID, was, is personState) error {
	switch {
	case !is.Erased && !was.Erased:
		return nil
	case !is.Erased:
		// A fold from nothing may have taken the erasure back: the log it was in was closed before it.
		_, err := tx.Exec(`DELETE FROM directory_erased WHERE authority = ? AND person = ?`, authority, id)
		return err
	}
	_, err := tx.Exec(`INSERT OR REPLACE INTO directory_erased (authority, person, at, by, site, keys) VALUES (?, ?, ?, ?, ?, ?)`,
		authority, id, is.ErasedAt, is.ErasedBy, is.ErasedFrom, keysJSON(union(is.Keys, is.Destroyed)))
	return err
}

// keysJSON returns the keys as a list also if there are none: to SQLite null is a list of one.
func keysJSON(keys []event.KeyID) string { return jsonOf(append([]event.KeyID{}, keys...)) }

func saveErasure(tx *readmodel.Tx, authority event.AuthorityID, id PersonID, is erasureState) error {
	if _, err := tx.Exec(`DELETE FROM directory_confirmed WHERE authority = ? AND person = ?`, authority, id); err != nil {
		return err
	}
	for site, keys := range is.Confirmed {
		if _, err := tx.Exec(`INSERT INTO directory_confirmed (authority, person, site, keys) VALUES (?, ?, ?, ?)`,
			authority, id, site, keysJSON(keys)); err != nil {
			return err
		}
	}
	return nil
}

func lateRecordings(ctx context.Context, q readmodel.Query, authority event.AuthorityID) (late []lateKeys, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		var l lateKeys
		var keys string
		if err := scan(&l.person, &keys); err != nil {
			return err
		}
		late = append(late, l)
		return json.Unmarshal([]byte(keys), &late[len(late)-1].keys)
	}, `SELECT id, late FROM directory_person WHERE authority = ? AND late <> '' ORDER BY id LIMIT 1000`, authority)
	return late, err
}

func listErased(ctx context.Context, q readmodel.Query, authority event.AuthorityID) ([]erasedRow, error) {
	return queryErased(ctx, q, `SELECT person, at, by, keys FROM directory_erased WHERE authority = ? ORDER BY at DESC, person`, authority)
}

// unconfirmed returns the erased people, shown as such, of whom the site has not confirmed all keys.
func unconfirmed(ctx context.Context, q readmodel.Query, authority event.AuthorityID, site event.SiteID) ([]erasedRow, error) {
	list, err := queryErased(ctx, q, `SELECT e.person, e.at, e.by, e.keys FROM directory_erased e
		JOIN directory_person p ON p.authority = e.authority AND p.id = e.person AND p.status = ?
		LEFT JOIN directory_confirmed c ON c.authority = e.authority AND c.person = e.person AND c.site = ?
		WHERE e.authority = ? AND (c.keys IS NULL OR EXISTS (
			SELECT value FROM json_each(e.keys) EXCEPT SELECT value FROM json_each(c.keys)))
		ORDER BY e.at, e.person`, Erased, site, authority)
	return list, err
}

func queryErased(ctx context.Context, q readmodel.Query, query string, args ...any) (list []erasedRow, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		var e erasedRow
		var keys string
		if err := scan(&e.person, &e.at, &e.by, &keys); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(keys), &e.keys)
		list = append(list, e)
		return err
	}, query, args...)
	return list, err
}

// confirmations adds the sites that have confirmed all keys of a person.
func confirmations(ctx context.Context, q readmodel.Query, authority event.AuthorityID, erased []erasedRow) ([]Erasure, error) {
	at := make(map[PersonID]int, len(erased))
	list := make([]Erasure, len(erased))
	for i, e := range erased {
		at[e.person] = i
		list[i] = Erasure{Person: e.person, ErasedAt: time.UnixMilli(e.at).UTC(), By: e.by}
	}
	err := each(ctx, q, func(scan func(...any) error) error {
		var person PersonID
		var site event.SiteID
		var text string
		var keys []event.KeyID
		if err := scan(&person, &site, &text); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &keys); err != nil {
			return err
		}
		if i, known := at[person]; known && covers(keys, erased[i].keys) {
			list[i].Confirmed = append(list[i].Confirmed, site)
		}
		return nil
	}, `SELECT person, site, keys FROM directory_confirmed WHERE authority = ? ORDER BY person, site`, authority)
	return list, err
}
