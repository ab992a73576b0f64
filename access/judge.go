// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// Verdict says on what ground something is allowed. The zero value stands for what somebody may do without a grant: as a
// member, guest, program or at the console.
type Verdict struct {
	// Grant is the id of the grant that facts and the audit name. Of several it is one for the whole authority, else the one
	// with the lowest id.
	Grant string
	// Units are the units that the grants name, sorted; what is below them is covered too, see Service.Covers. nil is
	// everywhere in the authority.
	Units []directory.UnitID
}

// Judge decides whether the principal may do something in an authority, by what this site knows now. An empty authority stands
// for a page of no authority in particular, and is judged in the principal's own. It returns ErrNoAuthority for any authority
// that is not the principal's own or not held here (the console has all that are held here), ErrForbidden where the right is
// missing, and ErrOwnKey where it is there and the sign-in does not suffice for it. It looks at the local read model and takes well under a millisecond.
func (s *Service) Judge(ctx context.Context, p Principal, authority event.AuthorityID, need Permission) (Verdict, error) {
	authority, err := s.gate(p, authority)
	if err != nil {
		return Verdict{}, err
	}
	r, err := s.rightsOf(ctx, p, authority, need)
	if err != nil {
		return Verdict{}, deed(err, "judge a right")
	}
	v, may := r.verdict(need)
	switch {
	case !may:
		return Verdict{}, ErrForbidden
	case p.lacksKey(need):
		return Verdict{}, ErrOwnKey
	}
	return v, nil
}

// lacksKey reports whether p came in by a way that does not suffice for a permission, whatever their rights are.
func (p Principal) lacksKey(need Permission) bool {
	return p.Kind == Person && p.Borrowed() && slices.Contains(ownKey, need)
}

// Permitted returns everything that the principal may do in the authority: what menus show. Its error is ErrNoAuthority as in
// Judge; somebody who may do nothing gets an empty map.
func (s *Service) Permitted(ctx context.Context, p Principal, authority event.AuthorityID) (map[Permission]Verdict, error) {
	authority, err := s.gate(p, authority)
	if err != nil {
		return nil, err
	}
	r, err := s.rightsOf(ctx, p, authority, "")
	if err != nil {
		return nil, deed(err, "list rights")
	}
	all := make(map[Permission]Verdict)
	for _, need := range order {
		if v, may := r.verdict(need); may && !p.lacksKey(need) {
			all[need] = v
		}
	}
	return all, nil
}

// gate returns the authority to judge in. It looks nothing up but what is in memory, so a refusal takes the same time for an
// authority that exists as for one that does not.
func (s *Service) gate(p Principal, authority event.AuthorityID) (event.AuthorityID, error) {
	if p.Kind == Console {
		if authority == "" || s.cfg.Held(authority) {
			return authority, nil
		}
		return "", ErrNoAuthority
	}
	if authority == "" {
		authority = p.Authority
	}
	if authority == "" || authority == event.Federation || authority != p.Authority || !s.cfg.Held(authority) {
		return "", ErrNoAuthority
	}
	return authority, nil
}

// rights are what somebody has, before anything in particular is asked.
type rights struct {
	// own needs no grant.
	own    []Permission
	grants []held
	// only, unless nil, bounds both.
	only []Permission
}

// held is a grant in force that somebody has in person or by a function.
type held struct {
	id   string
	role Role
	unit directory.UnitID
}

// rightsOf gathers what p has. If need is not empty, only what decides about that one permission may be gathered.
func (s *Service) rightsOf(ctx context.Context, p Principal, authority event.AuthorityID, need Permission) (rights, error) {
	switch {
	case p.Kind == Console && !p.Limited:
		return rights{own: order}, nil
	case p.Kind == Visitor && !p.Limited && p.Incident != "":
		return rights{own: table[GuestRole]}, nil
	case p.Kind == Program && !p.Limited:
		scopes := scopesOf(p)
		if p.Owner == "" {
			return rights{own: scopes}, nil
		}
		r, err := s.personRights(ctx, authority, directory.PersonID(p.Owner), need)
		r.only = scopes
		return r, err
	case p.Kind == Person:
		r, err := s.personRights(ctx, authority, directory.PersonID(p.ID), need)
		if p.Limited {
			r.only = []Permission{OwnAccount}
		}
		return r, err
	}
	return rights{}, nil
}

// scopesOf returns what a program may do at most, never nil.
func scopesOf(p Principal) []Permission {
	scopes := []Permission{}
	for _, x := range p.Scopes {
		if x.Scopable() {
			scopes = append(scopes, x)
		}
	}
	return scopes
}

// personRights gathers the rights of somebody in the register. Who is not in it, not any more, or was erased, has none.
func (s *Service) personRights(ctx context.Context, authority event.AuthorityID, id directory.PersonID, need Permission) (rights, error) {
	person, err := s.cfg.Directory.Person(ctx, authority, id)
	if errors.Is(err, directory.ErrPersonUnknown) || err == nil && person.Readable == directory.Erased {
		return rights{}, nil
	}
	if err != nil {
		return rights{}, err
	}
	r := rights{own: table[MemberRole]}
	if slices.Contains(r.own, need) {
		return r, nil
	}
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		r.grants, err = grantsHeld(ctx, q, authority, id, person.Functions, s.cfg.Now())
		return err
	})
	return r, err
}

// verdict is the rule of judging, without anything that could change.
func (r rights) verdict(need Permission) (Verdict, bool) {
	if !need.Valid() || r.only != nil && !slices.Contains(r.only, need) {
		return Verdict{}, false
	}
	if slices.Contains(r.own, need) {
		return Verdict{}, true
	}
	var found []held
	for _, g := range r.grants {
		if g.role.Can(need) {
			found = append(found, g)
		}
	}
	return merged(found)
}

// merged returns what several grants of one permission come to: everywhere if one says so, else all their units.
func merged(grants []held) (Verdict, bool) {
	if len(grants) == 0 {
		return Verdict{}, false
	}
	slices.SortFunc(grants, func(a, b held) int {
		return cmp.Or(cmp.Compare(min(len(a.unit), 1), min(len(b.unit), 1)), strings.Compare(a.id, b.id))
	})
	v := Verdict{Grant: grants[0].id}
	if grants[0].unit == "" {
		return v, true
	}
	for _, g := range grants {
		v.Units = append(v.Units, g.unit)
	}
	slices.Sort(v.Units)
	v.Units = slices.Compact(v.Units)
	return v, true
}

// inForce is the rule of dates: from the first millisecond on, until before the last; 0 is no bound.
func inForce(from, until int64, now time.Time) bool {
	ms := now.UnixMilli()
	return from <= ms && (until == 0 || ms < until)
}

// Covers reports whether a verdict holds for every one of the units: each is one of its units, or below one. It looks units
// up only for a verdict that is bound to units. An empty UnitID stands for the whole authority.
func (s *Service) Covers(ctx context.Context, authority event.AuthorityID, v Verdict, units ...directory.UnitID) (bool, error) {
	if v.Units == nil || len(units) == 0 {
		return true, nil
	}
	parent, err := s.parents(ctx, authority)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(units, func(u directory.UnitID) bool { return !below(parent, v.Units, u) }), nil
}

// CoversAudience reports whether a verdict holds for everybody whom an audience means. Everyone and functions, which reach
// across units, take a verdict for the whole authority; a person is covered by any of their units.
func (s *Service) CoversAudience(ctx context.Context, authority event.AuthorityID, v Verdict, a directory.Audience) (bool, error) {
	if v.Units == nil {
		return true, nil
	}
	if a.Everyone || len(a.Functions) > 0 {
		return false, nil
	}
	parent, err := s.parents(ctx, authority)
	if err != nil {
		return false, err
	}
	out := func(u directory.UnitID) bool { return !below(parent, v.Units, u) }
	if slices.ContainsFunc(a.Units, out) {
		return false, nil
	}
	for _, id := range a.Persons {
		p, err := s.cfg.Directory.Person(ctx, authority, id)
		if errors.Is(err, directory.ErrPersonUnknown) {
			return false, nil
		}
		if err != nil {
			return false, deed(err, "look up a recipient")
		}
		if !slices.ContainsFunc(p.Units, func(u directory.UnitID) bool { return !out(u) }) {
			return false, nil
		}
	}
	return true, nil
}

// CoversRoles reports whether a verdict reaches as far as every role that these people have, will have, or have by a function:
// whoever gets hold of somebody's way in has their roles, too.
func (s *Service) CoversRoles(ctx context.Context, authority event.AuthorityID, v Verdict, persons ...directory.PersonID) (bool, error) {
	if v.Units == nil {
		return true, nil
	}
	parent, err := s.parents(ctx, authority)
	if err != nil {
		return false, err
	}
	grants, err := s.live(ctx, authority)
	if err != nil {
		return false, err
	}
	now := s.cfg.Now()
	above := slices.DeleteFunc(grants, func(g Grant) bool {
		return !g.Until.IsZero() && !now.Before(g.Until) || below(parent, v.Units, g.Unit)
	})
	for _, id := range persons {
		p, err := s.cfg.Directory.Person(ctx, authority, id)
		if err != nil {
			return false, deed(err, "look up a person")
		}
		if slices.ContainsFunc(above, func(g Grant) bool {
			return g.Person == id || g.Function != "" && slices.Contains(p.Functions, g.Function)
		}) {
			return false, nil
		}
	}
	return true, nil
}

// parents returns the tree of units.
func (s *Service) parents(ctx context.Context, authority event.AuthorityID) (map[directory.UnitID]directory.UnitID, error) {
	units, err := s.cfg.Directory.Units(ctx, authority)
	if err != nil {
		return nil, deed(err, "look up the units")
	}
	parent := make(map[directory.UnitID]directory.UnitID, len(units))
	for _, u := range units {
		parent[u.ID] = u.Parent
	}
	return parent, nil
}

// below reports whether a unit is one of those granted or below one. A tree that two sides of a cut have bent into a ring ends
// after as many steps as there are units.
func below(parent map[directory.UnitID]directory.UnitID, granted []directory.UnitID, u directory.UnitID) bool {
	for range len(parent) + 1 {
		if u == "" {
			return false
		}
		if slices.Contains(granted, u) {
			return true
		}
		u = parent[u]
	}
	return false
}
