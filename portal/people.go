// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

const peoplePage = 50

func (p *Portal) showPeople(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	s := directory.Search{Text: q.Get("q"), Unit: directory.UnitID(q.Get("unit")), Limit: peoplePage, After: directory.PersonID(q.Get("after"))}
	units, err := p.cfg.Directory.Units(r.Context(), a.ID)
	if err != nil {
		return err
	}
	people, total, err := p.cfg.Directory.People(r.Context(), a.ID, s)
	if err != nil {
		return err
	}
	t := p.texts(r)
	names := unitNames(t, units)
	v := peopleView{Authority: a.ID, Text: s.Text, Units: unitChoices(t, units, []directory.UnitID{s.Unit}), Total: total}
	if s.Text != "" && total > directory.CountLimit {
		v.Capped, v.Total = true, directory.CountLimit
	}
	for _, person := range people {
		v.People = append(v.People, personRowOf(t, person, names))
	}
	v.Pager = peoplePager("/a/"+string(a.ID)+"/people", s, people)
	f := p.frame(r, "people", t.t("people.title"))
	f.Authority, v.MayRaise = &a, f.May(access.RaiseAlarm)
	return p.render.page(w, http.StatusOK, f, "people", v)
}

func peoplePager(path string, s directory.Search, people []directory.Person) pagerView {
	q := url.Values{}
	if s.Text != "" {
		q.Set("q", s.Text)
	}
	if s.Unit != "" {
		q.Set("unit", string(s.Unit))
	}
	var v pagerView
	if s.After != "" {
		v.First = path + "?" + q.Encode()
	}
	if len(people) == peoplePage {
		q.Set("after", string(people[len(people)-1].ID))
		v.Next = path + "?" + q.Encode()
	}
	return v
}

func personRowOf(t *texts, person directory.Person, units map[directory.UnitID]string) personRow {
	row := personRow{nameView: nameOf(person), Position: person.Position}
	if len(person.Units) > 0 {
		row.Unit = units[person.Units[0]]
	}
	var kinds []string
	for _, c := range person.Reachability {
		kinds = append(kinds, t.t("channel."+string(c.Kind)))
	}
	row.Channels = strings.Join(kinds, ", ")
	return row
}

func unitNames(t *texts, units []directory.Unit) map[directory.UnitID]string {
	names := make(map[directory.UnitID]string, len(units)+1)
	for _, u := range units {
		names[u.ID] = unitName(t, u)
	}
	names[""] = t.t("board.nounit")
	return names
}

func unitName(t *texts, u directory.Unit) string {
	if u.Readable == directory.NotYet || u.Readable == directory.Erased {
		return t.t("person.notyet")
	}
	return u.Name
}

// unitChoices lays the tree of units out as a list, every unit below its parent.
func unitChoices(t *texts, units []directory.Unit, chosen []directory.UnitID) []choiceView {
	children := map[directory.UnitID][]directory.Unit{}
	known := map[directory.UnitID]bool{}
	for _, u := range units {
		known[u.ID] = true
	}
	for _, u := range units {
		parent := u.Parent
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], u)
	}
	var out []choiceView
	var walk func(parent directory.UnitID, depth int)
	seen := map[directory.UnitID]bool{}
	walk = func(parent directory.UnitID, depth int) {
		for _, u := range children[parent] {
			if seen[u.ID] {
				continue // two sites may have made a circle of parents between them
			}
			seen[u.ID] = true
			out = append(out, choiceView{ID: string(u.ID), Name: unitName(t, u), Depth: min(depth, 4),
				Indent: strings.Repeat("\u00a0\u00a0\u00a0", depth), Chosen: slices.Contains(chosen, u.ID)})
			walk(u.ID, depth+1)
		}
	}
	walk("", 0)
	return out
}

// personPage is a person, and what the one who looks may do about their account, roles and data.
type personPage struct {
	personView
	Desk deskView
}

func (p *Portal) showPerson(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	person, err := p.cfg.Directory.Person(r.Context(), a.ID, directory.PersonID(r.PathValue("person")))
	if err != nil {
		return err
	}
	t := p.texts(r)
	v := personView{nameView: nameOf(person), Authority: a.ID, Position: person.Position, Phone: person.Phone, Language: person.Language}
	if v.Language == "" {
		v.Language = directory.German
	}
	if err := p.addUnits(r.Context(), t, &v, person); err != nil {
		return err
	}
	if err := p.addFunctions(r.Context(), a.ID, &v, person); err != nil {
		return err
	}
	for _, c := range person.Reachability {
		v.Channels = append(v.Channels, channelView{Kind: t.t("channel." + string(c.Kind)), Address: c.Address})
	}
	title := person.DisplayName
	if person.Readable != directory.Readable {
		title = t.t("person.erased")
	}
	f := p.frame(r, "people", title)
	v.MayRaise = f.May(access.RaiseAlarm)
	f.Authority = &a
	o, err := p.office(r)
	if err != nil {
		return err
	}
	return p.render.page(w, http.StatusOK, f, "person", personPage{personView: v, Desk: o.view()})
}

// addUnits writes each unit with the units above it, the outermost first.
func (p *Portal) addUnits(ctx context.Context, t *texts, v *personView, person directory.Person) error {
	units, err := p.cfg.Directory.Units(ctx, v.Authority)
	if err != nil {
		return err
	}
	byID := make(map[directory.UnitID]directory.Unit, len(units))
	for _, u := range units {
		byID[u.ID] = u
	}
	for _, id := range person.Units {
		var path []string
		for range 8 {
			u, ok := byID[id]
			if !ok {
				break
			}
			path = append([]string{unitName(t, u)}, path...)
			id = u.Parent
		}
		if len(path) > 0 {
			v.Units = append(v.Units, strings.Join(path, " › "))
		}
	}
	return nil
}

// addFunctions writes each function with the others who share it.
func (p *Portal) addFunctions(ctx context.Context, authority event.AuthorityID, v *personView, person directory.Person) error {
	functions, err := p.cfg.Directory.Functions(ctx, authority)
	if err != nil {
		return err
	}
	for _, f := range functions {
		holds, deputises := slices.Contains(f.Holders, person.ID), slices.Contains(f.Deputies, person.ID)
		if !holds && !deputises {
			continue
		}
		fv := functionView{Name: f.Name, Deputy: !holds}
		others := f.Deputies
		if !holds {
			others = f.Holders
		}
		for _, id := range others {
			name, err := p.personName(ctx, authority, id)
			if err != nil {
				return err
			}
			fv.Others = append(fv.Others, name)
		}
		v.Functions = append(v.Functions, fv)
	}
	return nil
}

// personName returns a person's name, or that it cannot be read.
func (p *Portal) personName(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (nameView, error) {
	person, err := p.personKnown(ctx, authority, id)
	return nameOf(person), err
}

// personKnown returns a person of the directory. Whom it does not know has not arrived here yet.
func (p *Portal) personKnown(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (directory.Person, error) {
	person, err := p.cfg.Directory.Person(ctx, authority, id)
	if fault.KindOf(err) == fault.NotFound {
		return directory.Person{ID: id, Readable: directory.NotYet}, nil
	}
	return person, err
}
