// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/web"
)

var programDays = []int{30, 90, 365, 730}

type programsView struct {
	deskView
	Key    string
	Scopes []optionView
	Days   []optionView
	Max    int
	Alive  []programRow
	Gone   []programRow
	Errors []fieldError
	Name   string
}

// Error returns the error of a field, nil if it has none.
func (v programsView) Error(field string) *fieldError {
	return raiseView{Errors: v.Errors}.Error(field)
}

type programRow struct {
	Path     string // "" if there is nothing to do about it
	Name     string // "" if it cannot be read
	Kind     string
	Scopes   string
	Owner    *nameView
	Badge    badgeView
	Expires  time.Time
	LastUsed time.Time
	UsedAt   string
	MadeBy   actorView
	MadeAt   time.Time
}

func programBadge(t *texts, s program.State) badgeView {
	if s == program.Alive {
		return badgeView{"success", "success", t.t("programs.state.alive")}
	}
	return badgeView{"info", "info", t.t("programs.state." + string(s))}
}

// errWholeAuthority is returned to somebody whose right is bound to units, where the deed reaches the whole authority.
var errWholeAuthority = fault.New(fault.Forbidden, "portal.whole_authority", "this concerns the whole authority, and your right is bound to some units",
	"ask an administrator of the whole authority")

// wholeAuthority refuses rights that are bound to units.
func (o office) wholeAuthority() error {
	if o.actor.Verdict.Units != nil {
		return errWholeAuthority
	}
	return nil
}

func (p *Portal) showPrograms(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	return p.programsPage(w, r, o, http.StatusOK, program.Draft{}, 365, nil)
}

func (p *Portal) programsPage(w http.ResponseWriter, r *http.Request, o office, status int, d program.Draft, days int, problems []fieldError) error {
	v := programsView{deskView: o.view(), Days: numberOptions(o.t, "programs.days", programDays, days), Max: program.MaxName, Name: d.Name, Errors: problems}
	for _, s := range access.Permissions() {
		if program.Fit(s) && s.Scopable() {
			v.Scopes = append(v.Scopes, optionView{Value: string(s), Name: o.t.t("may." + string(s)), Chosen: slices.Contains(d.Scopes, s)})
		}
	}
	var err error
	if v.Key, err = p.cfg.Once.NewKey(); err != nil {
		return err
	}
	list, err := p.cfg.Admin.Programs.Programs(r.Context(), o.ID)
	if err != nil {
		return err
	}
	names := p.names(o)
	for _, x := range list {
		row := programRow{Kind: o.t.t("programs.kind." + string(x.Kind)), Badge: programBadge(o.t, x.State), Expires: x.Expires,
			LastUsed: x.LastUsed, MadeAt: x.MadeAt}
		if x.Readable == directory.Readable {
			row.Name = x.Name
		}
		if x.UsedAt != "" {
			row.UsedAt = p.siteName(x.UsedAt)
		}
		var may []string
		for _, s := range x.Scopes {
			may = append(may, o.t.t("may."+string(s)))
		}
		row.Scopes = strings.Join(may, ", ")
		if x.Owner != "" {
			name, err := names.person(r.Context(), x.Owner)
			if err != nil {
				return err
			}
			row.Owner = &name
		}
		if row.MadeBy, err = names.actor(r.Context(), x.MadeBy); err != nil {
			return err
		}
		if x.State == program.Alive {
			row.Path = o.path("programs", string(x.ID))
			v.Alive = append(v.Alive, row)
		} else {
			v.Gone = append(v.Gone, row)
		}
	}
	return p.adminPage(w, r, o, status, "programs", o.t.t("programs.title"), v)
}

// makeProgram answers with the token at once: it is shown on this page and kept nowhere.
func (p *Portal) makeProgram(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	if err := o.wholeAuthority(); err != nil {
		return err
	}
	days := offeredNumber(r.PostForm.Get("days"), 365, programDays)
	d := program.Draft{Name: strings.TrimSpace(r.PostForm.Get("name")), Kind: program.API, Expires: p.cfg.Now().Add(time.Duration(days) * 24 * time.Hour)}
	for _, s := range r.PostForm["scope"] {
		if need := access.Permission(s); need.Scopable() {
			d.Scopes = append(d.Scopes, need)
		}
	}
	var problems []fieldError
	if d.Name == "" || len(d.Name) > program.MaxName {
		problems = append(problems, fieldError{"name", o.t.t("programs.err.name")})
	}
	if len(d.Scopes) == 0 {
		problems = append(problems, fieldError{"scopes", o.t.t("programs.err.scopes")})
	}
	if len(problems) > 0 {
		return p.programsPage(w, r, o, http.StatusUnprocessableEntity, d, days, problems)
	}
	var made program.Program
	var secret string
	var receipt eventlog.Receipt
	err = p.makeOnce(r, func() (err error) {
		made, secret, receipt, err = p.cfg.Admin.Programs.Make(r.Context(), o.actor.Principal, o.ID, d)
		return err
	})
	if err != nil {
		return err
	}
	web.About(r.Context(), "program/"+string(made.ID))
	if err := p.settle(r.Context(), web.ReceiptOf(receipt)); err != nil {
		return err
	}
	v := secretView{deskView: o.view(), Title: o.t.t("token.title"), Text: o.t.t("token.text"), Name: d.Name, Code: secret, Until: made.Expires,
		Back: o.path("programs"), BackText: o.t.t("programs.title")}
	return p.adminPage(w, r, o, http.StatusOK, "secret", v.Title, v)
}

func (p *Portal) withdrawProgram(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := o.wholeAuthority(); err != nil {
		return err
	}
	receipt, err := p.cfg.Admin.Programs.Withdraw(r.Context(), o.actor.Principal, o.ID, program.ID(r.PathValue("program")))
	if err != nil {
		return err
	}
	return p.settled(w, r, o.path("programs"), "program", receipt)
}
