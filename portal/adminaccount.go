// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/identity"
)

func (o office) plainNumber(n int) string { return strconv.Itoa(n) }

type accountOfView struct {
	deskView
	nameView
	Badge       badgeView
	None        bool // neither an account nor an invitation
	Passkeys    []passkeyView
	CodesLeft   int
	CodesIssued dayView
	FewCodes    bool
	TOTP        bool
	Missing     []string
	InvitedAt   dayView
	Expires     time.Time
	LastSignIn  dayView
	Warnings    []accountWarning
}

type passkeyView struct {
	ID, Host, Label, Site string
	Added                 dayView
	Synced, Void          bool
}

// accountWarning is something that administrators should look at.
type accountWarning struct {
	nameView
	Title, Text, Path string
	At                time.Time
}

func (p *Portal) showAccountOf(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	id := directory.PersonID(r.PathValue("person"))
	a, err := p.cfg.Admin.Accounts.Account(r.Context(), o.ID, id)
	if err != nil {
		return err
	}
	v := accountOfView{deskView: o.view(), nameView: nameOf(a.Person), Badge: accountBadge(o.t, a.State), None: a.State == identity.StateNone, CodesLeft: a.CodesLeft, CodesIssued: dayOf(o.t, a.CodesIssued),
		FewCodes: a.CodesLeft < identity.FewCodes, TOTP: a.TOTP, InvitedAt: dayOf(o.t, a.InvitedAt), Expires: a.Expires, LastSignIn: dayOf(o.t, a.LastSignIn)}
	for _, k := range a.Passkeys {
		v.Passkeys = append(v.Passkeys, passkeyView{ID: k.ID, Host: k.Host, Label: k.Label, Site: p.siteName(k.Site), Added: dayOf(o.t, k.Added),
			Synced: k.Synced, Void: k.Void})
	}
	for _, m := range a.Missing {
		v.Missing = append(v.Missing, missingText(o.t, m))
	}
	if v.Warnings, err = p.accountWarnings(r.Context(), o, id); err != nil {
		return err
	}
	title := o.t.t("accountof.title")
	if a.Person.Readable == directory.Readable {
		title = a.Person.DisplayName + " – " + title
	}
	return p.adminPage(w, r, o, http.StatusOK, "account-of", title, v)
}

// missingText says what somebody lacks for the worst day.
func missingText(t *texts, what string) string {
	if host, ok := strings.CutPrefix(what, "passkey:"); ok {
		return t.t("accountof.missing.passkey", host)
	}
	if what == "codes" {
		return t.t("accountof.missing.codes")
	}
	return t.t("accountof.missing.second")
}

// againShown is how long all administrators see that somebody who had access was invited again: longer than the usual invitation.
const againShown = 15 * 24 * time.Hour

// accountWarnings returns what is to be looked at, of one person, or of all ("").
func (p *Portal) accountWarnings(ctx context.Context, o office, of directory.PersonID) ([]accountWarning, error) {
	list, err := p.cfg.Admin.Accounts.Warnings(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b identity.Warning) int { // what has happened comes before what may
		switch again := b.What == identity.InvitedAgain; {
		case (a.What == identity.InvitedAgain) == again:
			return 0
		case again:
			return -1
		}
		return 1
	})
	names := p.names(o)
	var out []accountWarning
	for _, w := range list {
		if of != "" && w.Person != of || of == "" && w.What == identity.InvitedAgain && p.cfg.Now().Sub(w.At) > againShown {
			continue
		}
		name, err := names.person(ctx, w.Person)
		if err != nil {
			return nil, err
		}
		out = append(out, accountWarning{nameView: name, Title: o.t.t("warning." + w.What), At: w.At, Path: o.path("accounts", string(w.Person)),
			Text: o.t.t("warning.at", strings.Join(p.siteNames(w.Sites), ", "))})
	}
	return out, nil
}

func (p *Portal) removePasskeyOf(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	person := r.PathValue("person")
	if err := p.within(r.Context(), o, directory.PersonID(person)); err != nil {
		return err
	}
	receipt, err := p.cfg.Admin.Accounts.RemovePasskey(r.Context(), o.actor.Principal, o.ID, directory.PersonID(person), r.PathValue("passkey"))
	if err != nil {
		return err
	}
	return p.settled(w, r, o.path("accounts", person), "passkey", receipt)
}

// signOutPerson ends somebody's sessions at every site.
func (p *Portal) signOutPerson(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	person := r.PathValue("person")
	if _, err := p.cfg.Admin.Accounts.Account(r.Context(), o.ID, directory.PersonID(person)); err != nil {
		return err // sessions of nobody are not to be ended
	}
	if err := p.within(r.Context(), o, directory.PersonID(person)); err != nil {
		return err
	}
	receipt, err := p.cfg.Admin.SignOut(r.Context(), o.actor.Principal, o.ID, access.Person, person)
	if err != nil {
		return err
	}
	return p.settled(w, r, o.path("accounts", person), "signedout", receipt)
}
