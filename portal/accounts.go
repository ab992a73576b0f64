// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/sheet"
	"codeberg.org/holdfast/holdfast/web"
)

func (p *Portal) adminAccountRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /a/{authority}/accounts", Need: access.SeeAccounts, Sealed: true, Handle: p.showAccounts},
		{Pattern: "GET /a/{authority}/accounts/invite", Need: access.ManageAccounts, Deed: "account.invite.see", Sealed: true, Handle: p.showInvite},
		{Pattern: "POST /a/{authority}/accounts/letters", Need: access.ManageAccounts, Deed: "account.invite", Handle: p.printInvitations},
		{Pattern: "POST /a/{authority}/accounts/messages", Need: access.ManageAccounts, Deed: "account.invite", Handle: p.sendInvitations},
		{Pattern: "POST /a/{authority}/accounts/remind", Need: access.ManageAccounts, Deed: "account.remind", Handle: p.remindAccounts},
		{Pattern: "GET /a/{authority}/accounts/{person}", Need: access.SeeAccounts, Sealed: true, Handle: p.showAccountOf},
		{Pattern: "POST /a/{authority}/accounts/{person}/passkeys/{passkey}/remove", Need: access.ManageAccounts, Deed: "passkey.remove", Handle: p.removePasskeyOf},
		{Pattern: "POST /a/{authority}/accounts/{person}/signout", Need: access.ManageAccounts, Deed: "account.signout", Handle: p.signOutPerson},
	}
}

var accountStates = []identity.State{identity.StateEnrolled, identity.StateInvited, identity.StateNone, identity.StateDormant}

type accountsView struct {
	deskView
	Text   string
	State  string
	Counts []stateCount
	Bar    []part
	Lines  []accountRow
	Units  []choiceView
	Pager  pagerView
	Sent   string
}

type stateCount struct {
	Name  string
	Path  string
	Count int
	On    bool
}

type accountRow struct {
	nameView
	Badge                 badgeView
	Names                 string
	Passkeys, CodesLeft   int
	LastSignIn, InvitedAt dayView
	MayInvite             bool
}

// accountBadge gives every state of an account a tone, a sign and a word.
func accountBadge(t *texts, s identity.State) badgeView {
	switch s {
	case identity.StateEnrolled:
		return badgeView{"success", "success", t.t("accounts.state.enrolled")}
	case identity.StateInvited:
		return badgeView{"info", "mail", t.t("accounts.state.invited")}
	case identity.StateDormant:
		return badgeView{"warning", "warning", t.t("accounts.state.dormant")}
	}
	return badgeView{"quiet", "help", t.t("accounts.state.none")} // most have none in the beginning
}

func (p *Portal) showAccounts(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	v := accountsView{deskView: o.view(), Text: strings.TrimSpace(q.Get("q"))}
	if s := identity.State(q.Get("state")); slices.Contains(accountStates, s) {
		v.State = string(s)
	}
	lines, counts, last, err := p.accountLines(r.Context(), o, v, directory.PersonID(q.Get("after")))
	if err != nil {
		return err
	}
	v.addCounts(o, counts)
	for _, l := range lines {
		v.Lines = append(v.Lines, accountRow{nameView: nameOf(l.Person), Badge: accountBadge(o.t, l.State), Names: strings.Join(l.Names, ", "),
			Passkeys: l.Passkeys, CodesLeft: l.CodesLeft, LastSignIn: dayOf(o.t, l.LastSignIn), InvitedAt: dayOf(o.t, l.InvitedAt),
			MayInvite: l.Person.Readable == directory.Readable})
	}
	units, err := p.cfg.Directory.Units(r.Context(), o.ID)
	if err != nil {
		return err
	}
	v.Units = unitChoices(o.t, units, nil)
	v.Pager = listPager(o.path("accounts"), url.Values{"q": {v.Text}, "state": {v.State}}, q.Get("after") != "", string(last))
	if sent := offeredNumber(q.Get("sent"), -1, upTo(identity.MaxInvited)); sent >= 0 {
		v.Sent = o.t.n("accounts.sent", sent)
	}
	return p.adminPage(w, r, o, http.StatusOK, "accounts", o.t.t("accounts.title"), v)
}

func upTo(most int) []int {
	all := make([]int, most+1)
	for i := range all {
		all[i] = i
	}
	return all
}

// accountLines returns a page of the list: all of a state, or who is found by a text. last is where the next page begins, ""
// for no next one.
func (p *Portal) accountLines(ctx context.Context, o office, v accountsView, after directory.PersonID) (lines []identity.AccountLine, counts identity.Counts, last directory.PersonID, err error) {
	lines, counts, err = p.cfg.Admin.Accounts.Accounts(ctx, o.ID, identity.Filter{State: identity.State(v.State), Limit: peoplePage, After: after})
	if err != nil || v.Text == "" {
		if len(lines) == peoplePage {
			last = lines[peoplePage-1].Person.ID
		}
		return lines, counts, last, err
	}
	found, _, err := p.cfg.Directory.People(ctx, o.ID, directory.Search{Text: v.Text, Limit: peoplePage, After: after})
	if err != nil {
		return nil, counts, "", err
	}
	lines = nil
	for _, person := range found {
		a, err := p.cfg.Admin.Accounts.Account(ctx, o.ID, person.ID)
		if fault.KindOf(err) == fault.NotFound || err == nil && v.State != "" && string(a.State) != v.State {
			continue
		}
		if err != nil {
			return nil, counts, "", err
		}
		lines = append(lines, lineOf(a))
	}
	if len(found) == peoplePage {
		last = found[peoplePage-1].ID
	}
	return lines, counts, last, nil
}

func lineOf(a identity.Account) identity.AccountLine {
	l := identity.AccountLine{Person: a.Person, State: a.State, Passkeys: len(a.Passkeys), CodesLeft: a.CodesLeft, LastSignIn: a.LastSignIn, InvitedAt: a.InvitedAt}
	for _, k := range a.Passkeys {
		if !slices.Contains(l.Names, k.Host) {
			l.Names = append(l.Names, k.Host)
		}
	}
	slices.Sort(l.Names)
	return l
}

func (v *accountsView) addCounts(o office, c identity.Counts) {
	v.Counts = []stateCount{{Name: o.t.t("accounts.all"), Path: o.path("accounts"), Count: c.People, On: v.State == ""}}
	for i, n := range []int{c.Enrolled, c.Invited, c.None, c.Dormant} {
		s := string(accountStates[i])
		v.Counts = append(v.Counts, stateCount{Name: o.t.t("accounts.state." + s), Path: o.path("accounts") + "?state=" + s, Count: n, On: v.State == s})
	}
	v.Bar = bar(c.People, barPart{"coming", c.Enrolled}, barPart{"safe", c.Invited}, barPart{"cannot", c.Dormant}) // the rest has none
}

// listPager leads on through a list whose address is a query; empty values are left out.
func listPager(path string, q url.Values, further bool, last string) (v pagerView) {
	for key := range q {
		if q.Get(key) == "" {
			q.Del(key)
		}
	}
	if further {
		v.First = path + "?" + q.Encode()
	}
	if last != "" {
		q.Set("after", last)
		v.Next = path + "?" + q.Encode()
	}
	return v
}

// Whom an invitation is for: those chosen in a list, a unit, or everybody who has none.
const (
	inviteChosen = "chosen"
	inviteUnit   = "unit"
	inviteAll    = "all"
)

var inviteDays = []int{7, 14, 30, 90}

type inviteView struct {
	deskView
	Whom    string
	Key     string // of the form: the letters are made once
	Unit    string
	People  []nameView
	More    bool // there are more than fit
	Max     int
	Without int // of them have no e-mail and no mobile number
	Fields  []hiddenField
	Days    []optionView
}

// invited are those whom a form or a link means.
type invited struct {
	whom   string
	unit   directory.UnitID
	people []directory.Person
	more   bool
}

// errNobodyToInvite is returned for a choice that is nobody.
var errNobodyToInvite = fault.New(fault.Invalid, "portal.invite_nobody", "there is nobody to invite in what was chosen",
	"choose people in the list, a unit, or all who have no account yet")

// invitedBy reads whom a request means: at most identity.MaxInvited people who can be read.
func (p *Portal) invitedBy(ctx context.Context, o office, v url.Values) (invited, error) {
	in := invited{whom: v.Get("whom"), unit: directory.UnitID(v.Get("unit"))}
	var err error
	switch in.whom {
	case inviteAll:
		err = p.addWithoutAccount(ctx, o, &in)
	case inviteUnit:
		err = p.addUnitPeople(ctx, o, &in)
	default:
		in.whom = inviteChosen
		for _, id := range v["person"] {
			if len(in.people) == identity.MaxInvited {
				in.more = true
				break
			}
			person, err := p.cfg.Directory.Person(ctx, o.ID, directory.PersonID(id))
			if err != nil {
				return in, err
			}
			in.people = append(in.people, person)
		}
	}
	if err != nil {
		return in, err
	}
	in.people = slices.DeleteFunc(in.people, func(d directory.Person) bool { return d.Readable != directory.Readable })
	if len(in.people) == 0 {
		return in, errNobodyToInvite
	}
	return in, nil
}

func (p *Portal) addWithoutAccount(ctx context.Context, o office, in *invited) error {
	lines, counts, err := p.cfg.Admin.Accounts.Accounts(ctx, o.ID, identity.Filter{State: identity.StateNone, Limit: identity.MaxInvited})
	if err != nil {
		return err
	}
	for _, l := range lines {
		in.people = append(in.people, l.Person)
	}
	in.more = counts.None > len(lines)
	return nil
}

// addUnitPeople adds those of a unit who cannot come in yet: inviting the others again is a deed of its own.
func (p *Portal) addUnitPeople(ctx context.Context, o office, in *invited) error {
	if in.unit == "" {
		return nil
	}
	search := directory.Search{Unit: in.unit, Limit: identity.MaxInvited}
	for len(in.people) < identity.MaxInvited {
		found, _, err := p.cfg.Directory.People(ctx, o.ID, search)
		if err != nil {
			return err
		}
		for _, person := range found {
			a, err := p.cfg.Admin.Accounts.Account(ctx, o.ID, person.ID)
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return err
			}
			if err == nil && (a.State == identity.StateNone || a.State == identity.StateInvited) {
				in.people = append(in.people, person)
			}
		}
		if len(found) < search.Limit {
			return nil
		}
		search.After = found[len(found)-1].ID
	}
	in.people, in.more = in.people[:identity.MaxInvited], true
	return nil
}

// showInvite tells whom it will concern, and invites nobody.
func (p *Portal) showInvite(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	in, err := p.invitedBy(r.Context(), o, r.URL.Query())
	if err != nil {
		return err
	}
	v := inviteView{deskView: o.view(), Whom: in.whom, More: in.more, Max: identity.MaxInvited,
		Days: numberOptions(o.t, "invite.days", inviteDays, 14), Fields: []hiddenField{{"whom", inviteChosen}}}
	if v.Key, err = p.cfg.Once.NewKey(); err != nil {
		return err
	}
	for _, person := range in.people {
		v.People = append(v.People, nameOf(person))
		v.Fields = append(v.Fields, hiddenField{"person", string(person.ID)})
		if len(person.Reachability) == 0 {
			v.Without++
		}
	}
	return p.adminPage(w, r, o, http.StatusOK, "invite", o.t.t("invite.title"), v)
}

// toInvite reads the form that showInvite has made, and invites.
func (p *Portal) toInvite(r *http.Request) (o office, in invited, list []identity.Invitation, err error) {
	if o, err = p.office(r); err != nil {
		return o, in, nil, err
	}
	if err = parseForm(r); err != nil {
		return o, in, nil, err
	}
	if in, err = p.invitedBy(r.Context(), o, r.PostForm); err != nil {
		return o, in, nil, err
	}
	ids := make([]directory.PersonID, 0, len(in.people))
	for _, person := range in.people {
		ids = append(ids, person.ID)
	}
	web.About(r.Context(), aboutPersons(ids...)...)
	if err = p.within(r.Context(), o, ids...); err != nil {
		return o, in, nil, err
	}
	days := offeredNumber(r.PostForm.Get("days"), 14, inviteDays)
	list, receipt, err := p.cfg.Admin.Accounts.Invite(r.Context(), o.actor.Principal, o.ID, ids, time.Duration(days)*24*time.Hour)
	if err != nil {
		return o, in, nil, err
	}
	return o, in, list, p.settle(r.Context(), web.ReceiptOf(receipt))
}

// printInvitations invites and answers with the letters. The secrets are in them and nowhere else, so the answer is the file
// itself: a page that led to it would have to keep them.
func (p *Portal) printInvitations(w http.ResponseWriter, r *http.Request) error {
	var o office
	var in invited
	var list []identity.Invitation
	if err := parseForm(r); err != nil {
		return err
	}
	invite := func() (err error) {
		o, in, list, err = p.toInvite(r)
		return err
	}
	var err error
	if r.PostForm.Get("key") == "" {
		err = invite()
	} else { // a second tap would end the invitations that are in the letters just loaded
		err = p.makeOnce(r, invite)
	}
	if err != nil {
		return err
	}
	people := make(map[directory.PersonID]directory.Person, len(in.people))
	for _, person := range in.people {
		people[person.ID] = person
	}
	letters := make([]sheet.InvitationLetter, 0, len(list))
	for _, i := range list {
		person := people[i.Person]
		language := person.Language
		if language == "" {
			language = directory.German
		}
		letters = append(letters, sheet.InvitationLetter{Lang: string(language), Person: person.DisplayName, Authority: o.Name,
			URL: p.portalURL(o, "/enrol/"+i.Secret), Expires: i.Expires})
	}
	pdf, err := p.cfg.Admin.Letters(letters)
	if err != nil {
		return err
	}
	download(w, "application/pdf", o.t.t("invite.file")+"-"+p.cfg.Now().In(p.cfg.Zone).Format(time.DateOnly)+".pdf")
	_, _ = w.Write(pdf) // fails only if the client is gone
	return nil
}

// sendInvitations invites by e-mail and SMS. Whether anything can be sent from here is asked before anybody is invited, because
// an invitation that reaches nobody still ends the one before.
func (p *Portal) sendInvitations(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if _, err := p.cfg.Admin.Accounts.SendInvitations(r.Context(), o.actor.Principal, o.ID, nil, p.portalURL(o, "")); err != nil {
		return err
	}
	o, _, list, err := p.toInvite(r)
	if err != nil {
		return err
	}
	sent, err := p.cfg.Admin.Accounts.SendInvitations(r.Context(), o.actor.Principal, o.ID, list, p.portalURL(o, ""))
	if err != nil {
		return err
	}
	return p.toSent(w, r, o, sent)
}

// remindAccounts tells people that their invitation waits.
func (p *Portal) remindAccounts(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	var ids []directory.PersonID
	for _, id := range r.PostForm["person"] {
		ids = append(ids, directory.PersonID(id))
	}
	if len(ids) == 0 {
		return errNobodyToInvite
	}
	web.About(r.Context(), aboutPersons(ids...)...)
	if err := p.within(r.Context(), o, ids...); err != nil {
		return err
	}
	told, err := p.cfg.Admin.Accounts.Remind(r.Context(), o.actor.Principal, o.ID, ids)
	if err != nil {
		return err
	}
	return p.toSent(w, r, o, told)
}

func (p *Portal) toSent(w http.ResponseWriter, r *http.Request, o office, sent int) error {
	http.Redirect(w, r, o.path("accounts")+"?"+url.Values{"sent": {o.plainNumber(sent)}}.Encode(), http.StatusSeeOther)
	return nil
}
