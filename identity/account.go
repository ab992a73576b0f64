// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// Account returns one person's account. It returns ErrPersonUnknown for somebody who is not in the register.
func (s *Service) Account(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (Account, error) {
	who, err := s.person(ctx, authority, person)
	if err != nil {
		return Account{}, err
	}
	st, err := s.state(ctx, authority, person)
	if err != nil {
		return Account{}, fmt.Errorf("read an account: %w", err)
	}
	sum, v := st.summary(), st.void()
	a := Account{
		Person: who, State: sum.state(s.cfg.Now()), CodesLeft: sum.codes, TOTP: st.app() != nil,
		Missing:   missing(st.good(v), sum.codes, s.cfg.Names(authority)),
		InvitedAt: unix(sum.invited), Expires: unix(sum.expires), LastSignIn: milli(sum.signedIn),
	}
	if sheet := st.sheet(v); sheet != nil {
		a.CodesIssued = milli(sheet.Wall)
	}
	for _, p := range st.live(v) {
		a.Passkeys = append(a.Passkeys, s.shown(ctx, authority, person, p, v))
	}
	return a, nil
}

func (s *Service) shown(ctx context.Context, authority event.AuthorityID, person directory.PersonID, p passkey, v void) Passkey {
	c, err := s.open(ctx, authority, person, p)
	return Passkey{ID: p.ID, Host: p.Host, Label: c.Label, Added: milli(p.Wall), Site: p.Site, Synced: c.Synced, Void: v.passkeys[p.ID], Readable: err == nil}
}

// Accounts returns a page of people with the state of their accounts, and how many are in which state. Everybody, and those
// without an account, come in the order of the directory; the others by id, and each page of them by name. With 5,000
// people it takes some tens of milliseconds.
func (s *Service) Accounts(ctx context.Context, authority event.AuthorityID, f Filter) ([]AccountLine, Counts, error) {
	if f.Limit <= 0 || f.Limit > MaxList {
		f.Limit = MaxList
	}
	var all map[directory.PersonID]summary
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		all, err = summaries(ctx, q, authority)
		return err
	})
	if err != nil {
		return nil, Counts{}, fmt.Errorf("list accounts: %w", err)
	}
	everybody, err := s.cfg.Directory.Resolve(ctx, authority, directory.Audience{Everyone: true})
	if err != nil {
		return nil, Counts{}, fmt.Errorf("list accounts: %w", err)
	}
	counts, matching := s.sort(all, everybody, f)
	var lines []AccountLine
	if f.State == "" || f.State == StateNone {
		lines, err = s.byName(ctx, authority, f, all)
	} else {
		lines, err = s.byID(ctx, authority, f, all, matching)
	}
	return lines, counts, err
}

// sort counts the states, and returns the ids of those who match the filter, in order.
func (s *Service) sort(all map[directory.PersonID]summary, everybody []directory.Recipient, f Filter) (c Counts, matching []directory.PersonID) {
	now := s.cfg.Now()
	for _, r := range everybody {
		state := all[r.Person].state(now)
		switch state {
		case StateEnrolled:
			c.Enrolled++
		case StateInvited:
			c.Invited++
		case StateDormant:
			c.Dormant++
		default:
			c.None++
		}
		if state == f.State {
			matching = append(matching, r.Person)
		}
	}
	c.People = len(everybody)
	slices.Sort(matching)
	return c, matching
}

func lineOf(p directory.Person, x summary, now time.Time) AccountLine {
	return AccountLine{Person: p, State: x.state(now), Passkeys: x.passkeys, Names: x.hosts, CodesLeft: x.codes,
		LastSignIn: milli(x.signedIn), InvitedAt: unix(x.invited)}
}

// byName goes through the directory until the page is full.
func (s *Service) byName(ctx context.Context, authority event.AuthorityID, f Filter, all map[directory.PersonID]summary) (lines []AccountLine, err error) {
	after := f.After
	for len(lines) < f.Limit {
		people, _, err := s.cfg.Directory.People(ctx, authority, directory.Search{Limit: f.Limit, After: after})
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		for _, p := range people {
			line := lineOf(p, all[p.ID], s.cfg.Now())
			if p.Readable != directory.Erased && (f.State == "" || line.State == f.State) && len(lines) < f.Limit {
				lines = append(lines, line)
			}
			after = p.ID
		}
		if len(people) < f.Limit {
			break
		}
	}
	return lines, nil
}

// byID looks up the people of one page.
func (s *Service) byID(ctx context.Context, authority event.AuthorityID, f Filter, all map[directory.PersonID]summary, matching []directory.PersonID) (lines []AccountLine, err error) {
	from, found := slices.BinarySearch(matching, f.After)
	if found {
		from++
	}
	for _, id := range matching[from:min(from+f.Limit, len(matching))] {
		p, err := s.cfg.Directory.Person(ctx, authority, id)
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		lines = append(lines, lineOf(p, all[id], s.cfg.Now()))
	}
	slices.SortStableFunc(lines, func(a, b AccountLine) int {
		return cmp.Or(cmp.Compare(a.Person.FamilyName, b.Person.FamilyName), cmp.Compare(a.Person.GivenName, b.Person.GivenName))
	})
	return lines, nil
}

// Standing says whether a principal of this authority may still be one: nil, ErrGone for a person who has left the register
// or was erased, ErrVoid for a session that rests on a secret that was used twice, ErrVouchedOver, ErrProviderOff for a session
// by the identity provider that has been switched off since. It judges persons only, and costs two look-ups.
func (s *Service) Standing(ctx context.Context, p access.Principal) error {
	if p.Kind != access.Person {
		return nil
	}
	person := directory.PersonID(p.ID)
	_, err := s.person(ctx, p.Authority, person)
	if errors.Is(err, ErrPersonUnknown) {
		return ErrGone
	}
	if err != nil {
		return fmt.Errorf("look at somebody's standing: %w", err)
	}
	if p.Way == access.ByVouching && !p.Begun.IsZero() && s.cfg.Now().Sub(p.Begun) >= VouchedSession {
		return ErrVouchedOver
	}
	if p.Way == access.ByOIDC {
		if err := s.providerOn(ctx, p.Authority); err != nil {
			return err
		}
	}
	st, err := s.state(ctx, p.Authority, person)
	if err != nil {
		return fmt.Errorf("look at somebody's standing: %w", err)
	}
	if st.void().session(p.Session) {
		return ErrVoid
	}
	return nil
}

// KeysOf returns the keys that something of the person's account was ever sealed with: whoever erases the person erases
// them, too. Step does so as well as soon as it sees that the person is erased.
func (s *Service) KeysOf(ctx context.Context, authority event.AuthorityID, person directory.PersonID) ([]event.KeyID, error) {
	st, err := s.state(ctx, authority, person)
	if err != nil {
		return nil, fmt.Errorf("read an account: %w", err)
	}
	return st.Keys, nil
}

// KeyUses returns the people with whose accounts something was ever sealed with each of the keys, as far as this site's facts tell.
// A key that no account uses is left out.
func (s *Service) KeyUses(ctx context.Context, authority event.AuthorityID, keys []event.KeyID) (uses map[event.KeyID][]directory.PersonID, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		uses, err = keyUses(ctx, q, authority, keys)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up whose accounts' keys these are: %w", err)
	}
	return uses, nil
}

// Warnings returns the youngest 500 warnings of an authority, the youngest first.
func (s *Service) Warnings(ctx context.Context, authority event.AuthorityID) (list []Warning, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		list, err = listWarnings(ctx, q, authority, MaxList)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list warnings: %w", err)
	}
	return list, nil
}

// eraseLate destroys the keys of accounts whose person is erased, whoever did that, and whichever site made a key without
// knowing. It returns how many people that concerned.
func (s *Service) eraseLate(ctx context.Context, authority event.AuthorityID) (erased int, err error) {
	var accounts map[directory.PersonID][]event.KeyID
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		accounts, err = keyed(ctx, q, authority)
		return err
	})
	if err != nil {
		return 0, err
	}
	everybody, err := s.cfg.Directory.Resolve(ctx, authority, directory.Audience{Everyone: true})
	if err != nil {
		return 0, err
	}
	for _, r := range everybody {
		delete(accounts, r.Person)
	}
	return s.erase(ctx, authority, accounts)
}

// erase destroys the keys of those of the accounts whose person is erased and of whom that has not been done here: all at once,
// because of very many the keyring destroys none before a person has looked.
func (s *Service) erase(ctx context.Context, authority event.AuthorityID, accounts map[directory.PersonID][]event.KeyID) (erased int, err error) {
	var people []directory.PersonID
	var due []event.KeyID
	for _, person := range slices.Sorted(maps.Keys(accounts)) {
		keys := slices.DeleteFunc(accounts[person], func(k event.KeyID) bool { return s.doer.erased[k] })
		if len(keys) == 0 {
			continue
		}
		p, err := s.cfg.Directory.Person(ctx, authority, person)
		if err != nil || p.Readable != directory.Erased {
			continue // removed people keep their keys: they may come back
		}
		accounts[person] = keys
		people, due = append(people, person), append(due, keys...)
	}
	if len(due) == 0 {
		return 0, nil
	}
	err = s.cfg.Keys.Erase(ctx, authority, due...)
	if err != nil && !errors.Is(err, keyring.ErrHeld) && !errors.Is(err, keyring.ErrShared) {
		return 0, fmt.Errorf("destroy the keys of accounts: %w", err)
	}
	for _, person := range people {
		if err != nil && !s.destroyed(ctx, authority, accounts[person]) {
			continue // the keyring has told why, and erases what it holds back when a person has released it
		}
		for _, k := range accounts[person] {
			s.doer.erased[k] = true
		}
		erased++
		if err := s.audit(ctx, authority, "person.erase", string(accountSubject(person))); err != nil {
			return erased, err
		}
	}
	return erased, nil
}

// destroyed reports whether all of the keys bear their marks here.
func (s *Service) destroyed(ctx context.Context, authority event.AuthorityID, keys []event.KeyID) bool {
	for _, k := range keys {
		if _, err := s.cfg.Keys.Key(ctx, authority, k); !errors.Is(err, keyring.ErrErased) {
			return false
		}
	}
	return true
}

func (s *Service) audit(ctx context.Context, authority event.AuthorityID, deed, object string) error {
	if s.cfg.Audit == nil {
		return nil
	}
	return s.cfg.Audit(ctx, authority, deed, object)
}
