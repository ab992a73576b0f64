// SPDX-License-Identifier: EUPL-1.2

package privacy

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/session"
)

// busy lets both people do everything that leaves something stored, and returns the secrets that came of it.
func (r *rig) busy() (secrets []string) {
	r.t.Helper()
	anna, bert := person(r.anna), person(r.bert)
	for _, p := range []directory.Person{r.anna, r.bert} {
		for _, role := range []access.Role{access.Administrator, access.AlarmOfficer} {
			_, _, err := r.access.Grant(r.ctx, console, nordtal, access.GrantDraft{Role: role, Person: p.ID})
			ok(r.t, err)
		}
	}
	_, _, err := r.access.Grant(r.ctx, bert, nordtal, access.GrantDraft{Role: access.JournalKeeper, Function: r.anna.Functions[0]})
	ok(r.t, err)
	a, _, err := r.access.Ask(r.ctx, bert, nordtal, access.DeedErasePerson, json.RawMessage(`{"person":"`+string(r.anna.ID)+`"}`), 1, time.Hour)
	ok(r.t, err)
	_, err = r.access.Refuse(r.ctx, anna, nordtal, a.ID)
	ok(r.t, err)
	_, _, err = r.access.Ask(r.ctx, bert, nordtal, access.DeedErasePerson, json.RawMessage(`{"person":"`+string(r.bert.ID)+`"}`), 1, time.Hour)
	ok(r.t, err)
	for _, p := range []directory.Person{r.anna, r.bert} {
		_, secret, _, err := r.programs.Make(r.ctx, console, nordtal, program.Draft{Name: "Kalender von " + p.GivenName, Kind: program.CardDAV, Owner: p.ID})
		ok(r.t, err)
		secrets = append(secrets, secret)
	}
	alarmID := r.alarmed()
	for _, p := range []access.Principal{anna, bert} {
		_, code, _, err := r.guests.Invite(r.ctx, p, nordtal, guest.Draft{Name: "Gast Gutedel", Incident: "alarm/" + alarmID})
		ok(r.t, err)
		secrets = append(secrets, code)
		r.append(event.Register, event.Draft{Subject: session.SubjectOf(p.ID), Kind: session.KindEnded, Actor: p.Actor(),
			Data: session.Ended{Session: strings.Repeat("ab", 16), Expires: morning.Add(time.Hour)}})
	}
	secrets = append(secrets, strings.Repeat("ab", 16))
	path := "/api/v1/authorities/lk-nordtal/people/"
	r.record(
		audit.Entry{Deed: "signin", Actor: anna.Actor(), Way: "passkey", From: "192.0.2.1"},
		audit.Entry{Deed: "signin", Actor: bert.Actor(), Way: "code", From: "192.0.2.2"},
		audit.Entry{Deed: "person.export", Actor: bert.Actor(), Way: "oidc", From: "192.0.2.2", Object: path + string(r.anna.ID) + "/export"},
		audit.Entry{Deed: "person.export", Actor: anna.Actor(), Way: "passkey", From: "192.0.2.1", Object: path + string(r.bert.ID) + "/export"},
		audit.Entry{Deed: "account.manage", Actor: "operator", Way: "console", Object: "account/" + string(r.anna.ID)})
	return secrets
}

// alarmed raises an alarm by Bert to both, which a gateway took for both and to which both replied.
func (r *rig) alarmed() string {
	r.t.Helper()
	x, receipt, err := r.alarms.Raise(r.ctx, nordtal, alarm.Draft{TextDE: "Ausfall im Rechenzentrum", Mode: event.Test, Audience: directory.Audience{Everyone: true}, Actor: person(r.bert).Actor()})
	ok(r.t, err, r.model.Wait(r.ctx, receipt.Log, receipt.Last))
	for i, p := range []directory.Person{r.anna, r.bert} {
		subject := event.Subject("alarm/" + string(x.ID) + "/person/" + string(p.ID))
		r.append(event.Operations, event.Draft{Subject: subject, Kind: alarm.KindAccepted, Mode: event.Test, Data: alarm.Accepted{Channel: directory.SMS, Site: r.service.cfg.Self}})
		r.append(event.Operations, event.Draft{Subject: subject, Kind: alarm.KindReplied, Mode: event.Test, Data: alarm.Replied{Kind: alarm.Coming, ETAMinutes: 20 + 27*i, Via: r.service.cfg.Self}})
	}
	receipt, err = r.alarms.Cancel(r.ctx, nordtal, x.ID, alarm.Words{Actor: person(r.anna).Actor()})
	ok(r.t, err, r.model.Wait(r.ctx, receipt.Log, receipt.Last))
	return string(x.ID)
}

func (r *rig) export(id directory.PersonID) (Document, string) {
	r.t.Helper()
	d, err := r.service.Export(r.ctx, nordtal, id)
	ok(r.t, err)
	raw, err := json.Marshal(d)
	ok(r.t, err)
	return d, string(raw)
}

func TestExportHasEverythingAboutThePerson(t *testing.T) {
	r := newRig(t)
	r.busy()
	r.erased = []Erasure{{Person: r.anna.ID, At: morning, By: person(r.bert).Actor()}, {Person: r.bert.ID}}
	d, raw := r.export(r.anna.ID)
	if x := d.Directory; x.FamilyName != "Quittenbaum" || x.Channels[0].Address != "+491713920001" || x.Units[0].Name != "Amt 32" || x.Functions[0].Name != "S1" {
		t.Errorf("record %+v", x)
	}
	if x := d.Account; x.Passkeys[0].Label != "Annas Telefon" || x.CodesLeft != 9 || !x.TOTP || len(d.Warnings) != 1 || d.Warnings[0].What != "code_twice" {
		t.Errorf("account %+v, warnings %+v", x, d.Warnings)
	}
	if len(d.Roles) != 3 {
		t.Errorf("roles %+v", d.Roles)
	}
	for _, x := range d.Roles {
		if want := map[bool]string{true: Another, false: "operator"}[x.Function != ""]; x.GrantedBy != want {
			t.Errorf("role %+v, want it granted by %s", x, want)
		}
	}
	if len(d.Approvals) != 1 || !slices.Equal(d.Approvals[0].Parts, []string{"decided", "about"}) || d.Approvals[0].AskedBy != Another || d.Approvals[0].State != "refused" {
		t.Errorf("approvals %+v", d.Approvals)
	}
	if len(d.Programs) != 1 || d.Programs[0].Name != "Kalender von Anna" || len(d.Guests) != 1 || len(d.Sessions) != 1 {
		t.Errorf("programs %+v, guests %+v, sessions %+v", d.Programs, d.Guests, d.Sessions)
	}
	if len(d.Alarms) != 1 || d.Alarms[0].Reply.ETAMinutes != 20 || d.Alarms[0].Receipts[0].Accepted != 1 || d.Alarms[0].TextDE == "" || len(d.Alarms[0].Channels) != 2 {
		t.Errorf("alarms %s", raw)
	}
	if len(d.Raised) != 1 || d.Raised[0].Raised || !d.Raised[0].Closed {
		t.Errorf("raised %+v", d.Raised)
	}
	if d.Erasure == nil || d.Erasure.By != Another {
		t.Errorf("erasure %+v", d.Erasure)
	}
	if strings.Contains(raw, "null") {
		t.Errorf("a list that is not there: %s", raw[strings.Index(raw, `"directory":{`):])
	}
}

func TestExportHasTheAuditByAndAboutThePerson(t *testing.T) {
	r := newRig(t)
	r.busy()
	d, _ := r.export(r.anna.ID)
	var got []string
	for _, l := range slices.Backward(d.Audit) {
		got = append(got, strings.TrimSpace(strings.Join([]string{l.Deed, l.By, l.Way, l.From, l.Object}, " ")))
	}
	slices.Sort(got)
	want := []string{
		"account.manage operator   account/" + string(r.anna.ID),
		"person.export  passkey 192.0.2.1 /api/v1/authorities/lk-nordtal/people/…/export",
		"person.export another person   /api/v1/authorities/lk-nordtal/people/" + string(r.anna.ID) + "/export",
		"signin  passkey 192.0.2.1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestExportHasNoOtherPersonAndNoSecret(t *testing.T) {
	r := newRig(t)
	secrets := r.busy()
	r.erased = []Erasure{{Person: r.anna.ID, By: person(r.bert).Actor()}}
	_, raw := r.export(r.anna.ID)
	for _, other := range append(secrets, string(r.bert.ID), "Zwetschge", "Bert", "3920002", "bert@", "192.0.2.2", "Gutedel", "oidc", `"etaMinutes":47`) {
		if strings.Contains(raw, other) {
			t.Errorf("%q is in what Anna gets", other)
		}
	}
}

func TestExportOfSomebodyWhoHasLeft(t *testing.T) {
	r := newRig(t)
	r.busy()
	t.Run("ErrPersonUnknown", func(t *testing.T) {
		for _, id := range []directory.PersonID{"ffffffffffffffff", "", "x", "../etc"} {
			if _, err := r.service.Export(r.ctx, nordtal, id); !errors.Is(err, directory.ErrPersonUnknown) {
				t.Errorf("%q: %v", id, err)
			}
		}
		if _, err := r.service.Export(r.ctx, "sv-anderswo", r.anna.ID); !errors.Is(err, directory.ErrPersonUnknown) {
			t.Errorf("in another authority: %v", err)
		}
	})
	_, err := r.people.Import(r.ctx, nordtal, directory.ImportOptions{Prune: true}, strings.NewReader(strings.Replace(register, "1;Quittenbaum", "3;Neu", 1)))
	ok(t, err)
	d, _ := r.export(r.anna.ID)
	if d.Directory.FamilyName != "" || len(d.Alarms) != 1 || len(d.Audit) != 4 {
		t.Errorf("removed: %+v", d)
	}
	ok(t, r.people.Erase(r.ctx, nordtal, r.bert.ID))
	if d, raw := r.export(r.bert.ID); d.Directory.Readable != directory.Erased || len(d.Alarms) != 1 || strings.Contains(raw, "Zwetschge") {
		t.Errorf("erased: %s", raw)
	}
}

// TestEveryFieldIsExplained compares the notes with the types, both ways.
func TestEveryFieldIsExplained(t *testing.T) {
	var fields []string
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() || of == reflect.TypeFor[Note]() {
			return
		}
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			fields = append(fields, path+name)
			walk(path+name+".", of.Field(i).Type)
		}
	}
	walk("", reflect.TypeFor[Document]())
	var explained []string
	for _, n := range Notes() {
		explained = append(explained, n.Field)
		if n.DE == "" || n.EN == "" || n.DE == n.EN && !strings.Contains(n.Field, "mode") {
			t.Errorf("%s is not explained in two languages", n.Field)
		}
	}
	if !slices.Equal(fields, explained) {
		for _, f := range fields {
			if !slices.Contains(explained, f) {
				t.Errorf("%s is not explained", f)
			}
		}
		t.Errorf("fields and notes differ, or stand in another order:\n%v\n%v", fields, explained)
	}
}

func TestOwnOnly(t *testing.T) {
	const own, other = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	for object, want := range map[string]string{
		"person/" + own:                        "person/" + own,
		"person/" + other:                      "person/…",
		"/a/x/accounts/" + other + "/sessions": "/a/x/accounts/…/sessions",
		"alarm/" + other:                       "alarm/" + other,
		"alarm/" + other + "/person/" + other:  "alarm/" + other + "/person/…",
		"auditor person/" + other + " unit/" + other + " person/" + own: "auditor person/… unit/" + other + " person/" + own,
		"/a/{authority}/people": "/a/{authority}/people",
		"":                      "",
	} {
		if got := OwnOnly(object, own); got != want {
			t.Errorf("%q becomes %q, want %q", object, got, want)
		}
	}
}
