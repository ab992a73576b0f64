// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"net/url"
	"strings"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/web"
)

// maxFound bounds the people that a search for vouching lists.
const maxFound = 20

// showVouch leads whoever vouches: first to the person, then to the characters that the person reads out. The person stands in
// the address, the characters never do.
func (p *Portal) showVouch(w http.ResponseWriter, r *http.Request) error {
	v, err := p.vouchView(r, directory.PersonID(r.URL.Query().Get("person")))
	if err != nil {
		return err
	}
	return p.vouchPage(w, r, http.StatusOK, v)
}

func (p *Portal) vouchPage(w http.ResponseWriter, r *http.Request, status int, v vouchView) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	f := p.frame(r, "vouch", p.texts(r).t("vouch.title"))
	f.Authority = &a
	return p.render.page(w, status, f, "vouch", v)
}

func (p *Portal) vouchView(r *http.Request, chosen directory.PersonID) (vouchView, error) {
	a, err := p.authority(r)
	if err != nil {
		return vouchView{}, err
	}
	v := vouchView{Authority: a.ID, Text: strings.TrimSpace(r.URL.Query().Get("q")), Done: r.URL.Query().Get("done")}
	if chosen != "" {
		person, err := p.cfg.Directory.Person(r.Context(), a.ID, chosen)
		if err != nil {
			return vouchView{}, err
		}
		v.Person = &personRow{nameView: nameOf(person), Position: person.Position}
		return v, nil
	}
	if v.Text == "" {
		return v, nil
	}
	found, total, err := p.cfg.Directory.People(r.Context(), a.ID, directory.Search{Text: v.Text, Limit: maxFound})
	if err != nil {
		return vouchView{}, err
	}
	v.Searched, v.More = true, total > len(found)
	for _, person := range found {
		if person.Readable == directory.Readable {
			v.Found = append(v.Found, personRow{nameView: nameOf(person), Position: person.Position})
		}
	}
	return v, nil
}

// vouch records the word of whoever is signed in. What is wrong with the characters is said in the form.
func (p *Portal) vouch(w http.ResponseWriter, r *http.Request) error {
	if err := parseForm(r); err != nil {
		return err
	}
	me, err := enrolled(r)
	if err != nil {
		return err
	}
	person := directory.PersonID(r.PostFormValue("person"))
	spoken := strings.TrimSpace(r.PostFormValue("code"))
	switch {
	case r.PostFormValue("sure") == "":
		err = errUnsure
	case len(spoken) > maxTyped:
		spoken, err = "", identity.ErrSpoken
	default:
		_, err = p.cfg.SignIn.Identity.Vouch(r.Context(), me.Principal, spoken, person)
	}
	if fault.KindOf(err) == fault.Invalid {
		return p.vouchAgain(w, r, person, spoken, err)
	}
	if err != nil {
		return err
	}
	a, _ := web.ActorOf(r.Context())
	http.Redirect(w, r, "/a/"+url.PathEscape(string(a.Authority))+"/vouch?"+url.Values{"done": {string(person)}}.Encode(), http.StatusSeeOther)
	return nil
}

var errUnsure = fault.New(fault.Invalid, "portal.unsure", "you have not confirmed that you see the person or know their voice",
	"vouch only for somebody whom you recognise; otherwise do not")

func (p *Portal) vouchAgain(w http.ResponseWriter, r *http.Request, person directory.PersonID, spoken string, wrong error) error {
	v, err := p.vouchView(r, person)
	if err != nil {
		return err
	}
	v.Code, v.Wrong = spoken, p.wrong(r, wrong)
	return p.vouchPage(w, r, http.StatusUnprocessableEntity, v)
}
