// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/web"
)

// channelKinds are the channels that the form offers, in its order.
var channelKinds = []directory.ChannelKind{directory.SMS, directory.Email}

// alarmForm is what the form for a new alarm sends, as it came.
type alarmForm struct {
	key            string
	mode           event.Mode
	textDE, textEN string
	audience       directory.Audience
	channels       []directory.ChannelKind
}

func readAlarmForm(v url.Values) alarmForm {
	f := alarmForm{key: v.Get("key"), mode: event.Mode(v.Get("mode")),
		textDE: strings.TrimSpace(plainLines(v.Get("text-de"))), textEN: strings.TrimSpace(plainLines(v.Get("text-en")))}
	f.audience.Everyone = v.Get("everyone") != ""
	for _, id := range v["unit"] {
		f.audience.Units = append(f.audience.Units, directory.UnitID(id))
	}
	for _, id := range v["function"] {
		f.audience.Functions = append(f.audience.Functions, directory.FunctionID(id))
	}
	for _, id := range v["person"] {
		f.audience.Persons = append(f.audience.Persons, directory.PersonID(id))
	}
	for _, k := range v["channel"] {
		if kind := directory.ChannelKind(k); slices.Contains(channelKinds, kind) {
			f.channels = append(f.channels, kind)
		}
	}
	return f
}

// plainLines undoes the line ends that HTML forms make.
func plainLines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// fields returns the form as hidden fields, so that the next step, or a step back, has all of it.
func (f alarmForm) fields() []hiddenField {
	out := []hiddenField{{"key", f.key}, {"mode", string(f.mode)}, {"text-de", f.textDE}, {"text-en", f.textEN}}
	if f.audience.Everyone {
		out = append(out, hiddenField{"everyone", "1"})
	}
	for _, id := range f.audience.Units {
		out = append(out, hiddenField{"unit", string(id)})
	}
	for _, id := range f.audience.Functions {
		out = append(out, hiddenField{"function", string(id)})
	}
	for _, id := range f.audience.Persons {
		out = append(out, hiddenField{"person", string(id)})
	}
	for _, k := range f.channels {
		out = append(out, hiddenField{"channel", string(k)})
	}
	return out
}

// problems lists what is missing, in the order of the page. The alarm package judges again; this one speaks to people.
func (f alarmForm) problems(t *texts) (out []fieldError) {
	if !f.mode.Valid() {
		out = append(out, fieldError{"mode", t.t("raise.err.mode")})
	}
	switch {
	case f.textDE == "" && f.textEN == "":
		out = append(out, fieldError{"text", t.t("raise.err.text")})
	case utf8.RuneCountInString(f.textDE) > alarm.MaxTextRunes || utf8.RuneCountInString(f.textEN) > alarm.MaxTextRunes:
		out = append(out, fieldError{"text", t.t("raise.err.textlong", t.num(alarm.MaxTextRunes))})
	}
	if f.audience.Empty() {
		out = append(out, fieldError{"audience", t.t("raise.err.audience")})
	}
	if len(f.channels) == 0 {
		out = append(out, fieldError{"channels", t.t("raise.err.channels")})
	}
	return out
}

// draft returns the form as the desk takes it, which adds actor and grant.
func (f alarmForm) draft() alarm.Draft {
	return alarm.Draft{TextDE: f.textDE, TextEN: f.textEN, Mode: f.mode, Audience: f.audience, Channels: f.channels}
}

// raisePage is the form. Bound says that whoever fills it in may alarm some units only: the form offers nothing else.
type raisePage struct {
	raiseView
	Bound bool
}

// previewPage is the step before. Second says that the next step asks for a second person and alarms nobody yet.
type previewPage struct {
	previewView
	Second bool
}

// showRaise shows the form: empty, with persons chosen in the list of people, or (by POST) as it was in the preview.
func (p *Portal) showRaise(w http.ResponseWriter, r *http.Request) error {
	web.Unchanged(r.Context())
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	var f alarmForm
	if r.Method == http.MethodPost {
		if err := parseForm(r); err != nil {
			return err
		}
		f = readAlarmForm(r.PostForm)
	} else {
		f = readAlarmForm(url.Values{"person": r.URL.Query()["person"]})
		f.channels = channelKinds
	}
	return p.raiseForm(w, r, http.StatusOK, a, f, nil)
}

func (p *Portal) raiseForm(w http.ResponseWriter, r *http.Request, status int, a authorityView, f alarmForm, problems []fieldError) error {
	t := p.texts(r)
	who, _ := web.ActorOf(r.Context())
	v := raiseView{Authority: a.ID, Key: f.key, Modes: []event.Mode{event.Actual, event.Exercise, event.Test}, Mode: f.mode,
		TextDE: f.textDE, TextEN: f.textEN, MaxText: alarm.MaxTextRunes, Everyone: f.audience.Everyone, Errors: problems}
	if v.Key == "" {
		key, err := p.cfg.Once.NewKey()
		if err != nil {
			return err
		}
		v.Key = key
	}
	if err := p.addChoices(r.Context(), t, &v, f, who.Verdict.Units); err != nil {
		return err
	}
	title := t.t("raise.title")
	if len(problems) > 0 {
		title = t.n("errors.title", len(problems)) + " – " + title
	}
	fr := p.frame(r, "raise", title)
	fr.Authority = &a
	return p.render.page(w, status, fr, "raise", raisePage{v, who.Verdict.Units != nil})
}

// addChoices fills in what can be chosen, with what was chosen. If bound is not nil, only these units and those below them can
// be, and neither everybody nor functions.
func (p *Portal) addChoices(ctx context.Context, t *texts, v *raiseView, f alarmForm, bound []directory.UnitID) error {
	units, err := p.cfg.Directory.Units(ctx, v.Authority)
	if err != nil {
		return err
	}
	if bound != nil {
		units = below(units, bound)
	}
	v.Units, v.UnitsOpen = unitChoices(t, units, f.audience.Units), len(f.audience.Units) > 0 || bound != nil
	if err := p.addFunctionChoices(ctx, t, v, f, bound); err != nil {
		return err
	}
	for _, id := range f.audience.Persons {
		name, err := p.personName(ctx, v.Authority, id)
		if err != nil {
			return err
		}
		v.Persons = append(v.Persons, name)
	}
	for _, k := range channelKinds {
		v.Channels = append(v.Channels, kindChoice{Kind: k, Name: t.t("channel." + string(k)), Chosen: slices.Contains(f.channels, k)})
	}
	return nil
}

func (p *Portal) addFunctionChoices(ctx context.Context, t *texts, v *raiseView, f alarmForm, bound []directory.UnitID) error {
	if bound != nil {
		return nil
	}
	functions, err := p.cfg.Directory.Functions(ctx, v.Authority)
	if err != nil {
		return err
	}
	v.FunctionsOpen = len(f.audience.Functions) > 0
	for _, fn := range functions {
		v.Functions = append(v.Functions, choiceView{ID: string(fn.ID), Name: functionName(t, fn), Chosen: slices.Contains(f.audience.Functions, fn.ID)})
	}
	return nil
}

// below returns the units that are one of those given or below one, in their order.
func below(units []directory.Unit, tops []directory.UnitID) []directory.Unit {
	parent := make(map[directory.UnitID]directory.UnitID, len(units))
	for _, u := range units {
		parent[u.ID] = u.Parent
	}
	var out []directory.Unit
	for _, u := range units {
		at := u.ID
		for range len(units) { // two sites may have made a circle of parents between them
			if at == "" || slices.Contains(tops, at) {
				break
			}
			at = parent[at]
		}
		if slices.Contains(tops, at) {
			out = append(out, u)
		}
	}
	return out
}

func functionName(t *texts, f directory.Function) string {
	if f.Readable != directory.Readable {
		return t.t("person.notyet")
	}
	return f.Name
}

// previewAlarm is the step before: it tells how many people would be reached, and alarms nobody.
func (p *Portal) previewAlarm(w http.ResponseWriter, r *http.Request) error {
	web.Unchanged(r.Context())
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	f := readAlarmForm(r.PostForm)
	t := p.texts(r)
	if problems := f.problems(t); len(problems) > 0 {
		return p.raiseForm(w, r, http.StatusUnprocessableEntity, a, f, problems)
	}
	who, _ := web.ActorOf(r.Context())
	if err := p.cfg.Admin.Desk.Within(r.Context(), a.ID, who.Verdict, f.audience); err != nil {
		return err
	}
	reach, err := p.cfg.Alarms.Preview(r.Context(), a.ID, f.audience, f.channels...)
	if err != nil {
		return err
	}
	v := previewView{Authority: a.ID, Mode: f.mode, People: reach.People, Reachable: reach.People - reach.WithoutChannel,
		Without: reach.WithoutChannel, TextDE: f.textDE, TextEN: f.textEN, Fields: f.fields(),
		Go: t.n("preview.go."+string(f.mode), reach.People-reach.WithoutChannel)}
	for _, k := range f.channels {
		v.Channels = append(v.Channels, kindCount{Name: t.t("channel." + string(k)), Count: reach.PerChannel[k]})
	}
	if v.Audience, err = p.audienceText(r.Context(), t, a.ID, f.audience); err != nil {
		return err
	}
	v.Callers, v.Gateways, v.Nobody = p.callers(a, f.channels), p.gatewayWarning(t, a, f.channels), p.callsNobody(a, f.channels)
	_, second, err := p.cfg.Admin.Desk.AlarmNeedsSecond(r.Context(), who.Principal, a.ID, f.draft())
	if err != nil {
		return err
	}
	if second {
		v.Go = t.n("preview.ask."+string(f.mode), v.Reachable)
	} else if v.Nobody {
		v.Go = t.t("preview.anyway." + string(f.mode))
	}
	fr := p.frame(r, "raise", t.t("preview.title"))
	fr.Authority, fr.Mode = &a, f.mode
	return p.render.page(w, http.StatusOK, fr, "preview", previewPage{v, second})
}

// callers returns the sites that would call by any of the channels, in their order.
func (p *Portal) callers(a authorityView, channels []directory.ChannelKind) []string {
	var sites []alarm.Site
	for _, m := range p.cfg.Federation.Members() {
		if slices.Contains(a.Sites, m.ID) && slices.ContainsFunc(channels, m.gateway) {
			sites = append(sites, alarm.Site{ID: m.ID, Operator: m.Operator, PortalURL: m.PortalURL})
		}
	}
	ranking, err := alarm.RankSites(nil, sites)
	if err != nil {
		return nil
	}
	return p.siteNames(ranking)
}

func (p *Portal) audienceText(ctx context.Context, t *texts, authority event.AuthorityID, a directory.Audience) (out []string, err error) {
	if a.Everyone {
		return []string{t.t("audience.everyone")}, nil
	}
	units, err := p.cfg.Directory.Units(ctx, authority)
	if err != nil {
		return nil, err
	}
	for _, u := range units {
		if slices.Contains(a.Units, u.ID) {
			out = append(out, t.t("audience.unit", unitName(t, u)))
		}
	}
	functions, err := p.cfg.Directory.Functions(ctx, authority)
	if err != nil {
		return nil, err
	}
	for _, f := range functions {
		if slices.Contains(a.Functions, f.ID) {
			out = append(out, t.t("audience.function", functionName(t, f)))
		}
	}
	if len(a.Persons) > 0 {
		out = append(out, t.n("audience.persons", len(a.Persons)))
	}
	return out, nil
}

// raiseAlarm raises the alarm, once, however often the form is sent, or asks for the second person that it takes.
func (p *Portal) raiseAlarm(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	f := readAlarmForm(r.PostForm)
	if problems := f.problems(p.texts(r)); len(problems) > 0 {
		return p.raiseForm(w, r, http.StatusUnprocessableEntity, a, f, problems)
	}
	who, _ := web.ActorOf(r.Context())
	done := false
	result, err := p.cfg.Once.Do(r.Context(), who.ID+" "+string(a.ID), f.key, func() (string, error) {
		done = true
		out, err := p.cfg.Admin.Desk.Raise(r.Context(), who.Principal, who.Verdict, a.ID, f.draft())
		if err != nil {
			return "", err
		}
		page, what := "alarms/"+string(out.Alarm.ID), "raised"
		web.About(r.Context(), "alarm/"+string(out.Alarm.ID))
		if out.Waiting {
			page, what = "approvals/"+out.Approval.ID, "asked"
			did, about := deed.NoteOfAsking(out.Approval)
			web.Did(r.Context(), did, about...)
		}
		return page + " " + what + " " + web.ReceiptOf(out.Receipt).String(), nil
	})
	if err != nil {
		return err
	}
	if !done { // it was sent again, and is answered as the first time
		web.Unchanged(r.Context())
	}
	page, rest, _ := strings.Cut(result, " ")
	what, text, _ := strings.Cut(rest, " ")
	receipt, err := web.ParseReceipt(text)
	if err != nil {
		return err
	}
	if err := p.settle(r.Context(), receipt); err != nil {
		return err
	}
	http.Redirect(w, r, withReceipt("/a/"+string(a.ID)+"/"+page, what, text), http.StatusSeeOther)
	return nil
}
