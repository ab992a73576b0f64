// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/web"
)

const desk = "/a/lk-nordtal/"

// adminPages are the pages of administration, by who looks at them and what they must say in German.
var adminPages = map[string]struct {
	who  access.Principal
	path string
	says []string
}{
	"admin":              {administrator, "admin", []string{"Ein Code wurde zweimal benutzt", "Konten", "4 Anfragen warten"}},
	"admin-nobody":       {nobody, "admin", []string{"Für Sie ist hier nichts zu tun"}},
	"admin-auditor":      {auditor, "admin", []string{"Protokoll", "Freigaben"}},
	"accounts":           {administrator, "accounts", []string{"Öztürk-Groß", "eingerichtet: 1", "ohne Konto: 2", "lage.nordtal.example, zweite.example", "21.11.2026"}},
	"accounts-auditor":   {auditor, "accounts?state=dormant", []string{"Ohne Weg", "über ein Jahr"}},
	"accounts-search":    {administrator, "accounts?q=m%C3%BCller&sent=3", []string{"Mia Müller", "3 Personen sind benachrichtigt."}},
	"account":            {administrator, "accounts/1111111111111111", []string{"Diensthandy", "ein Passkey unter dritte.example", "9 Codes übrig", "Ungültig", "Überall abmelden"}},
	"account-erased":     {administrator, "accounts/4444444444444444", []string{"Gelöschte Person", "Kein Passkey."}},
	"invite":             {administrator, "accounts/invite?person=2222222222222222&person=3333333333333333", []string{"Mia Müller", "1 Person hat keine Adresse"}},
	"invite-all":         {administrator, "accounts/invite?whom=unit&unit=a2", []string{"Person wird eingeladen"}},
	"roles":              {administrator, "roles", []string{"Leiter Stab", "Mia Müller", "Amt 32", "Entzogen von", "Alarme auslösen"}},
	"grant":              {administrator, "roles/new?role=auditor&q=m%C3%BCller&unit=a2&until=2026-12-31", []string{`value="auditor" checked`, "Mia Müller", `value="2026-12-31"`, `value="a2" selected`}},
	"grant-person":       {administrator, "roles/new?holder=person/1111111111111111", []string{`value="person/1111111111111111" checked`}},
	"withdraw":           {administrator, "roles/aa00000000000001/withdraw", []string{"Das ist Ihre eigene Rolle.", "Ja, entziehen"}},
	"under-withdrawn":    {administrator, "roles/withdrawn", []string{"Revision", "Mia Müller", "Alarm auslösen"}},
	"approvals":          {officer, "approvals", []string{"Evakuierung des Kreishauses", "1.234 Personen", "Dr. Jürgen Öztürk-Groß", "Dasselbe wurde noch einmal beantragt"}},
	"approval-alarm":     {officer, "approvals/" + askedAlarm, []string{"Evakuierung des Kreishauses", "Evacuate the district house", "Alle Personen der Behörde", "Kreishaus", "freigegeben", "Freigeben und Alarm auslösen"}},
	"approval-mine":      {administrator, "approvals/" + askedGrant, []string{"Das haben Sie selbst beantragt", "Anfrage zurücknehmen", "Ohne Weg", "Amt 32"}},
	"approval-erasure":   {auditor, "approvals/" + askedErasure, []string{"Mia Müller", "Sie können nur zusehen"}},
	"approval-done":      {administrator, "approvals/" + askedPolicy, []string{"Zu den Regeln", "ausgeschaltet", "längstens 12 Stunden"}},
	"approval-newer":     {administrator, "approvals/" + askedNewer, []string{"kann nicht lesen"}},
	"guests":             {officer, "guests", []string{"Maria Schulz, THW", "Serverausfall im Kreishaus", "Code zweimal benutzt", "Neuer Code", "Name nicht mehr lesbar"}},
	"programs":           {administrator, "programs", []string{"Fachverfahren Brandschutz", "Alarme sehen, Alarme auslösen", "Mia Müller"}},
	"policy":             {administrator, "policy", []string{`value="500"`, `value="person.erase" checked`, `value="365"`, "Bei Verdacht ausschalten", `value="12"`}},
	"policy-auditor":     {auditor, "policy", []string{"ab 500 Personen", "nicht ändern"}},
	"audit":              {auditor, "audit", []string{"192.0.2.7", "512 Mal", "Anmeldung", "holdfast audit verify", "plan.delete", "Adresse nach Frist gelöscht", "Anfrage freigeben", "Freigabe bb000000", "beantragt von Dr. Jürgen Öztürk-Groß, freigegeben von Mia Müller", "Seite zum Löschen einer Person gesehen", "Sued, selbsttätig", "365 Tage", "Standort ", "12 Personen", "aufgrund der Rolle"}},
	"audit-several":      {auditor, "audit?who=e", []string{"Mehrere Personen passen dazu"}},
	"audit-nobody":       {auditor, "audit?who=xyz&from=gestern", []string{"Keine Person dieses Namens", "als Datum"}},
	"privacy":            {administrator, "privacy", []string{"wartet auf Standorte", "Kreishaus", "Nie bestätigt", "Altes Amt", "überall bestätigt"}},
	"erase":              {administrator, "people/2222222222222222/erase", []string{"Freier Text", "zweite Person", "Löschung beantragen"}},
	"person-to-administ": {administrator, "people/2222222222222222", []string{"Auskunft laden", "Löschen …", "Rolle vergeben"}},
	"person-to-member":   {nobody, "people/2222222222222222", []string{"Mia Müller"}},
}

// notKeys are what looks like the key of a text and is none.
var notKeys = strings.NewReplacer("plan.delete", "", ">lage.nordtal.example<", "", ">zweite.example<", "", "<code>identity.code</code>", "", "<code>access.forbidden</code>", "")

func TestAdminPagesLookAsTheyDid(t *testing.T) {
	broken := regexp.MustCompile(`%!|&lt;no value|<no value>|ZgotmplZ|>[a-z]+\.[a-z]+(?:\.[a-z]+)*<`)
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:`)
	for name, page := range adminPages {
		w := newOfficeWorld(t, page.who)
		for _, lang := range languages {
			t.Run(name+"/"+string(lang), func(t *testing.T) {
				separator := "?"
				if strings.Contains(page.path, "?") {
					separator = "&"
				}
				got := w.get(t, desk+page.path+separator+"lang="+string(lang))
				body := got.Body.String()
				if got.Code != http.StatusOK {
					t.Fatalf("%d: %s", got.Code, body)
				}
				golden(t, "office-"+name+"."+string(lang)+".html", got.Body.Bytes())
				if bad := broken.FindString(notKeys.Replace(body)); bad != "" {
					t.Errorf("the page says %q", bad)
				}
				if bad := inline.FindString(body); bad != "" {
					t.Errorf("the page has something inline: %q", bad)
				}
				for _, want := range page.says {
					if lang == web.German && !strings.Contains(body, want) {
						t.Errorf("the page lacks %q", want)
					}
				}
			})
		}
	}
}

// fill makes a request of a route's pattern.
var fill = strings.NewReplacer("{authority}", "lk-nordtal", "{alarm}", "0123456789abcdef", "{person}", "1111111111111111", "{passkey}", "cc00000000000001",
	"{grant}", "aa00000000000002", "{approval}", askedAlarm, "{guest}", "dd00000000000002", "{program}", "ee00000000000001")

// TestAdminRoutesRefuse asks for every route of administration as somebody without a role, and as somebody of another authority.
func TestAdminRoutesRefuse(t *testing.T) {
	w := newOfficeWorld(t, nobody)
	for _, route := range w.adminRoutes() {
		method, path, _ := strings.Cut(fill.Replace(route.Pattern), " ")
		if route.Open || route.Need == "" {
			t.Errorf("%s names no permission", route.Pattern)
		}
		ask := func(who access.Principal, path string) (int, string) {
			w.as(t, who)
			got := w.do(t, method, path, strings.NewReader(""), nil)
			return got.Code, got.Body.String()
		}
		t.Run(route.Pattern, func(t *testing.T) {
			if code, body := ask(nobody, path); route.Need != access.SeeOverview && (code != http.StatusForbidden || strings.Contains(body, "Öztürk")) {
				t.Errorf("a mere member gets %d", code)
			}
			code, body := ask(foreigner, path)
			unknownCode, unknown := ask(foreigner, strings.Replace(path, "lk-nordtal", "gibt-es-nicht", 1))
			if code != http.StatusNotFound || code != unknownCode || strings.ReplaceAll(body, "lk-nordtal", "gibt-es-nicht") != unknown {
				t.Errorf("a foreign authority gives %d, an unknown one %d, or other words:\n%s\n%s", code, unknownCode, body, unknown)
			}
		})
	}
	if len(w.office.did) > 0 {
		t.Errorf("somebody without a role has done %q", w.office.did)
	}
}

// TestUnknownThingsAreNotFound asks for things that are not there.
func TestUnknownThingsAreNotFound(t *testing.T) {
	w := newOfficeWorld(t, access.Principal{Kind: access.Console, Way: access.ByLink, Begun: now, Site: siteNord})
	for _, path := range []string{"accounts/9999999999999999", "roles/9999999999999999/withdraw", "approvals/9999999999999999", "people/9999999999999999/erase"} {
		if got := w.get(t, desk+path); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, got.Code)
		}
	}
	for _, path := range []string{"accounts/9999999999999999/signout", "guests/9999999999999999/renew"} {
		if got := w.post(t, desk+path, url.Values{"key": {"0123456789abcdefgh"}}); got.Code != http.StatusNotFound {
			t.Errorf("POST %s: %d, want 404", path, got.Code)
		}
	}
}

// adminDeeds are forms, where they lead, and what they do.
var adminDeeds = map[string]struct {
	who   access.Principal
	path  string
	form  url.Values
	leads string
	did   string
}{
	"send invitations": {administrator, "accounts/messages", url.Values{"whom": {"chosen"}, "person": {"2222222222222222"}, "days": {"7"}}, "accounts?sent=1",
		"invite [2222222222222222] for 168h0m0s by 1111111111111111; send 1 from https://lage.nordtal.example"},
	"remind":          {administrator, "accounts/remind", url.Values{"person": {"2222222222222222", "3333333333333333"}}, "accounts?sent=2", "remind [2222222222222222 3333333333333333]"},
	"remove passkey":  {administrator, "accounts/1111111111111111/passkeys/cc00000000000002/remove", nil, "accounts/1111111111111111?", "remove cc00000000000002 of 1111111111111111 by 1111111111111111"},
	"sign out":        {administrator, "accounts/2222222222222222/signout", nil, "accounts/2222222222222222?", "sign out person/2222222222222222 by 1111111111111111"},
	"grant":           {administrator, "roles", url.Values{"role": {"auditor"}, "holder": {"person/3333333333333333"}, "unit": {"a2"}, "until": {"2026-12-31"}}, "roles?", "grant auditor 3333333333333333 a2 by 1111111111111111 until 2026-12-31T23:00:00Z"},
	"grant function":  {administrator, "roles", url.Values{"role": {"alarm-officer"}, "holder": {"function/f1"}}, "roles?", "grant alarm-officer f1  by 1111111111111111 until 0001-01-01T00:00:00Z"},
	"withdraw":        {administrator, "roles/aa00000000000002/withdraw", nil, "roles?", "withdraw aa00000000000002 by 1111111111111111"},
	"guest away":      {officer, "guests/dd00000000000001/away", nil, "guests?", "away dd00000000000001 by 2222222222222222"},
	"program":         {administrator, "programs/ee00000000000001/withdraw", nil, "programs?", "withdraw program ee00000000000001 by 1111111111111111"},
	"approve erasure": {administrator, "approvals/" + askedErasure + "/approve", url.Values{"understood": {"1"}}, "approvals/" + askedErasure + "?", "erase 2222222222222222 by 1111111111111111 under grant-of-1111"},
	"erase at once":   {access.Principal{Kind: access.Console, Way: access.ByLink, Begun: now, Site: siteNord}, "people/2222222222222222/erase", url.Values{"understood": {"1"}}, "privacy?wrote=erased", "erase 2222222222222222 by  under "},
}

func TestAdminDeeds(t *testing.T) {
	for name, d := range adminDeeds {
		t.Run(name, func(t *testing.T) {
			w := newOfficeWorld(t, d.who)
			got := w.post(t, desk+d.path, d.form)
			to := got.Header().Get("Location")
			if got.Code != http.StatusSeeOther || !strings.HasPrefix(to, desk+d.leads) {
				t.Fatalf("%d to %q: %s", got.Code, to, got.Body)
			}
			if did := strings.Join(w.office.did, "; "); did != d.did {
				t.Errorf("it did %q, want %q", did, d.did)
			}
			if page := w.get(t, to); page.Code != http.StatusOK || !strings.Contains(page.Body.String(), `role="status"`) {
				t.Errorf("the page afterwards: %d, or it does not say what was done", page.Code)
			}
		})
	}
}

// TestAdminFormsWithMistakes are answered with 4xx and do nothing.
func TestAdminFormsWithMistakes(t *testing.T) {
	for name, d := range map[string]struct {
		who  access.Principal
		path string
		form url.Values
		code int
		says string
	}{
		"nobody to invite":     {administrator, "accounts/letters", url.Values{"whom": {"chosen"}}, 422, "niemand einzuladen"},
		"an erased one":        {administrator, "accounts/letters", url.Values{"person": {"4444444444444444"}}, 422, "niemand einzuladen"},
		"nobody to remind":     {administrator, "accounts/remind", nil, 422, "niemand einzuladen"},
		"no role, no holder":   {administrator, "roles", url.Values{"until": {"2020-01-01"}}, 422, "3 Angaben"},
		"a role nobody grants": {administrator, "roles", url.Values{"role": {"member"}, "holder": {"person/3333333333333333"}}, 422, "Eine Rolle auswählen"},
		"last administrator":   {administrator, "roles/aa00000000000001/withdraw", nil, 409, "Administration"},
		"one's own request":    {administrator, "approvals/" + askedGrant + "/approve", nil, 403, ""},
		"not one's deed":       {auditor, "approvals/" + askedErasure + "/approve", nil, 403, ""},
		"a newer deed":         {access.Principal{Kind: access.Console, Way: access.ByLink, Begun: now, Site: siteNord}, "approvals/" + askedNewer + "/approve", nil, 403, ""},
		"a closed alarm":       {officer, "guests", url.Values{"name": {"Maria"}, "incident": {"alarm/fedcba9876543210"}}, 422, "Alarm"},
		"a program for nought": {administrator, "programs", url.Values{"name": {" "}}, 422, "Mindestens ein Recht"},
		"an unfit program":     {administrator, "programs", url.Values{"name": {"x"}, "scope": {"role.grant"}}, 422, "Mindestens ein Recht"},
		"a policy of words":    {administrator, "policy", url.Values{"mass": {"viele"}, "hours": {"999"}, "days": {"0"}}, 422, "3 Angaben"},
		"unread erasure":       {administrator, "people/2222222222222222/erase", nil, 422, "Bestätigen, dass gelesen wurde"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOfficeWorld(t, d.who)
			before := w.office.policy.MassAlarmFrom
			got := w.post(t, desk+d.path, d.form)
			if got.Code != d.code || !strings.Contains(got.Body.String(), d.says) {
				t.Errorf("%d, want %d and %q: %s", got.Code, d.code, d.says, got.Body)
			}
			if len(w.office.did) > 0 || w.office.policy.MassAlarmFrom != before {
				t.Errorf("it did %q", w.office.did)
			}
		})
	}
}

func TestLettersHoldTheSecretsAndNothingElseDoes(t *testing.T) {
	w := newOfficeWorld(t, administrator)
	got := w.post(t, desk+"accounts/letters", url.Values{"key": {"0123456789abcdefgh"}, "whom": {"chosen"}, "person": {"1111111111111111", "2222222222222222"}, "days": {"30"}})
	if got.Code != http.StatusOK || got.Header().Get("Content-Type") != "application/pdf" || got.Header().Get("Cache-Control") != "no-store" ||
		!strings.HasPrefix(got.Header().Get("Content-Disposition"), `attachment; filename="einladungen-2026-11-22.pdf"`) {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	if len(w.office.letters) != 2 || w.office.letters[0].URL != "https://lage.nordtal.example/enrol/secret-of-1111111111111111" ||
		w.office.letters[1].Lang != "en" || w.office.letters[0].Authority != "Landkreis Nordtal" {
		t.Errorf("letters %+v", w.office.letters)
	}
	if strings.Contains(w.logged.String(), "secret-of") {
		t.Error("a secret is in the log")
	}
}

func TestSecretsAreShownOnce(t *testing.T) {
	t.Run("a guest's code", func(t *testing.T) {
		w := newOfficeWorld(t, officer)
		form := url.Values{"key": {"0123456789abcdefgh"}, "name": {"Maria Schulz"}, "incident": {"alarm/0123456789abcdef"}, "hours": {"4"}}
		got, again := w.post(t, desk+"guests", form), w.post(t, desk+"guests", form)
		if again.Code != http.StatusConflict || !strings.Contains(again.Body.String(), "nichts ein zweites Mal entstanden") {
			t.Errorf("sent again: %d %s", again.Code, again.Body)
		}
		for _, want := range []string{"7KQ2M-9XD4A", "https://lage.nordtal.example/signin/guest", "<svg", "Maria Schulz"} {
			if !strings.Contains(got.Body.String(), want) {
				t.Errorf("%d, the page lacks %q", got.Code, want)
			}
		}
		if !slices.Equal(w.office.did, []string{"guest Maria Schulz for alarm/0123456789abcdef until 4h0m0s by 2222222222222222"}) {
			t.Errorf("it did %q", w.office.did)
		}
		if again := w.get(t, desk+"guests").Body.String(); strings.Contains(again, "7KQ2M") {
			t.Error("the list shows the code")
		}
		if renewed := w.post(t, desk+"guests/dd00000000000002/renew", url.Values{"key": {"0123456789abcdefgh"}}).Body.String(); !strings.Contains(renewed, "ABCDE-FGHJK") {
			t.Error("renewing shows no new code")
		}
	})
	t.Run("a program's token", func(t *testing.T) {
		w := newOfficeWorld(t, administrator)
		form := url.Values{"key": {"0123456789abcdefgh"}, "name": {"Fachverfahren"}, "scope": {"alarm.see", "role.grant"}, "days": {"90"}}
		got, again := w.post(t, desk+"programs", form), w.post(t, desk+"programs", form)
		if again.Code != http.StatusConflict || strings.Contains(again.Body.String(), "hf1_") {
			t.Errorf("sent again: %d", again.Code)
		}
		if got.Code != http.StatusOK || !strings.Contains(got.Body.String(), "hf1_ee00000000000009_") {
			t.Errorf("%d: no token", got.Code)
		}
		if !slices.Equal(w.office.did, []string{"program Fachverfahren [alarm.see] for 2160h0m0s by 1111111111111111"}) {
			t.Errorf("it did %q", w.office.did)
		}
	})
}

func TestPolicy(t *testing.T) {
	w := newOfficeWorld(t, administrator)
	w.office.policy.RetentionDays["operations"] = 700 // no form has it, and no form takes it away
	got := w.post(t, desk+"policy", url.Values{"mass": {"50"}, "two": {"person.erase", "role.grant"}, "hours": {"0,5"}, "days": {"90"}})
	p := w.office.policy
	if got.Code != http.StatusSeeOther || p.MassAlarmFrom != 50 || p.SessionMaxMinutes != 30 || len(p.TwoPersons) != 2 || len(p.RetentionDays) != 2 ||
		p.RetentionDays["audit"] != 90 || p.RetentionDays["operations"] != 700 {
		t.Fatalf("%d %+v", got.Code, p)
	}
	w.post(t, desk+"policy/provider", url.Values{"provider": {"off"}})
	if !w.office.policy.ProviderOff || w.office.policy.MassAlarmFrom != 50 {
		t.Errorf("switched off: %+v", w.office.policy)
	}
	if body := w.get(t, desk+"policy").Body.String(); !strings.Contains(body, "Wieder einschalten") {
		t.Error("the page does not offer to switch it on again")
	}
	w.office.policy.TwoPersons = append(w.office.policy.TwoPersons, access.SetPolicy)
	got = w.post(t, desk+"policy/provider", url.Values{"provider": {"on"}})
	if to := got.Header().Get("Location"); !strings.HasPrefix(to, desk+"approvals/") || !w.office.policy.ProviderOff {
		t.Errorf("a marked deed led to %q", to)
	} else if body := w.get(t, to).Body.String(); !strings.Contains(body, "Bisher: ausgeschaltet") || strings.Count(body, "Bisher") != 1 {
		t.Errorf("the request does not say what would change: %s", body)
	}
}

func TestMassAlarmTakesTwo(t *testing.T) {
	w := newOfficeWorld(t, officer)
	preview := w.post(t, desk+"alarms/preview", form())
	if body := preview.Body.String(); !strings.Contains(body, "Das braucht eine zweite Person") || !strings.Contains(body, "Übungsalarm beantragen") {
		t.Errorf("the preview does not say that it takes two: %s", body)
	}
	first, again := w.post(t, desk+"alarms", form()), w.post(t, desk+"alarms", form())
	to := first.Header().Get("Location")
	if !strings.HasPrefix(to, desk+"approvals/") || to != again.Header().Get("Location") || len(w.alarms.drafts) != 0 {
		t.Fatalf("%d to %q, then %q; %d alarms", first.Code, to, again.Header().Get("Location"), len(w.alarms.drafts))
	}
	if body := w.get(t, to).Body.String(); !strings.Contains(body, "Noch nichts ist geschehen") || !strings.Contains(body, "Das haben Sie selbst beantragt") {
		t.Error("the page does not say that it waits")
	}
	path, _, _ := strings.Cut(to, "?")
	if got := w.post(t, path+"/approve", nil); got.Code != http.StatusForbidden || len(w.alarms.drafts) != 0 {
		t.Fatalf("approving one's own: %d", got.Code)
	}
	w.office.roles["5555555555555555"] = access.AlarmOfficer
	second := officer
	second.ID = "5555555555555555"
	w.as(t, second)
	got := w.post(t, path+"/approve", nil)
	if got.Code != http.StatusSeeOther || len(w.alarms.drafts) != 1 {
		t.Fatalf("%d, %d alarms: %s", got.Code, len(w.alarms.drafts), got.Body)
	}
	d := w.alarms.drafts[0]
	if d.Actor != "person/2222222222222222" || d.Grant != "grant-of-5555" || d.TextDE != "Übung: bitte melden\nund kommen" || !d.Audience.Everyone {
		t.Errorf("draft %+v", d)
	}
	if body := w.get(t, path).Body.String(); !strings.Contains(body, "/alarms/0123456789abcdef") {
		t.Error("the approval does not lead to the alarm")
	}
}

func TestSmallAlarmNamesActorAndGrant(t *testing.T) {
	w := newOfficeWorld(t, officer)
	f := form()
	f.Del("everyone")
	f.Set("unit", "a2")
	if got := w.post(t, desk+"alarms", f); got.Code != http.StatusSeeOther || len(w.alarms.drafts) != 1 {
		t.Fatalf("%d", got.Code)
	}
	if d := w.alarms.drafts[0]; d.Actor != "person/2222222222222222" || d.Grant != "grant-of-2222" {
		t.Errorf("draft %+v", d)
	}
}

func TestRightsBoundToUnits(t *testing.T) {
	w := newOfficeWorld(t, officer)
	w.office.units[officer.ID] = []directory.UnitID{"a2"}
	body := w.get(t, desk+"alarms/new").Body.String()
	if strings.Contains(body, `name="everyone"`) || strings.Contains(body, `name="function"`) || strings.Contains(body, `value="a1"`) || !strings.Contains(body, `value="a2"`) {
		t.Error("the form offers more than the units that the right is bound to")
	}
	for name, change := range map[string]url.Values{"everyone": {"everyone": {"1"}}, "the unit above": {"unit": {"a1"}}, "a function": {"function": {"f1"}},
		"somebody of another unit": {"person": {"1111111111111111"}}, "somebody unknown": {"person": {"9999999999999999"}}, "one inside, one outside": {"unit": {"a2"}, "person": {"1111111111111111"}}} {
		f := form()
		f.Del("everyone")
		for k, v := range change {
			f[k] = v
		}
		for _, path := range []string{"alarms/preview", "alarms"} {
			if got := w.post(t, desk+path, f); got.Code != http.StatusForbidden || !strings.Contains(got.Body.String(), "gilt für einige Einheiten") {
				t.Errorf("%s at %s: %d", name, path, got.Code)
			}
		}
	}
	f := form()
	f.Del("everyone")
	f["unit"], f["person"] = []string{"a2"}, []string{"3333333333333333"}
	if got := w.post(t, desk+"alarms", f); got.Code != http.StatusSeeOther || len(w.alarms.drafts) != 1 {
		t.Errorf("within the unit: %d, %d alarms", got.Code, len(w.alarms.drafts))
	}
	w.as(t, administrator)
	w.office.units[administrator.ID] = []directory.UnitID{"a2"}
	for _, path := range []string{"accounts/1111111111111111/signout", "accounts/1111111111111111/passkeys/cc00000000000001/remove", "people/1111111111111111/export", "programs/ee00000000000001/withdraw"} {
		if got := w.post(t, desk+path, nil); got.Code != http.StatusForbidden {
			t.Errorf("%s by an administrator of another unit: %d", path, got.Code)
		}
	}
	for path, form := range map[string]url.Values{"accounts/letters": {"person": {"1111111111111111"}}, "accounts/remind": {"person": {"1111111111111111"}},
		"people/1111111111111111/erase": {"understood": {"1"}}, "programs": {"name": {"x"}, "scope": {"alarm.see"}}} {
		if got := w.post(t, desk+path, form); got.Code != http.StatusForbidden {
			t.Errorf("%s by an administrator of another unit: %d", path, got.Code)
		}
	}
	if len(w.office.did) > 0 {
		t.Errorf("it did %q", w.office.did)
	}
}

func TestErasingTakesTwo(t *testing.T) {
	w := newOfficeWorld(t, administrator)
	got := w.post(t, desk+"people/2222222222222222/erase", url.Values{"understood": {"1"}})
	if to := got.Header().Get("Location"); !strings.HasPrefix(to, desk+"approvals/") || len(w.office.erased) > 0 {
		t.Errorf("%d to %q, erased %v", got.Code, to, w.office.erased)
	}
}

func TestSearchingTheAudit(t *testing.T) {
	w := newOfficeWorld(t, auditor)
	w.get(t, desk+"audit?q=alarm&who=m%C3%BCller&deed=alarm.raise&outcome=done&from=2026-11-01&until=2026-11-30&after=l9")
	want := `audit person/2222222222222222 "alarm" deed alarm.raise outcome done from 2026-11-01T00:00:00+01:00 until 2026-12-01T00:00:00+01:00 after l9`
	if !slices.Equal(w.office.did, []string{want}) {
		t.Errorf("it asked for %q", w.office.did)
	}
}

func TestDownloads(t *testing.T) {
	w := newOfficeWorld(t, auditor)
	got := w.post(t, desk+"audit/export", nil)
	if got.Body.String() != "signed pages of lk-nordtal" || !strings.Contains(got.Header().Get("Content-Disposition"), "audit-lk-nordtal-2026-11-22") {
		t.Errorf("%d %v %s", got.Code, got.Header(), got.Body)
	}
	w.office.fail = errors.New("the disk is gone")
	if got := w.post(t, desk+"audit/export", nil); got.Code != http.StatusInternalServerError || got.Header().Get("Content-Disposition") != "" {
		t.Errorf("a failed export: %d %v", got.Code, got.Header())
	}
	w.as(t, administrator)
	got = w.post(t, desk+"people/2222222222222222/export", nil)
	if got.Body.String() != `{"person":"2222222222222222"}` || got.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	if got := w.get(t, desk+"people/2222222222222222/export"); got.Code != http.StatusMethodNotAllowed && got.Code != http.StatusNotFound {
		t.Errorf("an export by GET: %d", got.Code)
	}
}

func TestAnErasureIsNotApprovedUnread(t *testing.T) {
	w := newOfficeWorld(t, administrator)
	page := desk + "approvals/" + askedErasure
	if body := w.get(t, page).Body.String(); !strings.Contains(body, `name="understood"`) || !strings.Contains(body, "Was so nicht gelöscht wird") {
		t.Error("the page does not say what is not erased, or asks for no tick")
	}
	if got := w.post(t, page+"/approve", url.Values{}); got.Code != http.StatusUnprocessableEntity || len(w.office.did) > 0 {
		t.Errorf("without the tick: %d, it did %q", got.Code, w.office.did)
	}
}

func TestLettersAreMadeOnce(t *testing.T) {
	w := newOfficeWorld(t, administrator)
	form := url.Values{"key": {"0123456789abcdefgh"}, "whom": {"chosen"}, "person": {"1111111111111111"}}
	first, again := w.post(t, desk+"accounts/letters", form), w.post(t, desk+"accounts/letters", form)
	if first.Code != http.StatusOK || again.Code != http.StatusConflict || len(w.office.letters) != 1 {
		t.Errorf("%d, then %d, letters %d", first.Code, again.Code, len(w.office.letters))
	}
}
