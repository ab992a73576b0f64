// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// months remembers the key of the month that runs, by authority. Without it the first lines of a month, written before the
// read model has folded the first of them, would each make a key.
type months struct {
	opening sync.Mutex // held from the making of a key until the fact that names it is on the disk
	mu      sync.Mutex
	keys    map[event.AuthorityID]monthKey
}

type monthKey struct {
	month string
	id    event.KeyID
}

func (m *months) get(authority event.AuthorityID, month string) (event.KeyID, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[authority]
	return k.id, ok && k.month == month
}

func (m *months) set(authority event.AuthorityID, k monthKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil {
		m.keys = make(map[event.AuthorityID]monthKey)
	}
	m.keys[authority] = k
}

// monthKey returns the key for the addresses of the entries: none if there is nothing to seal, or nothing to seal it with.
// If it had to be made, opened names it and belongs into the same Append. done is called once with whether that succeeded.
func (s *Service) monthKey(ctx context.Context, authority event.AuthorityID, entries []entry) (key keyring.Key, opened []event.Draft, done func(bool), err error) {
	done = func(bool) {}
	if authority == event.Federation || !anyFrom(entries) {
		return key, nil, done, nil
	}
	month := monthOf(s.cfg.Now())
	if key, ok, err := s.known(ctx, authority, month); ok || err != nil {
		return key, nil, done, err
	}
	s.months.opening.Lock()
	done = func(bool) { s.months.opening.Unlock() }
	key, ok, err := s.known(ctx, authority, month) // somebody was faster
	if !ok && err == nil {
		key, ok, err = s.findMonth(ctx, authority, month)
	}
	if err == nil && !ok {
		key, err = s.newKey(ctx, authority)
	}
	if err != nil || ok || key.ID == "" {
		done(false)
		return key, nil, func(bool) {}, err
	}
	fact := event.Draft{Subject: keySubject(month), Kind: KindMonthOpened, Data: MonthOpened{Month: month, Key: key.ID}, Keys: []event.KeyID{key.ID}}
	return key, []event.Draft{fact}, func(stored bool) {
		if stored {
			s.months.set(authority, monthKey{month, key.ID})
		}
		s.months.opening.Unlock()
	}, nil
}

func anyFrom(entries []entry) bool {
	for _, e := range entries {
		if e.From != "" {
			return true
		}
	}
	return false
}

// known returns the month's key from memory, if it still lives.
func (s *Service) known(ctx context.Context, authority event.AuthorityID, month string) (key keyring.Key, ok bool, err error) {
	id, ok := s.months.get(authority, month)
	if !ok {
		return key, false, nil
	}
	return s.living(ctx, authority, id)
}

func (s *Service) living(ctx context.Context, authority event.AuthorityID, id event.KeyID) (key keyring.Key, ok bool, err error) {
	secret, err := s.cfg.Keys.Key(ctx, authority, id)
	switch {
	case err == nil:
		return keyring.Key{ID: id, Secret: secret}, true, nil
	case unreadable(err):
		return key, false, nil
	}
	return key, false, err
}

// unreadable reports whether an error of the keyring means that a key is erased or not here, and nothing worse.
func unreadable(err error) bool {
	return errors.Is(err, keyring.ErrErased) || errors.Is(err, keyring.ErrMissing) || errors.Is(err, keyring.ErrNoAuthorityKey)
}

// findMonth looks for a key of the month that the logs name and that this site can use.
func (s *Service) findMonth(ctx context.Context, authority event.AuthorityID, month string) (key keyring.Key, ok bool, err error) {
	var st state
	if _, err := s.cfg.Model.State(ctx, authority, keySubject(month), &st); err != nil {
		return key, false, err
	}
	for _, id := range st.Keys {
		if key, ok, err = s.living(ctx, authority, id); ok || err != nil {
			break
		}
	}
	if ok {
		s.months.set(authority, monthKey{month, key.ID})
	}
	return key, ok, err
}

// newKey makes a key, or returns the zero Key where this site has no key of the authority to seal it with: the line is
// written all the same.
func (s *Service) newKey(ctx context.Context, authority event.AuthorityID) (keyring.Key, error) {
	keys, err := s.cfg.Keys.NewKeys(ctx, authority, 1)
	switch {
	case err == nil && len(keys) == 1:
		return keys[0], nil
	case err == nil || unreadable(err):
		return keyring.Key{}, nil
	}
	return keyring.Key{}, err
}

// Expire destroys the keys of all months that ended at least so many days ago (0 or less: DefaultDays), also of keys that
// another site made unaware of it, and returns how many those were. The addresses of those months are then unreadable at
// this site, and everywhere as soon as the marks have arrived there; an address is readable for at least so many days and
// for 31 more at most. The lines stay. It is cheap when there is nothing to do; call it now and then, at every site.
func (s *Service) Expire(ctx context.Context, authority event.AuthorityID, days int) (int, error) {
	if days <= 0 {
		days = DefaultDays
	}
	var keys []monthKey
	err := s.cfg.Model.View(ctx, func(v readmodel.Query) (err error) {
		keys, err = listMonths(ctx, v, authority)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("expire the audit: %w", err)
	}
	var due []event.KeyID
	for _, k := range keys {
		if !expired(k.month, s.cfg.Now(), days) {
			continue
		}
		// A key that has not arrived is marked, too; one that is marked already is left alone.
		if _, err := s.cfg.Keys.Key(ctx, authority, k.id); !errors.Is(err, keyring.ErrErased) {
			due = append(due, k.id)
		}
	}
	if len(due) == 0 {
		return 0, nil
	}
	if err := s.cfg.Keys.Erase(ctx, authority, due...); err != nil {
		return 0, fmt.Errorf("expire the audit: %w", err)
	}
	return len(due), s.Record(ctx, authority, Entry{Deed: DeedExpire, Actor: "site/" + s.cfg.Self.Short(),
		Object: "auditkey/" + strconv.Itoa(days), Count: len(due)})
}

// KeyUses returns those of the keys that are of a month of the audit, as far as this site's facts tell, and for each whether it may
// be destroyed: every such month ended at least so many days ago (0 or less: DefaultDays).
func (s *Service) KeyUses(ctx context.Context, authority event.AuthorityID, keys []event.KeyID, days int) (map[event.KeyID]bool, error) {
	if days <= 0 {
		days = DefaultDays
	}
	var months []monthKey
	err := s.cfg.Model.View(ctx, func(v readmodel.Query) (err error) {
		months, err = listMonths(ctx, v, authority)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up which months' keys these are: %w", err)
	}
	wanted := make(map[event.KeyID]bool, len(keys))
	for _, k := range keys {
		wanted[k] = true
	}
	over := make(map[event.KeyID]bool)
	for _, m := range months {
		if !wanted[m.id] {
			continue
		}
		before, known := over[m.id]
		over[m.id] = expired(m.month, s.cfg.Now(), days) && (before || !known)
	}
	return over, nil
}

// errNoMonth is what a fact gets whose subject is not the month it names.
var errNoMonth = fault.New(fault.Invalid, "audit.month", "the fact does not name its month", "this is a mistake in the program that wrote it")
