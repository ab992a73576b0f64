// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"errors"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/identity"
)

// staff is an authority with three people who are signed in. Erika has a role.
func staff(t *testing.T, role access.Role) (a *station, ids []directory.PersonID, who []access.Principal) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	a = w.sites[0]
	a.importAt(nordtal, table(erika, jonas, fatma))
	for _, name := range []string{erika, jonas, fatma} {
		id := a.named(nordtal, strings.Split(name, ";")[1]).ID
		p, err := a.site.accounts.SignInWithCode(t.Context(), a.codes(id)[0], "")
		w.must(err)
		ids, who = append(ids, id), append(who, p)
	}
	_, _, err := a.GrantRole(t.Context(), nordtal, api.GrantDraft{Role: role, Person: ids[0]})
	w.must(err)
	return a, ids, who
}

// vouched has the others vouch that somebody is the first, and returns how far that somebody comes.
func vouched(t *testing.T, a *station, person directory.PersonID, by ...access.Principal) (in access.Principal, err error) {
	ticket, spoken, err := a.site.accounts.AskVouching(t.Context())
	a.w.must(err)
	for _, p := range by {
		if _, err := a.site.accounts.Vouch(t.Context(), p, spoken, person); err != nil {
			return in, err
		}
	}
	return a.site.accounts.TakeVouching(t.Context(), ticket)
}

func TestColleaguesCannotVouchForWhoAdministersOrAudits(t *testing.T) {
	for _, role := range []access.Role{access.Administrator, access.Auditor, access.Operator} {
		t.Run(string(role), func(t *testing.T) {
			a, ids, who := staff(t, role)
			if _, err := vouched(t, a, ids[0], who[1:]...); !errors.Is(err, identity.ErrVouchAbove) {
				t.Error(err)
			}
		})
	}
}

// docs/security.md says what does not hold, too; these tests are there so that it goes on saying it for as long as it is so.
func TestDoesNotHoldTwoColleaguesLetSomebodyInAsAnAlarmOfficer(t *testing.T) {
	a, ids, who := staff(t, access.AlarmOfficer)
	in, err := vouched(t, a, ids[0], who[1:]...)
	a.w.must(err)
	_, err = a.site.access.Judge(t.Context(), in, nordtal, access.RaiseAlarm)
	a.w.must(err)
}

func TestNobodyComesInAsASecondAdministratorByAnInvitation(t *testing.T) {
	a, ids, who := staff(t, access.Administrator)
	_, _, err := a.GrantRole(t.Context(), nordtal, api.GrantDraft{Role: access.Administrator, Person: ids[1]})
	a.w.must(err)
	if _, _, err := a.site.accounts.Invite(t.Context(), who[0], nordtal, ids[1:2], 0); !errors.Is(err, identity.ErrInviteAbove) {
		t.Errorf("an administrator invites another one who is enrolled: %v", err)
	}
	if _, _, err := a.site.accounts.Invite(t.Context(), a.site.console(), nordtal, ids[1:2], 0); err != nil {
		t.Errorf("the console may: %v", err)
	}
}

func TestDoesNotHoldAnAdministratorComesInAsAMember(t *testing.T) {
	a, ids, who := staff(t, access.Administrator)
	list, _, err := a.site.accounts.Invite(t.Context(), who[0], nordtal, ids[1:2], 0)
	a.w.must(err)
	p, err := a.site.accounts.UseInvitation(t.Context(), list[0].Secret)
	a.w.must(err)
	codes, _, err := a.site.accounts.IssueCodes(t.Context(), p)
	a.w.must(err)
	in, err := a.site.accounts.SignInWithCode(t.Context(), codes[0], "")
	a.w.must(err)
	if in.ID != string(ids[1]) {
		t.Fatalf("came in as %s", in.ID)
	}
}
