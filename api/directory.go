// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	"io"
	"net/http"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

func personOf(p directory.Person) Person {
	out := Person{ID: p.ID, Readable: p.Readable, DisplayName: p.DisplayName, GivenName: p.GivenName, FamilyName: p.FamilyName,
		Title: p.Title, Position: p.Position, Phone: p.Phone, Language: p.Language,
		Units: orEmpty(p.Units), Functions: orEmpty(p.Functions), Reachability: []Channel{}}
	for _, c := range p.Reachability {
		out.Reachability = append(out.Reachability, Channel{Kind: c.Kind, Address: c.Address})
	}
	return out
}

func (a *API) people(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", directory.DefaultLimit, directory.MaxLimit)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	list, total, err := a.cfg.Directory.People(r.Context(), id, directory.Search{Text: q.Get("q"), Unit: directory.UnitID(q.Get("unit")),
		Limit: limit, After: directory.PersonID(q.Get("after"))})
	if err != nil {
		return err
	}
	out := People{People: make([]Person, 0, len(list)), Total: total}
	for _, p := range list {
		out.People = append(out.People, personOf(p))
	}
	return ok(w, out)
}

func (a *API) person(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	p, err := a.cfg.Directory.Person(r.Context(), id, directory.PersonID(r.PathValue("person")))
	if err != nil {
		return err
	}
	return ok(w, personOf(p))
}

// erase destroys a person's keys, or asks for a second person where the policy wants one.
func (a *API) erase(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	o, err := a.cfg.Deeds.ErasePerson(r.Context(), by(r), verdict(r), id, personIn(r))
	if err != nil {
		return err
	}
	if o.Waiting {
		return a.answerAsked(w, r, o, string(personIn(r).Subject()))
	}
	return a.answerWritten(w, r)(o.Receipt, nil)
}

// erasures tells of every erased person which sites have confirmed it.
func (a *API) erasures(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	list, err := a.cfg.Erasures.Erasures(r.Context(), id)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].Confirmed, list[i].Missing = orEmpty(list[i].Confirmed), orEmpty(list[i].Missing)
	}
	return ok(w, orEmpty(list))
}

// exportPerson gathers everything that is stored about a person. It is a POST, although it changes nothing: so the audit has a
// line of its own for each, not one that is gathered with others.
func (a *API) exportPerson(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	if err := a.within(r, id, personIn(r)); err != nil {
		return err
	}
	d, err := a.cfg.Privacy.Export(r.Context(), id, personIn(r))
	if err != nil {
		return err
	}
	return ok(w, d)
}

func (a *API) units(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	list, err := a.cfg.Directory.Units(r.Context(), id)
	if err != nil {
		return err
	}
	out := make([]Unit, 0, len(list))
	for _, u := range list {
		out = append(out, Unit{ID: u.ID, Parent: u.Parent, Name: u.Name, People: u.People, Readable: u.Readable})
	}
	return ok(w, out)
}

func (a *API) functions(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	list, err := a.cfg.Directory.Functions(r.Context(), id)
	if err != nil {
		return err
	}
	out := make([]Function, 0, len(list))
	for _, f := range list {
		out = append(out, Function{ID: f.ID, Name: f.Name, Code: f.Code, Holders: orEmpty(f.Holders), Deputies: orEmpty(f.Deputies),
			Readable: f.Readable})
	}
	return ok(w, out)
}

func problems(list []*fault.Fault) []web.Problem {
	out := make([]web.Problem, 0, len(list))
	for _, f := range list {
		out = append(out, web.ProblemOf(f))
	}
	return out
}

// directoryOf returns the directory so that its facts name who acts, where it can: a directory.Service.
func (a *API) directoryOf(r *http.Request) interface {
	Import(ctx context.Context, authority event.AuthorityID, o directory.ImportOptions, file io.Reader) (directory.Report, error)
} {
	if d, ok := a.cfg.Directory.(interface {
		As(actor string) *directory.Service
	}); ok {
		return d.As(actor(r))
	}
	return a.cfg.Directory
}

func (a *API) importPeople(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	o := directory.ImportOptions{Format: directory.Format(q.Get("format")), KeyColumn: q.Get("key"), FunctionsIn: q.Get("functionsIn")}
	if o.Prune, err = flag(r, "prune"); err != nil {
		return err
	}
	if o.DryRun, err = flag(r, "dryRun"); err != nil {
		return err
	}
	if o.DryRun {
		web.Unchanged(r.Context())
	}
	report, err := a.directoryOf(r).Import(r.Context(), id, o, r.Body)
	if err != nil {
		return err
	}
	out := ImportReport{Report: report, Refused: problems(report.Refused), Remarks: problems(report.Remarks)}
	out.PassedOver = orEmpty(out.PassedOver)
	if report.Receipt.Last.Page > 0 {
		if out.Written, err = a.settle(r.Context(), web.ReceiptOf(report.Receipt)); err != nil {
			return err
		}
	}
	return ok(w, out)
}
