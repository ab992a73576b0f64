// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/web"
)

// SignInConfig is what the pages of signing in, enrolling and one's own account work with.
type SignInConfig struct{}

// signInRoutes are the ways in, enrolment, and one's own account.
func (p *Portal) signInRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /signin", Open: true, Handle: p.showSignIn},
		{Pattern: "GET /signin/{secret}", Open: true, Handle: p.showSignIn},
		{Pattern: "POST /signin/{secret}", Open: true, Handle: p.signIn},
		{Pattern: "POST /signout", Open: true, Handle: p.signOut},
	}
}

// showSignIn shows how to sign in, or the button of a sign-in link. It never uses the link up: mail scanners and
// previews open links too.
func (p *Portal) showSignIn(w http.ResponseWriter, r *http.Request) error {
	f := p.frame(r, "", p.texts(r).t("signin.title"))
	return p.render.page(w, http.StatusOK, f, "signin", signInView{Secret: r.PathValue("secret")})
}

func (p *Portal) signIn(w http.ResponseWriter, r *http.Request) error {
	if err := p.signIns.Allow(r); err != nil {
		return err
	}
	who, err := p.cfg.Sessions.UseLink(r.Context(), r.PathValue("secret"))
	if err != nil {
		p.cfg.Sessions.Refused(r, access.ByLink, err)
		return err
	}
	if err := p.cfg.Sessions.Begin(w, r, who); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (p *Portal) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := p.cfg.Sessions.End(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return nil
}
