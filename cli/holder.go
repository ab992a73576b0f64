// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"context"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// maxNamed bounds how many people are looked up by name for one list.
const maxNamed = 200

// holders are the names of those who have roles, by "person/ID" and "function/ID"; who is not found has none.
type holders struct {
	names map[string]string
	// in are the people that a function's roles come to.
	in map[directory.FunctionID][]directory.PersonID
}

// holdersOf looks up who the grants are for. What the caller may not see stays an id.
func (s *shell) holdersOf(ctx context.Context, authority event.AuthorityID, grants []api.Grant) holders {
	h := holders{make(map[string]string), make(map[directory.FunctionID][]directory.PersonID)}
	if slices.ContainsFunc(grants, func(g api.Grant) bool { return g.Function != "" }) {
		functions, _ := s.site().Functions(ctx, authority)
		for _, f := range functions {
			h.names["function/"+string(f.ID)] = nameOr(f.Name, f.Readable)
			h.in[f.ID] = append(slices.Clone(f.Holders), f.Deputies...)
		}
	}
	for _, g := range grants {
		key := holder(g.GrantDraft)
		if _, known := h.names[key]; known || g.Person == "" || len(h.names) >= maxNamed {
			continue
		}
		p, err := s.site().Person(ctx, authority, g.Person)
		if h.names[key] = ""; err == nil {
			h.names[key] = nameOr(p.DisplayName, p.Readable)
		}
	}
	return h
}

func (h holders) show(d api.GrantDraft) string {
	key := holder(d)
	return strings.TrimSpace(key + " " + h.names[key])
}

// erasers are those who may agree to an erasure anywhere in the authority, each once.
func (h holders) erasers(grants []api.Grant) []directory.PersonID {
	var ids []directory.PersonID
	for _, g := range grants {
		switch {
		case !g.InForce || g.Unit != "" || !slices.Contains(access.RolePermissions(g.Role), access.ErasePerson):
		case g.Function != "":
			ids = append(ids, h.in[g.Function]...)
		default:
			ids = append(ids, g.Person)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// warnOfFew tells when a withdrawal has left too few people for what takes two.
func (s *shell) warnOfFew(ctx context.Context, authority event.AuthorityID) {
	grants, err := s.site().Roles(ctx, authority, false)
	if err != nil { // the withdrawal is done all the same
		return
	}
	p, err := s.site().Policy(ctx, authority)
	if err != nil || !slices.Contains(p.TwoPersons, access.ErasePerson) {
		return
	}
	if left := s.holdersOf(ctx, authority, grants).erasers(grants); len(left) < 2 {
		s.warn(count(len(left), "person") + " may erase people now, and erasing takes two: it is not possible until somebody else is an administrator")
	}
}
