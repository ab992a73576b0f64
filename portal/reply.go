// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

// etaChoices are the minutes that the reply page offers; whoever needs longer says "cannot" or calls.
var etaChoices = []int{5, 10, 15, 20, 30, 45, 60, 90, 120, 180}

const usualETA = 20

func (p *Portal) showReply(w http.ResponseWriter, r *http.Request) error {
	v, err := p.replyView(r)
	if err != nil {
		return p.badLink(w, r, err)
	}
	return p.render.bare(w, http.StatusOK, web.Language(v.Lang), "reply", v)
}

// badLink counts tokens that are not ours, so that nobody tries many. A known token is never slowed down: hundreds of
// colleagues may sit behind one address.
func (p *Portal) badLink(w http.ResponseWriter, r *http.Request, err error) error {
	if k := fault.KindOf(err); k == fault.NotFound || k == fault.Forbidden {
		if tooOften := p.badLinks.Allow(r); tooOften != nil {
			return tooOften
		}
	}
	return err
}

// replyView shows the alarm in the person's own language, unless they have chosen one on the page.
func (p *Portal) replyView(r *http.Request) (replyView, error) {
	rv, err := p.cfg.Alarms.ReplyView(r.Context(), r.PathValue("token"))
	if err != nil {
		return replyView{}, err
	}
	l := web.Language(rv.Language)
	if chosen := chosenLanguage(r); chosen.Valid() || !l.Valid() {
		l = web.LanguageOf(r.Context())
	}
	t := p.render.texts[l]
	v := replyView{Lang: string(l), Minutes: etaChoices, Chosen: usualETA, Known: rv.Known, AuthorityName: string(rv.Link.Authority)}
	for _, a := range p.cfg.Federation.Authorities() {
		if a.ID == rv.Link.Authority {
			v.AuthorityName = authorityName(a, l)
			v.Elsewhere = p.elsewhere(a.Sites, "/r/"+url.PathEscape(r.PathValue("token")))
		}
	}
	if rv.Known {
		v.Mode, v.At = rv.Alarm.Raised.Mode, rv.Alarm.RaisedAt
		v.Text, _, _ = textFor(l, rv.Alarm.Raised)
		v.TextLang = textLanguage(l, rv.Alarm.Raised)
		if v.Closed = rv.Alarm.Ending != alarm.StillOpen; v.Closed {
			v.ClosedWord = t.t("reply.closed." + string(rv.Alarm.Ending))
		}
	}
	if rv.Reply != nil {
		v.Done = p.done(r, t, *rv.Reply)
		if slices.Contains(etaChoices, rv.Reply.ETAMinutes) {
			v.Chosen = rv.Reply.ETAMinutes
		}
	}
	return v, nil
}

// chosenLanguage is what the person has chosen by hand; what their browser asks for counts less than the directory.
func chosenLanguage(r *http.Request) web.Language {
	if l := web.Language(r.URL.Query().Get("lang")); l.Valid() {
		return l
	}
	return web.ChosenBefore(r)
}

// textLanguage tells in which language the text is, if it differs from the page's.
func textLanguage(l web.Language, a alarm.Raised) string {
	switch {
	case l == web.English && a.TextEN == "":
		return "de"
	case l == web.German && a.TextDE == "":
		return "en"
	}
	return ""
}

// done tells what was answered. How safe that is only the receipt tells, and the page has it right after the answer; who
// opens the link again later is told that the reply is recorded, and no more.
func (p *Portal) done(r *http.Request, t *texts, reply alarm.Reply) *doneView {
	d := &doneView{What: t.t("reply.said." + string(reply.Kind)), Again: r.URL.RequestURI()}
	if reply.Kind == alarm.Coming {
		d.What = t.n("reply.said.coming", reply.ETAMinutes)
		if reply.ETAMinutes == 0 {
			d.What = t.t("reply.coming") + "."
		}
	}
	if receipt, err := web.ParseReceipt(r.URL.Query().Get("receipt")); err == nil {
		d.Receipt = true
		d.Operators = len(p.cfg.Copies.Secured(receipt.Log, receipt.At))
		d.Secured = d.Operators >= 2
	}
	return d
}

func (p *Portal) takeReply(w http.ResponseWriter, r *http.Request) error {
	if err := parseForm(r); err != nil {
		return err
	}
	kind := alarm.ReplyKind(r.PostForm.Get("reply"))
	eta := 0
	if kind == alarm.Coming {
		eta, _ = strconv.Atoi(r.PostForm.Get("minutes")) // 0, "did not say", where it is missing
	}
	token := r.PathValue("token")
	_, written, err := p.cfg.Alarms.Reply(r.Context(), token, kind, eta)
	if err != nil {
		return p.badLink(w, r, err)
	}
	receipt := web.ReceiptOf(written)
	if err := p.settle(r.Context(), receipt); err != nil {
		return err
	}
	query := url.Values{"receipt": {receipt.String()}}
	http.Redirect(w, r, "/r/"+url.PathEscape(token)+"?"+query.Encode(), http.StatusSeeOther)
	return nil
}
