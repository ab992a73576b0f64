// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
)

// markable are the deeds that can be marked, in the order of the page.
var markable = []access.Permission{access.RaiseAlarm, access.ErasePerson, access.GrantRoles, access.SetPolicy}

type policyView struct {
	deskView
	MayChange   bool
	MassFrom    string
	Marked      []optionView
	Hours       string
	AuditDays   string
	ProviderOff bool
	HasProvider bool
	Facts       []factView
	Errors      []fieldError
}

// Error returns the error of a field, nil if it has none.
func (v policyView) Error(field string) *fieldError {
	return raiseView{Errors: v.Errors}.Error(field)
}

func (p *Portal) showPolicy(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	policy, err := p.cfg.Admin.Rights.Policy(r.Context(), o.ID)
	if err != nil {
		return err
	}
	return p.policyPage(w, r, o, http.StatusOK, policy, nil, nil)
}

// policyPage shows the policy; after a form with mistakes, with what was typed.
func (p *Portal) policyPage(w http.ResponseWriter, r *http.Request, o office, status int, policy access.Policy, typed url.Values, problems []fieldError) error {
	verdict, may := o.may[access.SetPolicy]
	v := policyView{deskView: o.view(), MayChange: may && verdict.Units == nil, MassFrom: strconv.Itoa(policy.MassAlarmFrom),
		Hours: strconv.FormatFloat(float64(policy.SessionMaxMinutes)/60, 'f', -1, 64), ProviderOff: policy.ProviderOff,
		HasProvider: p.cfg.Admin.HasProvider(o.ID), Facts: policyFacts(o.t, policy), Errors: problems}
	if !v.HasProvider {
		v.Facts = append(v.Facts, factView{o.t.t("policy.provider.here"), []string{o.t.t("policy.provider.none")}})
	}
	for _, m := range markable {
		v.Marked = append(v.Marked, optionView{Value: string(m), Name: o.t.t("deed." + string(m)), Chosen: slices.Contains(policy.TwoPersons, m)})
	}
	if days := policy.RetentionDays[event.Audit]; days > 0 {
		v.AuditDays = strconv.Itoa(days)
	}
	if typed != nil {
		v.MassFrom, v.Hours, v.AuditDays = typed.Get("mass"), typed.Get("hours"), typed.Get("days")
	}
	return p.adminPage(w, r, o, status, "policy", o.t.t("policy.title"), v)
}

// policyFacts says a policy in words, for those who may only read it and for those who approve it.
func policyFacts(t *texts, policy access.Policy) []factView {
	mass := t.t("policy.mass.never")
	if policy.MassAlarmFrom > 0 {
		mass = t.n("policy.mass.from", policy.MassAlarmFrom)
	}
	var marked []string
	for _, m := range markable {
		if slices.Contains(policy.TwoPersons, m) {
			marked = append(marked, t.t("deed."+string(m)))
		}
	}
	if len(marked) == 0 {
		marked = []string{t.t("none")}
	}
	days := t.t("policy.forever")
	if d := policy.RetentionDays[event.Audit]; d > 0 {
		days = span(t, "policy.days", d)
	}
	provider := t.t("policy.provider.on")
	if policy.ProviderOff {
		provider = t.t("policy.provider.off")
	}
	hours := t.t("policy.hours", strings.Replace(strconv.FormatFloat(float64(policy.SessionMaxMinutes)/60, 'f', -1, 64), ".", decimal(t), 1))
	return []factView{{t.t("policy.mass"), []string{mass}}, {t.t("policy.marked"), marked}, {t.t("policy.session"), []string{hours}},
		{t.t("policy.provider"), []string{provider}}, {t.t("policy.retention"), []string{t.t("policy.addresses") + ": " + days, t.t("policy.rest")}}}
}

func decimal(t *texts) string {
	if t.language == "de" {
		return ","
	}
	return "."
}

// readPolicy reads the form into a copy of the policy in force, and says what is wrong. What the form does not have stays.
func readPolicy(t *texts, v url.Values, policy access.Policy) (access.Policy, []fieldError) {
	var problems []fieldError
	mass, err := strconv.Atoi(strings.TrimSpace(v.Get("mass")))
	if err != nil || mass < 0 || mass > 10_000_000 {
		problems = append(problems, fieldError{"mass", t.t("policy.err.mass")})
	}
	hours, err := strconv.ParseFloat(strings.Replace(strings.TrimSpace(v.Get("hours")), ",", ".", 1), 64)
	minutes := int(hours*60 + 0.5)
	if err != nil || !(hours > 0 && hours < 1000) || minutes < access.MinSessionMinutes || minutes > access.MaxSessionMinutes {
		problems = append(problems, fieldError{"hours", t.t("policy.err.hours")})
	}
	policy.MassAlarmFrom, policy.SessionMaxMinutes, policy.TwoPersons = mass, minutes, nil
	for _, m := range markable {
		if slices.Contains(v["two"], string(m)) {
			policy.TwoPersons = append(policy.TwoPersons, m)
		}
	}
	policy.RetentionDays = maps.Clone(policy.RetentionDays)
	if policy.RetentionDays == nil {
		policy.RetentionDays = map[event.Class]int{}
	}
	text := strings.TrimSpace(v.Get("days"))
	days, err := strconv.Atoi(text)
	switch {
	case text == "":
		delete(policy.RetentionDays, event.Audit)
	case err != nil || days < 1 || days > access.MaxRetentionDays:
		problems = append(problems, fieldError{"days", t.t("policy.err.days")})
	default:
		policy.RetentionDays[event.Audit] = days
	}
	return policy, problems
}

func (p *Portal) setPolicy(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	policy, err := p.cfg.Admin.Rights.Policy(r.Context(), o.ID)
	if err != nil {
		return err
	}
	policy, problems := readPolicy(o.t, r.PostForm, policy)
	if len(problems) > 0 {
		return p.policyPage(w, r, o, http.StatusUnprocessableEntity, policy, r.PostForm, problems)
	}
	out, err := p.cfg.Admin.Desk.SetPolicy(r.Context(), o.actor.Principal, o.ID, policy)
	if err != nil {
		return err
	}
	return p.outcome(w, r, o, out, o.path("policy"), "policy", "policy/access")
}

// switchProvider switches the identity provider off or on, and nothing else: that must go in one click, whatever else somebody
// has typed.
func (p *Portal) switchProvider(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	policy, err := p.cfg.Admin.Rights.Policy(r.Context(), o.ID)
	if err != nil {
		return err
	}
	policy.ProviderOff = r.PostForm.Get("provider") == "off"
	what := "provider.on"
	if policy.ProviderOff {
		what = "provider.off"
	}
	out, err := p.cfg.Admin.Desk.SetPolicy(r.Context(), o.actor.Principal, o.ID, policy)
	if err != nil {
		return err
	}
	return p.outcome(w, r, o, out, o.path("policy"), what, "policy/access")
}
