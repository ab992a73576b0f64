// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/web"
)

// silentAfter is when a site that has not been heard counts as not reachable; sites exchange every second.
const silentAfter = 10 * time.Second

// clockTolerance is how far clocks may differ before people are told.
const clockTolerance = 5 * time.Second

func (p *Portal) showOverview(w http.ResponseWriter, r *http.Request) error {
	v, err := p.overview(r)
	if err != nil {
		return err
	}
	f := p.frame(r, "overview", p.texts(r).t("overview.title"))
	f.Live = "/events?of=overview"
	return p.render.page(w, http.StatusOK, f, "overview", v)
}

func (p *Portal) showOverviewFragment(w http.ResponseWriter, r *http.Request) error {
	v, err := p.overview(r)
	if err != nil {
		return err
	}
	return p.render.bare(w, http.StatusOK, p.texts(r).language, "overview-live", v)
}

func (p *Portal) overview(r *http.Request) (overviewView, error) {
	t := p.texts(r)
	v := overviewView{At: p.cfg.Now()}
	p.addSites(t, &v)
	troubles, err := p.cfg.Model.SetAside(r.Context())
	if err != nil {
		return v, err
	}
	a, _ := web.ActorOf(r.Context())
	may := p.permitted(r.Context(), a.Principal)
	_, operates := may[access.SeeSite]
	if operates {
		v.Warnings = append(v.Warnings, p.conditionWarnings(t)...)
	}
	if operates && len(troubles) > 0 {
		v.Warnings = append(v.Warnings, warningView{Tone: "warning", Title: t.t("overview.warn.aside"),
			Text: t.t("overview.warn.asidetext", t.num(len(troubles)))})
	}
	for _, a := range p.cfg.Federation.Authorities() {
		if !sees(r, a.ID) {
			continue
		}
		card, err := p.authorityCard(r.Context(), t, a)
		if err != nil {
			return v, err
		}
		_, card.MayRaise = may[access.RaiseAlarm]
		_, card.MaySee = may[access.SeePeople]
		v.Authorities = append(v.Authorities, card)
		if !card.Here {
			continue
		}
		for _, w := range p.notices(r, authorityView{ID: a.ID, Name: card.Name, Sites: a.Sites}) {
			w.Title += " – " + card.Name
			v.Warnings = append(v.Warnings, w)
		}
		rows, err := p.alarmRows(r.Context(), t, a.ID, true)
		if err != nil {
			return v, err
		}
		held, err := p.heldWarnings(r.Context(), t, a.ID)
		if err != nil {
			return v, err
		}
		v.Warnings = append(v.Warnings, held...)
		for i := range rows {
			rows[i].AuthorityName = card.Name
		}
		v.Alarms = append(v.Alarms, rows...)
	}
	slices.SortStableFunc(v.Alarms, func(a, b alarmRow) int { return b.At.Compare(a.At) })
	return v, nil
}

func (p *Portal) authorityCard(ctx context.Context, t *texts, a Authority) (authorityCard, error) {
	card := authorityCard{ID: a.ID, Name: authorityName(a, t.language), Sites: p.siteNames(a.Sites),
		Here: slices.Contains(a.Sites, p.self().ID)}
	if !card.Here {
		card.Elsewhere = p.elsewhere(a.Sites, "/")
		return card, nil
	}
	_, total, err := p.cfg.Directory.People(ctx, a.ID, directory.Search{Limit: 1})
	card.People = total
	return card, err
}

// addSites shows every member, and warns of what an operator should know.
func (p *Portal) addSites(t *texts, v *overviewView) {
	lags := map[event.SiteID]eventlog.PeerLag{}
	for _, l := range p.cfg.Copies.Lag() {
		lags[l.Peer] = l
	}
	self := p.self()
	others, secondOperator, ahead := 0, false, false
	for _, m := range p.cfg.Federation.Members() {
		lag, known := lags[m.ID]
		s := p.siteView(t, m, lag, known, v.At)
		v.Sites = append(v.Sites, s)
		if len(m.Removing) > 0 {
			v.Warnings = append(v.Warnings, warningView{Tone: "warning", Title: t.t("overview.warn.removing", s.Name),
				Text: t.t("overview.warn.removingtext", strings.Join(m.Removing, ", "))})
		}
		if m.Self || m.Pending {
			continue
		}
		others++
		if v.At.Sub(lag.LastHeard) < silentAfter {
			v.Reachable++
			if m.Operator != self.Operator {
				secondOperator = secondOperator || lag.Ahead == 0
				ahead = ahead || lag.Ahead > 0
			}
		}
		if s.ClockKnown && lag.Offset.Abs() > clockTolerance {
			v.Warnings = append(v.Warnings, warningView{Tone: "warning", Title: t.t("overview.warn.clock", s.Name),
				Text: t.t("overview.warn.clocktext", s.ClockText)})
		}
	}
	switch {
	case others > 0 && v.Reachable == 0:
		v.Warnings = append(v.Warnings, warningView{Tone: "danger", Title: t.t("overview.warn.alone"), Text: t.t("overview.warn.alonetext")})
	case ahead && !secondOperator:
		v.Warnings = append(v.Warnings, warningView{Tone: "info", Title: t.t("overview.warn.unsecured"), Text: t.t("overview.warn.unsecuredtext")})
	}
}

func (p *Portal) siteView(t *texts, m Member, lag eventlog.PeerLag, known bool, now time.Time) siteView {
	kind := "provider"
	if m.Box {
		kind = "box"
	}
	s := siteView{Name: m.Name, Operator: m.Operator, Kind: t.t("site.kind." + kind), Peer: !m.Self && !m.Pending, Heard: lag.LastHeard,
		Behind: lag.Behind, Ahead: lag.Ahead, ClockKnown: known && !lag.LastHeard.IsZero()}
	if s.Name == "" {
		s.Name = m.ID.Short()
	}
	s.ClockText = clockText(t, lag.Offset)
	switch {
	case m.Self:
		s.Badge = badgeView{"success", "success", t.t("site.state.self")}
	case m.Pending:
		s.Badge = badgeView{"info", "info", t.t("site.state.pending")}
	case now.Sub(lag.LastHeard) >= silentAfter:
		s.Badge = badgeView{"danger", "danger", t.t("site.state.silent")}
	case lag.Behind > 0 || lag.Ahead > 0:
		s.Badge = badgeView{"info", "info", t.t("site.state.catching")}
	default:
		s.Badge = badgeView{"success", "success", t.t("site.state.current")}
	}
	return s
}

func clockText(t *texts, offset time.Duration) string {
	switch {
	case offset.Abs() < time.Second:
		return t.t("site.clock.right")
	case offset > 0:
		return t.t("site.clock.ahead", t.duration(offset))
	}
	return t.t("site.clock.behind", t.duration(offset))
}

// alarmRows lists the alarms of an authority with their counts; on the overview only the open ones.
func (p *Portal) alarmRows(ctx context.Context, t *texts, authority event.AuthorityID, openOnly bool) ([]alarmRow, error) {
	list, err := p.cfg.Alarms.List(ctx, authority, time.Time{}, maxAlarmRows)
	if err != nil {
		return nil, err
	}
	var out []alarmRow
	for _, a := range list {
		if openOnly && a.Ending != alarm.StillOpen {
			continue
		}
		b, err := p.cfg.Alarms.Board(ctx, authority, a.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, alarmRowOf(t, a, b.Total))
	}
	return out, nil
}

// maxAlarmRows bounds the lists of alarms; older ones are in the API.
const maxAlarmRows = 50

func alarmRowOf(t *texts, a alarm.Alarm, c alarm.Tally) alarmRow {
	text, _, _ := textFor(t.language, a.Raised)
	state := t.t("state." + stateKey(a.Ending))
	if a.Held != alarm.NotHeld {
		state += ", " + t.t("state.held")
	}
	return alarmRow{Authority: a.Authority, ID: string(a.ID), Mode: a.Raised.Mode, Text: text,
		TextLang: textLanguage(t.language, a.Raised), State: state,
		Closed: a.Ending != alarm.StillOpen, At: a.RaisedAt, Known: true, Called: c.Called, People: c.Recipients,
		Replies: c.Replied(), Bar: statusBar(c)}
}

func stateKey(e alarm.Ending) string {
	if e == alarm.StillOpen {
		return "open"
	}
	return string(e)
}

// statusBar shows the answers of everybody as stretches of one line.
func statusBar(c alarm.Tally) []part {
	return bar(c.Recipients, barPart{"coming", c.Coming}, barPart{"safe", c.Safe}, barPart{"cannot", c.Cannot},
		barPart{"silent", c.Silent}, barPart{"failed", c.Failed})
}
