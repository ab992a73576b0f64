// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
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
	"codeberg.org/holdfast/holdfast/privacy"
	"codeberg.org/holdfast/holdfast/program"
)

// insider is a person of the unit "in"; everybody else is not.
const (
	insider          = "aaaaaaaaaaaaaaaa"
	insidersFunction = "ffffffffffffffff"
)

type fakeAccess struct{ *house }

var (
	theGrant = access.Grant{ID: anID, Role: access.Auditor, Person: anID, GrantedBy: "operator", GrantedAt: now}
	gone     = access.Grant{ID: "gone", Role: access.Operator, Person: anID, GrantedBy: "operator", Withdrawn: true}
	waiting  = access.Approval{ID: anID, Deed: access.DeedRaiseAlarm, Args: json.RawMessage(`{"a":1}`), Size: 900, AskedBy: "person/" + anID,
		AskedAt: now, Expires: now.Add(time.Hour), AskedSite: self, State: access.Pending, Elsewhere: []access.Twin{{ID: "twin"}}}
)

func (f fakeAccess) Grants(context.Context, event.AuthorityID) ([]access.Grant, error) {
	return append([]access.Grant{theGrant, gone}, f.grants...), nil
}
func (f fakeAccess) Withdraw(_ context.Context, by access.Principal, _ event.AuthorityID, id string) (eventlog.Receipt, error) {
	f.note("withdraw", id, by.Actor())
	return written(), nil
}
func (fakeAccess) Policy(context.Context, event.AuthorityID) (access.Policy, error) {
	return access.DefaultPolicy(), nil
}
func (fakeAccess) Approvals(context.Context, event.AuthorityID) ([]access.Approval, error) {
	return []access.Approval{waiting}, nil
}
func (fakeAccess) Approval(_ context.Context, _ event.AuthorityID, id string) (access.Approval, error) {
	if id != anID {
		return access.Approval{}, access.ErrApprovalUnknown
	}
	return waiting, nil
}
func (f fakeAccess) Refuse(_ context.Context, by access.Principal, _ event.AuthorityID, id string) (eventlog.Receipt, error) {
	f.note("refuse", id, by.Actor())
	return written(), nil
}

type fakeDeeds struct{ *house }

func (fakeDeeds) Within(_ context.Context, _ event.AuthorityID, v access.Verdict, who directory.Audience) error {
	if v.Units == nil {
		return nil
	}
	for _, p := range who.Persons {
		if p != insider {
			return deed.ErrOutside
		}
	}
	if who.Everyone || slices.Contains(who.Units, "elsewhere") {
		return deed.ErrOutside
	}
	return nil
}
func (f fakeDeeds) WithinAlarm(ctx context.Context, authority event.AuthorityID, v access.Verdict, _ alarm.ID) error {
	return f.Within(ctx, authority, v, directory.Audience{Everyone: f.everyone})
}
func (f fakeDeeds) OrderCalling(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, id alarm.ID) (eventlog.Receipt, error) {
	if err := f.WithinAlarm(ctx, authority, v, id); err != nil {
		return eventlog.Receipt{}, err
	}
	f.note("call", string(id), by.Actor())
	return written(), nil
}
func (f fakeDeeds) done(parts ...string) deed.Outcome {
	if f.second {
		return deed.Outcome{Waiting: true, Approval: waiting, Receipt: written()}
	}
	f.note(parts...)
	return deed.Outcome{Receipt: written(), Alarm: theAlarm, Grant: theGrant}
}
func (f fakeDeeds) Raise(_ context.Context, _ access.Principal, _ access.Verdict, _ event.AuthorityID, d alarm.Draft) (deed.Outcome, error) {
	if !d.Mode.Valid() {
		return deed.Outcome{}, alarm.ErrMode.At(0, "mode")
	}
	return f.done(strings.TrimSpace(strings.Join([]string{"raise", d.TextDE, d.Actor, d.TakeoverAfter.String(), d.LinkValid.String(), d.Grant}, " "))), nil
}
func (f fakeDeeds) ErasePerson(_ context.Context, by access.Principal, _ access.Verdict, _ event.AuthorityID, id directory.PersonID) (deed.Outcome, error) {
	return f.done("erase", string(id), by.Actor()), nil
}
func (f fakeDeeds) GrantRole(_ context.Context, by access.Principal, _ event.AuthorityID, d access.GrantDraft) (deed.Outcome, error) {
	return f.done("grant", string(d.Role), string(d.Person), by.Actor()), nil
}
func (f fakeDeeds) SetPolicy(_ context.Context, by access.Principal, _ event.AuthorityID, p access.Policy) (deed.Outcome, error) {
	return f.done("policy", fmt.Sprint(p.MassAlarmFrom, p.TwoPersons, p.RetentionDays), by.Actor()), nil
}
func (f fakeDeeds) Approve(_ context.Context, by access.Principal, _ event.AuthorityID, id string) (access.Approval, eventlog.Receipt, error) {
	f.note("approve", id, by.Actor())
	a := waiting
	a.State, a.DecidedBy, a.Result = access.WasApproved, []string{by.Actor()}, "alarm/7f3a"
	return a, written(), nil
}

type fakeAccounts struct{ *house }

func (f fakeAccounts) Accounts(_ context.Context, _ event.AuthorityID, q identity.Filter) ([]identity.AccountLine, identity.Counts, error) {
	f.note("accounts", string(q.State), fmt.Sprint(q.Limit), string(q.After))
	return []identity.AccountLine{{Person: mia, State: identity.StateEnrolled, Passkeys: 2, Names: []string{"portal.test"}, CodesLeft: 9}},
		identity.Counts{People: 3, Enrolled: 1, None: 2}, nil
}
func (fakeAccounts) Account(_ context.Context, _ event.AuthorityID, id directory.PersonID) (identity.Account, error) {
	if id != anID && id != insider {
		return identity.Account{}, identity.ErrPersonUnknown
	}
	return identity.Account{Person: mia, State: identity.StateEnrolled, CodesLeft: 9, Missing: []string{"second passkey"},
		Passkeys: []identity.Passkey{{ID: anID, Host: "portal.test", Label: "Telefon", Added: now, Site: self, Readable: true}}}, nil
}
func (f fakeAccounts) Invite(_ context.Context, by access.Principal, _ event.AuthorityID, persons []directory.PersonID, life time.Duration) ([]identity.Invitation, eventlog.Receipt, error) {
	f.note("invite accounts", fmt.Sprint(persons), life.String(), by.Actor())
	var list []identity.Invitation
	for _, p := range persons {
		list = append(list, identity.Invitation{Person: p, Secret: "secret", Expires: now.Add(life)})
	}
	return list, written(), nil
}
func (f fakeAccounts) SendInvitations(_ context.Context, _ access.Principal, _ event.AuthorityID, list []identity.Invitation, base string) (int, error) {
	f.note("send invitations", base)
	return len(list), nil
}
func (f fakeAccounts) Remind(_ context.Context, by access.Principal, _ event.AuthorityID, persons []directory.PersonID) (int, error) {
	f.note("remind", fmt.Sprint(persons), by.Actor())
	return len(persons), nil
}
func (f fakeAccounts) Link(_ context.Context, by access.Principal, _ event.AuthorityID, person directory.PersonID, life time.Duration) (string, time.Time, error) {
	f.note("link", string(person), life.String(), by.Actor())
	return "secret", now.Add(time.Minute), nil
}
func (f fakeAccounts) RemovePasskey(_ context.Context, by access.Principal, _ event.AuthorityID, person directory.PersonID, id string) (eventlog.Receipt, error) {
	f.note("remove passkey", string(person), id, by.Actor())
	return written(), nil
}
func (f fakeAccounts) Vouch(_ context.Context, by access.Principal, spoken string, person directory.PersonID) (eventlog.Receipt, error) {
	f.note("vouch", spoken, string(person), by.Actor())
	return written(), nil
}

func (h *house) EndAll(_ context.Context, by access.Principal, _ event.AuthorityID, kind access.PrincipalKind, id string) (eventlog.Receipt, error) {
	h.note("end sessions", string(kind), id, by.Actor())
	return written(), nil
}

func (h *house) Erasures(context.Context, event.AuthorityID) ([]privacy.Erasure, error) {
	return []privacy.Erasure{{Person: anID, At: now, Confirmed: []event.SiteID{self}, Missing: []event.SiteID{}, Complete: true}}, nil
}

type fakeGuests struct{ *house }

var theGuest = guest.Guest{ID: anID, Name: "THW", Readable: directory.Readable, Incident: "alarm/" + anID, Until: now.Add(time.Hour), State: guest.Waiting}

func (fakeGuests) Guests(context.Context, event.AuthorityID) ([]guest.Guest, error) {
	return []guest.Guest{theGuest}, nil
}
func (f fakeGuests) Invite(_ context.Context, by access.Principal, _ event.AuthorityID, d guest.Draft) (guest.Guest, string, eventlog.Receipt, error) {
	f.note("invite guest", d.Name, d.Incident, by.Actor())
	return theGuest, "ABCDE-FGHJK", written(), nil
}
func (f fakeGuests) SendAway(_ context.Context, by access.Principal, _ event.AuthorityID, id guest.ID) (eventlog.Receipt, error) {
	f.note("send away", string(id), by.Actor())
	return eventlog.Receipt{}, nil // gone already: nothing was to be written
}

type fakePrograms struct{ *house }

var theProgram = program.Program{ID: anID, Name: "Wachplan", Readable: directory.Readable, Kind: program.API, Scopes: []access.Permission{access.SeeAlarms},
	Expires: now.Add(time.Hour), MadeBy: "operator", MadeAt: now, State: program.Alive}

func (fakePrograms) Programs(context.Context, event.AuthorityID) ([]program.Program, error) {
	return []program.Program{theProgram}, nil
}
func (f fakePrograms) Make(_ context.Context, by access.Principal, _ event.AuthorityID, d program.Draft) (program.Program, string, eventlog.Receipt, error) {
	f.note("make program", d.Name, string(d.Kind), fmt.Sprint(d.Scopes), by.Actor())
	return theProgram, "hf1_x_y", written(), nil
}
func (f fakePrograms) Withdraw(_ context.Context, by access.Principal, _ event.AuthorityID, id program.ID) (eventlog.Receipt, error) {
	f.note("withdraw program", string(id), by.Actor())
	return written(), nil
}

type fakeEntries struct{ *house }

func (f fakeEntries) Entries(_ context.Context, _ event.AuthorityID, q audit.Query) ([]audit.Line, error) {
	f.note("audit", fmt.Sprintf("%+v", q))
	return []audit.Line{{ID: "1", At: now, Site: self, Entry: audit.Entry{Deed: "signin", Actor: "person/" + anID, Outcome: audit.Done, Count: 1}, Readable: audit.Readable}}, nil
}
func (f fakeEntries) Export(_ context.Context, authority event.AuthorityID, _ audit.PageSource, w io.Writer) error {
	if f.second {
		_, _ = io.WriteString(w, strings.Repeat("half ", 10_000))
		return io.ErrClosedPipe
	}
	_, err := io.WriteString(w, "pages of "+string(authority))
	return err
}

type fakePrivacy struct{ *house }

func (f fakePrivacy) Export(_ context.Context, authority event.AuthorityID, person directory.PersonID) (privacy.Document, error) {
	f.note("export person", string(person))
	return privacy.Document{Format: privacy.Format, Authority: authority, Person: person}, nil
}
