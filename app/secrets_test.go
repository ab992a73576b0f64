// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
	"codeberg.org/holdfast/holdfast/program"
)

// host is a name under which the portal is reached in these tests.
const host = "alarm.test"

var origin = identity.Origin{Host: host, URL: "https://" + host}

func named(w *world) { w.names = []string{host, "alarm-zwei.test"} }

// secrets are what must be nowhere but with the one person that it was made for.
type secrets map[string]string

func (s secrets) add(what, text string) { s[text] = what }

// code adds a printed or spoken code in the forms in which it may be written. Its first group names it and is no secret.
func (s secrets) code(what, code string) {
	s.add(what, code)
	s.add(what, strings.ReplaceAll(code, "-", ""))
	if groups := strings.Split(code, "-"); len(groups) == 6 {
		s.add(what, strings.Join(groups[1:5], ""))
	}
}

// token adds a token, and the part of it that nobody could make.
func (s secrets) token(what, token string) {
	s.add(what, token)
	if i := strings.LastIndexAny(token, "._"); i > 0 && len(token)-i > 20 {
		s.add(what, token[i+1:])
	}
}

// scanner looks for the secrets and for the bytes that they stand for.
func (s secrets) scanner() *scanner {
	raw, texts := make(secrets), make(map[string]bool)
	for text, what := range s {
		texts[text] = true
		for _, read := range []func(string) ([]byte, error){base64.RawURLEncoding.DecodeString, base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString, hex.DecodeString} {
			if b, err := read(text); err == nil && len(b) >= 10 {
				raw[string(b)], texts[string(b)] = what, true
			}
		}
	}
	maps.Copy(s, raw)
	return newScanner(texts)
}

// visitor walks through every way in at one site and gathers the secrets.
type visitor struct {
	*station
	secrets
	erika, jonas, fatma directory.PersonID
	in                  map[directory.PersonID]access.Principal
	sessions            []*http.Client
}

// everyWayIn has people come in by every way that there is, and fail to.
func (s *station) everyWayIn() *visitor {
	s.w.t.Helper()
	v := &visitor{station: s, secrets: make(secrets), erika: s.named(nordtal, "Quastenflosser").ID, jonas: s.named(nordtal, "Zwergdommel").ID,
		fatma: s.named(nordtal, "Rohrweihe").ID, in: make(map[directory.PersonID]access.Principal)}
	for _, person := range []directory.PersonID{v.erika, v.jonas} {
		v.in[person] = v.enrol(person)
	}
	erika := v.in[v.erika]
	v.digits(erika)
	v.links()
	v.vouched()
	v.handOver(erika)
	v.guestsAndPrograms()
	return v
}

// enrol invites somebody, gives them a passkey and codes, and signs them in with both. It returns the invitation's session.
func (v *visitor) enrol(person directory.PersonID) access.Principal {
	t, ctx, x := v.w.t, v.w.t.Context(), v.site.accounts
	t.Helper()
	list, _, err := x.Invite(ctx, v.site.console(), nordtal, []directory.PersonID{person}, 0)
	v.w.must(err)
	if _, err := x.SendInvitations(ctx, v.site.console(), nordtal, list, "https://"+host); err != nil {
		t.Fatal(err)
	}
	v.add("invitation", list[0].Secret)
	p, err := x.UseInvitation(ctx, list[0].Secret)
	v.w.must(err)
	v.session(p)
	phone := authenticator.New(rand.Reader)
	options, err := x.BeginPasskey(ctx, p, origin)
	v.w.must(err)
	answer, err := phone.Create(origin.URL, options)
	v.w.must(err)
	_, _, err = x.FinishPasskey(ctx, p, origin, "Erikas Schlüsselbund", answer)
	v.w.must(err)
	codes, _, err := x.IssueCodes(ctx, p)
	v.w.must(err)
	for _, c := range codes {
		v.code("recovery code", c)
	}
	signed, err := v.byPasskey(phone)
	v.w.must(err)
	v.session(signed)
	v.keep(v.enter(codes[0]))
	for _, wrong := range []string{codes[0], mistyped(codes[1]), "Quatsch"} {
		if status, _ := v.send(browser(), http.MethodPost, "/signin/code", url.Values{"code": {wrong}}); status != http.StatusUnauthorized {
			t.Errorf("a wrong code answers %d", status)
		}
	}
	return signed
}

// byPasskey signs in with a passkey.
func (s *station) byPasskey(phone *authenticator.Device) (access.Principal, error) {
	s.w.t.Helper()
	options, err := s.site.accounts.BeginSignIn(s.w.t.Context(), origin)
	s.w.must(err)
	answer, err := phone.Get(origin.URL, options)
	s.w.must(err)
	return s.site.accounts.FinishSignIn(s.w.t.Context(), origin, answer)
}

// session issues a session and keeps its token among the secrets.
func (v *visitor) session(p access.Principal) string {
	v.w.t.Helper()
	token, _, err := v.site.tokens.Issue(v.w.t.Context(), p)
	v.w.must(err)
	v.token("session", token)
	return token
}

// keep takes the session out of a browser's cookies.
func (v *visitor) keep(c *http.Client) {
	for _, cookie := range c.Jar.Cookies(&url.URL{Scheme: "http", Host: v.portal, Path: "/"}) {
		if cookie.Name == "holdfast" {
			v.token("session", cookie.Value)
		}
	}
	v.sessions = append(v.sessions, c)
}

func (v *visitor) digits(p access.Principal) {
	v.w.t.Helper()
	secret, _, err := v.site.accounts.BeginTOTP(v.w.t.Context(), p)
	v.w.must(err)
	v.add("TOTP secret", secret)
	passcode, err := totp.GenerateCode(secret, time.Now())
	v.w.must(err)
	_, err = v.site.accounts.ConfirmTOTP(v.w.t.Context(), p, secret, passcode)
	v.w.must(err)
}

func (v *visitor) links() {
	v.w.t.Helper()
	v.keep(v.signedIn())
	link, err := v.SignInLink(v.w.t.Context())
	v.w.must(err)
	v.add("console's link", link[strings.LastIndex(link, "/")+1:])
	v.add("init's link", v.station.signIn[strings.LastIndex(v.station.signIn, "/")+1:])
	secret, _, err := v.site.accounts.Link(v.w.t.Context(), v.site.console(), nordtal, v.fatma, time.Hour)
	v.w.must(err)
	v.add("person's link", secret)
	c := browser()
	if status, body := v.send(c, http.MethodPost, "/signin/"+secret, url.Values{}); status != http.StatusSeeOther {
		v.w.t.Fatalf("a person's link answers %d: %.500s", status, body)
	}
	v.keep(c)
}

func (v *visitor) vouched() {
	ctx, x := v.w.t.Context(), v.site.accounts
	v.w.t.Helper()
	ticket, spoken, err := x.AskVouching(ctx)
	v.w.must(err)
	v.token("ticket", ticket)
	v.add("spoken characters", spoken)
	for _, who := range []directory.PersonID{v.erika, v.jonas} {
		_, err = x.Vouch(ctx, v.in[who], spoken, v.fatma)
		v.w.must(err)
	}
	p, err := x.TakeVouching(ctx, ticket)
	v.w.must(err)
	v.session(p)
}

func (v *visitor) handOver(p access.Principal) {
	v.w.t.Helper()
	token, err := v.site.accounts.HandOver(v.w.t.Context(), p, v.w.names[1])
	v.w.must(err)
	v.token("hand-over", token)
	there := identity.Origin{Host: v.w.names[1], URL: "https://" + v.w.names[1]}
	_, err = v.site.accounts.TakeHandOver(v.w.t.Context(), token, there)
	v.w.must(err)
}

func (v *visitor) guestsAndPrograms() {
	t, ctx, s := v.w.t, v.w.t.Context(), v.site
	t.Helper()
	a, err := v.Raise(ctx, nordtal, alarmToAll("Übung"), "")
	v.w.must(err)
	_, code, _, err := s.guests.Invite(ctx, s.console(), nordtal, guest.Draft{Name: "Gast", Incident: string(event.Subject("alarm/" + a.ID))})
	v.w.must(err)
	v.code("guest's code", code)
	c := browser()
	if status, body := v.send(c, http.MethodPost, "/signin/guest", url.Values{"code": {code}}); status != http.StatusSeeOther {
		t.Fatalf("a guest's code answers %d: %.500s", status, body)
	}
	v.keep(c)
	_, token, _, err := s.programs.Make(ctx, s.console(), nordtal, program.Draft{Name: "Leitstelle", Kind: program.API, Scopes: []access.Permission{access.SeeAlarms}})
	v.w.must(err)
	v.token("API token", token)
	_, err = s.programs.Authenticate(ctx, token)
	v.w.must(err)
	_, password, _, err := s.programs.Make(ctx, v.in[v.erika], nordtal,
		program.Draft{Name: "Telefonbuch", Kind: program.CardDAV, Owner: v.erika})
	v.w.must(err)
	v.token("app password", password)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.portal+"/api/v1/merges", nil)
	v.w.must(err)
	r.Header.Set("Authorization", "Bearer "+token+"x")
	answer, err := browser().Do(r)
	v.w.must(err)
	_ = answer.Body.Close()
}

// No code, token, key, password or link lies in any store, is said by the program, or goes to anybody but whom it is for.
func TestNoSecretIsStoredSaidOrSentToAnybodyElse(t *testing.T) {
	w := newWorld(t, 1, named, func(w *world) { w.said = &told{} })
	w.authority(nordtal, 1)
	a := w.sites[0]
	a.importAt(nordtal, table(erika, jonas, fatma))
	v := a.everyWayIn()
	w.must(a.site.audit.Flush(t.Context()))
	key, err := os.ReadFile(filepath.Join(a.data, "site.key"))
	w.must(err)
	v.add("site key", strings.Split(string(key), "\n")[1])
	scan, size := v.scanner(), 0
	look := func() {
		for _, name := range []string{logFolder, localFile, keyringFile, modelFile} {
			paths, err := filepath.Glob(filepath.Join(a.data, name+"*"))
			w.must(err)
			for _, path := range paths {
				for p, b := range filesBelow(t, path) {
					size += len(b)
					for text, form := range scan.find(b) {
						t.Errorf("%s holds a secret (%s) as %s", p, v.secrets[text], form)
					}
				}
			}
		}
	}
	look() // also while it runs: SQLite's logs go when it ends
	w.must(a.stop())
	look()
	for text, form := range scan.find(w.said.bytes()) {
		t.Errorf("the program has said a secret (%s) as %s", v.secrets[text], form)
	}
	sent := 0
	for _, m := range w.sms.messages() {
		for text := range scan.find([]byte(m.Text)) {
			sent++
			if v.secrets[text] != "invitation" || m.To != "+491713920101" && m.To != "+491713920102" {
				t.Errorf("%s got a secret (%s)", m.To, v.secrets[text])
			}
		}
	}
	if sent < 2 || size < 1<<20 || len(w.said.bytes()) == 0 {
		t.Errorf("%d secrets sent, %d bytes of stores and %d of logs read: the test proves nothing", sent, size, len(w.said.bytes()))
	}
	t.Logf("%d secrets, %d needles, %d bytes of stores, %d of logs, %d messages", len(v.secrets), scan.needles, size, len(w.said.bytes()), len(w.sms.messages()))
}

// mistyped changes the last character.
func mistyped(code string) string {
	if last := len(code) - 1; code[last] != '7' {
		return code[:last] + "7"
	}
	return code[:len(code)-1] + "8"
}
