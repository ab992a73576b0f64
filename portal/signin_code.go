// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"errors"
	"net/http"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
)

// maxTyped bounds what is taken for a code, in bytes, with all spaces that somebody may type.
const maxTyped = 200

// showCodeSignIn asks for a recovery code. The printed sheet's QR code leads here with the code behind "#", which browsers do
// not send: it is in no log of ours, and the script puts it into the field.
func (p *Portal) showCodeSignIn(w http.ResponseWriter, r *http.Request) error {
	return p.codeForm(w, r, http.StatusOK, codeView{})
}

func (p *Portal) codeForm(w http.ResponseWriter, r *http.Request, status int, v codeView) error {
	f := p.frame(r, "", p.texts(r).t("signin.code"))
	f.Path, f.Script = "/signin/code", true
	return p.render.page(w, status, f, "signin-code", v)
}

// signInWithCode shows the form again with what was typed: of 24 characters one wants to mend one, not type all again. The
// field for the digits of an app appears only after a right code whose owner has set that up.
func (p *Portal) signInWithCode(w http.ResponseWriter, r *http.Request) error {
	if err := parseForm(r); err != nil {
		return err
	}
	v := codeView{Code: strings.TrimSpace(r.PostFormValue("code"))}
	totp := strings.TrimSpace(r.PostFormValue("totp"))
	if len(v.Code) > maxTyped || len(totp) > maxTyped {
		return p.codeRefused(w, r, codeView{}, identity.ErrCode)
	}
	who, err := p.cfg.SignIn.Identity.SignInWithCode(r.Context(), v.Code, totp)
	if errors.Is(err, identity.ErrTOTP) && totp == "" {
		v.TOTP = true // the code is right; nothing was tried in vain
		return p.codeForm(w, r, http.StatusOK, v)
	}
	if err != nil {
		v.TOTP = errors.Is(err, identity.ErrTOTP)
		return p.codeRefused(w, r, v, err)
	}
	return p.letIn(w, r, who)
}

func (p *Portal) codeRefused(w http.ResponseWriter, r *http.Request, v codeView, err error) error {
	err = p.turnedAway(r, access.ByCode, err)
	if fault.KindOf(err) != fault.Unauthenticated {
		return err
	}
	if v.Wrong = countedWrong(p.texts(r), v.Code); v.Wrong == nil || !errors.Is(err, identity.ErrCode) {
		v.Wrong = p.wrong(r, err)
	}
	return p.codeForm(w, r, http.StatusUnauthorized, v)
}

// wrong returns what a form says about a refusal.
func (p *Portal) wrong(r *http.Request, err error) *wrongView {
	message, wayOut := p.texts(r).fault(fault.Of(err))
	return &wrongView{Message: message, WayOut: wayOut}
}

func (p *Portal) showGuestSignIn(w http.ResponseWriter, r *http.Request) error {
	return p.guestForm(w, r, http.StatusOK, codeView{})
}

func (p *Portal) guestForm(w http.ResponseWriter, r *http.Request, status int, v codeView) error {
	f := p.frame(r, "", p.texts(r).t("signin.guest"))
	f.Path, f.Script = "/signin/guest", true
	return p.render.page(w, status, f, "signin-guest", v)
}

func (p *Portal) signInGuest(w http.ResponseWriter, r *http.Request) error {
	if err := parseForm(r); err != nil {
		return err
	}
	v := codeView{Code: strings.TrimSpace(r.PostFormValue("code"))}
	var who access.Principal
	err := error(guest.ErrCode)
	if len(v.Code) <= maxTyped {
		who, err = p.cfg.SignIn.Guests.Enter(r.Context(), v.Code)
	} else {
		v.Code = ""
	}
	if err == nil {
		return p.letIn(w, r, who)
	}
	if err = p.turnedAway(r, access.ByGuestCode, err); fault.KindOf(err) != fault.Unauthenticated {
		return err
	}
	v.Wrong = p.wrong(r, err)
	return p.guestForm(w, r, http.StatusUnauthorized, v)
}
