// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"net/http"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

func (d AlarmDraft) draft(actor string) alarm.Draft {
	return alarm.Draft{TextDE: d.TextDE, TextEN: d.TextEN, Mode: d.Mode, Audience: d.Audience, Channels: d.Channels, Ranking: d.Ranking,
		TakeoverAfter: time.Duration(d.TakeoverMillis) * time.Millisecond, LinkValid: time.Duration(d.LinkHours) * time.Hour,
		Actor: actor}
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
	p, err := a.cfg.Alarms.Preview(r.Context(), id, d.Audience, d.Channels...)
	if err != nil {
		return err
	}
	return ok(w, p)
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
	do := func() (string, error) {
		raised, receipt, err := a.cfg.Alarms.Raise(r.Context(), id, d.draft(actor(r)))
		if err != nil {
			return "", err
		}
		return string(raised.ID) + " " + web.ReceiptOf(receipt).String(), nil
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
	return a.answerRaised(w, r, id, result)
}

func (a *API) answerRaised(w http.ResponseWriter, r *http.Request, authority event.AuthorityID, result string) error {
	id, text, _ := strings.Cut(result, " ")
	receipt, err := web.ParseReceipt(text)
	if err != nil {
		return err
	}
	out := RaisedAlarm{ID: alarm.ID(id)}
	if out.Written, err = a.settle(r.Context(), receipt); err != nil {
		return err
	}
	known, err := a.cfg.Alarms.Alarm(r.Context(), authority, out.ID)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
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
	var before time.Time
	if text := r.URL.Query().Get("before"); text != "" {
		if before, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return errQuery.Because("a time such as 2026-11-22T03:14:15Z is wanted").At(0, "before")
		}
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
	receipt, err := command(r.Context(), id, alarm.ID(r.PathValue("alarm")), alarm.Words{TextDE: words.TextDE, TextEN: words.TextEN, Actor: actor(r)})
	if err != nil {
		return err
	}
	written, err := a.settle(r.Context(), web.ReceiptOf(receipt))
	if err != nil {
		return err
	}
	return ok(w, written)
}
