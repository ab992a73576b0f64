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
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
)

const auditPage = 50

type auditView struct {
	deskView
	Text, Person, Outcome string
	Deeds                 []optionView
	From, Until           string
	People                []chosenPerson // who is meant by Person, if several are
	Lines                 []auditRow
	Pager                 pagerView
	Errors                []fieldError
}

// Error returns the error of a field, nil if it has none.
func (v auditView) Error(field string) *fieldError {
	return raiseView{Errors: v.Errors}.Error(field)
}

func (p *Portal) showAudit(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	get := r.URL.Query().Get
	v := auditView{deskView: o.view(), Text: get("q"), Person: strings.TrimSpace(get("who")), Outcome: get("outcome"), From: get("from"), Until: get("until")}
	query := audit.Query{Text: v.Text, Deed: get("deed"), Limit: auditPage, After: get("after")}
	if slices.Contains([]audit.Outcome{audit.Done, audit.Seen, audit.Refused}, audit.Outcome(v.Outcome)) {
		query.Outcome = v.Outcome
	}
	var okFrom, okUntil bool
	query.From, okFrom = p.day(v.From, false)
	if query.Until, okUntil = p.day(v.Until, true); !okFrom || !okUntil {
		v.Errors = append(v.Errors, fieldError{"from", o.t.t("audit.err.day")})
	}
	v.Deeds = deedOptions(o.t, query.Deed)
	whoever, err := p.auditActor(r.Context(), o, &v, get("actor"))
	if err != nil {
		return err
	}
	query.Actor = whoever
	if err := p.addLines(r.Context(), o, &v, query); err != nil {
		return err
	}
	return p.adminPage(w, r, o, http.StatusOK, "audit", o.t.t("audit.title"), v)
}

func deedOptions(t *texts, chosen string) []optionView {
	var out []optionView
	for _, need := range access.Permissions() {
		out = append(out, optionView{Value: string(need), Name: deedText(t, string(need)), Chosen: string(need) == chosen})
	}
	for _, d := range otherDeeds {
		out = append(out, optionView{Value: d, Name: deedText(t, d), Chosen: d == chosen})
	}
	slices.SortFunc(out, func(a, b optionView) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return out
}

// auditActor finds whom a name means: the one whom it fits, or several to choose from.
func (p *Portal) auditActor(ctx context.Context, o office, v *auditView, actor string) (string, error) {
	if actor != "" || v.Person == "" {
		return actor, nil
	}
	found, err := p.findPeople(ctx, o, "", v.Person)
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		v.Errors = append(v.Errors, fieldError{"who", o.t.t("audit.err.who")})
	case 1:
		return actorOf(found[0].nameView.ID), nil
	default:
		v.People = found
	}
	return "", nil
}

// addLines adds a page of lines, unless a search has a mistake: then nothing is shown rather than everything.
func (p *Portal) addLines(ctx context.Context, o office, v *auditView, query audit.Query) error {
	if len(v.Errors) > 0 || len(v.People) > 0 {
		return nil
	}
	lines, err := p.cfg.Admin.Audit.Entries(ctx, o.ID, query)
	if err != nil {
		return err
	}
	seen, err := p.linesOf(ctx, o)
	if err != nil {
		return err
	}
	for _, l := range lines {
		row, err := seen.row(ctx, l)
		if err != nil {
			return err
		}
		v.Lines = append(v.Lines, row)
	}
	last := ""
	if len(lines) == auditPage {
		last = lines[auditPage-1].ID
	}
	v.Pager = listPager(o.path("audit"), url.Values{"q": {v.Text}, "who": {v.Person}, "actor": {query.Actor}, "deed": {query.Deed},
		"outcome": {query.Outcome}, "from": {v.From}, "until": {v.Until}}, query.After != "", last)
	return nil
}

// exportAudit answers with the file that holdfast audit verify checks.
func (p *Portal) exportAudit(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := o.wholeAuthority(); err != nil {
		return err
	}
	later := &lateHeader{w: w, name: "audit-" + string(o.ID) + "-" + p.cfg.Now().In(p.cfg.Zone).Format(time.DateOnly) + ".jsonl"}
	err = p.cfg.Admin.Audit.Export(r.Context(), o.ID, p.cfg.Admin.AuditPages, later)
	if err != nil && later.begun {
		// A file that breaks off must not look whole: the check finds it, and the browser sees a broken connection.
		p.cfg.Logger.ErrorContext(r.Context(), "an export of the audit broke off", "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// lateHeader names the file with the first byte, so that an error before it can still be a page.
type lateHeader struct {
	w     http.ResponseWriter
	name  string
	begun bool
}

func (l *lateHeader) Write(b []byte) (int, error) {
	if !l.begun {
		l.begun = true
		download(l.w, "application/octet-stream", l.name)
	}
	return l.w.Write(b)
}

// actorOf is the audit's name for a person.
func actorOf(id directory.PersonID) string { return string(access.Person) + "/" + string(id) }
