// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
)

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
	if _, err := p.cfg.Sessions.SignIn(r.Context(), w, r.PathValue("secret")); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (p *Portal) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := p.cfg.Sessions.SignOut(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return nil
}
