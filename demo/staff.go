// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"context"
	"fmt"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// Staff is one person of the demonstration who can be tried out.
type Staff struct {
	Authority string        `json:"authority"`
	Person    string        `json:"person"`
	Name      string        `json:"name"`
	Roles     []access.Role `json:"roles,omitempty"`
	// SignIn is a link that signs the person in, good once; Invite one that leads to enrolling. One of the two is set.
	SignIn string `json:"signIn,omitempty"`
	Invite string `json:"invite,omitempty"`
}

// linkMinutes is how long the links of the demonstration are good, within what links for people may last.
const linkMinutes = 60

// appoint gives the first people of an authority the roles that its crisis staff would have, and invites one more.
func (w *world) appoint(ctx context.Context, a authority) error {
	r := w.sites[0].remote.client
	roles := [][]access.Role{{access.Administrator, access.AlarmOfficer, access.Auditor}, {access.Administrator, access.AlarmOfficer}, nil}
	found, err := r.People(ctx, a.id, directory.Search{Limit: directory.MaxLimit})
	if err != nil {
		return fmt.Errorf("find people to appoint: %w", err)
	}
	named := make(map[string]bool) // of two people of one name nobody would know who is who
	for _, p := range found.People {
		i := len(named)
		if i == len(roles) || named[p.DisplayName] {
			continue
		}
		named[p.DisplayName] = true
		for _, role := range roles[i] {
			if _, _, err := r.GrantRole(ctx, a.id, api.GrantDraft{Role: role, Person: p.ID}); err != nil {
				return fmt.Errorf("appoint: %w", err)
			}
		}
		w.staff = append(w.staff, Staff{Authority: string(a.id), Person: string(p.ID), Name: p.DisplayName, Roles: roles[i]})
	}
	return nil
}

// links draws a fresh link for each of the staff.
func (w *world) links(ctx context.Context) ([]Staff, error) {
	r := w.sites[0].remote.client
	staff := append([]Staff(nil), w.staff...)
	for i, s := range staff {
		authority, person := event.AuthorityID(s.Authority), directory.PersonID(s.Person)
		if len(s.Roles) == 0 {
			invited, err := r.InviteAccounts(ctx, authority, api.AccountInvitationDraft{Persons: []directory.PersonID{person}})
			if err != nil {
				return nil, err
			}
			staff[i].Invite = invited.Invitations[0].URL
			continue
		}
		link, err := r.PersonLink(ctx, authority, person, linkMinutes)
		if err != nil {
			return nil, err
		}
		staff[i].SignIn = link.URL
	}
	return staff, nil
}
