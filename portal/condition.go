// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"codeberg.org/holdfast/holdfast/health"
)

// How many conditions the overview names, open ones and those that are over; the others are counted.
const (
	openShown   = 5
	mendedShown = 2
)

// conditionWarnings tells operators what is wrong with this site's stores, or was within the last day.
func (p *Portal) conditionWarnings(t *texts) (warnings []warningView) {
	if p.cfg.Health == nil {
		return nil
	}
	open, mended, more := 0, 0, 0
	for _, c := range p.cfg.Health() {
		switch {
		case c.Open() && open < openShown:
			open++
		case !c.Open() && mended < mendedShown:
			mended++
		default:
			more++
			continue
		}
		warnings = append(warnings, conditionWarning(t, c))
	}
	if more > 0 {
		warnings = append(warnings, warningView{Tone: "info", Title: t.n("condition.more", more), Text: t.t("condition.moretext")})
	}
	return warnings
}

// conditionWarning leaves out the detail, which may name an authority that is not the reader's.
func conditionWarning(t *texts, c health.Condition) warningView {
	v := warningView{Tone: "warning", Title: t.t("condition.title."+string(c.Cause), t.t("condition.store."+string(c.Store))),
		Text: t.t("condition.text." + string(c.Cause))}
	switch {
	case !c.Open():
		v.Tone, v.Text = "info", t.t("condition.mended", t.dateTime(c.Mended))
	case c.Blocks:
		v.Tone = "danger"
	}
	return v
}
