// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/web"
)

func (p *Portal) accountRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /account", Need: access.OwnAccount, Handle: p.showAccount},
		{Pattern: "POST /account/passkey/options", Need: access.OwnAccount, Handle: p.beginPasskey},
		{Pattern: "POST /account/passkey", Need: access.OwnAccount, Handle: p.finishPasskey},
		{Pattern: "POST /account/passkey/{passkey}/remove", Need: access.OwnAccount, Handle: p.removePasskey},
		{Pattern: "POST /account/codes", Need: access.OwnAccount, Handle: p.issueCodes},
		{Pattern: "POST /account/codes/sheet.pdf", Need: access.OwnAccount, Handle: p.codesSheet},
		{Pattern: "GET /account/totp", Need: access.OwnAccount, Handle: p.showTOTP},
		{Pattern: "POST /account/totp", Need: access.OwnAccount, Handle: p.confirmTOTP},
		{Pattern: "POST /account/totp/remove", Need: access.OwnAccount, Handle: p.removeTOTP},
		{Pattern: "POST /account/passwords", Need: access.OwnAccount, Handle: p.makePassword},
		{Pattern: "POST /account/passwords/{program}/withdraw", Need: access.OwnAccount, Handle: p.withdrawPassword},
		{Pattern: "POST /account/sessions/end", Need: access.OwnAccount, Handle: p.endSessions},
	}
}

// ownPrincipal is a person who acts on their own account.
type ownPrincipal struct{ access.Principal }

func (o ownPrincipal) person() directory.PersonID { return directory.PersonID(o.ID) }

// The refusals of one's own account.
var (
	errNoAccount = fault.New(fault.Forbidden, "portal.no_account", "only a person of an authority has an account here",
		"sign in with an account of your own")
	errEnrolFirst = fault.New(fault.Forbidden, "portal.enrol_first", "this sign-in serves to enrol and for nothing else",
		"finish enrolling, then sign in")
)

// own returns the person who asks, or errNoAccount for a guest, a program or the console.
func own(r *http.Request) (ownPrincipal, error) {
	a, _ := web.ActorOf(r.Context())
	if a.Kind != access.Person {
		return ownPrincipal{}, errNoAccount
	}
	return ownPrincipal{a.Principal}, nil
}

// enrolled is own for what somebody with a mere invitation may not do.
func enrolled(r *http.Request) (ownPrincipal, error) {
	me, err := own(r)
	if err == nil && me.Limited {
		err = errEnrolFirst
	}
	return me, err
}

func (p *Portal) showAccount(w http.ResponseWriter, r *http.Request) error {
	a, _ := web.ActorOf(r.Context())
	if a.Limited {
		http.Redirect(w, r, "/enrol", http.StatusSeeOther)
		return nil
	}
	t := p.texts(r)
	v := accountView{Way: t.t("way." + string(a.Way)), Begun: a.Begun, Site: p.siteName(a.Site), Console: a.Kind != access.Person,
		Authority: p.authorityNamed(r, a.Authority), Done: doneText(t, r.URL.Query().Get("done"))}
	if !v.Console {
		if err := p.addAccount(r, ownPrincipal{a.Principal}, &v); err != nil {
			return err
		}
	}
	f := p.frame(r, "account", t.t("account.title"))
	f.Script = true
	v.Who = f.Who
	return p.render.page(w, http.StatusOK, f, "account", v)
}

// doneText returns what the page says after a deed, "" for none.
func doneText(t *texts, done string) string {
	switch done {
	case "passkey", "removed", "totp", "totp-removed", "withdrawn":
		return t.t("account.done." + done)
	}
	return ""
}

func (p *Portal) addAccount(r *http.Request, me ownPrincipal, v *accountView) error {
	account, err := p.cfg.SignIn.Identity.Account(r.Context(), me.Authority, me.person())
	if err != nil {
		return err
	}
	names := p.cfg.SignIn.Names(me.Authority)
	v.Names = passkeysByName(names, account.Passkeys, p.origin(r).Host)
	v.Here = p.passkeysHere(r, me.Authority)
	v.CodesLeft, v.FewCodes, v.CodesIssued, v.TOTP = account.CodesLeft, account.CodesLeft < identity.FewCodes, account.CodesIssued, account.TOTP
	v.Missing = p.missing(r, account)
	if v.Warnings, err = p.ownWarnings(r.Context(), p.texts(r), me); err != nil {
		return err
	}
	owned, err := p.cfg.SignIn.Programs.Owned(r.Context(), me.Authority, me.person())
	if err != nil {
		return err
	}
	for _, x := range owned {
		if x.State == program.Alive {
			v.Passwords = append(v.Passwords, passwordRow{ID: string(x.ID), Name: x.Name, Kind: string(x.Kind), Made: x.MadeAt,
				Expires: x.Expires, Used: x.LastUsed})
		}
	}
	v.Kinds = []string{string(program.LDAP), string(program.CardDAV), string(program.WebDAV)}
	v.Key, err = p.cfg.Once.NewKey()
	return err
}

// userOf returns the name under which a person's programs sign in.
func userOf(person directory.Person) string {
	return cmp.Or(person.Address(directory.Email), string(person.ID))
}

// passkeysByName sorts passkeys under the names in their order, then under names that are none any more.
func passkeysByName(names []string, keys []identity.Passkey, here string) []namePasskeys {
	var out []namePasskeys
	for i, n := range names {
		out = append(out, namePasskeys{Host: n, Here: n == here, Step: strconv.Itoa(i + 1)})
	}
	for _, k := range keys {
		i := slices.IndexFunc(out, func(n namePasskeys) bool { return n.Host == k.Host })
		if i < 0 {
			i, out = len(out), append(out, namePasskeys{Host: k.Host, Former: true})
		}
		out[i].Passkeys = append(out[i].Passkeys, passkeyRow{ID: k.ID, Label: k.Label, Added: k.Added, Synced: k.Synced, Void: k.Void})
	}
	return out
}

// missing says what is missing for the worst day.
func (p *Portal) missing(r *http.Request, a identity.Account) (out []string) {
	t := p.texts(r)
	for _, m := range a.Missing {
		if host, ok := strings.CutPrefix(m, "passkey:"); ok {
			out = append(out, t.t("account.missing.passkey", host))
		} else if m == "second passkey" {
			out = append(out, t.t("account.missing.second"))
		} else if m == "codes" {
			out = append(out, t.t("account.missing.codes"))
		}
	}
	return out
}

// ownWarnings returns what happened to this account that its owner should know, the youngest first.
func (p *Portal) ownWarnings(ctx context.Context, t *texts, me ownPrincipal) ([]ownWarning, error) {
	all, err := p.cfg.SignIn.Identity.Warnings(ctx, me.Authority)
	if err != nil {
		return nil, err
	}
	var out []ownWarning
	for _, x := range all {
		if x.Person == me.person() {
			out = append(out, ownWarning{Text: t.t("account.warning." + x.What), At: x.At, Sites: strings.Join(p.siteNames(x.Sites), ", ")})
		}
	}
	slices.SortStableFunc(out, func(a, b ownWarning) int { return b.At.Compare(a.At) })
	return out[:min(len(out), maxWarnings)], nil
}

// maxWarnings bounds the warnings on one's own page.
const maxWarnings = 20

func (p *Portal) beginPasskey(w http.ResponseWriter, r *http.Request) error {
	web.Unchanged(r.Context())
	me, err := own(r)
	if err != nil {
		return err
	}
	options, err := p.cfg.SignIn.Identity.BeginPasskey(r.Context(), me.Principal, p.origin(r))
	if err != nil {
		return err
	}
	writeOptions(w, options)
	return nil
}

func (p *Portal) finishPasskey(w http.ResponseWriter, r *http.Request) error {
	me, err := own(r)
	if err != nil {
		return err
	}
	body, err := readAnswer(w, r)
	if err != nil {
		return err
	}
	var sent struct {
		Label  string          `json:"label"`
		Answer json.RawMessage `json:"answer"`
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		return errNotJSON.With(err)
	}
	label := strings.TrimSpace(sent.Label)
	if _, _, err := p.cfg.SignIn.Identity.FinishPasskey(r.Context(), me.Principal, p.origin(r), label, sent.Answer); err != nil {
		return err
	}
	to := "/account?done=passkey#passkeys"
	if me.Limited {
		to = "/enrol"
	}
	web.WriteJSON(w, http.StatusOK, "", whereTo{To: to})
	return nil
}

func (p *Portal) removePasskey(w http.ResponseWriter, r *http.Request) error {
	me, err := enrolled(r)
	if err != nil {
		return err
	}
	if _, err := p.cfg.SignIn.Identity.RemovePasskey(r.Context(), me.Principal, me.Authority, me.person(), r.PathValue("passkey")); err != nil {
		return err
	}
	http.Redirect(w, r, "/account?done=removed#passkeys", http.StatusSeeOther)
	return nil
}

// endSessions signs out everywhere, this browser too.
func (p *Portal) endSessions(w http.ResponseWriter, r *http.Request) error {
	a, _ := web.ActorOf(r.Context())
	if a.Limited {
		return errEnrolFirst
	}
	if _, err := p.cfg.SignIn.Sessions.EndAll(r.Context(), a.Principal, a.Authority, a.Kind, a.Principal.ID); err != nil {
		return err
	}
	p.cfg.Sessions.Forget(w, r)
	http.Redirect(w, r, "/signin?ended=1", http.StatusSeeOther)
	return nil
}

// authorityNamed returns an authority's name, "" if there is none.
func (p *Portal) authorityNamed(r *http.Request, id event.AuthorityID) string {
	for _, a := range p.cfg.Federation.Authorities() {
		if a.ID == id {
			return authorityName(a, p.texts(r).language)
		}
	}
	return ""
}

// passwordLives are how long an app password may last, in days, as the form offers.
var passwordLives = map[string]time.Duration{"30": 30 * 24 * time.Hour, "365": 365 * 24 * time.Hour, "730": 730 * 24 * time.Hour}
