// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
)

// enoughVouchers is how many people have to vouch (see package identity).
const enoughVouchers = 2

// showVouching shows the characters to read out, and how many have confirmed; before, what vouching is.
func (p *Portal) showVouching(w http.ResponseWriter, r *http.Request) error {
	v, err := p.vouching(r)
	if err != nil {
		return err
	}
	f := p.frame(r, "", p.texts(r).t("signin.vouching"))
	f.Script = true
	return p.render.page(w, http.StatusOK, f, "signin-vouching", v)
}

// showVouchState is the part of the page that the script fetches again and again. Without the script there is a button.
func (p *Portal) showVouchState(w http.ResponseWriter, r *http.Request) error {
	v, err := p.vouching(r)
	if err != nil {
		return err
	}
	return p.render.bare(w, http.StatusOK, p.texts(r).language, "vouching-state", v)
}

// vouching returns the state of the ticket that the browser keeps. One that is over is like none.
func (p *Portal) vouching(r *http.Request) (vouchingView, error) {
	ticket := p.readCookie(r, cookieVouching)
	if ticket == "" {
		return vouchingView{}, nil
	}
	s, err := p.cfg.SignIn.Identity.VouchState(r.Context(), ticket)
	if fault.KindOf(err) == fault.Unauthenticated || err == nil && !p.cfg.Now().Before(s.Expires) {
		return vouchingView{Over: true}, nil
	}
	if err != nil {
		return vouchingView{}, err
	}
	return vouchingView{Asked: true, Spoken: s.Spoken, Confirmed: s.Confirmed, Expires: s.Expires,
		Enough: s.Confirmed >= enoughVouchers}, nil
}

// askVouching gives the browser a ticket, as a cookie that no script can read. Nothing is stored here.
func (p *Portal) askVouching(w http.ResponseWriter, r *http.Request) error {
	ticket, _, err := p.cfg.SignIn.Identity.AskVouching(r.Context())
	if err != nil {
		return err
	}
	p.setCookie(w, r, cookieVouching, ticket, identity.VouchingLife)
	http.Redirect(w, r, "/signin/vouching", http.StatusSeeOther)
	return nil
}

func (p *Portal) takeVouching(w http.ResponseWriter, r *http.Request) error {
	who, err := p.cfg.SignIn.Identity.TakeVouching(r.Context(), p.readCookie(r, cookieVouching))
	if err != nil {
		return p.turnedAway(r, access.ByVouching, err)
	}
	p.setCookie(w, r, cookieVouching, "", 0)
	return p.letIn(w, r, who)
}

// The short-lived cookies of ways in that take more than one page.
const (
	cookieVouching = "vouching"
	cookieProvider = "provider"
	maxCookie      = 2000
)

// setCookie gives the browser a short-lived cookie that it keeps to itself; an empty value takes it away. It is Lax, because
// an identity provider leads back to us from another site.
func (p *Portal) setCookie(w http.ResponseWriter, r *http.Request, name, value string, life time.Duration) {
	c := &http.Cookie{Name: p.cookieName(r, name), Value: value, Path: "/", MaxAge: int(life / time.Second), HttpOnly: true,
		Secure: p.cfg.Sessions.Secure(r), SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// readCookie returns a short-lived cookie's value, "" for none or one that is too long.
func (p *Portal) readCookie(r *http.Request, name string) string {
	c, err := r.Cookie(p.cookieName(r, name))
	if err != nil || len(c.Value) > maxCookie {
		return ""
	}
	return c.Value
}

// cookieName has the prefix that keeps other hosts of the same domain from planting the cookie, where browsers allow it.
func (p *Portal) cookieName(r *http.Request, name string) string {
	if p.cfg.Sessions.Secure(r) {
		return "__Host-" + name
	}
	return name
}
