// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/sheet"
	"codeberg.org/holdfast/holdfast/web"
)

// Who acts in the tests of administration. All are of nordtal but the last.
var (
	administrator = access.Principal{Kind: access.Person, Authority: nordtal, ID: "1111111111111111", Way: access.ByPasskey, Begun: now, Site: siteNord}
	officer       = access.Principal{Kind: access.Person, Authority: nordtal, ID: "2222222222222222", Way: access.ByPasskey, Begun: now, Site: siteNord}
	auditor       = access.Principal{Kind: access.Person, Authority: nordtal, ID: "3333333333333333", Way: access.ByPasskey, Begun: now, Site: siteNord}
	nobody        = access.Principal{Kind: access.Person, Authority: nordtal, ID: "6666666666666666", Way: access.ByPasskey, Begun: now, Site: siteNord}
	foreigner     = access.Principal{Kind: access.Person, Authority: stadt, ID: "1111111111111111", Way: access.ByPasskey, Begun: now, Site: siteNord}
)

// fakeOffice is the services behind the pages of administration, with one of everything. It judges by the real table of roles.
type fakeOffice struct {
	roles     map[string]access.Role
	units     map[string][]directory.UnitID // whose rights are bound
	policy    access.Policy
	approvals []access.Approval
	did       []string
	erased    []directory.PersonID
	letters   []sheet.InvitationLetter
	fail      error // of the next export
}

func newOffice() *fakeOffice {
	return &fakeOffice{roles: map[string]access.Role{administrator.ID: access.Administrator, officer.ID: access.AlarmOfficer, auditor.ID: access.Auditor},
		units: map[string][]directory.UnitID{}, policy: access.DefaultPolicy(), approvals: sampleApprovals()}
}

func (f *fakeOffice) do(format string, args ...any) {
	f.did = append(f.did, fmt.Sprintf(format, args...))
}

func (f *fakeOffice) rights(p access.Principal) []access.Permission {
	if p.Kind == access.Console {
		return access.Permissions()
	}
	return append(access.RolePermissions(access.MemberRole), access.RolePermissions(f.roles[p.ID])...)
}

func (f *fakeOffice) Judge(_ context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error) {
	authority = cmp.Or(authority, p.Authority)
	if p.Kind != access.Console && authority != p.Authority || authority != "" && authority != nordtal && authority != stadt {
		return access.Verdict{}, access.ErrNoAuthority
	}
	if !slices.Contains(f.rights(p), need) {
		return access.Verdict{}, access.ErrForbidden
	}
	if slices.Contains(access.RolePermissions(access.MemberRole), need) || p.Kind == access.Console {
		return access.Verdict{}, nil
	}
	return access.Verdict{Grant: "grant-of-" + p.ID[:4], Units: f.units[p.ID]}, nil
}

func (f *fakeOffice) Permitted(ctx context.Context, p access.Principal, authority event.AuthorityID) (map[access.Permission]access.Verdict, error) {
	all := map[access.Permission]access.Verdict{}
	for _, need := range f.rights(p) {
		v, err := f.Judge(ctx, p, authority, need)
		if err != nil {
			return nil, err
		}
		all[need] = v
	}
	return all, nil
}

func (f *fakeOffice) Grants(context.Context, event.AuthorityID) ([]access.Grant, error) {
	return []access.Grant{
		{ID: "aa00000000000001", Role: access.Administrator, Person: "1111111111111111", GrantedBy: "operator", GrantedAt: now.Add(-90 * 24 * time.Hour)},
		{ID: "aa00000000000002", Role: access.AlarmOfficer, Function: "f1", GrantedBy: "person/1111111111111111", GrantedAt: now.Add(-48 * time.Hour)},
		{ID: "aa00000000000003", Role: access.AlarmOfficer, Unit: "a2", Person: "2222222222222222", From: now.Add(48 * time.Hour), Until: now.Add(96 * time.Hour),
			GrantedBy: "person/1111111111111111", GrantedAt: now.Add(-time.Hour)},
		{ID: "aa00000000000004", Role: access.Auditor, Person: "4444444444444444", GrantedBy: "operator", GrantedAt: now.Add(-99 * time.Hour),
			Withdrawn: true, WithdrawnBy: "person/1111111111111111", WithdrawnAt: now.Add(-3 * time.Hour)},
	}, nil
}

func (f *fakeOffice) Grant(_ context.Context, by access.Principal, _ event.AuthorityID, d access.GrantDraft) (access.Grant, eventlog.Receipt, error) {
	f.do("grant %s %s%s %s by %s until %s", d.Role, d.Person, d.Function, d.Unit, by.ID, d.Until.Format(time.RFC3339))
	return access.Grant{ID: "aa00000000000009"}, written(), nil
}

func (f *fakeOffice) Withdraw(_ context.Context, by access.Principal, _ event.AuthorityID, grant string) (eventlog.Receipt, error) {
	if grant == "aa00000000000001" {
		return eventlog.Receipt{}, access.ErrLastAdministrator
	}
	f.do("withdraw %s by %s", grant, by.ID)
	return written(), nil
}

func (f *fakeOffice) Policy(context.Context, event.AuthorityID) (access.Policy, error) {
	return f.policy, nil
}

func (f *fakeOffice) SetPolicy(_ context.Context, _ access.Principal, _ event.AuthorityID, p access.Policy) (eventlog.Receipt, error) {
	f.policy = p
	return written(), nil
}

func (f *fakeOffice) NeedsSecond(_ context.Context, p access.Principal, _ event.AuthorityID, d access.Deed, size int) (bool, error) {
	return p.Kind != access.Console && (slices.Contains(f.policy.TwoPersons, d.Permission()) || d == access.DeedRaiseAlarm && size >= f.policy.MassAlarmFrom), nil
}

// CoversAudience knows that a2 is below a1, and who is where.
func (f *fakeOffice) CoversAudience(_ context.Context, _ event.AuthorityID, v access.Verdict, a directory.Audience) (bool, error) {
	if v.Units == nil {
		return true, nil
	}
	in := func(u directory.UnitID) bool {
		return slices.Contains(v.Units, u) || u == "a2" && slices.Contains(v.Units, "a1")
	}
	for _, id := range a.Persons {
		i := slices.IndexFunc(people, func(p directory.Person) bool { return p.ID == id })
		if i < 0 || !slices.ContainsFunc(people[i].Units, in) {
			return false, nil
		}
	}
	return !a.Everyone && len(a.Functions) == 0 && !slices.ContainsFunc(a.Units, func(u directory.UnitID) bool { return !in(u) }), nil
}

func (f *fakeOffice) Ask(_ context.Context, p access.Principal, _ event.AuthorityID, d access.Deed, args json.RawMessage, size int, life time.Duration) (access.Approval, eventlog.Receipt, error) {
	a := access.Approval{ID: fmt.Sprintf("bb%014d", len(f.approvals)+1), Deed: d, Args: args, Size: size, AskedBy: p.Actor(), AskedAt: now, Expires: now.Add(life),
		AskedSite: siteNord, State: access.Pending}
	f.approvals = append(f.approvals, a)
	return a, written(), nil
}

func (f *fakeOffice) Approve(ctx context.Context, p access.Principal, _ event.AuthorityID, id string, carry func(context.Context, access.Approval) (string, error)) (access.Approval, eventlog.Receipt, error) {
	a, err := f.Approval(ctx, nordtal, id)
	if err != nil {
		return a, eventlog.Receipt{}, err
	}
	if !slices.Contains(f.rights(p), a.Deed.Permission()) {
		return a, eventlog.Receipt{}, access.ErrForbidden
	}
	if a.AskedBy == p.Actor() {
		return a, eventlog.Receipt{}, access.ErrSamePerson
	}
	result, err := carry(ctx, a)
	if err != nil {
		return a, eventlog.Receipt{}, err
	}
	f.decide(id, access.Decision{State: access.WasApproved, By: p.Actor(), At: now, Site: siteNord, Result: result})
	return a, written(), nil
}

func (f *fakeOffice) decide(id string, d access.Decision) {
	for i := range f.approvals {
		if f.approvals[i].ID == id {
			f.approvals[i].State, f.approvals[i].Result, f.approvals[i].Decisions = d.State, d.Result, []access.Decision{d}
		}
	}
}

func (f *fakeOffice) Refuse(_ context.Context, p access.Principal, _ event.AuthorityID, id string) (eventlog.Receipt, error) {
	f.decide(id, access.Decision{State: access.WasRefused, By: p.Actor(), At: now, Site: siteNord})
	return written(), nil
}

func (f *fakeOffice) Approvals(context.Context, event.AuthorityID) ([]access.Approval, error) {
	return f.approvals, nil
}

func (f *fakeOffice) Approval(_ context.Context, _ event.AuthorityID, id string) (access.Approval, error) {
	for _, a := range f.approvals {
		if a.ID == id {
			return a, nil
		}
	}
	return access.Approval{}, access.ErrApprovalUnknown
}

// The approvals of these tests: an alarm with a twin, an erasure, a grant, a policy that is done, and one from the future.
const (
	askedAlarm   = "bb00000000000001"
	askedErasure = "bb00000000000002"
	askedGrant   = "bb00000000000003"
	askedPolicy  = "bb00000000000004"
	askedNewer   = "bb00000000000005"
)

func sampleApprovals() []access.Approval {
	at := func(a access.Approval) access.Approval {
		a.AskedAt, a.Expires, a.AskedSite = now.Add(-10*time.Minute), now.Add(50*time.Minute), siteSued
		a.State = access.ApprovalState(cmp.Or(string(a.State), string(access.Pending)))
		return a
	}
	draft := alarm.Draft{TextDE: "Evakuierung des Kreishauses", TextEN: "Evacuate the district house", Mode: event.Exercise, Audience: directory.Audience{Everyone: true}, Channels: channelKinds}
	policy := access.DefaultPolicy()
	policy.ProviderOff = true
	return []access.Approval{
		at(access.Approval{ID: askedAlarm, Deed: access.DeedRaiseAlarm, Args: deed.AlarmArgs(draft), Size: 1234, AskedBy: "person/1111111111111111",
			Elsewhere: []access.Twin{{ID: "bb00000000000009", AskedBy: "person/3333333333333333", AskedAt: now.Add(-9 * time.Minute), AskedSite: siteBox, State: access.WasApproved}}}),
		at(access.Approval{ID: askedErasure, Deed: access.DeedErasePerson, Args: deed.EraseArgs("2222222222222222"), Size: 1, AskedBy: "person/6666666666666666"}),
		at(access.Approval{ID: askedGrant, Deed: access.DeedGrantRole, Args: access.GrantDraft{Role: access.Auditor, Person: "3333333333333333", Unit: "a2", Until: now.Add(time.Hour)}.Args(),
			AskedBy: "person/1111111111111111"}),
		at(access.Approval{ID: askedPolicy, Deed: access.DeedSetPolicy, Args: policy.Args(), AskedBy: "person/2222222222222222", State: access.WasApproved, Result: "policy/access",
			Decisions: []access.Decision{{State: access.WasApproved, By: "person/1111111111111111", At: now, Site: siteNord}}}),
		at(access.Approval{ID: askedNewer, Deed: "plan.delete", Args: json.RawMessage(`{"plan":"x"}`), AskedBy: "person/2222222222222222"}),
	}
}

// fakeBooks are the services whose names would collide with those of fakeOffice.
type (
	officeAccounts struct{ *fakeOffice }
	officeGuests   struct{ *fakeOffice }
	officePrograms struct{ *fakeOffice }
	officeAudit    struct{ *fakeOffice }
)

func (f officeAccounts) account(p directory.Person) identity.Account {
	a := identity.Account{Person: p, State: identity.StateNone}
	switch p.ID {
	case "1111111111111111":
		a = identity.Account{Person: p, State: identity.StateEnrolled, CodesLeft: 9, CodesIssued: now.Add(-99 * time.Hour), TOTP: true, LastSignIn: now.Add(-24 * time.Hour),
			Passkeys: []identity.Passkey{{ID: "cc00000000000001", Host: "lage.nordtal.example", Label: "Diensthandy", Added: now.Add(-99 * time.Hour), Site: siteNord, Synced: true, Readable: true},
				{ID: "cc00000000000002", Host: "zweite.example", Added: now.Add(-98 * time.Hour), Site: siteSued, Void: true}},
			Missing: []string{"passkey:dritte.example", "second passkey", "codes"}}
	case "2222222222222222":
		a.State, a.InvitedAt, a.Expires = identity.StateInvited, now.Add(-24*time.Hour), now.Add(13*24*time.Hour)
	case "3333333333333333":
		a.State, a.CodesLeft, a.LastSignIn = identity.StateDormant, 2, now.Add(-500*24*time.Hour)
	}
	return a
}

func (f officeAccounts) Account(_ context.Context, _ event.AuthorityID, id directory.PersonID) (identity.Account, error) {
	for _, p := range people {
		if p.ID == id {
			return f.account(p), nil
		}
	}
	return identity.Account{}, identity.ErrPersonUnknown
}

func (f officeAccounts) Accounts(_ context.Context, _ event.AuthorityID, filter identity.Filter) ([]identity.AccountLine, identity.Counts, error) {
	var lines []identity.AccountLine
	for _, p := range people {
		if a := f.account(p); filter.State == "" || filter.State == a.State {
			lines = append(lines, lineOf(a))
		}
	}
	return lines, identity.Counts{People: 5, Enrolled: 1, Invited: 1, Dormant: 1, None: 2}, nil
}

func (f officeAccounts) Warnings(context.Context, event.AuthorityID) ([]identity.Warning, error) {
	return []identity.Warning{{ID: "w1", Person: "1111111111111111", What: "code_twice", Sites: []event.SiteID{siteNord, siteBox}, At: now.Add(-time.Hour)}}, nil
}

func (f officeAccounts) Invite(_ context.Context, by access.Principal, _ event.AuthorityID, persons []directory.PersonID, life time.Duration) (list []identity.Invitation, _ eventlog.Receipt, _ error) {
	f.do("invite %v for %v by %s", persons, life, by.ID)
	for _, p := range persons {
		list = append(list, identity.Invitation{Person: p, Secret: "secret-of-" + string(p), Expires: now.Add(life)})
	}
	return list, written(), nil
}

func (f officeAccounts) SendInvitations(_ context.Context, _ access.Principal, _ event.AuthorityID, list []identity.Invitation, base string) (int, error) {
	if len(list) > 0 {
		f.do("send %d from %s", len(list), base)
	}
	return len(list), nil
}

func (f officeAccounts) Remind(_ context.Context, _ access.Principal, _ event.AuthorityID, persons []directory.PersonID) (int, error) {
	f.do("remind %v", persons)
	return len(persons), nil
}

func (f officeAccounts) RemovePasskey(_ context.Context, by access.Principal, _ event.AuthorityID, person directory.PersonID, id string) (eventlog.Receipt, error) {
	f.do("remove %s of %s by %s", id, person, by.ID)
	return written(), nil
}

func (f officeGuests) Invite(_ context.Context, by access.Principal, _ event.AuthorityID, d guest.Draft) (guest.Guest, string, eventlog.Receipt, error) {
	f.do("guest %s for %s until %s by %s", d.Name, d.Incident, d.Until.Sub(now), by.ID)
	return guest.Guest{ID: "dd00000000000009", Name: d.Name, Readable: directory.Readable, Incident: d.Incident, Until: d.Until}, "7KQ2M-9XD4A", written(), nil
}

func (f officeGuests) Renew(_ context.Context, _ access.Principal, _ event.AuthorityID, id guest.ID, until time.Time) (guest.Guest, string, eventlog.Receipt, error) {
	if id != "dd00000000000002" {
		return guest.Guest{}, "", eventlog.Receipt{}, guest.ErrUnknown
	}
	f.do("renew %s", id)
	return guest.Guest{ID: id, Name: "Jonas Brandt", Until: until}, "ABCDE-FGHJK", written(), nil
}

func (f officeGuests) Guests(context.Context, event.AuthorityID) ([]guest.Guest, error) {
	incident := "alarm/" + string(alarmOpen)
	return []guest.Guest{
		{ID: "dd00000000000001", Name: "Maria Schulz, THW", Readable: directory.Readable, Incident: incident, Until: now.Add(time.Hour), InvitedBy: "person/1111111111111111", State: guest.Waiting},
		{ID: "dd00000000000002", Name: "Jonas Brandt", Readable: directory.Readable, Incident: incident, Until: now.Add(2 * time.Hour), InvitedBy: "person/2222222222222222",
			EnteredAt: now.Add(-time.Minute), Sites: []event.SiteID{siteNord, siteBox}, State: guest.Twice},
		{ID: "dd00000000000003", Readable: directory.Erased, Incident: "alarm/00000000000000ff", Until: now.Add(-time.Hour), InvitedBy: "operator", State: guest.Expired}}, nil
}

func (f officeGuests) SendAway(_ context.Context, by access.Principal, _ event.AuthorityID, id guest.ID) (eventlog.Receipt, error) {
	f.do("away %s by %s", id, by.ID)
	return written(), nil
}

func (f officePrograms) Make(_ context.Context, by access.Principal, _ event.AuthorityID, d program.Draft) (program.Program, string, eventlog.Receipt, error) {
	f.do("program %s %v for %s by %s", d.Name, d.Scopes, d.Expires.Sub(now), by.ID)
	return program.Program{ID: "ee00000000000009", Expires: d.Expires}, "hf1_ee00000000000009_ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", written(), nil
}

func (f officePrograms) Programs(context.Context, event.AuthorityID) ([]program.Program, error) {
	owner := directory.PersonID("2222222222222222")
	return []program.Program{
		{ID: "ee00000000000001", Name: "Fachverfahren Brandschutz", Readable: directory.Readable, Kind: program.API, Scopes: []access.Permission{access.SeeAlarms, access.RaiseAlarm},
			Expires: now.Add(99 * 24 * time.Hour), MadeBy: "person/1111111111111111", MadeAt: now.Add(-time.Hour), LastUsed: now.Add(-time.Minute), UsedAt: siteSued, State: program.Alive},
		{ID: "ee00000000000002", Readable: directory.NotYet, Kind: program.CardDAV, Owner: owner, Expires: now.Add(-time.Hour), MadeBy: "operator", MadeAt: now.Add(-99 * time.Hour), State: program.Expired}}, nil
}

func (f officePrograms) Withdraw(_ context.Context, by access.Principal, _ event.AuthorityID, id program.ID) (eventlog.Receipt, error) {
	f.do("withdraw program %s by %s", id, by.ID)
	return written(), nil
}

func auditLines() []audit.Line {
	return []audit.Line{
		{ID: "l1", At: now, Site: siteNord, Readable: audit.Readable, Entry: audit.Entry{Deed: "signin", Actor: "person/1111111111111111", Way: "passkey", From: "192.0.2.7", Outcome: audit.Done, Count: 1}},
		{ID: "l2", At: now.Add(-time.Minute), Since: now.Add(-2 * time.Minute), Site: siteSued, Readable: audit.Pseudonym, Entry: audit.Entry{Deed: "signin", Way: "code", From: "p-3f9c", Outcome: audit.Refused, Code: "identity.code", Count: 512}},
		{ID: "l3", At: now.Add(-time.Hour), Site: siteNord, Readable: audit.Erased, Entry: audit.Entry{Deed: "alarm.raise", Actor: "person/2222222222222222", Way: "passkey", Object: "/a/lk-nordtal/alarms", Outcome: audit.Done, Count: 1, Grant: "aa00000000000004"}},
		{ID: "l5", At: now.Add(-2 * time.Hour), Site: siteNord, Readable: audit.Readable, Entry: audit.Entry{Deed: "alarm.raise", Actor: "person/2222222222222222", Way: "passkey", From: "192.0.2.8", Object: "alarm/0123456789abcdef asked person/1111111111111111 approval/bb00000000000001", Outcome: audit.Done, Count: 1}},
		{ID: "lb", At: now.Add(-2 * time.Hour), Site: siteNord, Readable: audit.Readable, Entry: audit.Entry{Deed: "approval.ask", Actor: "person/1111111111111111", Way: "passkey", From: "192.0.2.7", Object: "alarm.raise approval/bb00000000000001", Outcome: audit.Done, Count: 1}},
		{ID: "lc", At: now.Add(-2 * time.Hour), Site: siteNord, Readable: audit.Readable, Entry: audit.Entry{Deed: "person.erase.see", Actor: "person/1111111111111111", Way: "passkey", Object: "/a/lk-nordtal/people/2222222222222222/erase", Outcome: audit.Seen, Count: 1}},
		{ID: "l6", At: now.Add(-3 * time.Hour), Site: siteNord, Readable: audit.Readable, Entry: audit.Entry{Deed: "role.grant", Actor: "operator", Way: "console", Object: "administrator person/2222222222222222 unit/a2", Outcome: audit.Done, Count: 1}},
		{ID: "l7", At: now.Add(-3 * time.Hour), Site: siteSued, Readable: audit.Readable, Entry: audit.Entry{Deed: "audit.expire", Actor: "site/" + siteSued.Short(), Object: "auditkey/365", Outcome: audit.Done, Count: 2}},
		{ID: "l8", At: now.Add(-3 * time.Hour), Site: siteSued, Readable: audit.Readable, Entry: audit.Entry{Deed: "account.warn", Actor: "site/" + siteSued.Short(), Object: "account/2222222222222222", Outcome: audit.Done, Count: 1}},
		{ID: "l9", At: now.Add(-3 * time.Hour), Site: siteNord, Readable: audit.Readable, Entry: audit.Entry{Deed: "account.invite", Actor: "person/1111111111111111", Way: "passkey", From: "192.0.2.7", Object: "12 persons", Outcome: audit.Done, Count: 1, Grant: "aa00000000000001"}},
		{ID: "la", At: now.Add(-3 * time.Hour), Site: siteNord, Readable: audit.Readable, Entry: audit.Entry{Deed: "person.erase", Actor: "person/2222222222222222", Way: "passkey", From: "192.0.2.7", Object: "/api/v1/authorities/lk-nordtal/people/3333333333333333/erase", Outcome: audit.Refused, Code: "access.forbidden", Count: 1}},
		{ID: "l4", At: now.Add(-2 * time.Hour), Site: siteBox, Readable: audit.Readable, Entry: audit.Entry{Deed: "plan.delete", Actor: "program/ee00000000000001", Way: "token", Outcome: audit.Done, Count: 1}}}
}

func (f officeAudit) Entries(_ context.Context, _ event.AuthorityID, q audit.Query) ([]audit.Line, error) {
	f.do("audit %s %q deed %s outcome %s from %s until %s after %s", q.Actor, q.Text, q.Deed, q.Outcome, q.From.Format(time.RFC3339), q.Until.Format(time.RFC3339), q.After)
	return auditLines(), nil
}

func (f officeAudit) UnderWithdrawn(_ context.Context, _ event.AuthorityID, gone []audit.Withdrawn) ([]audit.Line, error) {
	if len(gone) != 1 || gone[0].Grant != "aa00000000000004" {
		return nil, fmt.Errorf("asked about %v", gone)
	}
	return auditLines()[2:3], nil
}

func (f officeAudit) Export(_ context.Context, a event.AuthorityID, _ audit.PageSource, w io.Writer) error {
	if f.fail != nil {
		return f.fail
	}
	_, err := io.WriteString(w, "signed pages of "+string(a))
	return err
}

// config returns the office as the portal takes it.
func (f *fakeOffice) config(alarms deed.Alarms) AdminConfig {
	desk := &deed.Desk{Access: f, Alarms: alarms, Erase: func(_ context.Context, by access.Principal, v access.Verdict, _ event.AuthorityID, person directory.PersonID) error {
		f.erased = append(f.erased, person)
		f.do("erase %s by %s under %s", person, by.ID, v.Grant)
		return nil
	}}
	return AdminConfig{Rights: f, Desk: desk, Accounts: officeAccounts{f}, Guests: officeGuests{f}, Programs: officePrograms{f}, Audit: officeAudit{f},
		SignOut: func(_ context.Context, by access.Principal, _ event.AuthorityID, kind access.PrincipalKind, id string) (eventlog.Receipt, error) {
			f.do("sign out %s/%s by %s", kind, id, by.ID)
			return written(), nil
		},
		Export: func(_ context.Context, _ event.AuthorityID, person directory.PersonID) ([]byte, error) {
			return []byte(`{"person":"` + person + `"}`), nil
		},
		Erasures: func(context.Context, event.AuthorityID) ([]Erasure, error) {
			return []Erasure{{Person: "4444444444444444", At: now.Add(-time.Hour), By: "person/1111111111111111", Confirmed: []event.SiteID{siteNord}, Missing: []event.SiteID{siteBox}, Removed: []string{"Altes Amt"}},
				{Person: "7777777777777777", At: now.Add(-99 * time.Hour), Confirmed: []event.SiteID{siteNord, siteSued, siteBox}}}, nil
		},
		PortalURLs:  func(event.AuthorityID) []string { return []string{"https://lage.nordtal.example"} },
		HasProvider: func(a event.AuthorityID) bool { return a == nordtal },
		Letters: func(letters []sheet.InvitationLetter) ([]byte, error) {
			f.letters = letters
			return []byte("%PDF-1.7"), nil
		},
		QR: func(text, title string) (string, error) {
			return `<svg role="img" aria-label="` + title + `"></svg>`, nil
		},
	}
}

// office is a portal whose services of administration are fakes, in which somebody is signed in.
type officeWorld struct {
	*world
	office *fakeOffice
}

func newOfficeWorld(t testing.TB, who access.Principal) officeWorld {
	t.Helper()
	w := officeWorld{newWorld(t), newOffice()}
	w.Portal.cfg.Judge, w.Portal.cfg.Access, w.Portal.cfg.Admin = w.office, w.office, w.office.config(w.alarms)
	mux := http.NewServeMux()
	w.Mount(mux)
	w.handler = web.Handler(web.HandlerConfig{Errors: w.Errors()}, mux)
	w.as(t, who)
	return w
}
