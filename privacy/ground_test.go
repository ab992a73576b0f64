// SPDX-License-Identifier: EUPL-1.2

package privacy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
)

// said is what the domains say of keys, as plain maps.
type said struct {
	persons  []directory.KeyUse
	erasers  map[directory.PersonID]event.SiteID
	personal map[event.KeyID][]directory.PersonID
	over     map[event.KeyID]bool
	fail     error
}

func (s said) KeyUses(context.Context, event.AuthorityID, []event.KeyID) ([]directory.KeyUse, error) {
	return s.persons, nil
}

func (s said) Erasers(context.Context, event.AuthorityID) (map[directory.PersonID]event.SiteID, error) {
	return s.erasers, nil
}

type saidOfThings said

func (s saidOfThings) KeyUses(context.Context, event.AuthorityID, []event.KeyID) (map[event.KeyID][]directory.PersonID, error) {
	return s.personal, s.fail
}

type saidOfGuests said

func (s saidOfGuests) KeyUses(context.Context, event.AuthorityID, []event.KeyID, time.Duration) (map[event.KeyID]bool, error) {
	return s.over, s.fail
}

type saidOfMonths said

func (s saidOfMonths) KeyUses(_ context.Context, _ event.AuthorityID, _ []event.KeyID, days int) (map[event.KeyID]bool, error) {
	if days != 365 {
		return nil, errors.New("asked for other days than the policy's")
	}
	return s.over, s.fail
}

func TestWhichKeysMayBeDestroyed(t *testing.T) {
	const key event.KeyID = "00000000000000aa"
	erased := directory.KeyUse{Key: key, Person: "bert", Erased: true, By: "site-b"}
	lives := directory.KeyUse{Key: key, Person: "anna"}
	due := map[event.KeyID]keyring.Ground{key: {Due: true, By: "site-b"}}
	dueByTime := map[event.KeyID]keyring.Ground{key: {Due: true}}
	needed := map[event.KeyID]keyring.Ground{key: {Needed: true}}
	dueAndNeeded := map[event.KeyID]keyring.Ground{key: {Due: true, Needed: true, By: "site-b"}}
	persons := func(uses ...directory.KeyUse) said { return said{persons: uses} }
	of := func(owner directory.PersonID) said {
		return said{personal: map[event.KeyID][]directory.PersonID{key: {owner}}}
	}
	over := func(is bool) said { return said{over: map[event.KeyID]bool{key: is}} }
	bertErased := said{erasers: map[directory.PersonID]event.SiteID{"bert": "site-b"}}
	for name, c := range map[string]struct {
		directory said
		accounts  said
		programs  said
		guests    said
		months    said
		bounded   bool
		want      map[event.KeyID]keyring.Ground // nil for an error
	}{
		"no fact tells of it":               {want: map[event.KeyID]keyring.Ground{}},
		"its person is erased":              {directory: persons(erased), want: due},
		"its person lives":                  {directory: persons(lives), want: needed},
		"it is named as an erased person's": {directory: persons(lives, erased), want: dueAndNeeded},
		"an account of an erased person":    {directory: bertErased, accounts: of("bert"), want: due},
		"an account of somebody who lives":  {directory: bertErased, accounts: of("anna"), want: needed},
		"a program of an erased person":     {directory: bertErased, programs: of("bert"), want: due},
		"a program without an owner":        {directory: bertErased, programs: of(""), want: needed},
		"a guest of the past":               {guests: over(true), want: dueByTime},
		"a guest who is here":               {guests: over(false), want: needed},
		"a month that is over":              {months: over(true), bounded: true, want: dueByTime},
		"a month that is kept for ever":     {months: over(true), want: needed},
		"erased and past":                   {directory: persons(erased), guests: over(true), want: due},
		"a living person's and a past guest's": {
			directory: persons(lives),
			guests:    over(true),
			want:      map[event.KeyID]keyring.Ground{key: {Due: true, Needed: true}},
		},
		"a domain that cannot answer": {guests: said{fail: errors.New("down")}},
	} {
		t.Run(name, func(t *testing.T) {
			g := Grounds{Directory: c.directory, Accounts: saidOfThings(c.accounts), Programs: saidOfThings(c.programs), Guests: saidOfGuests(c.guests),
				Audit: saidOfMonths(c.months), AuditDays: func(context.Context, event.AuthorityID) (int, bool, error) { return 365, c.bounded, nil }}
			got, err := g.Of(t.Context(), nordtal, []event.KeyID{key})
			if (err != nil) != (c.want == nil) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" && c.want != nil {
				t.Error(diff)
			}
		})
	}
}

// The same with the real services: a fact that names a living person's key as somebody else's destroys nothing.
func TestAFactAboutOneDestroysNoKeyOfAnother(t *testing.T) {
	r := newRig(t)
	var keys []event.KeyID
	for _, p := range []directory.Person{r.anna, r.bert} {
		uses, err := r.keysOf(p.ID)
		ok(t, err)
		keys = append(keys, uses)
	}
	anna, bert := keys[0], keys[1]
	r.append(event.Register, event.Draft{Subject: r.bert.ID.Subject(), Kind: directory.KindPersonErased, Actor: "operator",
		Data: directory.PersonErased{Keys: []event.KeyID{anna, bert}}})
	g := Grounds{Directory: r.people, Programs: r.programs, Guests: r.guests, Audit: r.audit,
		AuditDays: func(context.Context, event.AuthorityID) (int, bool, error) { return 0, false, nil }}
	got, err := g.Of(r.ctx, nordtal, keys)
	ok(t, err)
	self := r.service.cfg.Self
	want := map[event.KeyID]keyring.Ground{anna: {Due: true, Needed: true, By: self}, bert: {Due: true, By: self}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// keysOf returns the key that a person's record is sealed with.
func (r *rig) keysOf(id directory.PersonID) (event.KeyID, error) {
	var st struct {
		Person struct {
			Key event.KeyID `json:"key"`
		} `json:"person"`
	}
	_, err := r.model.State(r.ctx, nordtal, id.Subject(), &st)
	return st.Person.Key, err
}
