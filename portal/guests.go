// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"html/template"
	"net/http"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/web"
)

var guestHours = []int{4, 12, 24, 72, 168}

type guestsView struct {
	deskView
	Key    string
	Alarms []alarmChoice
	Hours  []optionView
	Max    int
	Here   []guestRow
	Gone   []guestRow
}

type alarmChoice struct {
	Subject string
	Text    string
	Lang    string
	Mode    event.Mode
	Chosen  bool
}

type guestRow struct {
	Path, Key string
	Name      string // "" if it cannot be read
	Badge     badgeView
	Alarm     string
	AlarmPath string
	Until     time.Time
	InvitedBy actorView
	EnteredAt time.Time
	Sites     string
	MayReturn bool
	MayLeave  bool
}

// secretView shows a secret once.
type secretView struct {
	deskView
	Title, Text, Name string
	Code              string
	URL               string
	URLs              []string // other addresses at which it is good
	QR                template.HTML
	Until             time.Time
	Back              string
	BackText          string
}

func guestBadge(t *texts, s guest.State) badgeView {
	word := t.t("guests.state." + string(s))
	switch s {
	case guest.Waiting:
		return badgeView{"info", "mail", word}
	case guest.Inside:
		return badgeView{"success", "success", word}
	case guest.Twice:
		return badgeView{"danger", "danger", word}
	}
	return badgeView{"info", "info", word}
}

func (p *Portal) showGuests(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	v := guestsView{deskView: o.view(), Hours: numberOptions(o.t, "guests.hours", guestHours, 24), Max: guest.MaxName}
	if v.Key, err = p.cfg.Once.NewKey(); err != nil {
		return err
	}
	texts := map[string]string{}
	if v.Alarms, err = p.openAlarms(r.Context(), o, texts); err != nil {
		return err
	}
	list, err := p.cfg.Admin.Guests.Guests(r.Context(), o.ID)
	if err != nil {
		return err
	}
	names := p.names(o)
	for _, g := range list {
		row := guestRow{Path: o.path("guests", string(g.ID)), Key: v.Key, Badge: guestBadge(o.t, g.State), Until: g.Until, EnteredAt: g.EnteredAt,
			Sites: strings.Join(p.siteNames(g.Sites), ", "), MayReturn: g.State != guest.Waiting, MayLeave: g.State != guest.Away && g.State != guest.Expired}
		if g.Readable == directory.Readable {
			row.Name = g.Name
		}
		if row.InvitedBy, err = names.actor(r.Context(), g.InvitedBy); err != nil {
			return err
		}
		row.Alarm = texts[g.Incident]
		if id, ok := strings.CutPrefix(g.Incident, "alarm/"); ok {
			row.AlarmPath = o.path("alarms", id)
		}
		if row.MayLeave {
			v.Here = append(v.Here, row)
		} else {
			v.Gone = append(v.Gone, row)
		}
	}
	return p.adminPage(w, r, o, http.StatusOK, "guests", o.t.t("guests.title"), v)
}

// maxAlarmChoices bounds the alarms that a guest can be invited for.
const maxAlarmChoices = 50

// openAlarms returns the alarms that a guest can be invited for, and the beginnings of all their texts by subject.
func (p *Portal) openAlarms(ctx context.Context, o office, words map[string]string) ([]alarmChoice, error) {
	list, err := p.cfg.Alarms.List(ctx, o.ID, time.Time{}, maxAlarmChoices)
	if err != nil {
		return nil, err
	}
	var out []alarmChoice
	for _, a := range list {
		c := alarmChoice{Subject: "alarm/" + string(a.ID), Mode: a.Raised.Mode}
		text, _, _ := textFor(o.t.language, a.Raised)
		c.Text, c.Lang = shorten(text, 80), textLanguage(o.t.language, a.Raised)
		words[c.Subject] = c.Text
		if a.Ending == alarm.StillOpen {
			out = append(out, c)
		}
	}
	if len(out) == 1 {
		out[0].Chosen = true
	}
	return out, nil
}

// inviteGuest answers with the code at once: it is shown on this page and kept nowhere.
func (p *Portal) inviteGuest(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	d := guest.Draft{Name: strings.TrimSpace(r.PostForm.Get("name")), Incident: r.PostForm.Get("incident"), Until: p.guestEnd(r)}
	open, err := p.openAlarms(r.Context(), o, map[string]string{})
	if err != nil {
		return err
	}
	found := false
	for _, a := range open {
		found = found || a.Subject == d.Incident
	}
	if !found {
		return guest.ErrIncident
	}
	var g guest.Guest
	var code string
	var receipt eventlog.Receipt
	err = p.makeOnce(r, func() (err error) {
		g, code, receipt, err = p.cfg.Admin.Guests.Invite(r.Context(), o.actor.Principal, o.ID, d)
		return err
	})
	if err != nil {
		return err
	}
	web.About(r.Context(), "guest/"+string(g.ID)[:min(16, len(g.ID))], g.Incident) // longer words the audit takes for secrets
	return p.showCode(w, r, o, g, code, receipt)
}

func (p *Portal) guestEnd(r *http.Request) time.Time {
	return p.cfg.Now().Add(time.Duration(offeredNumber(r.PostForm.Get("hours"), 24, guestHours)) * time.Hour)
}

// showCode shows a guest's code, this once.
func (p *Portal) showCode(w http.ResponseWriter, r *http.Request, o office, g guest.Guest, code string, receipt eventlog.Receipt) error {
	if err := p.settle(r.Context(), web.ReceiptOf(receipt)); err != nil {
		return err
	}
	v := secretView{deskView: o.view(), Title: o.t.t("guestcode.title"), Text: o.t.t("guestcode.text"), Name: g.Name, Code: code, Until: g.Until,
		URL: p.portalURL(o, "/signin/guest"), Back: o.path("guests"), BackText: o.t.t("guests.title")}
	for _, u := range p.cfg.Admin.PortalURLs(o.ID) {
		if at := strings.TrimSuffix(u, "/") + "/signin/guest"; at != v.URL {
			v.URLs = append(v.URLs, at)
		}
	}
	// What follows the # stays in the guest's browser: it is in no log of any proxy.
	svg, err := p.cfg.Admin.QR(v.URL+"#"+code, o.t.t("guestcode.qr"))
	if err != nil {
		return err
	}
	v.QR = template.HTML(svg) // made by sheet.QRTitled, which escapes its title and writes the rest itself
	return p.adminPage(w, r, o, http.StatusOK, "secret", v.Title, v)
}

func (p *Portal) renewGuest(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	var g guest.Guest
	var code string
	var receipt eventlog.Receipt
	err = p.makeOnce(r, func() (err error) {
		g, code, receipt, err = p.cfg.Admin.Guests.Renew(r.Context(), o.actor.Principal, o.ID, guest.ID(r.PathValue("guest")), p.guestEnd(r))
		return err
	})
	if err != nil {
		return err
	}
	return p.showCode(w, r, o, g, code, receipt)
}

func (p *Portal) sendGuestAway(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	receipt, err := p.cfg.Admin.Guests.SendAway(r.Context(), o.actor.Principal, o.ID, guest.ID(r.PathValue("guest")))
	if err != nil {
		return err
	}
	return p.settled(w, r, o.path("guests"), "away", receipt)
}
