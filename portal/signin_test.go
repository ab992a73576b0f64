// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"

	"github.com/google/go-cmp/cmp"
)

// secure lets a request come through TLS to the first name, as browsers do.
func secure(r *http.Request) {
	r.Host, r.TLS = "holdfast.example", &tls.ConnectionState{}
}

// stranger returns a world in which nobody is signed in.
func stranger(t *testing.T) *world {
	w := newWorld(t)
	w.cookie = nil
	w.audit.recorded, w.audit.gathered = nil, nil
	return w
}

// signedInAs returns whose session the answer begins, and checks how its cookie is set.
func (w *world) signedInAs(t *testing.T, got *httptest.ResponseRecorder, tls bool) access.Principal {
	t.Helper()
	for _, c := range got.Result().Cookies() {
		if c.Value == "" || !strings.HasSuffix(c.Name, "holdfast") {
			continue
		}
		if !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || c.Secure != tls || strings.HasPrefix(c.Name, "__Host-") != tls {
			t.Errorf("the cookie is set as %q", c.String())
		}
		p, _, err := w.tokens.Verify(t.Context(), c.Value)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	return access.Principal{}
}

// TestWaysIn: each leads to its own page with the right, and to one refusal with all wrongs.
func TestWaysIn(t *testing.T) {
	for name, tt := range map[string]struct {
		path   string
		form   url.Values
		who    access.Principal
		to     string
		wrong  []url.Values
		status int
		way    access.Way
		wrongs []string
	}{
		"a recovery code": {path: "/signin/code", form: url.Values{"code": {goodCode}}, who: mia, to: "/?came=code", way: access.ByCode, status: http.StatusUnauthorized,
			wrong: []url.Values{{"code": {"7KQ2-M9XD-0000-0000-0000-0000"}}, {"code": {""}}, {}, {"code": {strings.Repeat("A", 10_000)}}}},
		"a guest code": {path: "/signin/guest", form: url.Values{"code": {goodGuest}}, who: visitor, to: "/a/lk-nordtal/incident", way: access.ByGuestCode, status: http.StatusUnauthorized,
			wrong: []url.Values{{"code": {"AAAAAAAAAA"}}, {}, {"code": {strings.Repeat("A", 10_000)}}}},
		"an invitation": {path: "/enrol/" + goodInvitation, who: newcomer, to: "/enrol", way: access.ByInvitation, status: http.StatusUnauthorized,
			wrongs: []string{"/enrol/guess", "/enrol/" + goodLink}},
		"a link made for a person": {path: "/signin/" + goodLink, who: mia, to: "/?came=code", way: access.ByLink, status: http.StatusUnauthorized,
			wrongs: []string{"/signin/guess", "/signin/" + goodInvitation}},
		"the way from name to name": {path: "/enrol/continue/" + goodToken2 + "-holdfast.example", who: newcomer, to: "/enrol", way: access.ByInvitation,
			status: http.StatusUnauthorized, wrongs: []string{"/enrol/continue/guess", "/enrol/continue/" + goodToken2 + "-holdfast-zwei.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := stranger(t)
			got := w.do(t, http.MethodPost, tt.path, strings.NewReader(tt.form.Encode()), secure)
			if who := w.signedInAs(t, got, true); got.Code != http.StatusSeeOther || got.Header().Get("Location") != tt.to || who.Actor() != tt.who.Actor() {
				t.Fatalf("%d to %q as %s", got.Code, got.Header().Get("Location"), who.Actor())
			}
			if e := w.audit.recorded; len(e) != 1 || e[0].Deed != "signin" || e[0].Outcome != audit.Done || e[0].Way != string(tt.who.Way) || e[0].Object != "" {
				t.Errorf("the audit has %+v", e)
			}
			var bodies []string
			for i := range max(len(tt.wrong), len(tt.wrongs)) {
				path, form := tt.path, url.Values{}
				if len(tt.wrongs) > 0 {
					path = tt.wrongs[i]
				} else {
					form = tt.wrong[i]
				}
				got := w.do(t, http.MethodPost, path, strings.NewReader(form.Encode()), secure)
				if got.Code != tt.status || w.signedInAs(t, got, true).Kind != "" {
					t.Errorf("%v: %d", form, got.Code)
				}
				bodies = append(bodies, strings.ReplaceAll(got.Body.String(), form.Get("code"), ""))
			}
			for _, b := range bodies[1:] {
				if d := cmp.Diff(withoutValue(bodies[0]), withoutValue(b)); d != "" {
					t.Errorf("two wrong ones are answered differently:\n%s", d)
				}
			}
			if e := w.audit.gathered; len(e) != len(bodies) || e[0].Outcome != audit.Refused || e[0].Way != string(tt.way) || e[0].Actor != "" || e[0].Object != "" {
				t.Errorf("the audit has gathered %+v", e)
			}
		})
	}
}

// withoutValue takes out of a form what was typed into it.
func withoutValue(page string) string {
	before, after, _ := strings.Cut(page, `name="code" value="`)
	if _, rest, ok := strings.Cut(after, `"`); ok {
		return before + rest
	}
	return page
}

// TestLinksAreShownWithoutBeingUsed: mail scanners open links.
func TestLinksAreShownWithoutBeingUsed(t *testing.T) {
	w := stranger(t)
	for _, path := range []string{"/enrol/" + goodInvitation, "/enrol/continue/" + goodToken2, "/signin/" + goodLink} {
		if got := w.get(t, path); got.Code != http.StatusOK || len(w.ways.did) > 0 || len(got.Result().Cookies()) > 0 {
			t.Errorf("%s: %d, did %v", path, got.Code, w.ways.did)
		}
	}
	body := w.get(t, "/enrol/"+goodInvitation).Body.String()
	if !strings.Contains(body, "Mia Müller") || !strings.Contains(body, "Landkreis Nordtal") {
		t.Error("the page does not tell whom the invitation is for")
	}
	if got := w.get(t, "/enrol/guess"); got.Code != http.StatusUnauthorized {
		t.Errorf("a guessed invitation: %d", got.Code)
	}
}

func TestSignInPageTellsWhetherPasskeysWork(t *testing.T) {
	for name, tt := range map[string]struct {
		host string
		tls  bool
		want bool
	}{
		"under a name":           {"holdfast.example", true, true},
		"at a port":              {"holdfast.example:8443", true, true},
		"in capitals":            {"Holdfast.Example", true, true},
		"by another name":        {"box.example", true, false},
		"by an IPv4 address":     {"192.0.2.7:8443", true, false},
		"by an IPv6 address":     {"[2001:db8::7]:8443", true, false},
		"without TLS":            {"holdfast.example", false, false},
		"on the machine, no TLS": {"localhost:8080", false, false}, // no name of the federation here
	} {
		t.Run(name, func(t *testing.T) {
			w := stranger(t)
			body := w.do(t, http.MethodGet, "/signin", nil, func(r *http.Request) {
				r.Host = tt.host
				if tt.tls {
					r.TLS = &tls.ConnectionState{}
				}
			}).Body.String()
			if strings.Contains(body, `data-passkey="get"`) != tt.want || strings.Contains(body, `name="code"`) == tt.want {
				t.Errorf("offers a passkey: %v, and a code at once: %v", !tt.want, tt.want)
			}
			if !tt.want && tt.tls && !strings.Contains(body, "holdfast-zwei.example") {
				t.Error("does not tell where passkeys work")
			}
		})
	}
}

func (w *world) json(t *testing.T, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	return w.do(t, http.MethodPost, path, strings.NewReader(body), func(r *http.Request) {
		secure(r)
		r.Header.Set("Content-Type", "application/json")
		if w.cookie != nil {
			r.AddCookie(&http.Cookie{Name: "__Host-" + w.cookie.Name, Value: w.cookie.Value})
		}
	})
}

func TestSigningInWithAPasskey(t *testing.T) {
	w := stranger(t)
	if got := w.json(t, "/signin/passkey/options", ""); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), `"rpId":"holdfast.example"`) ||
		got.Header().Get("Content-Type") != "application/json" {
		t.Errorf("options: %d %s", got.Code, got.Body)
	}
	got := w.json(t, "/signin/passkey", answerOK)
	if who := w.signedInAs(t, got, true); got.Code != http.StatusOK || strings.TrimSpace(got.Body.String()) != `{"to":"/"}` || who.Actor() != mia.Actor() {
		t.Errorf("%d %s as %s", got.Code, got.Body, who.Actor())
	}
	wrong := w.json(t, "/signin/passkey", `{"id":"bad"}`)
	if wrong.Code != http.StatusUnauthorized || !strings.Contains(wrong.Body.String(), "Der Passkey wurde nicht angenommen.") ||
		!strings.Contains(wrong.Body.String(), `role="alert"`) {
		t.Errorf("a wrong answer: %d without the words that passkey.js shows", wrong.Code)
	}
	if got := w.json(t, "/signin/passkey", `{"id":"`+strings.Repeat("A", 64<<10)+`"}`); got.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large answer: %d, want 413", got.Code)
	}
	if got := w.post(t, "/signin/passkey", url.Values{"id": {"good"}}); got.Code != http.StatusUnprocessableEntity {
		t.Errorf("a form: %d, want 422", got.Code)
	}
	foreign := w.do(t, http.MethodPost, "/signin/passkey", strings.NewReader(answerOK), func(r *http.Request) {
		secure(r)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	})
	if foreign.Code != http.StatusForbidden {
		t.Errorf("from another site's page: %d, want 403", foreign.Code)
	}
}

func TestDigitsAreAskedForAfterARightCodeOnly(t *testing.T) {
	w := stranger(t)
	const field = `name="totp"`
	if body := w.post(t, "/signin/code", url.Values{"code": {"AAAA"}}).Body.String(); strings.Contains(body, field) {
		t.Error("a wrong code leads to the field for digits")
	}
	first := w.post(t, "/signin/code", url.Values{"code": {totpCode}})
	if first.Code != http.StatusOK || !strings.Contains(first.Body.String(), field) || !strings.Contains(first.Body.String(), totpCode) {
		t.Errorf("the right code: %d", first.Code)
	}
	if got := w.post(t, "/signin/code", url.Values{"code": {totpCode}, "totp": {"000000"}}); got.Code != http.StatusUnauthorized || !strings.Contains(got.Body.String(), field) {
		t.Errorf("wrong digits: %d", got.Code)
	}
	if got := w.post(t, "/signin/code", url.Values{"code": {totpCode}, "totp": {"123456"}}); got.Code != http.StatusSeeOther {
		t.Errorf("right digits: %d", got.Code)
	}
}

// TestWrongAttemptsAreSlowedAndRightOnesAreNot: a whole authority may come from one address, together with an attacker.
func TestWrongAttemptsAreSlowedAndRightOnesAreNot(t *testing.T) {
	w := stranger(t)
	for i := range 130 { // the world has used one up
		got := w.post(t, "/signin/code", url.Values{"code": {"AAAA"}})
		want := http.StatusUnauthorized
		if i >= 99 {
			want = http.StatusServiceUnavailable
		}
		if got.Code != want {
			t.Fatalf("attempt %d: %d, want %d", i+1, got.Code, want)
		}
	}
	for _, path := range []string{"/signin/guest", "/signin/guess", "/enrol/guess", "/enrol/continue/guess", "/signin/vouching/enter"} {
		if got := w.post(t, path, nil); got.Code != http.StatusServiceUnavailable {
			t.Errorf("%s after that: %d, want 503", path, got.Code)
		}
	}
	if got := w.post(t, "/signin/code", url.Values{"code": {goodCode}}); got.Code != http.StatusSeeOther {
		t.Errorf("a right code from the same address: %d", got.Code)
	}
	if got := w.json(t, "/signin/passkey", answerOK); got.Code != http.StatusOK {
		t.Errorf("a passkey from the same address: %d", got.Code)
	}
}

func TestVouchingFromTheWaitingSide(t *testing.T) {
	w := stranger(t)
	if body := w.get(t, "/signin/vouching").Body.String(); strings.Contains(body, "data-waiting") {
		t.Error("somebody waits who has not asked")
	}
	asked := w.do(t, http.MethodPost, "/signin/vouching", strings.NewReader(""), secure)
	cookies := asked.Result().Cookies()
	if asked.Code != http.StatusSeeOther || len(cookies) != 1 {
		t.Fatalf("%d, %v", asked.Code, cookies)
	}
	if c := cookies[0]; c.Name != "__Host-vouching" || !c.HttpOnly || !c.Secure || c.MaxAge != 600 || c.Value != ticket {
		t.Errorf("the ticket's cookie is %q", c.String())
	}
	with := func(method, path string) *httptest.ResponseRecorder {
		return w.do(t, method, path, strings.NewReader(""), func(r *http.Request) { secure(r); r.AddCookie(cookies[0]) })
	}
	body := with(http.MethodGet, "/signin/vouching").Body.String()
	for _, want := range []string{"<span>K7QX</span>", "<strong>0</strong> von 2", "data-waiting"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, ticket) {
		t.Error("the page tells the ticket")
	}
	if got := with(http.MethodPost, "/signin/vouching/enter"); got.Code != http.StatusUnauthorized {
		t.Errorf("too early: %d", got.Code)
	}
	w.ways.confirmed = 2
	if body := with(http.MethodGet, "/signin/vouching/state").Body.String(); !strings.Contains(body, "data-go") || strings.Contains(body, "<html") {
		t.Error("the fragment does not lead in")
	}
	got := with(http.MethodPost, "/signin/vouching/enter")
	if who := w.signedInAs(t, got, true); got.Code != http.StatusSeeOther || who.Actor() != mia.Actor() {
		t.Errorf("%d as %s", got.Code, who.Actor())
	}
	old := w.do(t, http.MethodGet, "/signin/vouching", nil, func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "vouching", Value: "an old one"})
	})
	if old.Code != http.StatusOK || !strings.Contains(old.Body.String(), "Die Zeit ist um.") {
		t.Errorf("with an old ticket: %d", old.Code)
	}
}

func TestTheIdentityProvider(t *testing.T) {
	w := stranger(t)
	if body := w.do(t, http.MethodGet, "/signin", nil, secure).Body.String(); !strings.Contains(body, "/signin/oidc/lk-nordtal") || strings.Contains(body, "/signin/oidc/stadt-seeheim") {
		t.Error("the page does not offer just the provider that there is")
	}
	begin := func() *http.Cookie {
		got := w.do(t, http.MethodGet, "/signin/oidc/lk-nordtal", nil, secure)
		if got.Code != http.StatusSeeOther || !strings.HasPrefix(got.Header().Get("Location"), "https://login.nordtal.example/auth?state=") {
			t.Fatalf("%d to %q", got.Code, got.Header().Get("Location"))
		}
		return got.Result().Cookies()[0]
	}
	back := func(c *http.Cookie, query url.Values) *httptest.ResponseRecorder {
		return w.do(t, http.MethodGet, "/signin/oidc/lk-nordtal/callback?"+query.Encode(), nil, func(r *http.Request) {
			secure(r)
			if c != nil {
				r.AddCookie(c)
			}
		})
	}
	c := begin()
	if c.Name != "__Host-provider" || !c.HttpOnly || !c.Secure || c.MaxAge != 600 || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("the cookie is %q", c.String())
	}
	if w.provider.redirect != "https://holdfast.example/signin/oidc/lk-nordtal/callback" || len(w.provider.verifier) < 43 || w.provider.nonce == w.provider.state {
		t.Errorf("asked with %+v", w.provider)
	}
	good := url.Values{"code": {"good"}, "state": {w.provider.state}}
	got := back(c, good)
	if who := w.signedInAs(t, got, true); got.Code != http.StatusSeeOther || who.Actor() != mia.Actor() {
		t.Errorf("%d as %s", got.Code, who.Actor())
	}
	for name, tt := range map[string]struct {
		cookie *http.Cookie
		query  url.Values
	}{
		"without the cookie":     {nil, good},
		"with another state":     {c, url.Values{"code": {"good"}, "state": {"other"}}},
		"without a code":         {c, url.Values{"error": {"access_denied"}, "state": good["state"]}},
		"with a wrong code":      {c, url.Values{"code": {"bad"}, "state": good["state"]}},
		"with a cookie of parts": {&http.Cookie{Name: c.Name, Value: "lk-nordtal.."}, url.Values{"code": {"good"}, "state": {""}}},
	} {
		if got := back(tt.cookie, tt.query); got.Code != http.StatusUnauthorized || w.signedInAs(t, got, true).Kind != "" || strings.Contains(got.Body.String(), w.provider.state) {
			t.Errorf("%s: %d", name, got.Code)
		}
	}
	w.access.providerOff = true
	if got := w.do(t, http.MethodGet, "/signin/oidc/lk-nordtal", nil, secure); got.Code != http.StatusUnauthorized {
		t.Errorf("switched off: %d, want 401", got.Code)
	}
	if got := back(c, good); got.Code != http.StatusUnauthorized {
		t.Errorf("coming back after it was switched off: %d, want 401", got.Code)
	}
	if body := w.get(t, "/signin").Body.String(); strings.Contains(body, "/signin/oidc/") {
		t.Error("a provider that is switched off is offered")
	}
	for _, other := range []string{"stadt-seeheim", "amt-anderswo", "no-such"} {
		if got := w.do(t, http.MethodGet, "/signin/oidc/"+other, nil, secure); got.Code != http.StatusUnauthorized {
			t.Errorf("%s has no provider here: %d", other, got.Code)
		}
	}
}

// TestNoSecretIsLogged walks all ways in, right and wrong, and looks at what was logged and audited.
func TestNoSecretIsLogged(t *testing.T) {
	w := stranger(t)
	secrets := []string{goodCode, goodGuest, goodInvitation, goodLink, goodToken2, ticket, spoken, "wrong-secret-of-mine"}
	for _, s := range secrets {
		for _, path := range []string{"/signin/", "/enrol/", "/enrol/continue/"} {
			w.get(t, path+s)
			w.post(t, path+s, nil)
		}
		for _, path := range []string{"/signin/code", "/signin/guest"} {
			w.post(t, path, url.Values{"code": {s}})
		}
		w.do(t, http.MethodPost, "/signin/vouching/enter", strings.NewReader(""), func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: "vouching", Value: s})
		})
	}
	written, err := json.Marshal(append(w.audit.recorded, w.audit.gathered...))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if strings.Contains(w.logged.String(), s) || strings.Contains(string(written), s) {
			t.Errorf("%s stands in the log or the audit", s)
		}
	}
}

func TestWhoseAccountHasEndedLearnsWhy(t *testing.T) {
	w := newWorld(t)
	gone := mia
	gone.ID = "voided"
	got := w.as(t, gone).get(t, "/")
	if got.Code != http.StatusUnauthorized || !strings.Contains(got.Body.String(), "zweimal benutzt") || !strings.Contains(got.Body.String(), `href="/signin"`) {
		t.Errorf("%d", got.Code)
	}
	if c := got.Result().Cookies(); len(c) != 1 || c[0].MaxAge >= 0 {
		t.Errorf("the session stays in the browser: %v", c)
	}
}

// TestNamesLeadToTheirAddresses: the browser's own, a site's own, else the same port.
func TestNamesLeadToTheirAddresses(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct{ host, to, want string }{
		"the browser's own":       {"holdfast.example:8443", "holdfast.example", "https://holdfast.example:8443"},
		"another name, same port": {"holdfast.example:8443", "holdfast-zwei.example", "https://holdfast-zwei.example:8443"},
		"without a port":          {"holdfast.example", "holdfast-zwei.example", "https://holdfast-zwei.example"},
		"from the box":            {"192.0.2.7:9443", "holdfast.example", "https://holdfast.example"},
		"a site's own address":    {"holdfast.example:8443", "sued.example", "https://sued.example"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host, r.TLS = tt.host, &tls.ConnectionState{}
		if got := w.nameURL(r, tt.to); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestAMistypedCodeIsCounted(t *testing.T) {
	for typed, want := range map[string]string{
		"7KQ2-M9XD":                        "Es fehlen 16 Zeichen",
		"7kq2 m9xd 7kq2 m9xd 7kq2 m9x":     "Es fehlt 1 Zeichen",
		"7KQ2-M9XD-7KQ2-M9XD-7KQ2-M9XD-7K": "Es sind 2 Zeichen zu viel",
		"7KQ2-M9XD-0000-0000-0000-0000":    "Der Code wurde nicht angenommen",
	} {
		body := stranger(t).do(t, http.MethodPost, "/signin/code", strings.NewReader(url.Values{"code": {typed}}.Encode()), secure).Body.String()
		if !strings.Contains(body, want) {
			t.Errorf("%s: the page does not say %q", typed, want)
		}
	}
}

func TestWhoCameInOnABadDayLearnsWhatFollows(t *testing.T) {
	for way, want := range map[access.Way]string{access.ByVouching: "Jetzt einen Passkey anlegen", access.ByCode: "streichen Sie den benutzten durch"} {
		who := mia
		who.Way = way
		w := newWorld(t).as(t, who)
		if body := w.get(t, firstPage("/", who)).Body.String(); !strings.Contains(body, want) {
			t.Errorf("%s: the first page does not say %q", way, want)
		}
		if body := w.get(t, "/?came=link").Body.String(); strings.Contains(body, want) {
			t.Errorf("%s: another page says so, too", way)
		}
	}
}
