// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"net/http"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

func (d AlarmDraft) draft(actor string, v access.Verdict) alarm.Draft {
	return alarm.Draft{TextDE: d.TextDE, TextEN: d.TextEN, Mode: d.Mode, Audience: d.Audience, Channels: d.Channels, Ranking: d.Ranking,
		TakeoverAfter: time.Duration(d.TakeoverMillis) * time.Millisecond, LinkValid: time.Duration(d.LinkHours) * time.Hour,
		Actor: actor, Grant: v.Grant}
}

func (a *API) previewAlarm(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var d AlarmDraft
	if err := read(r, &d); err != nil {
		return err
	}
	web.Unchanged(r.Context())
	p, err := a.cfg.Alarms.Preview(r.Context(), id, d.Audience, d.Channels...)
	if err != nil {
		return err
	}
	return ok(w, Preview{p, a.calls(id, d.Channels)})
}

// raise raises an alarm; with an Idempotency-Key, once however often it is sent.
func (a *API) raise(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var d AlarmDraft
	if err := read(r, &d); err != nil {
		return err
	}
	done := false
	do := func() (string, error) {
		done = true
		o, err := a.cfg.Deeds.Raise(r.Context(), by(r), verdict(r), id, d.draft(actor(r), verdict(r)))
		if err != nil {
			return "", err
		}
		what := string(o.Alarm.ID)
		web.About(r.Context(), "alarm/"+what)
		if o.Waiting {
			what = askedMark + o.Approval.ID // and answerAsked tells the audit
		}
		return what + " " + web.ReceiptOf(o.Receipt).String(), nil
	}
	var result string
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		result, err = a.cfg.Once.Do(r.Context(), "api "+actor(r)+" "+string(id), key, do)
	} else {
		result, err = do()
	}
	if err != nil {
		return err
	}
	if !done { // it was sent again, and is answered as the first time
		web.Unchanged(r.Context())
	}
	return a.answerRaised(w, r, id, result)
}

// askedMark stands before the id of an approval where an alarm's id would stand.
const askedMark = "asked:"

func (a *API) answerRaised(w http.ResponseWriter, r *http.Request, authority event.AuthorityID, result string) error {
	id, text, _ := strings.Cut(result, " ")
	receipt, err := web.ParseReceipt(text)
	if err != nil {
		return err
	}
	if approval, asked := strings.CutPrefix(id, askedMark); asked {
		p, err := a.cfg.Access.Approval(r.Context(), authority, approval)
		if err != nil {
			return err
		}
		return a.answerAsked(w, r, deed.Outcome{Waiting: true, Approval: p, Receipt: eventlog.Receipt{Log: receipt.Log, Last: receipt.At}})
	}
	out := RaisedAlarm{ID: alarm.ID(id)}
	if out.Written, err = a.settle(r.Context(), receipt); err != nil {
		return err
	}
	known, err := a.cfg.Alarms.Alarm(r.Context(), authority, out.ID)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	out.Calls = a.calls(authority, known.Raised.Channels)
	out.People, out.WithoutChannel = known.Raised.Recipients, known.Raised.WithoutChannel
	return created(w, out)
}

func (a *API) alarms(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", 50, alarm.MaxList)
	if err != nil {
		return err
	}
	before, err := moment(r, "before")
	if err != nil {
		return err
	}
	list, err := a.cfg.Alarms.List(r.Context(), id, before, limit)
	if err != nil {
		return err
	}
	return ok(w, orEmpty(list))
}

func (a *API) board(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	b, err := a.cfg.Alarms.Board(r.Context(), id, alarm.ID(r.PathValue("alarm")))
	if err != nil {
		return err
	}
	b.Channels, b.Units, b.Callers = orEmpty(b.Channels), orEmpty(b.Units), orEmpty(b.Callers)
	return ok(w, b)
}

func (a *API) alarmPeople(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", 100, alarm.MaxList)
	if err != nil {
		return err
	}
	status := alarm.Status(r.URL.Query().Get("status"))
	if !status.Valid() {
		return errQuery.Because("coming, cannot, safe, silent, without, pending or failed is wanted").At(0, "status")
	}
	list, err := a.cfg.Alarms.People(r.Context(), id, alarm.ID(r.PathValue("alarm")), status, directory.PersonID(r.URL.Query().Get("after")), limit)
	if err != nil {
		return err
	}
	return ok(w, orEmpty(list))
}

func (a *API) cancel(w http.ResponseWriter, r *http.Request) error {
	return a.closeAlarm(w, r, alarm.WasCancelled)
}

func (a *API) allClear(w http.ResponseWriter, r *http.Request) error {
	return a.closeAlarm(w, r, alarm.WasCleared)
}

func (a *API) closeAlarm(w http.ResponseWriter, r *http.Request, how alarm.Ending) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	var words Words
	if err := read(r, &words); err != nil {
		return err
	}
	command := a.cfg.Alarms.AllClear
	if how == alarm.WasCancelled {
		command = a.cfg.Alarms.Cancel
	}
	if err := a.cfg.Deeds.WithinAlarm(r.Context(), id, verdict(r), alarm.ID(r.PathValue("alarm"))); err != nil {
		return err
	}
	return a.answerWritten(w, r)(command(r.Context(), id, alarm.ID(r.PathValue("alarm")),
		alarm.Words{TextDE: words.TextDE, TextEN: words.TextEN, Actor: actor(r), Grant: verdict(r).Grant}))
}

// callNow has a held alarm called for.
func (a *API) callNow(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	return a.answerWritten(w, r)(a.cfg.Deeds.OrderCalling(r.Context(), by(r), verdict(r), id, alarm.ID(r.PathValue("alarm"))))
}
