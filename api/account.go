// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"net/http"
	"strconv"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/web"
)

func (a *API) accounts(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", directory.DefaultLimit, identity.MaxList)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := identity.Filter{State: identity.State(q.Get("state")), Limit: limit, After: directory.PersonID(q.Get("after"))}
	switch f.State {
	case "", identity.StateNone, identity.StateInvited, identity.StateEnrolled, identity.StateDormant:
	default:
		return errQuery.Because("none, invited, enrolled or dormant is wanted").At(0, "state")
	}
	lines, counts, err := a.cfg.Accounts.Accounts(r.Context(), id, f)
	if err != nil {
		return err
	}
	out := AccountList{Counts: AccountCounts(counts), Accounts: make([]AccountLine, 0, len(lines))}
	for _, l := range lines {
		out.Accounts = append(out.Accounts, AccountLine{Person: personOf(l.Person), State: string(l.State), Passkeys: l.Passkeys,
			Names: orEmpty(l.Names), CodesLeft: l.CodesLeft, LastSignIn: l.LastSignIn, InvitedAt: l.InvitedAt})
	}
	return ok(w, out)
}

func (a *API) account(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	if err := a.within(r, id, personIn(r)); err != nil {
		return err
	}
	x, err := a.cfg.Accounts.Account(r.Context(), id, personIn(r))
	if err != nil {
		return err
	}
	return ok(w, accountOf(x))
}

func accountOf(x identity.Account) Account {
	out := Account{Person: personOf(x.Person), State: string(x.State), Passkeys: make([]Passkey, 0, len(x.Passkeys)), CodesLeft: x.CodesLeft,
		CodesIssued: x.CodesIssued, TOTP: x.TOTP, Missing: orEmpty(x.Missing), InvitedAt: x.InvitedAt, Expires: x.Expires, LastSignIn: x.LastSignIn}
	for _, p := range x.Passkeys {
		out.Passkeys = append(out.Passkeys, Passkey{ID: p.ID, Host: p.Host, Label: p.Label, Added: p.Added, Site: p.Site,
			Synced: p.Synced, Void: p.Void, Readable: p.Readable})
	}
	return out
}

func personIn(r *http.Request) directory.PersonID { return directory.PersonID(r.PathValue("person")) }

// errLife is returned for a life that is out of bounds before it could overflow; the domain judges again.
var errLife = fault.New(fault.Invalid, "api.life", "this is no time for which it can be good", "leave it out for the default")

// life returns n units, 0 for none.
func life(n int, unit, most time.Duration, field string) (time.Duration, error) {
	if n < 0 || n > int(most/unit) {
		return 0, errLife.Because("0 to %d is wanted", int(most/unit)).At(0, field)
	}
	return time.Duration(n) * unit, nil
}

// aboutPersons names in the audit whom a deed is about, or how many if they are more than a line holds; the facts name all.
func aboutPersons(persons []directory.PersonID) []string {
	const most = 6
	if len(persons) > most {
		return []string{strconv.Itoa(len(persons)) + " persons"}
	}
	about := make([]string, len(persons))
	for i, p := range persons {
		about[i] = "person/" + string(p)
	}
	return about
}

// inviteAccounts invites people to enrol. The addresses are in this answer and nowhere else.
func (a *API) inviteAccounts(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var d AccountInvitationDraft
	if err := read(r, &d); err != nil {
		return err
	}
	good, err := life(d.Hours, time.Hour, identity.MaxInvitationLife, "hours")
	if err != nil {
		return err
	}
	if err := a.within(r, id, d.Persons...); err != nil {
		return err
	}
	web.About(r.Context(), aboutPersons(d.Persons)...)
	if d.Send { // asked first: an invitation that reaches nobody still ends the one before
		if _, err := a.cfg.Accounts.SendInvitations(r.Context(), by(r), id, nil, a.cfg.URL("")); err != nil {
			return err
		}
	}
	list, receipt, err := a.cfg.Accounts.Invite(r.Context(), by(r), id, d.Persons, good)
	if err != nil {
		return err
	}
	out := AccountInvitations{Invitations: make([]AccountInvitation, 0, len(list))}
	for _, i := range list {
		line := AccountInvitation{Person: i.Person, URL: a.cfg.URL("/enrol/" + i.Secret), Expires: i.Expires}
		if p, err := a.cfg.Directory.Person(r.Context(), id, i.Person); err == nil {
			line.Name, line.Language = p.DisplayName, p.Language
		}
		out.Invitations = append(out.Invitations, line)
	}
	if d.Send {
		if out.Sent, err = a.cfg.Accounts.SendInvitations(r.Context(), by(r), id, list, a.cfg.URL("")); err != nil {
			return err
		}
	}
	if out.Written, err = a.settle(r.Context(), web.ReceiptOf(receipt)); err != nil {
		return err
	}
	return created(w, out)
}

func (a *API) remindAccounts(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var p Persons
	if err := read(r, &p); err != nil {
		return err
	}
	if err := a.within(r, id, p.Persons...); err != nil {
		return err
	}
	web.About(r.Context(), aboutPersons(p.Persons)...)
	n, err := a.cfg.Accounts.Remind(r.Context(), by(r), id, p.Persons)
	if err != nil {
		return err
	}
	return ok(w, Told{Told: n})
}

// endSessions signs a person out everywhere.
func (a *API) endSessions(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	person := personIn(r)
	if err := a.within(r, id, person); err != nil {
		return err
	}
	if _, err := a.cfg.Directory.Person(r.Context(), id, person); err != nil {
		return err
	}
	return a.answerWritten(w, r)(a.cfg.Sessions.EndAll(r.Context(), by(r), id, access.Person, string(person)))
}

func (a *API) removePasskey(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	if err := a.within(r, id, personIn(r)); err != nil {
		return err
	}
	return a.answerWritten(w, r)(a.cfg.Accounts.RemovePasskey(r.Context(), by(r), id, personIn(r), r.PathValue("passkey")))
}

// personLink makes a link with which a person who has nothing left signs in once; only whoever holds the machine can.
func (a *API) personLink(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var d LinkDraft
	if err := read(r, &d); err != nil {
		return err
	}
	good, err := life(d.Minutes, time.Minute, identity.MaxLinkLife, "minutes")
	if err != nil {
		return err
	}
	secret, expires, err := a.cfg.Accounts.Link(r.Context(), by(r), id, personIn(r), good)
	if err != nil {
		return err
	}
	return created(w, Link{URL: a.cfg.URL("/signin/" + secret), Expires: expires})
}

// vouch says that whoever has read out the characters is the person. Somebody of another authority does not come this far.
func (a *API) vouch(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.authority(r); err != nil {
		return err
	}
	var s Spoken
	if err := read(r, &s); err != nil {
		return err
	}
	return a.answerWritten(w, r)(a.cfg.Accounts.Vouch(r.Context(), by(r), s.Spoken, personIn(r)))
}
