// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/web"
)

// timeWarnings says that an alarm is held, with the way to call it now for whoever may, and that the clock by which it was raised was
// wrong.
func (p *Portal) timeWarnings(t *texts, a alarm.Alarm, mayCall bool) (out []warningView) {
	if a.Held != alarm.NotHeld {
		w := heldWarning(t, a)
		if mayCall {
			w.Link = linkView{Name: t.t("board.callnow"), URL: boardPath(a.Authority, string(a.ID)) + "/call"}
		}
		out = append(out, w)
	}
	if c := a.Clock; c != nil {
		ahead, way := time.Duration(c.AheadMillis)*time.Millisecond, "ahead"
		if ahead < 0 {
			way = "behind"
		}
		out = append(out, warningView{Tone: "warning", Title: t.t("board.clock."+way, p.siteName(c.Site), t.duration(ahead)),
			Text: t.t("board.clocktext", p.siteName(c.By))})
	}
	return out
}

func heldWarning(t *texts, a alarm.Alarm) warningView {
	return warningView{Tone: "danger", Title: t.n("board.held."+string(a.Held), a.Due), Text: t.t("board.held." + string(a.Held) + "text")}
}

// maxHeld bounds how many held alarms of an authority the overview tells one by one.
const maxHeld = 3

// heldWarnings leads to the alarms of an authority that this site does not call for by itself.
func (p *Portal) heldWarnings(ctx context.Context, t *texts, authority event.AuthorityID) (out []warningView, err error) {
	list, err := p.cfg.Alarms.List(ctx, authority, time.Time{}, maxAlarmRows)
	for _, a := range list {
		if a.Held == alarm.NotHeld || len(out) == maxHeld {
			continue
		}
		text, _, _ := textFor(t.language, a.Raised)
		w := heldWarning(t, a)
		w.Text = w.Title + ". " + w.Text
		w.Title = t.t("overview.warn.held", shorten(text, 80))
		w.Link = linkView{Name: t.t("overview.warn.heldlink"), URL: boardPath(authority, string(a.ID))}
		out = append(out, w)
	}
	return out, err
}

// showCall asks before a held alarm is called for, and says whom that reaches.
func (p *Portal) showCall(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	b, err := p.cfg.Alarms.Board(r.Context(), a.ID, alarm.ID(r.PathValue("alarm")))
	switch {
	case err != nil:
		return err
	case b.Alarm.Due == 0:
		return alarm.ErrNothingDue
	case b.Alarm.Held == alarm.NotHeld:
		return alarm.ErrCalling
	}
	t := p.texts(r)
	text, _, _ := textFor(t.language, b.Alarm.Raised)
	path := boardPath(a.ID, string(b.Alarm.ID))
	v := closeView{Title: t.t("call.title"), Text: text, TextLang: textLanguage(t.language, b.Alarm.Raised),
		Consequence: t.n("call.consequence", b.Alarm.Due), Go: t.t("call.go"), Path: path + "/call", Back: path}
	f := p.frame(r, "alarms", v.Title)
	f.Authority, f.Mode = &a, b.Alarm.Raised.Mode
	return p.render.page(w, http.StatusOK, f, "close", v)
}

// callNow has a held alarm called for.
func (p *Portal) callNow(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	who, _ := web.ActorOf(r.Context())
	id := alarm.ID(r.PathValue("alarm"))
	written, err := p.cfg.Admin.Desk.OrderCalling(r.Context(), who.Principal, who.Verdict, a.ID, id)
	if err != nil {
		return err
	}
	receipt := web.ReceiptOf(written)
	if err := p.settle(r.Context(), receipt); err != nil {
		return err
	}
	http.Redirect(w, r, withReceipt(boardPath(a.ID, string(id)), "called", receipt.String()), http.StatusSeeOther)
	return nil
}
