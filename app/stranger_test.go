// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/web"
)

// dial connects to a site as another one, with that one's own key, outside of its program.
func (s *station) dial(to *station) *jetstream.Peer {
	t := s.w.t
	t.Helper()
	p, err := jetstream.Dial(t.Context(), jetstream.LinksConfig{Identity: s.site.identity, Now: time.Now, LocalAddr: s.host,
		Logger: slog.New(slog.DiscardHandler)}, []string{to.relay.addr()}, to.id)
	s.w.must(err)
	t.Cleanup(p.Close)
	return p
}

func ask(t *testing.T, p *jetstream.Peer, verb string, body any) ([]byte, error) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return p.Request(ctx, verb, b)
}

func TestAFourthSiteThatNoAuthorityAllowsHoldsAndLearnsNothing(t *testing.T) {
	w := newWorld(t, 4)
	w.authority(nordtal, 3)
	w.authority(westmark, 3)
	a, d := w.sites[0], w.sites[3]
	a.importAt(nordtal, table(erika, jonas, fatma))
	tokens := w.alarmPeople("Quastenflosser geht vor.")
	w.same(w.sites[:3]...)
	w.eventually("the fourth site has the federation's facts", func() error {
		if got := len(d.site.federation.Authorities()); got != 2 {
			return fmt.Errorf("it knows %d authorities", got)
		}
		return nil
	})
	t.Run("it holds nothing", func(t *testing.T) { holdsNothing(t, d) })
	t.Run("it is refused what it asks for", func(t *testing.T) { isRefused(t, a, d) })
	t.Run("its doors tell nothing", func(t *testing.T) { tellsNothing(t, d, tokens[0]) })
	t.Run("it writes nothing that others take", func(t *testing.T) { writesNothing(t, a, d) })
}

// alarmPeople raises an alarm to everybody and returns the links' tokens.
func (w *world) alarmPeople(text string) []string {
	w.t.Helper()
	a := w.sites[0]
	r, err := a.Raise(w.t.Context(), nordtal, api.AlarmDraft{TextDE: text, Mode: event.Test, Audience: directory.Audience{Everyone: true},
		Channels: []directory.ChannelKind{directory.SMS}}, "")
	w.must(err)
	w.eventually("everybody is called", func() error {
		b, err := a.Board(w.t.Context(), nordtal, r.ID)
		if err == nil && b.Total.Called < r.People {
			err = fmt.Errorf("%d of %d are", b.Total.Called, r.People)
		}
		return err
	})
	var tokens []string
	for _, m := range w.sms.messages() {
		for _, found := range replyToken.FindAllStringSubmatch(m.Text, -1) {
			tokens = append(tokens, found[1])
		}
	}
	return tokens
}

// holdsNothing looks into every file of the site.
func holdsNothing(t *testing.T, d *station) {
	secrets := map[string]bool{"Quastenflosser": true, "Zwergdommel": true, "Rohrweihe": true, "491713920101": true, "Amt 32": true, "geht vor": true}
	if found := d.holds(secrets, ""); len(found) > 0 {
		t.Errorf("its files hold %v", found)
	}
	for _, h := range d.site.log.Heads() {
		if h.Branch.Authority != event.Federation {
			t.Errorf("it has pages of %s", h.Branch)
		}
	}
	streams, err := filepath.Glob(filepath.Join(d.data, logFolder, "*", "*", "streams", "*"))
	if err != nil || len(streams) == 0 {
		t.Fatalf("its streams are not found: %v", err)
	}
	for _, s := range streams {
		if !strings.HasPrefix(filepath.Base(s), "federation_") {
			t.Errorf("it has the stream %s", s)
		}
	}
	if list, err := d.site.ring.Authorities(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("its keyring has keys of %v, %v", list, err)
	}
	err = d.site.model.View(t.Context(), func(q readmodel.Query) error {
		for _, table := range []string{"rm_subject", "directory_person", "directory_unit", "directory_function", "alarm", "alarm_person"} {
			var n int
			if err := q.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table+` WHERE authority <> 'federation'`).Scan(&n); err != nil || n > 0 {
				t.Errorf("its table %s has %d rows of others, %v", table, n, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// isRefused asks with the site's own key for what it may not have. The answers for an authority that is there and for one
// that is not must be the same.
func isRefused(t *testing.T, a, d *station) {
	peer := d.dial(a)
	var log eventlog.Head
	for _, h := range a.site.log.Heads() {
		if h.Branch.Authority == nordtal && h.Branch.Class == event.Register {
			log = h
		}
	}
	if log.Page == 0 {
		t.Fatal("there is nothing to be refused")
	}
	target := map[string]any{"page": log.Page, "hash": log.Hash}
	start := map[string]any{"page": 0, "hash": eventlog.Hash{}}
	ghost := log.Branch.LogID
	ghost.Authority = "gibtesnicht"
	for verb, body := range map[string]func(eventlog.LogID) any{
		"pages": func(id eventlog.LogID) any { return map[string]any{"log": id, "after": start, "target": target} },
		"hash":  func(id eventlog.LogID) any { return map[string]any{"log": id, "target": target, "pages": []int{1}} },
		"keys": func(id eventlog.LogID) any {
			return map[string]any{"want": []any{map[string]any{"authority": id.Authority}}}
		},
	} {
		answer, refusal := ask(t, peer, verb, body(log.Branch.LogID))
		if fault.KindOf(refusal) != fault.Forbidden || fault.Of(refusal).WayOut == "" || len(answer) > 0 {
			t.Errorf("%s: answered %q, %v", verb, answer, refusal)
		}
		if _, other := ask(t, peer, verb, body(ghost)); fmt.Sprint(other) != fmt.Sprint(refusal) {
			t.Errorf("%s tells an authority that is there from one that is not:\n%v\n%v", verb, refusal, other)
		}
	}
	// A page of the authority is not to be had under the name of a log that the site may read.
	disguised := log.Branch.LogID
	disguised.Authority = event.Federation
	answer, err := ask(t, peer, "pages", map[string]any{"log": disguised, "after": start, "target": target})
	if err != nil || bytes.Contains(answer, []byte(nordtal)) || !bytes.Contains(answer, []byte(`"gone":true`)) {
		t.Errorf("a disguised question is answered: %q, %v", answer, err)
	}
	for what, body := range map[string]any{
		"all heads":          map[string]any{"session": "x"},
		"heads of one site":  map[string]any{"origin": a.id},
		"heads told as seen": map[string]any{"session": "y", "seen": map[string]any{"session": "z", "version": 1 << 40}},
	} {
		answer, err := ask(t, peer, "heads", body)
		if err != nil || bytes.Contains(answer, []byte(nordtal)) || bytes.Contains(answer, []byte(westmark)) {
			t.Errorf("%s are told: %s, %v", what, answer, err)
		}
	}
	// It may talk, and the question was understood: the same one about the federation is answered.
	for _, h := range a.site.log.Heads() {
		if h.Branch.Authority != event.Federation || h.Branch.Site != a.id {
			continue
		}
		answer, err := ask(t, peer, "pages", map[string]any{"log": h.Branch.LogID, "after": start, "target": map[string]any{"page": h.Page, "hash": h.Hash}})
		if err != nil || !bytes.Contains(answer, []byte("HFP1")) {
			t.Errorf("the federation's own pages are refused: %v", err)
		}
	}
}

// tellsNothing asks the site's own portal and API, signed in. The portal names the authority's own sites, which every
// member knows; the API tells an authority that is elsewhere from one that is nowhere only in the list of authorities.
func tellsNothing(t *testing.T, d *station, token string) {
	c := d.signedIn()
	asked := 0
	for _, r := range d.routes() {
		method, path, _ := strings.Cut(r.Pattern, " ")
		if r.Open || !strings.Contains(path, "{authority}") {
			continue
		}
		asked++
		status, body := d.request(c, method, fill(path, nordtal))
		other, nowhere := d.request(c, method, fill(path, "gibtesnicht"))
		if status != http.StatusNotFound || other != http.StatusNotFound {
			t.Errorf("%s %s answers %d, and %d for an authority that is nowhere: %.300s", method, path, status, other, body)
		}
		if strings.HasPrefix(path, "/api/") && body != nowhere {
			t.Errorf("%s tells an authority that is there from one that is not:\n%s\n%s", r.Pattern, body, nowhere)
		}
		noSecrets(t, path, body)
	}
	if asked < 25 {
		t.Errorf("only %d routes are about an authority: the test has lost them", asked)
	}
	for _, path := range []string{"/r/" + token, "/", "/merges", "/api/v1/merges", "/api/v1/status", "/api/v1/troubles"} {
		_, body := d.request(c, http.MethodGet, path)
		noSecrets(t, path, body)
	}
}

func noSecrets(t *testing.T, path, body string) {
	t.Helper()
	for _, secret := range []string{"Quastenflosser", "Zwergdommel", "Erika", "3920101", "Amt 32", "geht vor"} {
		if strings.Contains(body, secret) {
			t.Errorf("%s tells %q: %s", path, secret, body)
		}
	}
}

// writesNothing lets the site's key sign a page of the authority. The others must not take it.
func writesNothing(t *testing.T, a, d *station) {
	log := eventlog.LogID{Authority: nordtal, Class: event.Operations, Site: d.id, Incarnation: "00000000000000aa"}
	page, err := eventlog.SignPage(d.site.identity, eventlog.Header{Log: log, Number: 1, Wall: time.Now().UnixMilli()}, []event.Event{{
		ID: "00000000000000ab", Stamp: event.StampAt(time.Now()), Subject: "alarm/00000000000000ac", Kind: alarm.KindCancelled,
		Actor: "operator", Data: []byte(`{}`)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.site.log.Accept(t.Context(), [][]byte{page.Raw()})
	wantFault(t, err, "log.origin_not_allowed", "may not hold the authority's data", "allow the site")
}

// signedIn returns a browser with the operator's session at the site.
func (s *station) signedIn() *http.Client {
	t := s.w.t
	t.Helper()
	c := browser()
	link, err := s.SignInLink(t.Context())
	s.w.must(err)
	if status, _ := s.send(c, http.MethodGet, strings.TrimPrefix(link, "http://"+s.portal), nil); status != http.StatusOK {
		t.Fatalf("the sign-in link answers %d", status)
	}
	if status, body := s.send(c, http.MethodPost, strings.TrimPrefix(link, "http://"+s.portal), url.Values{}); status != http.StatusSeeOther {
		t.Fatalf("signing in answers %d: %s", status, body)
	}
	return c
}

// request sends what the route usually takes.
func (s *station) request(c *http.Client, method, path string) (int, string) {
	s.w.t.Helper()
	if method == "" {
		method = http.MethodGet
	}
	return s.send(c, method, path, url.Values{})
}

func (s *station) send(c *http.Client, method, path string, form url.Values) (int, string) {
	t := s.w.t
	t.Helper()
	var body io.Reader
	if method != http.MethodGet && !strings.HasPrefix(path, "/api/") {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.portal+path, body)
	s.w.must(err)
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := c.Do(r)
	s.w.must(err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	s.w.must(err)
	return answer.StatusCode, string(b)
}

const anID = "00000000000000ff"

// fill puts plausible values into a route's pattern.
func fill(path string, id event.AuthorityID) string {
	return strings.NewReplacer("{authority}", string(id), "{person}", anID, "{alarm}", anID, "{site}", "aaaa", "{secret}", "aaaa", "{token}", "aaaa",
		"{$}", "").Replace(path)
}

// routes returns the tables of contents of portal and API.
func (s *station) routes() []web.Route {
	s.w.t.Helper()
	once := &web.Once{}
	p, err := s.site.newPortal(once)
	s.w.must(err)
	return append(p.Routes(), api.New(s.site.apiConfig(once)).Routes()...)
}

// wire speaks NATS to a site by hand, so that nothing of ours keeps a site from asking for what it may not have.
type wire struct {
	conn *tls.Conn
	in   *bufio.Reader
}

func (s *station) wire(to *station) *wire {
	t := s.w.t
	t.Helper()
	key := s.site.identity.Signer()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public().(ed25519.PublicKey), key)
	s.w.must(err)
	conn, err := tls.Dial("tcp", to.relay.addr(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	s.w.must(err)
	t.Cleanup(func() { _ = conn.Close() })
	w := &wire{conn, bufio.NewReader(conn)}
	s.w.must(conn.SetDeadline(time.Now().Add(patience)))
	if got := w.read(t); !strings.HasPrefix(got, "INFO ") {
		t.Fatalf("the door says %q", got)
	}
	w.say(t, `CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"lang":"test","version":"0","headers":true,"no_responders":true}`)
	if got := w.until(t); len(got) > 0 {
		t.Fatalf("the door says %q", got)
	}
	return w
}

func (w *wire) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(w.conn, line+"\r\n"); err != nil {
		t.Fatal(err)
	}
}

func (w *wire) read(t *testing.T) string {
	t.Helper()
	line, err := w.in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// until asks for a sign of life and returns everything that came before it.
func (w *wire) until(t *testing.T) (lines []string) {
	t.Helper()
	w.say(t, "PING")
	for {
		switch line := w.read(t); line {
		case "PONG":
			return lines
		case "PING":
			w.say(t, "PONG")
		default:
			lines = append(lines, line)
		}
	}
}

func TestAMemberCannotListenToAnother(t *testing.T) {
	w := newWorld(t, 3)
	w.authority(nordtal, 2)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	wire := c.wire(a)
	mine, theirs := "_INBOX_"+string(c.id)+".x", "_INBOX_"+string(b.id)
	for i, subject := range []string{theirs + ".>", theirs + ".*", "_INBOX_*.>", ">", "*.>", "hf.>", "hf." + string(b.id) + ".pages", "hf.*.keys",
		"$SYS.>", "$JS.API.>", "log.>", "_INBOX.>"} {
		wire.say(t, fmt.Sprintf("SUB %s %d", subject, i+1))
		if got := wire.until(t); len(got) != 1 || !strings.Contains(got[0], "Permissions Violation for Subscription") {
			t.Errorf("listening on %s is answered by %q", subject, got)
		}
	}
	for _, subject := range []string{"hf." + string(b.id) + ".pages", theirs + ".y", "$JS.API.STREAM.NAMES", "log.federation", "_INBOX_" + string(a.id) + ".y"} {
		wire.say(t, fmt.Sprintf("PUB %s %s 2\r\n{}", subject, mine))
		if got := wire.until(t); len(got) != 1 || !strings.Contains(got[0], "Permissions Violation for Publish") {
			t.Errorf("publishing on %s is answered by %q", subject, got)
		}
	}
	// Its own inbox works; and what a and b tell each other meanwhile does not come to it.
	wire.say(t, "SUB "+mine+" 100")
	wire.say(t, fmt.Sprintf("PUB hf.%s.heads %s 2\r\n{}", c.id, mine))
	w.eventually("its own question is answered", func() error {
		for _, line := range wire.until(t) {
			if strings.HasPrefix(line, "MSG "+mine) || strings.HasPrefix(line, "HMSG "+mine) {
				return nil
			}
		}
		return errors.New("it is not")
	})
	// An answer is never put into another one's inbox.
	wire.say(t, fmt.Sprintf("PUB hf.%s.heads %s.z 2\r\n{}", c.id, theirs))
	a.importAt(nordtal, table(erika, jonas, fatma))
	w.same(a, b)
	for _, line := range wire.until(t) {
		if !strings.Contains(line, mine) && strings.Contains(line, "MSG") {
			t.Errorf("it hears %q", line)
		}
	}
}

func TestAStrangerMayOnlyAskToJoin(t *testing.T) {
	w := newWorld(t, 2)
	a := w.sites[0]
	stranger := &station{w: w, host: "127.0.0.60", site: &Site{}}
	var err error
	if stranger.site.identity, err = newIdentity(); err != nil {
		t.Fatal(err)
	}
	peer := stranger.dial(a)
	for _, verb := range []string{"heads", "pages", "hash", "keys"} {
		_, err := ask(t, peer, verb, map[string]any{})
		wantFault(t, err, "peer.refused", "does not count this site as a member", "admitted")
	}
	_, err = ask(t, peer, "join", map[string]any{"inviter": a.id, "invitation": "0000000000000000"})
	wantFault(t, err, "join.expired", "no longer knows it", "new one")
}

func TestAnAuthorityTakesItsDataFromASiteAndGivesItBack(t *testing.T) {
	w := newWorld(t, 3)
	w.authority(nordtal, 3)
	w.authority(westmark, 3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	a.importAt(nordtal, table(erika, jonas, fatma))
	b.importAt(westmark, table("9;Haubentaucher;Lena;;0171 3920109;Abteilung 1"))
	c.importAt(nordtal, table("8;Blesshuhn;Max;;0171 3920108;Amt 32")) // c has a log of its own to lose
	w.alarmPeople("Quastenflosser geht vor.")
	w.same(w.sites...)
	secrets := map[string]bool{"Quastenflosser": true, "Zwergdommel": true, "Blesshuhn": true, "491713920101": true, "geht vor": true}
	c.shows(secrets, "")
	gone := func(s *station) func() error {
		return func() error {
			if found := s.holds(secrets, ""); len(found) > 0 {
				return fmt.Errorf("there is still %v", found)
			}
			for _, h := range s.site.log.Heads() {
				if h.Branch.Authority == nordtal {
					return fmt.Errorf("there is still %s", h.Branch)
				}
			}
			if list, err := s.site.ring.Authorities(t.Context()); err != nil || len(list) != 1 {
				return fmt.Errorf("there are keys of %v, %w", list, err)
			}
			return nil
		}
	}
	w.must(a.Forbid(t.Context(), nordtal, c.id))
	w.eventually("the site has lost it all", gone(c))
	_, err := c.People(t.Context(), nordtal, directory.Search{})
	wantFault(t, err, "access.no_authority", "holds no data", "own sites")
	if p := c.named(westmark, "Haubentaucher"); p.Readable != directory.Readable {
		t.Error("it has lost another authority's people too")
	}
	c.importAt(westmark, table("9;Haubentaucher;Lena;;0171 3920109;Abteilung 1", "10;Reiher;Ute;;0171 3920110;Abteilung 1"))
	a.importAt(nordtal, table("7;Kormoran;Ida;;0171 3920107;Amt 32"))
	if a.named(nordtal, "Blesshuhn").Readable != directory.Readable || b.named(nordtal, "Blesshuhn").Readable != directory.Readable {
		t.Error("what the site had written is lost elsewhere")
	}

	w.must(a.Allow(t.Context(), nordtal, c.id))
	w.same(w.sites...)
	if c.named(nordtal, "Kormoran").Readable != directory.Readable || c.named(nordtal, "Zwergdommel").Readable != directory.Readable {
		t.Error("the site does not get everything when it is allowed again")
	}
	c.importAt(nordtal, table("6;Eisvogel;Kai;;0171 3920106;Amt 32"))
	w.same(w.sites...)

	// A site that is away when it is forbidden loses everything when it is back.
	c.end()
	w.must(b.Forbid(t.Context(), nordtal, c.id))
	c.start()
	w.eventually("the site has lost it all", gone(c))
	w.eventually("no half-made read model is left", func() error {
		if _, err := os.Stat(filepath.Join(c.data, modelFile+".rebuild")); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
}
