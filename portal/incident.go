// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"strings"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/web"
)

// showIncident shows a guest the one alarm they were let in for: what is going on and how many have answered, without the name
// of anybody. Members have the board itself.
func (p *Portal) showIncident(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	who, _ := web.ActorOf(r.Context())
	id, ok := strings.CutPrefix(who.Incident, "alarm/")
	if !ok || !alarm.ID(id).Valid() {
		return errNoPage
	}
	b, err := p.cfg.Alarms.Board(r.Context(), a.ID, alarm.ID(id))
	if err != nil {
		return err
	}
	t := p.texts(r)
	row := alarmRowOf(t, b.Alarm, b.Total)
	_, other, otherLanguage := textFor(t.language, b.Alarm.Raised)
	v := incidentView{alarmRow: row, Now: p.cfg.Now(), OtherText: other, OtherLang: otherLanguage}
	for _, s := range statuses {
		v.Tiles = append(v.Tiles, tileView{Class: string(s), Title: t.t("status." + string(s)), Count: count(b.Total, s)})
	}
	f := p.frame(r, "incident", t.t("incident.title"))
	f.Authority, f.Mode = &a, row.Mode
	return p.render.page(w, http.StatusOK, f, "incident", v)
}
