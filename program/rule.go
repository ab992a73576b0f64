// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
)

// usedEvery is how often a use becomes a fact.
const usedEvery = 24 * time.Hour

// at says where the program stands at a moment.
func (s state) at(now time.Time) State {
	switch {
	case s.Withdrawn:
		return Gone
	case !now.Before(s.Expires):
		return Expired
	}
	return Alive
}

// works reports whether the program may come in at a moment.
func (s state) works(now time.Time) bool { return s.made() && s.at(now) == Alive }

// lastUse returns the youngest use that facts tell of.
func (s state) lastUse() (last use) {
	for _, u := range s.Uses {
		if u.At.After(last.At) {
			last = u
		}
	}
	return last
}

// check returns the draft as it is kept, or which field is wrong.
func (d Draft) check(now time.Time) (Draft, error) {
	d.Name = strings.TrimSpace(d.Name)
	if d.Name == "" || len(d.Name) > MaxName || strings.ContainsFunc(d.Name, unprintable) {
		return d, ErrName.At(0, "name")
	}
	if !d.Kind.Valid() {
		return d, ErrKind.At(0, "kind")
	}
	if d.Kind.AppPassword() && !validPerson(d.Owner) || d.Owner != "" && !validPerson(d.Owner) {
		return d, ErrOwner.At(0, "owner")
	}
	if d.Expires.IsZero() {
		d.Expires = now.Add(DefaultLife)
	}
	if !d.Expires.After(now) || d.Expires.After(now.Add(MaxLife)) {
		return d, ErrExpires.At(0, "expires")
	}
	d.Expires = d.Expires.UTC().Truncate(time.Second)
	var err error
	d.Scopes, err = d.scopes()
	return d, err
}

// scopes returns the draft's scopes, ordered and each once.
func (d Draft) scopes() ([]access.Permission, error) {
	wanted := slices.Clone(d.Scopes)
	if len(wanted) == 0 {
		wanted = d.Kind.scopes()
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	for _, p := range wanted {
		if !Fit(p) || d.Kind.AppPassword() && !slices.Contains(d.Kind.scopes(), p) {
			return nil, ErrScopes.At(0, "scopes")
		}
	}
	if len(wanted) == 0 {
		return nil, ErrScopes.At(0, "scopes")
	}
	return wanted, nil
}

func validPerson(id directory.PersonID) bool { return idPattern.MatchString(string(id)) }

func unprintable(r rune) bool { return r < 0x20 || r == 0x7f || r == utf8.RuneError }
