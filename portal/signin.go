// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"io"
	"net/http"
	"slices"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/web"
)

// WaysIn is what the pages ask of accounts and their ways in: an identity.Service.
type WaysIn interface {
	Invited(ctx context.Context, secret string) (identity.InvitationView, error)
	UseInvitation(ctx context.Context, secret string) (access.Principal, error)
	UseLink(ctx context.Context, secret string) (access.Principal, error)
	BeginPasskey(ctx context.Context, p access.Principal, o identity.Origin) ([]byte, error)
	FinishPasskey(ctx context.Context, p access.Principal, o identity.Origin, label string, answer []byte) (identity.Passkey, eventlog.Receipt, error)
	RemovePasskey(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, id string) (eventlog.Receipt, error)
	BeginSignIn(ctx context.Context, o identity.Origin) ([]byte, error)
	FinishSignIn(ctx context.Context, o identity.Origin, answer []byte) (access.Principal, error)
	IssueCodes(ctx context.Context, p access.Principal) ([]string, eventlog.Receipt, error)
	SignInWithCode(ctx context.Context, code, totp string) (access.Principal, error)
	BeginTOTP(ctx context.Context, p access.Principal) (secret, uri string, err error)
	ConfirmTOTP(ctx context.Context, p access.Principal, secret, passcode string) (eventlog.Receipt, error)
	RemoveTOTP(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID) (eventlog.Receipt, error)
	HandOver(ctx context.Context, p access.Principal, name string) (string, error)
	TakeHandOver(ctx context.Context, token string, o identity.Origin) (access.Principal, error)
	AskVouching(ctx context.Context) (ticket, spoken string, err error)
	Vouch(ctx context.Context, by access.Principal, spoken string, person directory.PersonID) (eventlog.Receipt, error)
	VouchState(ctx context.Context, ticket string) (identity.VouchState, error)
	TakeVouching(ctx context.Context, ticket string) (access.Principal, error)
	OIDCSignIn(ctx context.Context, authority event.AuthorityID, claim string) (access.Principal, error)
	Account(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (identity.Account, error)
	Warnings(ctx context.Context, authority event.AuthorityID) ([]identity.Warning, error)
}

// SessionEnder ends all sessions of somebody, everywhere: a session.Service.
type SessionEnder interface {
	EndAll(ctx context.Context, by access.Principal, authority event.AuthorityID, kind access.PrincipalKind, id string) (eventlog.Receipt, error)
}

// GuestDoor lets guests in: a guest.Service.
type GuestDoor interface {
	Enter(ctx context.Context, code string) (access.Principal, error)
}

// AppPasswords are a person's own passwords for programs: a program.Service.
type AppPasswords interface {
	Make(ctx context.Context, by access.Principal, authority event.AuthorityID, d program.Draft) (program.Program, string, eventlog.Receipt, error)
	Owned(ctx context.Context, authority event.AuthorityID, owner directory.PersonID) ([]program.Program, error)
	Withdraw(ctx context.Context, by access.Principal, authority event.AuthorityID, id program.ID) (eventlog.Receipt, error)
}

// Provider is an authority's own identity provider: an oidc.Provider. It blocks for the network, within bounds of its own.
type Provider interface {
	AuthURL(ctx context.Context, state, nonce, verifier, redirect string) (string, error)
	Exchange(ctx context.Context, code, nonce, verifier, redirect string) (claim string, err error)
}

// SignInConfig is what the pages of signing in, enrolling and one's own account work with. Every field is required, but
// Providers may be nil.
type SignInConfig struct {
	Identity WaysIn
	Sessions SessionEnder
	Guests   GuestDoor
	Programs AppPasswords
	// Providers are the identity providers by authority.
	Providers map[event.AuthorityID]Provider
	// Names returns the hosts under which an authority's people reach the portal, in the order in which they enrol; for the
	// authority "" those of all. Passkeys work under these names and nowhere else.
	Names func(authority event.AuthorityID) []string
	// Rand draws what binds a browser to its way through an identity provider.
	Rand io.Reader
}

// signInRoutes are the ways in, enrolment, and one's own account.
func (p *Portal) signInRoutes() []web.Route {
	return slices.Concat([]web.Route{
		{Pattern: "GET /signin", Open: true, Handle: p.showSignIn},
		{Pattern: "POST /signin/passkey/options", Open: true, Handle: p.beginSignIn},
		{Pattern: "POST /signin/passkey", Open: true, Handle: p.finishSignIn},
		{Pattern: "GET /signin/code", Open: true, Handle: p.showCodeSignIn},
		{Pattern: "POST /signin/code", Open: true, Handle: p.signInWithCode},
		{Pattern: "GET /signin/guest", Open: true, Handle: p.showGuestSignIn},
		{Pattern: "POST /signin/guest", Open: true, Handle: p.signInGuest},
		{Pattern: "GET /signin/vouching", Open: true, Handle: p.showVouching},
		{Pattern: "GET /signin/vouching/state", Open: true, Handle: p.showVouchState},
		{Pattern: "POST /signin/vouching", Open: true, Handle: p.askVouching},
		{Pattern: "POST /signin/vouching/enter", Open: true, Handle: p.takeVouching},
		{Pattern: "GET /signin/oidc/{authority}", Open: true, Handle: p.toProvider},
		{Pattern: "GET /signin/oidc/{authority}/callback", Open: true, Handle: p.fromProvider},
		{Pattern: "GET /signin/{secret}", Open: true, Handle: p.showLink},
		{Pattern: "POST /signin/{secret}", Open: true, Handle: p.useLink},
		{Pattern: "POST /signout", Open: true, Handle: p.signOut},
		{Pattern: "GET /a/{authority}/incident", Need: access.SeeIncident, Handle: p.showIncident},
		{Pattern: "GET /a/{authority}/vouch", Need: access.Vouch, Sealed: true, Handle: p.showVouch},
		{Pattern: "POST /a/{authority}/vouch", Need: access.Vouch, Handle: p.vouch},
	}, p.enrolRoutes(), p.accountRoutes())
}

// showSignIn shows the ways in. Where passkeys cannot work it says so and offers the code first.
func (p *Portal) showSignIn(w http.ResponseWriter, r *http.Request) error {
	v := signInView{Passkeys: p.passkeysHere(r, ""), Providers: p.providers(r), Ended: endedText(p.texts(r), r.URL.Query().Get("ended"))}
	if !v.Passkeys {
		v.Names = p.namesBut(r, "")
		v.Host = p.origin(r).Host
	}
	f := p.frame(r, "", p.texts(r).t("signin.title"))
	f.Script = true
	return p.render.page(w, http.StatusOK, f, "signin", v)
}

// endedText returns what was ended just now, "" for nothing.
func endedText(t *texts, what string) string {
	switch what {
	case "here":
		return t.t("signin.endedhere")
	case "enrolled":
		return t.t("signin.endedenrolled")
	case "1":
		return t.t("signin.ended")
	}
	return ""
}

// showLink shows the button of a sign-in link. It never uses the link up: mail scanners and previews open links too.
func (p *Portal) showLink(w http.ResponseWriter, r *http.Request) error {
	f := p.frame(r, "", p.texts(r).t("signin.title"))
	return p.render.page(w, http.StatusOK, f, "signin-link", r.PathValue("secret"))
}

// useLink tries the console's own links first, then those that the console has made for a person. Both refuse in the same
// words.
func (p *Portal) useLink(w http.ResponseWriter, r *http.Request) error {
	secret := r.PathValue("secret")
	who, err := p.cfg.Sessions.UseLink(r.Context(), secret)
	if fault.KindOf(err) == fault.Unauthenticated {
		if who, err = p.cfg.SignIn.Identity.UseLink(r.Context(), secret); fault.KindOf(err) == fault.Unauthenticated {
			err = web.ErrLinkUsed
		}
	}
	if err != nil {
		return p.turnedAway(r, access.ByLink, err)
	}
	return p.letIn(w, r, who)
}

// letIn begins the session of somebody who came in, and leads them to their first page.
func (p *Portal) letIn(w http.ResponseWriter, r *http.Request, who access.Principal) error {
	if err := p.cfg.Sessions.Begin(w, r, who); err != nil {
		return err
	}
	http.Redirect(w, r, firstPage(p.wanted(w, r, who), who), http.StatusSeeOther)
	return nil
}

// turnedAway counts a wrong attempt, for the audit and against its sender's address, and returns what to answer. Right ones
// are never counted and never slowed: a whole authority may come from one address, together with whoever attacks it.
func (p *Portal) turnedAway(r *http.Request, way access.Way, err error) error {
	if k := fault.KindOf(err); k != fault.Unauthenticated && k != fault.Invalid {
		return err
	}
	p.cfg.Sessions.Refused(r, way, err)
	if tooOften := p.signIns.Allow(r); tooOften != nil {
		return tooOften
	}
	return err
}

// homeOf returns the page that somebody begins at: that of enrolment, of the one incident, or the overview.
func homeOf(who access.Principal) string {
	switch {
	case who.Limited:
		return "/enrol"
	case who.Kind == access.Visitor:
		return "/a/" + string(who.Authority) + "/incident"
	}
	return "/"
}

func (p *Portal) signOut(w http.ResponseWriter, r *http.Request) error {
	return p.endSession(w, r, "here")
}

// endSession ends the session of this browser and leads to the ways in, where it is said what was ended (see endedText).
func (p *Portal) endSession(w http.ResponseWriter, r *http.Request, what string) error {
	if err := p.cfg.Sessions.End(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, "/signin?ended="+what, http.StatusSeeOther)
	return nil
}
