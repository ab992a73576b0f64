// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/web"
)

func (p *Portal) enrolRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /enrol/{secret}", Open: true, Handle: p.showInvitation},
		{Pattern: "POST /enrol/{secret}", Open: true, Handle: p.useInvitation},
		{Pattern: "GET /enrol/continue/{token}", Open: true, Handle: p.showHandOver},
		{Pattern: "POST /enrol/continue/{token}", Open: true, Handle: p.takeHandOver},
		{Pattern: "GET /enrol", Need: access.OwnAccount, Handle: p.showEnrol},
		{Pattern: "POST /enrol/done", Need: access.OwnAccount, Handle: p.endEnrol},
	}
}

// showInvitation shows whom the invitation is for. Like every link of ours it is used up by its button only.
func (p *Portal) showInvitation(w http.ResponseWriter, r *http.Request) error {
	inv, err := p.cfg.SignIn.Identity.Invited(r.Context(), r.PathValue("secret"))
	if err != nil {
		return p.turnedAway(r, access.ByInvitation, err)
	}
	v := invitationView{nameView: nameOf(inv.Person), Authority: p.authorityNamed(r, inv.Authority), Expires: inv.Expires,
		Secret: r.PathValue("secret")}
	return p.render.page(w, http.StatusOK, p.frame(r, "", p.texts(r).t("enrol.title")), "invitation", v)
}

func (p *Portal) useInvitation(w http.ResponseWriter, r *http.Request) error {
	who, err := p.cfg.SignIn.Identity.UseInvitation(r.Context(), r.PathValue("secret"))
	if err != nil {
		return p.turnedAway(r, access.ByInvitation, err)
	}
	return p.letIn(w, r, who)
}

// showHandOver is where somebody arrives under the next name: another host to the browser, so that a session has to begin anew.
func (p *Portal) showHandOver(w http.ResponseWriter, r *http.Request) error {
	v := handOverView{Token: r.PathValue("token"), Host: p.origin(r).Host}
	return p.render.page(w, http.StatusOK, p.frame(r, "", p.texts(r).t("enrol.title")), "hand-over", v)
}

func (p *Portal) takeHandOver(w http.ResponseWriter, r *http.Request) error {
	who, err := p.cfg.SignIn.Identity.TakeHandOver(r.Context(), r.PathValue("token"), p.origin(r))
	if err != nil {
		return p.turnedAway(r, access.ByInvitation, err)
	}
	if err := p.cfg.Sessions.Begin(w, r, who); err != nil {
		return err
	}
	http.Redirect(w, r, "/enrol", http.StatusSeeOther)
	return nil
}

// The kinds of steps of an enrolment.
const (
	stepPasskey = "passkey"
	stepSecond  = "second"
	stepCodes   = "codes"
	stepDone    = "done"
)

// enrolStep is one thing to do.
type enrolStep struct {
	Kind string
	Host string // of the name, for a passkey
	Done bool
}

// enrolSteps returns what enrolling takes: a passkey under each name, a second one on another device, and a sheet of codes.
// Where there is no name no passkey can work, and codes are all.
func enrolSteps(names []string, a identity.Account) []enrolStep {
	under := map[string]int{}
	for _, k := range a.Passkeys {
		if !k.Void {
			under[k.Host]++
		}
	}
	var steps []enrolStep
	second := false
	for _, n := range names {
		steps = append(steps, enrolStep{Kind: stepPasskey, Host: n, Done: under[n] > 0})
		second = second || under[n] > 1
	}
	if len(names) > 0 {
		steps = append(steps, enrolStep{Kind: stepSecond, Done: second})
	}
	return append(steps, enrolStep{Kind: stepCodes, Done: a.CodesLeft >= identity.FewCodes})
}

// stepAt returns which step to show: the one that is asked for by its number (from 1), else the first that is not done;
// len(steps) when all is done.
func stepAt(steps []enrolStep, asked string) int {
	if asked == stepDone {
		return len(steps)
	}
	if n, err := strconv.Atoi(asked); err == nil && n >= 1 && n <= len(steps) {
		return n - 1
	}
	if i := slices.IndexFunc(steps, func(s enrolStep) bool { return !s.Done }); i >= 0 {
		return i
	}
	return len(steps)
}

// showEnrol shows one step. Each has its own address, so that going back, loading again and skipping need no script.
func (p *Portal) showEnrol(w http.ResponseWriter, r *http.Request) error {
	me, err := own(r)
	if err != nil {
		return err
	}
	account, err := p.cfg.SignIn.Identity.Account(r.Context(), me.Authority, me.person())
	if err != nil {
		return err
	}
	names := p.cfg.SignIn.Names(me.Authority)
	steps := enrolSteps(names, account)
	at := stepAt(steps, r.URL.Query().Get("step"))
	v := enrolView{nameView: nameOf(account.Person), Of: len(steps), At: at + 1, Kind: stepDone, Host: p.origin(r).Host,
		Limited: me.Limited, CodesLeft: account.CodesLeft, Keys: len(account.Passkeys)}
	if at < len(steps) {
		v.Kind, v.Done = steps[at].Kind, steps[at].Done
		v.Skip = "/enrol?step=" + nextStep(steps, at)
		if v.Kind == stepPasskey {
			v.Host = steps[at].Host
		}
	}
	if err := p.addPasskeyStep(r, me, names, &v); err != nil {
		return err
	}
	f := p.frame(r, "account", p.texts(r).t("enrol.title"))
	f.Script = true
	return p.render.page(w, http.StatusOK, f, "enrol", v)
}

// nextStep returns the number of the step after the given one, or that of being done.
func nextStep(steps []enrolStep, at int) string {
	if at+1 == len(steps) {
		return stepDone
	}
	return strconv.Itoa(at + 2)
}

// addPasskeyStep says whether the passkey of this step is made here, or leads to the name where it is: by a token in the path,
// good for five minutes and for one use.
func (p *Portal) addPasskeyStep(r *http.Request, me ownPrincipal, names []string, v *enrolView) error {
	if v.Kind != stepPasskey && v.Kind != stepSecond {
		return nil
	}
	here := p.passkeysHere(r, me.Authority)
	if here && (v.Kind == stepSecond || v.Host == p.origin(r).Host) {
		v.Here = true
		return nil
	}
	to := names[0]
	if v.Kind == stepPasskey {
		to = v.Host
	}
	token, err := p.cfg.SignIn.Identity.HandOver(r.Context(), me.Principal, to)
	if err != nil {
		return err
	}
	v.Host, v.Next = to, p.nameURL(r, to)+"/enrol/continue/"+url.PathEscape(token)
	return nil
}

// endEnrol ends the session of the invitation: whoever has enrolled shows at once that they can sign in. A session that was begun
// in another way and led here from another name goes on there; just this browser's copy for enrolling goes.
func (p *Portal) endEnrol(w http.ResponseWriter, r *http.Request) error {
	me, err := own(r)
	if err != nil {
		return err
	}
	if !me.Limited {
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return nil
	}
	if me.Way != access.ByInvitation {
		p.cfg.Sessions.Forget(w, r)
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
		return nil
	}
	return p.endSession(w, r, "enrolled")
}
