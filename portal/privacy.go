// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
)

type privacyView struct {
	deskView
	Erasures []erasureRow
}

type erasureRow struct {
	ID        directory.PersonID
	At        time.Time
	By        actorView
	Known     bool // who did it
	Badge     badgeView
	Confirmed string
	Missing   string
	Removed   string
}

// showPrivacy shows how far erasures have come: a person is erased when every site has said so.
func (p *Portal) showPrivacy(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	list, err := p.cfg.Admin.Erasures(r.Context(), o.ID)
	if err != nil {
		return err
	}
	names := p.names(o)
	v := privacyView{deskView: o.view()}
	for _, e := range list {
		row := erasureRow{ID: e.Person, At: e.At, Confirmed: strings.Join(p.siteNames(e.Confirmed), ", "),
			Missing: strings.Join(p.siteNames(e.Missing), ", "), Removed: strings.Join(e.Removed, ", "),
			Badge: badgeView{"warning", "warning", o.t.t("privacy.waiting")}}
		if e.Complete() {
			row.Badge = badgeView{"success", "success", o.t.t("privacy.complete")}
		}
		if e.By != "" {
			if row.By, err = names.actor(r.Context(), e.By); err != nil {
				return err
			}
		}
		row.Known = e.By != ""
		v.Erasures = append(v.Erasures, row)
	}
	return p.adminPage(w, r, o, http.StatusOK, "privacy", o.t.t("privacy.title"), v)
}

// exportPerson answers with everything that is stored about somebody.
func (p *Portal) exportPerson(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	id := directory.PersonID(r.PathValue("person"))
	if err := p.within(r.Context(), o, id); err != nil {
		return err
	}
	document, err := p.cfg.Admin.Export(r.Context(), o.ID, id)
	if err != nil {
		return err
	}
	download(w, "application/json", o.t.t("export.file")+"-"+p.cfg.Now().In(p.cfg.Zone).Format(time.DateOnly)+".json")
	_, _ = w.Write(document) // fails only if the client is gone
	return nil
}

type eraseView struct {
	deskView
	nameView
	Position string
	Second   bool
	Error    string
}

// showErase says what erasing does and what it cannot do, and erases nobody.
func (p *Portal) showErase(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	return p.erasePage(w, r, o, http.StatusOK, "")
}

func (p *Portal) erasePage(w http.ResponseWriter, r *http.Request, o office, status int, problem string) error {
	person, err := p.cfg.Directory.Person(r.Context(), o.ID, directory.PersonID(r.PathValue("person")))
	if err != nil {
		return err
	}
	v := eraseView{deskView: o.view(), nameView: nameOf(person), Position: person.Position, Error: problem}
	if v.Second, err = p.cfg.Admin.Desk.EraseNeedsSecond(r.Context(), o.actor.Principal, o.ID); err != nil {
		return err
	}
	return p.adminPage(w, r, o, status, "erase", o.t.t("erase.title"), v)
}

// erasePerson erases somebody, or asks for a second person. A tick says that the page was read.
func (p *Portal) erasePerson(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	if r.PostForm.Get("understood") == "" {
		return p.erasePage(w, r, o, http.StatusUnprocessableEntity, o.t.t("erase.err.understood"))
	}
	out, err := p.cfg.Admin.Desk.ErasePerson(r.Context(), o.actor.Principal, o.actor.Verdict, o.ID, directory.PersonID(r.PathValue("person")))
	if err != nil {
		return err
	}
	return p.outcome(w, r, o, out, o.path("privacy"), "erased", "person/"+r.PathValue("person"))
}
