// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

func (p *Portal) roleRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /a/{authority}/roles", Need: access.SeeRoles, Sealed: true, Handle: p.showRoles},
		{Pattern: "GET /a/{authority}/roles/new", Need: access.GrantRoles, Deed: "role.grant.see", Sealed: true, Handle: p.showGrant},
		{Pattern: "POST /a/{authority}/roles", Need: access.GrantRoles, Handle: p.grantRole},
		{Pattern: "GET /a/{authority}/roles/withdrawn", Need: access.SeeRoles, Sealed: true, Handle: p.showUnderWithdrawn},
		{Pattern: "GET /a/{authority}/roles/{grant}/withdraw", Need: access.GrantRoles, Deed: "role.grant.see", Sealed: true, Handle: p.showWithdraw},
		{Pattern: "POST /a/{authority}/roles/{grant}/withdraw", Need: access.GrantRoles, Deed: "role.withdraw", Handle: p.withdrawRole},
	}
}

// maxGrantsShown bounds each list of the page.
const maxGrantsShown = 300

type rolesView struct {
	deskView
	Groups []grantGroup
	Roles  []roleView
}

type roleView struct{ Name, May string }

type grantGroup struct {
	Name, Title string
	Grants      []grantView
	More        int
}

type grantView struct {
	ID, Role    string
	Who         actorView
	Function    string
	Unit        string // "" is the whole authority
	From, Until time.Time
	GrantedBy   actorView
	GrantedAt   time.Time
	WithdrawnBy actorView
	WithdrawnAt time.Time
	Live        bool // not withdrawn
	Self        bool
}

// grantsSeen makes views of grants: it knows the names of units and functions.
type grantsSeen struct {
	names     *nameBook
	units     map[directory.UnitID]string
	functions map[directory.FunctionID]string
}

func (p *Portal) grantsSeen(ctx context.Context, o office) (grantsSeen, error) {
	s := grantsSeen{names: p.names(o), functions: map[directory.FunctionID]string{}}
	units, err := p.cfg.Directory.Units(ctx, o.ID)
	if err != nil {
		return s, err
	}
	s.units = unitNames(o.t, units)
	functions, err := p.cfg.Directory.Functions(ctx, o.ID)
	for _, f := range functions {
		s.functions[f.ID] = functionName(o.t, f)
	}
	return s, err
}

func (s grantsSeen) view(ctx context.Context, g access.Grant) (v grantView, err error) {
	t := s.names.o.t
	v = grantView{ID: g.ID, Role: t.t("role." + string(g.Role)), From: g.From, Until: g.Until, GrantedAt: g.GrantedAt,
		WithdrawnAt: g.WithdrawnAt, Live: !g.Withdrawn}
	if g.Unit != "" {
		v.Unit = known(t, s.units, g.Unit)
	}
	if g.Function != "" {
		v.Function = known(t, s.functions, g.Function)
	} else {
		name, err := s.names.person(ctx, g.Person)
		if err != nil {
			return v, err
		}
		v.Who = actorView{nameView: name}
		v.Self = s.names.o.actor.Kind == access.Person && s.names.o.actor.Principal.ID == string(g.Person)
	}
	if v.GrantedBy, err = s.names.actor(ctx, g.GrantedBy); err != nil || !g.Withdrawn {
		return v, err
	}
	v.WithdrawnBy, err = s.names.actor(ctx, g.WithdrawnBy)
	return v, err
}

// known returns a name, or that it has not arrived here yet.
func known[K comparable](t *texts, names map[K]string, id K) string {
	if name := names[id]; name != "" {
		return name
	}
	return t.t("person.notyet")
}

func (p *Portal) showRoles(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	grants, err := p.cfg.Admin.Rights.Grants(r.Context(), o.ID)
	if err != nil {
		return err
	}
	seen, err := p.grantsSeen(r.Context(), o)
	if err != nil {
		return err
	}
	v := rolesView{deskView: o.view(), Roles: rolesTable(o.t)}
	now := p.cfg.Now()
	for _, name := range []string{"now", "coming", "past"} {
		group := grantGroup{Name: name, Title: o.t.t("roles." + name)}
		for _, g := range grants {
			if grantTime(g, now) != name {
				continue
			}
			if len(group.Grants) == maxGrantsShown {
				group.More++
				continue
			}
			line, err := seen.view(r.Context(), g)
			if err != nil {
				return err
			}
			group.Grants = append(group.Grants, line)
		}
		if len(group.Grants) > 0 || name == "now" {
			v.Groups = append(v.Groups, group)
		}
	}
	return p.adminPage(w, r, o, http.StatusOK, "roles", o.t.t("roles.title"), v)
}

// grantTime is the rule of which list a grant stands in.
func grantTime(g access.Grant, now time.Time) string {
	switch {
	case g.InForce(now):
		return "now"
	case !g.Withdrawn && g.From.After(now):
		return "coming"
	}
	return "past"
}

// rolesTable tells what every role may do, in words.
func rolesTable(t *texts) []roleView {
	var out []roleView
	for _, r := range access.Roles() {
		var may []string
		for _, need := range access.RolePermissions(r) {
			may = append(may, t.t("may."+string(need)))
		}
		out = append(out, roleView{Name: t.t("role." + string(r)), May: strings.Join(may, ", ")})
	}
	return out
}

type grantFormView struct {
	deskView
	Roles     []optionView
	People    []chosenPerson
	Text      string
	Searched  bool
	Functions []choiceView
	Units     []choiceView
	From      string
	Until     string
	Errors    []fieldError
}

// Error returns the error of a field, nil if it has none.
func (v grantFormView) Error(field string) *fieldError {
	return raiseView{Errors: v.Errors}.Error(field)
}

// grantForm is what the form for a grant sends.
type grantForm struct {
	draft       access.GrantDraft
	from, until string
	text        string
}

// showGrant shows the form. Searching for a person keeps what was chosen, so it is the same page asked again.
func (p *Portal) showGrant(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	f, _ := p.readGrant(o.t, r.URL.Query())
	return p.grantForm(w, r, http.StatusOK, o, f, nil)
}

// readGrant reads a form and says what is missing.
func (p *Portal) readGrant(t *texts, v map[string][]string) (f grantForm, problems []fieldError) {
	get := func(name string) string {
		if len(v[name]) == 0 {
			return ""
		}
		return v[name][0]
	}
	f = grantForm{from: get("from"), until: get("until"), text: get("q")}
	f.draft = access.GrantDraft{Role: access.Role(get("role")), Unit: directory.UnitID(get("unit"))}
	kind, id, _ := strings.Cut(get("holder"), "/")
	switch kind {
	case "person":
		f.draft.Person = directory.PersonID(id)
	case "function":
		f.draft.Function = directory.FunctionID(id)
	}
	var okFrom, okUntil bool
	f.draft.From, okFrom = p.day(f.from, false)
	f.draft.Until, okUntil = p.day(f.until, true)
	if !f.draft.Role.Grantable() {
		problems = append(problems, fieldError{"role", t.t("grant.err.role")})
	}
	if f.draft.Person == "" && f.draft.Function == "" {
		problems = append(problems, fieldError{"holder", t.t("grant.err.holder")})
	}
	if !okFrom || !okUntil || !f.draft.Until.IsZero() && (!f.draft.Until.After(f.draft.From) || !f.draft.Until.After(p.cfg.Now())) {
		problems = append(problems, fieldError{"term", t.t("grant.err.term")})
	}
	return f, problems
}

func (p *Portal) grantForm(w http.ResponseWriter, r *http.Request, status int, o office, f grantForm, problems []fieldError) error {
	v := grantFormView{deskView: o.view(), Text: f.text, Searched: f.text != "", From: f.from, Until: f.until, Errors: problems}
	for _, role := range access.Roles() {
		if role.Grantable() && (role != access.Operator || o.actor.Kind == access.Console) {
			v.Roles = append(v.Roles, optionView{Value: string(role), Name: o.t.t("role." + string(role)), Chosen: role == f.draft.Role})
		}
	}
	var err error
	if v.People, err = p.findPeople(r.Context(), o, f.draft.Person, f.text); err != nil {
		return err
	}
	functions, err := p.cfg.Directory.Functions(r.Context(), o.ID)
	if err != nil {
		return err
	}
	for _, fn := range functions {
		v.Functions = append(v.Functions, choiceView{ID: string(fn.ID), Name: functionName(o.t, fn), Chosen: fn.ID == f.draft.Function})
	}
	units, err := p.cfg.Directory.Units(r.Context(), o.ID)
	if err != nil {
		return err
	}
	v.Units = unitChoices(o.t, units, []directory.UnitID{f.draft.Unit})
	title := o.t.t("grant.title")
	if len(problems) > 0 {
		title = o.t.n("errors.title", len(problems)) + " – " + title
	}
	return p.adminPage(w, r, o, status, "grant", title, v)
}

func (p *Portal) grantRole(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	f, problems := p.readGrant(o.t, r.PostForm)
	if len(problems) > 0 {
		return p.grantForm(w, r, http.StatusUnprocessableEntity, o, f, problems)
	}
	about := aboutGrant(f.draft.Role, f.draft.Person, f.draft.Function, f.draft.Unit)
	web.About(r.Context(), about...)
	out, err := p.cfg.Admin.Desk.GrantRole(r.Context(), o.actor.Principal, o.ID, f.draft)
	if err != nil {
		return err
	}
	return p.outcome(w, r, o, out, o.path("roles"), "granted", about...)
}

// errNoGrant is returned for a grant that the list does not have.
var errNoGrant = fault.New(fault.NotFound, "portal.no_grant", "there is no such grant", "look at the list of roles")

type withdrawView struct {
	deskView
	Grant grantView
	Alone string // what follows if hardly anybody keeps the role
}

// showWithdraw asks before it takes a right away.
func (p *Portal) showWithdraw(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	grants, err := p.cfg.Admin.Rights.Grants(r.Context(), o.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(grants, func(g access.Grant) bool { return g.ID == r.PathValue("grant") })
	if i < 0 {
		return errNoGrant
	}
	seen, err := p.grantsSeen(r.Context(), o)
	if err != nil {
		return err
	}
	line, err := seen.view(r.Context(), grants[i])
	if err != nil {
		return err
	}
	functions, err := p.cfg.Directory.Functions(r.Context(), o.ID)
	if err != nil {
		return err
	}
	return p.adminPage(w, r, o, http.StatusOK, "withdraw", o.t.t("withdraw.title"), withdrawView{o.view(), line, p.aloneText(o.t, grants, grants[i], functions)})
}

// aloneText warns before a role of the whole authority is left to one person or to nobody, because two-person deeds need two; ""
// if more keep it.
func (p *Portal) aloneText(t *texts, grants []access.Grant, gone access.Grant, functions []directory.Function) string {
	if gone.Unit != "" || !gone.InForce(p.cfg.Now()) {
		return ""
	}
	rest := slices.DeleteFunc(slices.Clone(grants), func(g access.Grant) bool { return g.ID == gone.ID || g.Role != gone.Role })
	switch len(holders(rest, functions, p.cfg.Now())) {
	case 0:
		return t.t("withdraw.none")
	case 1:
		return t.t("withdraw.alone")
	}
	return ""
}

func (p *Portal) withdrawRole(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	id := r.PathValue("grant")
	grants, err := p.cfg.Admin.Rights.Grants(r.Context(), o.ID)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(grants, func(g access.Grant) bool { return g.ID == id }); i >= 0 {
		web.About(r.Context(), aboutGrant(grants[i].Role, grants[i].Person, grants[i].Function, grants[i].Unit)...)
	}
	receipt, err := p.cfg.Admin.Rights.Withdraw(r.Context(), o.actor.Principal, o.ID, id)
	if err != nil {
		return err
	}
	return p.settled(w, r, o.path("roles"), "withdrawn", receipt)
}

type underView struct {
	deskView
	Groups []underGroup
}

type underGroup struct {
	Grant grantView
	Lines []auditRow
}

// showUnderWithdrawn shows what was done under a right that had been withdrawn elsewhere. Nothing of it is undone: it was done
// in good faith, at a site that could not know.
func (p *Portal) showUnderWithdrawn(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	grants, err := p.cfg.Admin.Rights.Grants(r.Context(), o.ID)
	if err != nil {
		return err
	}
	seen, err := p.linesOf(r.Context(), o)
	if err != nil {
		return err
	}
	var gone []audit.Withdrawn
	for _, g := range grants {
		if g.Withdrawn {
			gone = append(gone, audit.Withdrawn{Grant: g.ID, Stamp: g.WithdrawnStamp})
		}
	}
	lines, err := p.cfg.Admin.Audit.UnderWithdrawn(r.Context(), o.ID, gone)
	if err != nil {
		return err
	}
	v := underView{deskView: o.view()}
	for _, g := range grants {
		group := underGroup{}
		for _, l := range lines {
			if l.Grant != g.ID {
				continue
			}
			row, err := seen.row(r.Context(), l)
			if err != nil {
				return err
			}
			group.Lines = append(group.Lines, row)
		}
		if len(group.Lines) == 0 {
			continue
		}
		if group.Grant, err = seen.view(r.Context(), g); err != nil {
			return err
		}
		v.Groups = append(v.Groups, group)
	}
	return p.adminPage(w, r, o, http.StatusOK, "under-withdrawn", o.t.t("under.title"), v)
}
