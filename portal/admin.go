// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/sheet"
	"codeberg.org/holdfast/holdfast/web"
)

// RightsBook is what the pages of administration ask about roles, approvals and policy: an access.Service.
type RightsBook interface {
	Permitted(ctx context.Context, p access.Principal, authority event.AuthorityID) (map[access.Permission]access.Verdict, error)
	Grants(ctx context.Context, authority event.AuthorityID) ([]access.Grant, error)
	Withdraw(ctx context.Context, by access.Principal, authority event.AuthorityID, grant string) (eventlog.Receipt, error)
	Policy(ctx context.Context, authority event.AuthorityID) (access.Policy, error)
	Approvals(ctx context.Context, authority event.AuthorityID) ([]access.Approval, error)
	Approval(ctx context.Context, authority event.AuthorityID, id string) (access.Approval, error)
	Refuse(ctx context.Context, p access.Principal, authority event.AuthorityID, id string) (eventlog.Receipt, error)
}

// Desk does what may take two people: a *deed.Desk.
type Desk interface {
	Within(ctx context.Context, authority event.AuthorityID, v access.Verdict, a directory.Audience) error
	OrderCalling(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, id alarm.ID) (eventlog.Receipt, error)
	AlarmNeedsSecond(ctx context.Context, by access.Principal, authority event.AuthorityID, d alarm.Draft) (people int, second bool, err error)
	Raise(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, d alarm.Draft) (deed.Outcome, error)
	EraseNeedsSecond(ctx context.Context, by access.Principal, authority event.AuthorityID) (bool, error)
	ErasePerson(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, person directory.PersonID) (deed.Outcome, error)
	GrantRole(ctx context.Context, by access.Principal, authority event.AuthorityID, d access.GrantDraft) (deed.Outcome, error)
	SetPolicy(ctx context.Context, by access.Principal, authority event.AuthorityID, p access.Policy) (deed.Outcome, error)
	Approve(ctx context.Context, by access.Principal, authority event.AuthorityID, id string) (access.Approval, eventlog.Receipt, error)
}

// Accounts is what the pages ask and command about accounts: an identity.Service.
type Accounts interface {
	Account(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (identity.Account, error)
	Accounts(ctx context.Context, authority event.AuthorityID, f identity.Filter) ([]identity.AccountLine, identity.Counts, error)
	Warnings(ctx context.Context, authority event.AuthorityID) ([]identity.Warning, error)
	Invite(ctx context.Context, by access.Principal, authority event.AuthorityID, persons []directory.PersonID, life time.Duration) ([]identity.Invitation, eventlog.Receipt, error)
	SendInvitations(ctx context.Context, by access.Principal, authority event.AuthorityID, list []identity.Invitation, baseURL string) (sent int, err error)
	Remind(ctx context.Context, by access.Principal, authority event.AuthorityID, persons []directory.PersonID) (told int, err error)
	RemovePasskey(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, id string) (eventlog.Receipt, error)
}

// Guests lets people in for one incident: a guest.Service.
type Guests interface {
	Invite(ctx context.Context, by access.Principal, authority event.AuthorityID, d guest.Draft) (guest.Guest, string, eventlog.Receipt, error)
	Renew(ctx context.Context, by access.Principal, authority event.AuthorityID, id guest.ID, until time.Time) (guest.Guest, string, eventlog.Receipt, error)
	Guests(ctx context.Context, authority event.AuthorityID) ([]guest.Guest, error)
	SendAway(ctx context.Context, by access.Principal, authority event.AuthorityID, id guest.ID) (eventlog.Receipt, error)
}

// Programs makes tokens: a program.Service.
type Programs interface {
	Make(ctx context.Context, by access.Principal, authority event.AuthorityID, d program.Draft) (program.Program, string, eventlog.Receipt, error)
	Programs(ctx context.Context, authority event.AuthorityID) ([]program.Program, error)
	Withdraw(ctx context.Context, by access.Principal, authority event.AuthorityID, id program.ID) (eventlog.Receipt, error)
}

// AuditBook is what the pages read of the audit: an audit.Service.
type AuditBook interface {
	Entries(ctx context.Context, authority event.AuthorityID, q audit.Query) ([]audit.Line, error)
	UnderWithdrawn(ctx context.Context, authority event.AuthorityID, withdrawn []audit.Withdrawn) ([]audit.Line, error)
	Export(ctx context.Context, authority event.AuthorityID, pages audit.PageSource, w io.Writer) error
}

// Erasure is how far the erasing of a person has come, as the portal shows it.
type Erasure struct {
	Person    directory.PersonID
	At        time.Time
	By        string // an actor
	Confirmed []event.SiteID
	Missing   []event.SiteID // member sites that have not said so yet
	Removed   []string       // names of the sites that left the authority without having said so: unconfirmed for ever
}

// Complete reports whether every member site has confirmed.
func (e Erasure) Complete() bool { return len(e.Missing) == 0 }

// AdminConfig is what the pages of administration work with. Every field is required.
type AdminConfig struct {
	Rights   RightsBook
	Desk     Desk
	Accounts Accounts
	// SignOut ends all sessions of a person, at every site: session.Service.EndAll.
	SignOut    func(ctx context.Context, by access.Principal, authority event.AuthorityID, kind access.PrincipalKind, id string) (eventlog.Receipt, error)
	Guests     Guests
	Programs   Programs
	Audit      AuditBook
	AuditPages audit.PageSource
	// Export returns all that is stored about a person, as one JSON document: a privacy.Service's.
	Export func(ctx context.Context, authority event.AuthorityID, person directory.PersonID) ([]byte, error)
	// Erasures returns how far erasures have come, the youngest first.
	Erasures func(ctx context.Context, authority event.AuthorityID) ([]Erasure, error)
	// PortalURLs returns the addresses ("https://name") under which the authority's people reach the portal, the one that
	// letters name first. It answers from memory.
	PortalURLs func(authority event.AuthorityID) []string
	// Letters makes the letters of invitation: sheet.Invitations.
	Letters func([]sheet.InvitationLetter) ([]byte, error)
	// HasProvider reports whether the authority's people can sign in through an identity provider at this site.
	HasProvider func(authority event.AuthorityID) bool
	// QR draws a QR code with a title: sheet.QRTitled.
	QR func(text, title string) (string, error)
}

// adminRoutes are the pages of administration: accounts, roles, approvals, guests, programs, audit, policy, personal data.
func (p *Portal) adminRoutes() []web.Route {
	return slices.Concat(p.adminAccountRoutes(), p.roleRoutes(), p.approvalRoutes(), []web.Route{
		{Pattern: "GET /a/{authority}/admin", Need: access.SeeOverview, Handle: p.showAdmin},
		{Pattern: "GET /a/{authority}/guests", Need: access.InviteGuests, Deed: "guest.see", Sealed: true, Handle: p.showGuests},
		{Pattern: "POST /a/{authority}/guests", Need: access.InviteGuests, Handle: p.inviteGuest},
		{Pattern: "POST /a/{authority}/guests/{guest}/renew", Need: access.InviteGuests, Deed: "guest.renew", Handle: p.renewGuest},
		{Pattern: "POST /a/{authority}/guests/{guest}/away", Need: access.InviteGuests, Deed: "guest.away", Handle: p.sendGuestAway},
		{Pattern: "GET /a/{authority}/programs", Need: access.ManagePrograms, Deed: "program.see", Sealed: true, Handle: p.showPrograms},
		{Pattern: "POST /a/{authority}/programs", Need: access.ManagePrograms, Handle: p.makeProgram},
		{Pattern: "POST /a/{authority}/programs/{program}/withdraw", Need: access.ManagePrograms, Deed: "program.withdraw", Handle: p.withdrawProgram},
		{Pattern: "GET /a/{authority}/policy", Need: access.SeePolicy, Handle: p.showPolicy},
		{Pattern: "POST /a/{authority}/policy", Need: access.SetPolicy, Handle: p.setPolicy},
		{Pattern: "POST /a/{authority}/policy/provider", Need: access.SetPolicy, Deed: "policy.provider", Handle: p.switchProvider},
		{Pattern: "GET /a/{authority}/audit", Need: access.SeeAudit, Sealed: true, Handle: p.showAudit},
		{Pattern: "POST /a/{authority}/audit/export", Need: access.SeeAudit, Deed: "audit.export", Handle: p.exportAudit},
		{Pattern: "GET /a/{authority}/privacy", Need: access.SeePolicy, Deed: "erasure.see", Sealed: true, Handle: p.showPrivacy},
		{Pattern: "POST /a/{authority}/people/{person}/export", Need: access.ExportPerson, Handle: p.exportPerson},
		{Pattern: "GET /a/{authority}/people/{person}/erase", Need: access.ErasePerson, Deed: "person.erase.see", Sealed: true, Handle: p.showErase},
		{Pattern: "POST /a/{authority}/people/{person}/erase", Need: access.ErasePerson, Handle: p.erasePerson},
	})
}

// office is what every page of administration begins with.
type office struct {
	authorityView
	t     *texts
	actor web.Actor
	may   map[access.Permission]access.Verdict
	done  string // what was just done, where no receipt tells of it
}

// office finds the request's authority and what its sender may do there.
func (p *Portal) office(r *http.Request) (office, error) {
	a, err := p.authority(r)
	if err != nil {
		return office{}, err
	}
	who, _ := web.ActorOf(r.Context())
	may, err := p.cfg.Admin.Rights.Permitted(r.Context(), who.Principal, a.ID)
	if err != nil {
		return office{}, err
	}
	o := office{authorityView: a, t: p.texts(r), actor: who, may: may}
	if q := r.URL.Query(); q.Get("receipt") == "" {
		o.done = wordOr(o.t, "done."+q.Get("wrote"), "")
	}
	return o, nil
}

// within returns the desk's refusal if the right that the request rests on does not reach these people.
func (p *Portal) within(ctx context.Context, o office, persons ...directory.PersonID) error {
	return p.cfg.Admin.Desk.Within(ctx, o.ID, o.actor.Verdict, directory.Audience{Persons: persons})
}

// path returns the path of a page of the office's authority.
func (o office) path(parts ...string) string {
	return "/a/" + string(o.ID) + "/" + strings.Join(parts, "/")
}

// deskView is what every view of administration has.
type deskView struct {
	Authority event.AuthorityID
	May       map[string]bool // permissions
	Done      string
}

func (o office) view() deskView {
	v := deskView{Authority: o.ID, May: make(map[string]bool, len(o.may)), Done: o.done}
	for need := range o.may {
		v.May[string(need)] = true
	}
	return v
}

// adminPage answers with a page of administration, with what was just done.
func (p *Portal) adminPage(w http.ResponseWriter, r *http.Request, o office, status int, name, title string, view any) error {
	f := p.frame(r, "admin", title)
	f.Authority = &o.authorityView
	f.Saved, f.Script = p.saved(r), name == "invite"
	if f.Saved != nil {
		f.Saved.What = wordOr(o.t, "done."+r.URL.Query().Get("wrote"), f.Saved.What)
	}
	return p.render.page(w, status, f, name, view)
}

// settled waits for what was written and leads to a page that shows its receipt.
func (p *Portal) settled(w http.ResponseWriter, r *http.Request, path, what string, written eventlog.Receipt) error {
	receipt := web.ReceiptOf(written)
	if err := p.settle(r.Context(), receipt); err != nil {
		return err
	}
	http.Redirect(w, r, withReceipt(path, what, receipt.String()), http.StatusSeeOther)
	return nil
}

// outcome leads to what was done, or to what waits for a second person; about is what the audit says of it.
func (p *Portal) outcome(w http.ResponseWriter, r *http.Request, o office, out deed.Outcome, path, what string, about ...string) error {
	web.About(r.Context(), about...)
	if out.Waiting {
		did, about := deed.NoteOfAsking(out.Approval, about...)
		web.Did(r.Context(), did, about...)
		path, what = o.path("approvals", out.Approval.ID), "asked"
	}
	if out.Receipt.Log.Authority == "" {
		http.Redirect(w, r, path+"?wrote="+what, http.StatusSeeOther)
		return nil
	}
	return p.settled(w, r, path, what, out.Receipt)
}

// entryView is a line of the hub.
type entryView struct {
	Title, Text, Path, Note string
}

type adminView struct {
	deskView
	Entries  []entryView
	Warnings []accountWarning
	More     int // warnings that are not shown
	Waiting  *warningView
}

// showAdmin is the hub: it lists what the sender may do, and nothing else.
func (p *Portal) showAdmin(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	v := adminView{deskView: o.view(), Waiting: p.waiting(r, o.ID)}
	for _, e := range []struct {
		page string
		need access.Permission
	}{{"accounts", access.SeeAccounts}, {"roles", access.SeeRoles}, {"approvals", access.SeeApprovals}, {"guests", access.InviteGuests},
		{"programs", access.ManagePrograms}, {"policy", access.SeePolicy}, {"privacy", access.SeePolicy}, {"audit", access.SeeAudit}} {
		if _, may := o.may[e.need]; may {
			v.Entries = append(v.Entries, entryView{Title: o.t.t(e.page + ".title"), Text: o.t.t("admin.about." + e.page), Path: o.path(e.page)})
		}
	}
	if err := p.addNews(r.Context(), o, &v); err != nil {
		return err
	}
	return p.adminPage(w, r, o, http.StatusOK, "admin", o.t.t("admin.title"), v)
}

// addNews says what waits for somebody: requests, and accounts that something is wrong with.
func (p *Portal) addNews(ctx context.Context, o office, v *adminView) error {
	if v.May[string(access.SeeApprovals)] {
		list, err := p.cfg.Admin.Rights.Approvals(ctx, o.ID)
		if err != nil {
			return err
		}
		waiting := 0
		for _, a := range list {
			if a.State == access.Pending {
				waiting++
			}
		}
		for i := range v.Entries {
			if waiting > 0 && v.Entries[i].Path == o.path("approvals") {
				v.Entries[i].Note = o.t.n("admin.waiting", waiting)
			}
		}
	}
	if !v.May[string(access.SeeAccounts)] {
		return nil
	}
	list, err := p.accountWarnings(ctx, o, "")
	v.Warnings = list[:min(len(list), maxHubWarnings)]
	v.More = len(list) - len(v.Warnings)
	return err
}

// maxHubWarnings bounds the warnings that the hub shows; each is on its person's page, too.
const maxHubWarnings = 10

// actorView is who did something: a person by name, or a word.
type actorView struct {
	nameView
	Text string
}

// nameBook finds the names of actors, each once for a page.
type nameBook struct {
	p     *Portal
	o     office
	known map[directory.PersonID]nameView
}

func (p *Portal) names(o office) *nameBook {
	return &nameBook{p: p, o: o, known: map[directory.PersonID]nameView{}}
}

func (n *nameBook) person(ctx context.Context, id directory.PersonID) (nameView, error) {
	if v, ok := n.known[id]; ok {
		return v, nil
	}
	v, err := n.p.personName(ctx, n.o.ID, id)
	if err == nil {
		n.known[id] = v
	}
	return v, err
}

func (n *nameBook) actor(ctx context.Context, actor string) (actorView, error) {
	kind, id, _ := strings.Cut(actor, "/")
	switch access.PrincipalKind(kind) {
	case access.Person:
		name, err := n.person(ctx, directory.PersonID(id))
		return actorView{nameView: name}, err
	case access.Visitor, access.Program:
		return actorView{Text: n.o.t.t("actor."+kind) + " " + id[:min(8, len(id))]}, nil
	}
	switch kind {
	case "":
		return actorView{Text: n.o.t.t("actor.unknown")}, nil
	case "site":
		return actorView{Text: n.o.t.t("actor.site", n.p.siteNamed(id))}, nil
	}
	return actorView{Text: n.o.t.t("actor.operator")}, nil
}

// chosenPerson is somebody whom a form is about, or who was found for one.
type chosenPerson struct {
	nameView
	Position string
	Chosen   bool
}

// maxOffered bounds the people whom a form offers.
const maxOffered = 12

// findPeople returns those whom a form offers: the one who was chosen before, and who is found by a text.
func (p *Portal) findPeople(ctx context.Context, o office, chosen directory.PersonID, text string) ([]chosenPerson, error) {
	var out []chosenPerson
	if chosen != "" {
		person, err := p.personKnown(ctx, o.ID, chosen)
		if err != nil {
			return nil, err
		}
		out = append(out, chosenPerson{nameView: nameOf(person), Position: person.Position, Chosen: true})
	}
	if strings.TrimSpace(text) == "" {
		return out, nil
	}
	found, _, err := p.cfg.Directory.People(ctx, o.ID, directory.Search{Text: text, Limit: maxOffered})
	if err != nil {
		return nil, err
	}
	for _, person := range found {
		if person.ID != chosen && person.Readable == directory.Readable {
			out = append(out, chosenPerson{nameView: nameOf(person), Position: person.Position})
		}
	}
	return out, nil
}

// day reads a date of a form in the portal's zone; the end of a day is the beginning of the next. Nothing is the zero time.
func (p *Portal) day(text string, end bool) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	at, err := time.ParseInLocation(time.DateOnly, text, p.cfg.Zone)
	if err != nil || at.Year() < 2000 || at.Year() > 2200 {
		return time.Time{}, false
	}
	if end {
		at = at.AddDate(0, 0, 1)
	}
	return at, true
}

// dayView is a day; the hour of a sign-in is nobody's business.
type dayView struct {
	At   time.Time
	Text string // "" for never
}

func dayOf(t *texts, at time.Time) dayView {
	if at.IsZero() {
		return dayView{}
	}
	format := "02.01.2006"
	if t.language == web.English {
		format = "2 Jan 2006"
	}
	return dayView{At: at, Text: at.In(t.zone).Format(format)}
}

// offeredNumber reads a number of a form, or returns the fallback if it is none of those offered.
func offeredNumber(text string, fallback int, offered []int) int {
	n, err := strconv.Atoi(text)
	if err != nil || !slices.Contains(offered, n) {
		return fallback
	}
	return n
}

// optionView is one of several values that a form offers.
type optionView struct {
	Value, Name string
	Chosen      bool
}

func numberOptions(t *texts, key string, offered []int, chosen int) []optionView {
	var out []optionView
	for _, n := range offered {
		out = append(out, optionView{Value: strconv.Itoa(n), Name: span(t, key, n), Chosen: n == chosen})
	}
	return out
}

// span writes a number of hours or days as people say it: 168 hours are 7 days, 730 days are 2 years.
func span(t *texts, key string, n int) string {
	switch {
	case strings.HasSuffix(key, ".hours") && n > 24 && n%24 == 0:
		return t.n("span.days", n/24)
	case strings.HasSuffix(key, ".days") && n%365 == 0:
		return t.n("span.years", n/365)
	}
	return t.n(key, n)
}

// portalURL returns the address that people are given for a path.
func (p *Portal) portalURL(o office, path string) string {
	first := ""
	if urls := p.cfg.Admin.PortalURLs(o.ID); len(urls) > 0 {
		first = urls[0]
	}
	return cmp.Or(strings.TrimSuffix(first, "/"), strings.TrimSuffix(p.self().PortalURL, "/")) + path
}

// download answers with a file that is shown by no browser.
func download(w http.ResponseWriter, contentType, name string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Disposition", `attachment; filename="`+url.PathEscape(name)+`"`)
}
