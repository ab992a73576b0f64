// SPDX-License-Identifier: EUPL-1.2

package privacy

import (
	"context"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
)

// Grounds is the rule for which of an authority's keys may be destroyed: all that this site's facts say is sealed with
// the key is to be forgotten. A person's record and account and the names of their programs are when the person was
// erased; a guest's name when their time here was over long enough ago, and a month of the audit when the policy does
// not keep it any longer, both by this site's own clock. A key of which no fact tells may not be destroyed: the fact
// may come yet.
//
// Every site judges for itself, by what it has folded. So no site can destroy a key at another one by saying that it
// was destroyed, nor by naming a living person's key in a fact about somebody else.
//
// All fields but Directory may be left out where there is no such domain. Directory is always needed.
type Grounds struct {
	Directory interface {
		KeyUses(context.Context, event.AuthorityID, []event.KeyID) ([]directory.KeyUse, error)
		Erasers(context.Context, event.AuthorityID) (map[directory.PersonID]event.SiteID, error)
	}
	Accounts PersonalKeys
	Programs PersonalKeys
	Guests   interface {
		KeyUses(context.Context, event.AuthorityID, []event.KeyID, time.Duration) (map[event.KeyID]bool, error)
	}
	Audit interface {
		KeyUses(context.Context, event.AuthorityID, []event.KeyID, int) (map[event.KeyID]bool, error)
	}
	// GuestNames is how long a guest's name is kept after their time here is over.
	GuestNames time.Duration
	// AuditDays returns how many days a month of the audit is kept after its end, and whether that has a bound.
	AuditDays func(context.Context, event.AuthorityID) (days int, bounded bool, err error)
}

// PersonalKeys tells to which people's things keys belong.
type PersonalKeys interface {
	KeyUses(context.Context, event.AuthorityID, []event.KeyID) (map[event.KeyID][]directory.PersonID, error)
}

// Of returns the grounds of those of the keys of which this site's facts tell something. It blocks for the read model.
func (g Grounds) Of(ctx context.Context, authority event.AuthorityID, keys []event.KeyID) (map[event.KeyID]keyring.Ground, error) {
	found := grounds{}
	looks := []func(context.Context, event.AuthorityID, []event.KeyID, grounds) error{g.people, g.things, g.guests, g.months}
	for _, look := range looks {
		if err := look(ctx, authority, keys, found); err != nil {
			return nil, fmt.Errorf("judge what is to be erased: %w", err)
		}
	}
	return found, nil
}

// grounds gathers what several domains say of a key.
type grounds map[event.KeyID]keyring.Ground

// add takes one use of a key over. Of the sites that made it due the first one stays.
func (g grounds) add(key event.KeyID, over bool, by event.SiteID) {
	was := g[key]
	if over && (!was.Due || was.By == "") {
		was.Due, was.By = true, by
	}
	was.Needed = was.Needed || !over
	g[key] = was
}

func (g Grounds) people(ctx context.Context, authority event.AuthorityID, keys []event.KeyID, found grounds) error {
	uses, err := g.Directory.KeyUses(ctx, authority, keys)
	for _, u := range uses {
		found.add(u.Key, u.Erased, u.By)
	}
	return err
}

// things judges what belongs to people: accounts and programs.
func (g Grounds) things(ctx context.Context, authority event.AuthorityID, keys []event.KeyID, found grounds) error {
	erasers, err := g.Directory.Erasers(ctx, authority)
	if err != nil {
		return err
	}
	for _, domain := range []PersonalKeys{g.Accounts, g.Programs} {
		if domain == nil {
			continue
		}
		uses, err := domain.KeyUses(ctx, authority, keys)
		if err != nil {
			return err
		}
		for key, owners := range uses {
			for _, owner := range owners {
				by, erased := erasers[owner]
				found.add(key, erased, by)
			}
		}
	}
	return nil
}

func (g Grounds) guests(ctx context.Context, authority event.AuthorityID, keys []event.KeyID, found grounds) error {
	if g.Guests == nil {
		return nil
	}
	uses, err := g.Guests.KeyUses(ctx, authority, keys, g.GuestNames)
	for key, over := range uses {
		found.add(key, over, "")
	}
	return err
}

func (g Grounds) months(ctx context.Context, authority event.AuthorityID, keys []event.KeyID, found grounds) error {
	if g.Audit == nil {
		return nil
	}
	days, bounded, err := g.AuditDays(ctx, authority)
	if err != nil {
		return err
	}
	uses, err := g.Audit.KeyUses(ctx, authority, keys, days)
	for key, over := range uses {
		found.add(key, over && bounded, "")
	}
	return err
}
