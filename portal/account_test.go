// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/identity"

	"github.com/google/go-cmp/cmp"
)

func TestEnrolSteps(t *testing.T) {
	names := []string{"a.example", "b.example"}
	key := func(host string, void bool) identity.Passkey { return identity.Passkey{Host: host, Void: void} }
	for name, tt := range map[string]struct {
		names   []string
		account identity.Account
		done    []bool
		at      int
	}{
		"nothing yet":                      {names, identity.Account{}, []bool{false, false, false, false}, 0},
		"one passkey":                      {names, identity.Account{Passkeys: []identity.Passkey{key("a.example", false)}}, []bool{true, false, false, false}, 1},
		"a void passkey is none":           {names, identity.Account{Passkeys: []identity.Passkey{key("a.example", true)}}, []bool{false, false, false, false}, 0},
		"one under each":                   {names, identity.Account{Passkeys: []identity.Passkey{key("a.example", false), key("b.example", false)}}, []bool{true, true, false, false}, 2},
		"a second one under the last name": {names, identity.Account{Passkeys: []identity.Passkey{key("a.example", false), key("b.example", false), key("b.example", false)}}, []bool{true, true, true, false}, 3},
		"few codes are not enough":         {nil, identity.Account{CodesLeft: 2}, []bool{false}, 0},
		"codes are all where no name is":   {nil, identity.Account{CodesLeft: 10}, []bool{true}, 1},
		"a passkey of a former name":       {[]string{"a.example"}, identity.Account{Passkeys: []identity.Passkey{key("z.example", false)}}, []bool{false, false, false}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			steps := enrolSteps(tt.names, tt.account)
			var done []bool
			for _, s := range steps {
				done = append(done, s.Done)
			}
			if d := cmp.Diff(tt.done, done); d != "" || stepAt(steps, "") != tt.at {
				t.Errorf("stands at %d, want %d %s", stepAt(steps, ""), tt.at, d)
			}
			for asked, want := range map[string]int{"1": 0, "0": tt.at, "99": tt.at, "-1": tt.at, "x": tt.at, "done": len(steps)} {
				if got := stepAt(steps, asked); got != want {
					t.Errorf("step %q is %d, want %d", asked, got, want)
				}
			}
		})
	}
}

func (w *world) getSecure(t *testing.T, path string) string {
	t.Helper()
	return w.do(t, http.MethodGet, path, nil, func(r *http.Request) {
		secure(r)
		if w.cookie != nil {
			r.AddCookie(&http.Cookie{Name: "__Host-" + w.cookie.Name, Value: w.cookie.Value})
		}
	}).Body.String()
}

// ownPages are golden pages as their own people see them, through TLS under the first name; "" is a stranger.
var ownPages = map[string]struct {
	who  access.Principal
	path string
}{
	"own-signin":       {access.Principal{}, "/signin"},
	"own-code":         {access.Principal{}, "/signin/code"},
	"own-guest":        {access.Principal{}, "/signin/guest"},
	"own-vouching":     {access.Principal{}, "/signin/vouching"},
	"own-invitation":   {access.Principal{}, "/enrol/" + goodInvitation},
	"own-enrol":        {newcomer, "/enrol"},
	"own-enrol-second": {newcomer, "/enrol?step=3"},
	"own-enrol-codes":  {newcomer, "/enrol?step=4"},
	"own-enrol-done":   {newcomer, "/enrol?step=done"},
	"own-account":      {mia, "/account"},
	"own-totp":         {mia, "/account/totp"},
	"own-vouch":        {landrat, "/a/lk-nordtal/vouch?q=m"},
	"own-vouch-person": {landrat, "/a/lk-nordtal/vouch?person=2222222222222222"},
	"own-incident":     {visitor, "/a/lk-nordtal/incident"},
	"own-overview":     {mia, "/"},
}

func TestOwnPagesLookAsTheyDid(t *testing.T) {
	for name, page := range ownPages {
		w := newWorld(t)
		w.cookie = nil
		if page.who.Kind != "" {
			w.as(t, page.who)
		}
		for _, lang := range languages {
			separator := "?"
			if strings.Contains(page.path, "?") {
				separator = "&"
			}
			got := w.getSecure(t, page.path+separator+"lang="+string(lang))
			golden(t, name+"."+string(lang)+".html", []byte(got))
			if broken := regexp.MustCompile(`%!|<no value>|ZgotmplZ`).FindString(got); broken != "" {
				t.Errorf("%s says %q", name, broken)
			}
		}
	}
}

// TestEnrollingLeadsFromNameToName walks through all steps as somebody new does.
func TestEnrollingLeadsFromNameToName(t *testing.T) {
	w := newWorld(t).as(t, newcomer)
	w.ways.account = identity.Account{Person: people[1]}
	must := func(body string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Fatalf("the page lacks %q", want)
			}
		}
	}
	must(w.getSecure(t, "/enrol"), "Schritt 1 von 4", `data-passkey="create"`, "holdfast.example", `href="/enrol?step=2"`)
	w.json(t, "/account/passkey/options", "{}")
	got := w.json(t, "/account/passkey", `{"label":" Diensthandy ","answer":`+answerOK+`}`)
	if got.Code != http.StatusOK || strings.TrimSpace(got.Body.String()) != `{"to":"/enrol"}` {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	w.ways.account.Passkeys = []identity.Passkey{{Host: "holdfast.example"}}
	must(w.getSecure(t, "/enrol"), "Schritt 2 von 4", `href="https://holdfast-zwei.example/enrol/continue/`+goodToken2+"-holdfast-zwei.example")
	w.ways.account.Passkeys = append(w.ways.account.Passkeys, identity.Passkey{Host: "holdfast-zwei.example"})
	must(w.getSecure(t, "/enrol"), "Schritt 3 von 4", `data-passkey="create"`, `href="/enrol?step=4"`, "später")
	must(w.getSecure(t, "/enrol?step=4"), "Schritt 4 von 4", `action="/account/codes"`)
	codes := w.post(t, "/account/codes", nil)
	must(codes.Body.String(), "0"+goodCode[1:], "9"+goodCode[1:], `href="/enrol?step=done"`, "https://holdfast.example/signin/code", "https://kreishaus.example/signin/code")
	if codes.Header().Get("Cache-Control") != "no-store" {
		t.Error("the codes may be cached")
	}
	w.ways.account.CodesLeft = 10
	must(w.getSecure(t, "/enrol?step=done"), "2 Passkeys angelegt", "Noch 10 Codes übrig", `action="/enrol/done"`)
	done := w.post(t, "/enrol/done", nil)
	if done.Code != http.StatusSeeOther || done.Header().Get("Location") != "/signin?ended=enrolled" || !w.tokens.ended[newcomer.Actor()] {
		t.Errorf("%d to %q", done.Code, done.Header().Get("Location"))
	}
	led := newWorld(t).as(t, access.Principal{Kind: access.Person, Authority: nordtal, ID: mia.ID, Way: access.ByPasskey, Limited: true})
	if got := led.post(t, "/enrol/done", nil); got.Code != http.StatusSeeOther || led.tokens.ended[mia.Actor()] || got.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("led here from an account of one's own: %d, and the session there ended: %v", got.Code, led.tokens.ended[mia.Actor()])
	}
	want := []string{"begin 2222222222222222 holdfast.example https://holdfast.example", "passkey Diensthandy", "codes 2222222222222222"}
	if d := cmp.Diff(want, w.ways.did); d != "" {
		t.Error(d)
	}
}

// TestEnrollingAtTheBox: passkeys cannot work there, the page leads to a name, and codes go without.
func TestEnrollingAtTheBox(t *testing.T) {
	w := newWorld(t).as(t, newcomer)
	w.ways.account = identity.Account{Person: people[1]}
	body := w.get(t, "/enrol").Body.String()
	if strings.Contains(body, "data-passkey") || !strings.Contains(body, `https://holdfast.example/enrol/continue/`) || !strings.Contains(body, `href="/enrol?step=2"`) {
		t.Error("the page does not lead to a name, or cannot be skipped")
	}
	if body := w.get(t, "/enrol?step=done").Body.String(); !strings.Contains(body, "noch keinen Weg hinein") || strings.Contains(body, "/enrol/done") {
		t.Error("whoever has skipped everything is sent away without a way in")
	}
}

// TestALimitedSessionSeesEnrolmentOnly asks for every route that somebody signed in may have.
func TestALimitedSessionSeesEnrolmentOnly(t *testing.T) {
	w := newWorld(t).as(t, newcomer)
	may := []string{"GET /enrol", "GET /account", "POST /enrol/done", "POST /account/passkey/options", "POST /account/passkey", "POST /account/codes", "POST /account/codes/sheet.pdf"}
	fill := strings.NewReplacer("{authority}", "lk-nordtal", "{alarm}", "0123456789abcdef", "{person}", "1111111111111111", "{$}", "", "{passkey}", "aaaaaaaaaaaaaaaa", "{program}", "0011223344556677")
	for _, route := range w.Routes() {
		if route.Open || slices.Contains(may, route.Pattern) {
			continue
		}
		method, path, _ := strings.Cut(fill.Replace(route.Pattern), " ")
		if got := w.do(t, method, path, strings.NewReader(""), nil); got.Code != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", route.Pattern, got.Code)
		}
	}
	if len(w.ways.did)+len(w.programs.did) > 0 {
		t.Errorf("somebody with an invitation did %v %v", w.ways.did, w.programs.did)
	}
	if got := w.get(t, "/account"); got.Header().Get("Location") != "/enrol" {
		t.Errorf("/account: %d", got.Code)
	}
	if body := w.get(t, "/enrol").Body.String(); strings.Contains(body, "<nav") || !strings.Contains(body, "Mia Müller") {
		t.Error("the frame shows a menu, or not who it is")
	}
}

func TestOwnAccount(t *testing.T) {
	t.Run("shows what there is, and what happened to oneself", func(t *testing.T) {
		body := newWorld(t).as(t, mia).get(t, "/account").Body.String()
		for _, want := range []string{"Diensthandy", "alt.example", "Noch 2 Codes übrig", "Telefon Müller", "Wiederherstellungscode",
			"Einer Ihrer Codes wurde an zwei Standorten benutzt", "Nord, Kreishaus", "ein Passkey unter holdfast-zwei.example"} {
			if !strings.Contains(body, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		for _, not := range []string{"zählt rückwärts", ">weg<"} {
			if strings.Contains(body, not) {
				t.Errorf("the page has %q, which is another's or gone", not)
			}
		}
	})
	t.Run("a passkey is removed in one's own name", func(t *testing.T) {
		w := newWorld(t).as(t, mia)
		if got := w.post(t, "/account/passkey/aaaaaaaaaaaaaaaa/remove", nil); got.Code != http.StatusSeeOther {
			t.Errorf("%d", got.Code)
		}
		if d := cmp.Diff([]string{"remove 2222222222222222 2222222222222222 aaaaaaaaaaaaaaaa"}, w.ways.did); d != "" {
			t.Error(d)
		}
	})
	t.Run("a one-time password is set up when the app has it", func(t *testing.T) {
		w := newWorld(t).as(t, mia)
		_, uri, _ := w.ways.BeginTOTP(t.Context(), mia)
		form := url.Values{"secret": {totpSecret}, "uri": {uri}, "passcode": {"000000"}}
		if got := w.post(t, "/account/totp", form); got.Code != http.StatusUnprocessableEntity || !strings.Contains(got.Body.String(), totpSecret) {
			t.Errorf("wrong digits: %d", got.Code)
		}
		form.Set("passcode", "123 456")
		if got := w.post(t, "/account/totp", form); got.Code != http.StatusSeeOther || len(w.ways.did) != 1 {
			t.Errorf("right digits: %d", got.Code)
		}
		if got := w.post(t, "/account/totp/remove", nil); got.Code != http.StatusSeeOther || len(w.ways.did) != 2 {
			t.Errorf("removing: %d", got.Code)
		}
	})
	t.Run("an app password is shown once", func(t *testing.T) {
		w := newWorld(t).as(t, mia)
		form := url.Values{"key": {"0123456789abcdefgh"}, "name": {"Telefon"}, "kind": {"carddav"}, "days": {"365"}}
		got := w.post(t, "/account/passwords", form)
		if got.Code != http.StatusOK || strings.Count(got.Body.String(), goodPassword) != 1 || !strings.Contains(got.Body.String(), "m.mueller@nordtal.example") {
			t.Errorf("%d", got.Code)
		}
		if again := w.post(t, "/account/passwords", form); again.Code != http.StatusConflict || strings.Contains(again.Body.String(), goodPassword) {
			t.Errorf("sent again: %d", again.Code)
		}
		for _, form := range []url.Values{{"name": {"x"}, "kind": {"api"}, "days": {"365"}}, {"name": {"x"}, "kind": {"ldap"}, "days": {"9999"}}, {}} {
			if got := w.post(t, "/account/passwords", form); got.Code != http.StatusUnprocessableEntity {
				t.Errorf("%v: %d, want 422", form, got.Code)
			}
		}
		if got := w.post(t, "/account/passwords/0011223344556677/withdraw", nil); got.Code != http.StatusSeeOther {
			t.Errorf("withdrawing: %d", got.Code)
		}
		if got := w.as(t, landrat).post(t, "/account/passwords/0011223344556677/withdraw", nil); got.Code != http.StatusNotFound {
			t.Errorf("withdrawing somebody else's: %d, want 404", got.Code)
		}
		if d := cmp.Diff([]string{"make Telefon carddav for 2222222222222222", "withdraw 0011223344556677"}, w.programs.did); d != "" {
			t.Error(d)
		}
	})
	t.Run("signing out everywhere ends this session, too", func(t *testing.T) {
		w := newWorld(t).as(t, mia)
		got := w.post(t, "/account/sessions/end", nil)
		if got.Code != http.StatusSeeOther || got.Header().Get("Location") != "/signin?ended=1" || !w.tokens.ended[mia.Actor()] {
			t.Errorf("%d to %q", got.Code, got.Header().Get("Location"))
		}
		if c := got.Result().Cookies(); len(c) != 1 || c[0].MaxAge >= 0 {
			t.Errorf("cookies %v", c)
		}
	})
	t.Run("the console has none", func(t *testing.T) {
		w := newWorld(t)
		if body := w.get(t, "/account").Body.String(); !strings.Contains(body, "Anmeldung des Rechners selbst") || strings.Contains(body, "/account/codes") {
			t.Error("the console is shown an account")
		}
		for _, path := range []string{"/account/codes", "/account/totp", "/account/passwords", "/account/passkey/options", "/a/lk-nordtal/vouch"} {
			if got := w.post(t, path, url.Values{"sure": {"1"}}); got.Code != http.StatusForbidden {
				t.Errorf("POST %s: %d, want 403", path, got.Code)
			}
		}
	})
}

func TestSheetOfCodes(t *testing.T) {
	w := newWorld(t).as(t, mia)
	for name, codes := range map[string][]string{
		"none": nil, "too many": slices.Repeat([]string{goodCode}, 11), "a text": {"Ihr Konto ist gesperrt."}, "lower case": {strings.ToLower(goodCode)},
		"a letter that is none": {"IKQ2" + goodCode[4:]},
	} {
		if got := w.post(t, "/account/codes/sheet.pdf", url.Values{"code": codes}); got.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d, want 422", name, got.Code)
		}
	}
	got := w.post(t, "/account/codes/sheet.pdf", url.Values{"code": {goodCode}})
	if got.Code != http.StatusOK || got.Header().Get("Content-Type") != "application/pdf" || !strings.HasPrefix(got.Body.String(), "%PDF-") ||
		!strings.HasPrefix(got.Header().Get("Content-Disposition"), "attachment") || got.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	if len(w.ways.did) > 0 {
		t.Errorf("printing did %v", w.ways.did)
	}
}

func TestVouchingFromTheKnowingSide(t *testing.T) {
	const page = "/a/lk-nordtal/vouch"
	w := newWorld(t).as(t, landrat)
	if body := w.get(t, page+"?q=müller").Body.String(); !strings.Contains(body, page+"?person=2222222222222222") {
		t.Error("the search does not lead to the person")
	}
	body := w.get(t, page+"?person=2222222222222222").Body.String()
	if !strings.Contains(body, "Nur wenn Sie die Person sehen oder ihre Stimme kennen") || !strings.Contains(body, `name="sure" value="1" required`) {
		t.Error("the page does not warn")
	}
	form := url.Values{"person": {"2222222222222222"}, "code": {spoken}}
	if got := w.post(t, page, form); got.Code != http.StatusUnprocessableEntity || !strings.Contains(got.Body.String(), spoken) || len(w.ways.did) > 0 {
		t.Errorf("without having confirmed: %d", got.Code)
	}
	form.Set("sure", "1")
	for code, want := range map[string]int{"AAAAAAAA": http.StatusUnprocessableEntity, strings.Repeat("A", 9999): http.StatusUnprocessableEntity} {
		if got := w.post(t, page, url.Values{"person": form["person"], "code": {code}, "sure": {"1"}}); got.Code != want {
			t.Errorf("wrong characters: %d, want %d", got.Code, want)
		}
	}
	if got := w.post(t, page, url.Values{"person": {"1111111111111111"}, "code": {spoken}, "sure": {"1"}}); got.Code != http.StatusForbidden {
		t.Errorf("for oneself: %d, want 403", got.Code)
	}
	got := w.post(t, page, form)
	if got.Code != http.StatusSeeOther || got.Header().Get("Location") != page+"?done=2222222222222222" {
		t.Errorf("%d to %q", got.Code, got.Header().Get("Location"))
	}
	if d := cmp.Diff([]string{"vouch 1111111111111111 for 2222222222222222"}, w.ways.did); d != "" {
		t.Error(d)
	}
	if got := w.as(t, seeheimer).post(t, page, form); got.Code != http.StatusNotFound {
		t.Errorf("somebody of another authority: %d, want 404", got.Code)
	}
}

// TestMenusShowWhatOneMay compares the frames of different people.
func TestMenusShowWhatOneMay(t *testing.T) {
	const raise, alarms = "/a/lk-nordtal/alarms/new", "/a/lk-nordtal/alarms"
	for name, tt := range map[string]struct {
		who       access.Principal
		has, lack []string
	}{
		"an alarm officer": {landrat, []string{"Dr. Jürgen Öztürk-Groß", "Alarmierung", raise, alarms, "/a/lk-nordtal/vouch"}, []string{"Revision", "Seeheim", "Anderswo"}},
		"a member":         {mia, []string{"Mia Müller", alarms, "/a/lk-nordtal/people"}, []string{raise, "Seeheim", "Anderswo"}},
		"of another town":  {seeheimer, []string{"Ohne Weg", "/a/stadt-seeheim/alarms"}, []string{"Nordtal", "lk-nordtal", "Anderswo", "Serverausfall"}},
		"the console":      {access.Principal{Kind: access.Console, Way: access.ByLink}, []string{"Nordtal", "Seeheim", "Anderswo", raise}, []string{"/vouch"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).as(t, tt.who)
			body := w.get(t, "/").Body.String()
			for _, want := range tt.has {
				if !strings.Contains(body, want) {
					t.Errorf("the overview lacks %q", want)
				}
			}
			for _, not := range tt.lack {
				// The site "Kreishaus" belongs to the Landkreis, and everybody may know who operates a site.
				if strings.Contains(strings.ReplaceAll(body, "Landkreis Nordtal</dd>", ""), not) {
					t.Errorf("the overview shows %q", not)
				}
			}
		})
	}
}

func TestPagesTellWhichSitesAreCutOff(t *testing.T) {
	const line = "seit 22.11.2026, 04:12:15 MEZ von Kreishaus getrennt"
	w := newWorld(t)
	if body := w.as(t, mia).get(t, "/account").Body.String(); !strings.Contains(body, line) || strings.Count(body, "hf-apart") != 1 {
		t.Error("the page does not tell that just the Kreishaus is cut off")
	}
	if body := w.as(t, seeheimer).get(t, "/account").Body.String(); strings.Contains(body, "getrennt;") {
		t.Error("the page tells of a site that the authority does not use")
	}
	w.cookie = nil
	if body := w.get(t, "/signin").Body.String(); strings.Contains(body, "getrennt;") {
		t.Error("strangers learn which sites are cut off")
	}
}

func TestGuestsSeeOneIncidentWithoutNames(t *testing.T) {
	w := newWorld(t).as(t, visitor)
	got := w.get(t, "/a/lk-nordtal/incident")
	body := got.Body.String()
	if got.Code != http.StatusOK || !strings.Contains(body, "Serverausfall") || !strings.Contains(body, "310") || !strings.Contains(body, "Echteinsatz") {
		t.Errorf("%d", got.Code)
	}
	for _, name := range []string{"Müller", "Öztürk", "Amt 32", "/alarms", "<nav", "/people"} {
		if strings.Contains(body, name) {
			t.Errorf("the guest sees %q", name)
		}
	}
	for _, path := range []string{"/", "/a/lk-nordtal/alarms", board, board + "/people", "/a/lk-nordtal/people", "/merges", "/account", "/events?of=overview", "/a/lk-nordtal/vouch"} {
		got := w.get(t, path)
		if got.Code != http.StatusForbidden || strings.Contains(got.Body.String(), "Müller") {
			t.Errorf("%s: %d, want 403", path, got.Code)
		}
		if !strings.Contains(got.Body.String(), `href="/a/lk-nordtal/incident"`) {
			t.Errorf("%s does not lead back", path)
		}
	}
	if got := w.get(t, "/a/stadt-seeheim/incident"); got.Code != http.StatusNotFound {
		t.Errorf("another authority's incident: %d, want 404", got.Code)
	}
	if got := w.as(t, mia).get(t, "/a/lk-nordtal/incident"); got.Code != http.StatusNotFound {
		t.Errorf("somebody without an incident: %d, want 404", got.Code)
	}
}

// TestNothingOfAnotherAuthority asks for streams, receipts and merges that are not one's own.
func TestNothingOfAnotherAuthority(t *testing.T) {
	w := newWorld(t).as(t, seeheimer)
	for _, path := range []string{"/events?of=alarms&authority=lk-nordtal", "/events?of=board&authority=lk-nordtal&alarm=0123456789abcdef", "/events?of=alarms&authority=no-such"} {
		if got := w.get(t, path); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, got.Code)
		}
	}
	if body := w.get(t, "/merges").Body.String(); strings.Contains(body, "Nordtal") || strings.Contains(body, "1.321") {
		t.Error("merges of another authority are shown")
	}
	_, query, _ := strings.Cut(pages["board-written"], "?")
	if got := w.get(t, "/receipt?"+query); got.Code == http.StatusOK {
		t.Error("another authority's receipt is told")
	}
}
