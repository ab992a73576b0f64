// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"errors"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/sheet"
	"codeberg.org/holdfast/holdfast/web"
)

// issueCodes shows ten new codes, once: they are in this answer and nowhere else. Loading the answer again would make others,
// and browsers ask before they do.
func (p *Portal) issueCodes(w http.ResponseWriter, r *http.Request) error {
	me, err := own(r)
	if err != nil {
		return err
	}
	codes, _, err := p.cfg.SignIn.Identity.IssueCodes(r.Context(), me.Principal)
	if err != nil {
		return err
	}
	person, err := p.cfg.Directory.Person(r.Context(), me.Authority, me.person())
	if err != nil {
		return err
	}
	v := codesView{nameView: nameOf(person), Authority: p.authorityNamed(r, me.Authority), Codes: codes, At: p.cfg.Now(),
		URLs: p.codeURLs(r, me), Back: "/account#codes"}
	if me.Limited {
		v.Back = "/enrol?step=" + stepDone
	}
	f := p.frame(r, "account", p.texts(r).t("codes.title"))
	f.Script = true
	return p.render.page(w, http.StatusOK, f, "codes", v)
}

// maxURLs bounds the addresses on a sheet.
const maxURLs = 6

// codeURLs returns where a code can be used: under the names, and at the own addresses of the authority's sites, because these
// work when the names do not.
func (p *Portal) codeURLs(r *http.Request, me ownPrincipal) (urls []string) {
	for _, n := range p.cfg.SignIn.Names(me.Authority) {
		urls = append(urls, p.nameURL(r, n)+"/signin/code")
	}
	sites := p.sitesOf(me.Authority)
	for _, m := range p.cfg.Federation.Members() {
		u := strings.TrimSuffix(m.PortalURL, "/") + "/signin/code"
		if m.PortalURL != "" && slices.Contains(sites, m.ID) && !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
	}
	if len(urls) == 0 {
		urls = append(urls, p.origin(r).URL+"/signin/code")
	}
	return urls[:min(len(urls), maxURLs)]
}

// codePattern is how a recovery code is written: six groups of four of Crockford's characters.
var codePattern = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){5}$`)

var errSheet = fault.New(fault.Invalid, "portal.sheet", "these are not codes as a sheet has them", "make new codes, and take the sheet from the page that shows them")

// codesSheet turns codes that the browser sends back into a sheet to print. Nothing is stored, and nothing is looked up: whoever
// sends other codes gets a sheet that opens nothing.
func (p *Portal) codesSheet(w http.ResponseWriter, r *http.Request) error {
	web.Unchanged(r.Context())
	me, err := own(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	codes := r.PostForm["code"]
	if len(codes) == 0 || len(codes) > identity.CodesPerSheet {
		return errSheet
	}
	for _, c := range codes {
		if !codePattern.MatchString(c) {
			return errSheet
		}
	}
	person, err := p.cfg.Directory.Person(r.Context(), me.Authority, me.person())
	if err != nil {
		return err
	}
	pdf, err := sheet.Codes(sheet.CodesSheet{Lang: string(p.texts(r).language), Person: person.DisplayName,
		Authority: p.authorityNamed(r, me.Authority), Codes: codes, SignInURLs: p.codeURLs(r, me), Issued: p.cfg.Now().In(p.cfg.Zone)})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/pdf")
	w.Header().Set("Content-Disposition", `attachment; filename="holdfast-codes.pdf"`)
	_, _ = w.Write(pdf) // fails only if the client is gone
	return nil
}

// showTOTP offers a fresh secret. It is kept nowhere until its owner has shown that their app has it.
func (p *Portal) showTOTP(w http.ResponseWriter, r *http.Request) error {
	me, err := enrolled(r)
	if err != nil {
		return err
	}
	secret, uri, err := p.cfg.SignIn.Identity.BeginTOTP(r.Context(), me.Principal)
	if err != nil {
		return err
	}
	return p.totpForm(w, r, http.StatusOK, totpView{Secret: secret, URI: uri})
}

func (p *Portal) totpForm(w http.ResponseWriter, r *http.Request, status int, v totpView) error {
	svg, err := sheet.QRTitled(v.URI, p.texts(r).t("totp.qr"))
	if err != nil {
		return err
	}
	v.QR = template.HTML(svg) // made by package sheet: one path, and an escaped title
	return p.render.page(w, status, p.frame(r, "account", p.texts(r).t("totp.title")), "totp", v)
}

func (p *Portal) confirmTOTP(w http.ResponseWriter, r *http.Request) error {
	me, err := enrolled(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	v := totpView{Secret: r.PostFormValue("secret"), URI: r.PostFormValue("uri")}
	passcode := strings.Join(strings.Fields(r.PostFormValue("passcode")), "")
	_, err = p.cfg.SignIn.Identity.ConfirmTOTP(r.Context(), me.Principal, v.Secret, passcode)
	if errors.Is(err, identity.ErrTOTPSecret) && v.URI != "" {
		v.Wrong = p.wrong(r, err)
		return p.totpForm(w, r, http.StatusUnprocessableEntity, v)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/account?done=totp#totp", http.StatusSeeOther)
	return nil
}

func (p *Portal) removeTOTP(w http.ResponseWriter, r *http.Request) error {
	me, err := enrolled(r)
	if err != nil {
		return err
	}
	if _, err := p.cfg.SignIn.Identity.RemoveTOTP(r.Context(), me.Principal, me.Authority, me.person()); err != nil {
		return err
	}
	http.Redirect(w, r, "/account?done=totp-removed#totp", http.StatusSeeOther)
	return nil
}

// makePassword makes an app password of one's own and shows it, once.
func (p *Portal) makePassword(w http.ResponseWriter, r *http.Request) error {
	me, err := enrolled(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	kind := program.Kind(r.PostFormValue("kind"))
	if !kind.AppPassword() {
		return program.ErrKind
	}
	life, ok := passwordLives[r.PostFormValue("days")]
	if !ok {
		return program.ErrExpires
	}
	d := program.Draft{Name: strings.TrimSpace(r.PostFormValue("name")), Kind: kind, Owner: me.person(), Expires: p.cfg.Now().Add(life)}
	var made program.Program
	var secret string
	err = p.makeOnce(r, func() (err error) {
		made, secret, _, err = p.cfg.SignIn.Programs.Make(r.Context(), me.Principal, me.Authority, d)
		return err
	})
	if err != nil {
		return err
	}
	person, err := p.cfg.Directory.Person(r.Context(), me.Authority, me.person())
	if err != nil {
		return err
	}
	v := passwordView{Name: made.Name, Kind: string(kind), Secret: secret, User: userOf(person), Expires: made.Expires}
	return p.render.page(w, http.StatusOK, p.frame(r, "account", p.texts(r).t("password.title")), "password", v)
}

func (p *Portal) withdrawPassword(w http.ResponseWriter, r *http.Request) error {
	me, err := enrolled(r)
	if err != nil {
		return err
	}
	owned, err := p.cfg.SignIn.Programs.Owned(r.Context(), me.Authority, me.person())
	if err != nil {
		return err
	}
	id := program.ID(r.PathValue("program"))
	for _, x := range owned {
		if x.ID != id {
			continue
		}
		if _, err := p.cfg.SignIn.Programs.Withdraw(r.Context(), me.Principal, me.Authority, id); err != nil {
			return err
		}
		http.Redirect(w, r, "/account?done=withdrawn#passwords", http.StatusSeeOther)
		return nil
	}
	return program.ErrUnknown
}
