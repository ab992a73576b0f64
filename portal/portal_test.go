// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"bufio"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/web"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// signInByLink walks the whole way in of the console: link, page, button, cookie.
func (w *world) signInByLink(t testing.TB) {
	t.Helper()
	link, _, err := w.sessions.NewLink(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // opening the link, even twice, uses nothing up
		if got := w.get(t, link); got.Code != http.StatusOK {
			t.Fatalf("GET of the link: %d", got.Code)
		}
	}
	got := w.post(t, link, nil)
	if got.Code != http.StatusSeeOther || len(got.Result().Cookies()) != 1 {
		t.Fatalf("POST of the link: %d, cookies %v", got.Code, got.Result().Cookies())
	}
	w.cookie = got.Result().Cookies()[0]
	if again := w.post(t, link, nil); again.Code != http.StatusUnauthorized {
		t.Fatalf("second POST of the link: %d, want 401", again.Code)
	}
}

func (w *world) do(t testing.TB, method, target string, body io.Reader, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, body)
	r.RemoteAddr = "192.0.2.1:1234"
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if w.cookie != nil {
		r.AddCookie(w.cookie)
	}
	if change != nil {
		change(r)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec
}

func (w *world) get(t testing.TB, target string) *httptest.ResponseRecorder {
	t.Helper()
	return w.do(t, http.MethodGet, target, nil, nil)
}

func (w *world) post(t testing.TB, target string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	return w.do(t, http.MethodPost, target, strings.NewReader(form.Encode()), nil)
}

const board = "/a/lk-nordtal/alarms/0123456789abcdef"

const heldBoard = "/a/lk-nordtal/alarms/00000000000000fe"

// pages are the golden pages, each in both languages.
var pages = map[string]string{
	"overview":       "/",
	"people":         "/a/lk-nordtal/people?q=&unit=a2",
	"person":         "/a/lk-nordtal/people/1111111111111111",
	"person-deputy":  "/a/lk-nordtal/people/2222222222222222",
	"person-erased":  "/a/lk-nordtal/people/4444444444444444",
	"person-without": "/a/lk-nordtal/people/3333333333333333",
	"raise":          "/a/lk-nordtal/alarms/new?person=1111111111111111",
	"alarms":         "/a/lk-nordtal/alarms",
	"board":          board + "?list=coming",
	"board-closed":   "/a/lk-nordtal/alarms/fedcba9876543210",
	"board-written":  board + "?wrote=raised&receipt=" + url.QueryEscape(web.ReceiptOf(written()).String()),
	"board-held":     heldBoard,
	"call":           heldBoard + "/call",
	"allclear":       board + "/allclear",
	"cancel":         board + "/cancel",
	"merges":         "/merges",
	"reply":          "/r/good-token",
	"reply-unknown":  "/r/strange-token",
	"signin":         "/signin",
	"signin-link":    "/signin/secret",
	"no-page":        "/nowhere",
	"not-here":       "/a/amt-anderswo/alarms",
}

func TestPagesLookAsTheyDid(t *testing.T) {
	w := newWorld(t)
	for name, path := range pages {
		for _, lang := range languages {
			t.Run(name+"/"+string(lang), func(t *testing.T) {
				separator := "?"
				if strings.Contains(path, "?") {
					separator = "&"
				}
				got := w.get(t, path+separator+"lang="+string(lang))
				golden(t, name+"."+string(lang)+".html", got.Body.Bytes())
				if broken := regexp.MustCompile(`%!|<no value>|ZgotmplZ`).FindString(got.Body.String()); broken != "" {
					t.Errorf("the page says %q", broken)
				}
			})
		}
	}
}

var changing = regexp.MustCompile(`(/assets/[a-z]+)\.[0-9a-f]{12}\.|(name="key" value=")[^"]+`)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	got = changing.ReplaceAll(got, []byte("$1.HASH.$2"))
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with: go test ./portal -update)", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("the page differs (-want +got); if that is meant: go test ./portal -update\n%s", d)
	}
}

// TestStrangersSeeNothing asks for every route without a session.
func TestStrangersSeeNothing(t *testing.T) {
	w := newWorld(t)
	w.cookie = nil
	fill := strings.NewReplacer("{authority}", "lk-nordtal", "{alarm}", "0123456789abcdef", "{person}", "1111111111111111", "{$}", "",
		"{secret}", "guess", "{token}", "guess")
	for _, route := range w.Routes() {
		method, path, ok := strings.Cut(fill.Replace(route.Pattern), " ")
		if !ok || route.Open {
			continue
		}
		t.Run(route.Pattern, func(t *testing.T) {
			got := w.do(t, method, path, strings.NewReader(""), nil)
			if method == http.MethodGet && (got.Code != http.StatusSeeOther || got.Header().Get("Location") != "/signin") {
				t.Errorf("GET %s: %d to %q, want 303 to /signin", path, got.Code, got.Header().Get("Location"))
			}
			if method != http.MethodGet && got.Code != http.StatusUnauthorized {
				t.Errorf("%s %s: %d, want 401", method, path, got.Code)
			}
			for _, secret := range []string{"Öztürk", "Müller", "Serverausfall", "Servers down", "Amt 32"} {
				if strings.Contains(got.Body.String(), secret) {
					t.Errorf("%s %s tells a stranger %q", method, path, secret)
				}
			}
		})
	}
	if len(w.alarms.drafts)+len(w.alarms.closed) > 0 {
		t.Errorf("a stranger has changed something: %v %v", w.alarms.drafts, w.alarms.closed)
	}
}

func TestEveryAnswerHasStrictHeaders(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/signin", "/nowhere", "/r/good-token", "/r/nonsense", "/assets/none.css", "/fragment/overview"} {
		h := w.get(t, path).Header()
		if h.Get("Content-Security-Policy") != web.ContentSecurityPolicy || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

// TestPagesNeedNothingInlineAndNothingForeign keeps pages within the policy, whatever a browser would forgive.
func TestPagesNeedNothingInlineAndNothingForeign(t *testing.T) {
	w := newWorld(t)
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:>| [^>]*>[^<])|javascript:|<iframe|http-equiv`)
	loads := regexp.MustCompile(`(?:src|action|data-src)="([^"]*)"|<link[^>]*href="([^"]*)"`)
	bodies := map[string]string{}
	for _, path := range pages {
		bodies[path] = w.get(t, path).Body.String()
	}
	for name, page := range ownPages {
		w := newWorld(t)
		if page.who.Kind != "" {
			w.as(t, page.who)
		} else {
			w.cookie = nil
		}
		bodies[name] = w.getSecure(t, page.path)
	}
	for path, body := range bodies {
		if bad := inline.FindString(body); bad != "" {
			t.Errorf("%s has something inline: %q", path, bad)
		}
		for _, m := range loads.FindAllStringSubmatch(body, -1) {
			if target := m[1] + m[2]; !strings.HasPrefix(target, "/") && target != "data:," {
				t.Errorf("%s loads %q", path, target)
			}
		}
	}
}

// TestFirstLoadIsSmall counts what a phone with an empty cache loads for the first page, compressed.
func TestFirstLoadIsSmall(t *testing.T) {
	w := newWorld(t)
	for name, limit := range map[string]int{"overview": 120 << 10, "board": 120 << 10, "reply": 8 << 10} {
		got := w.do(t, http.MethodGet, pages[name], nil, func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") })
		if got.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s is not compressed", name)
		}
		plain := w.get(t, pages[name]).Body.String()
		total := got.Body.Len()
		for file := range w.render.assets.Names() {
			if strings.Contains(plain, w.render.assets.Path(file)) {
				total += w.render.assets.TransferBytes(file)
			}
		}
		t.Logf("%s: %d bytes", name, total)
		if total > limit {
			t.Errorf("%s: first load is %d bytes, the limit is %d", name, total, limit)
		}
	}
}

func TestAssetsAreKeptForEver(t *testing.T) {
	w := newWorld(t)
	got := w.do(t, http.MethodGet, w.render.assets.Path("kern.css"), nil, func(r *http.Request) { r.Header.Set("Accept-Encoding", "br, gzip") })
	if got.Code != http.StatusOK || got.Header().Get("Content-Encoding") != "gzip" ||
		got.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
}

func form() url.Values {
	return url.Values{"key": {"0123456789abcdef0123"}, "mode": {"exercise"}, "text-de": {"Übung: bitte melden\r\nund kommen"}, "everyone": {"1"},
		"channel": {"sms", "email"}}
}

func TestRaising(t *testing.T) {
	t.Run("nothing is preselected but the channels", func(t *testing.T) {
		body := newWorld(t).get(t, "/a/lk-nordtal/alarms/new").Body.String()
		if got := strings.Count(body, " checked"); got != len(channelKinds) {
			t.Errorf("%d boxes are checked, want the %d channels", got, len(channelKinds))
		}
	})
	t.Run("the preview tells whom it reaches and raises nothing", func(t *testing.T) {
		w := newWorld(t)
		got := w.post(t, "/a/lk-nordtal/alarms/preview", form())
		for _, want := range []string{"1.222", "12 Personen werden nicht erreicht", "Übungsalarm auslösen: 1.222 Personen", "hf-go--exercise"} {
			if !strings.Contains(got.Body.String(), want) {
				t.Errorf("the preview lacks %q", want)
			}
		}
		if len(w.alarms.drafts) != 0 {
			t.Error("the preview has raised an alarm")
		}
		golden(t, "preview.de.html", got.Body.Bytes())
	})
	t.Run("what is missing is listed, and what was typed stays", func(t *testing.T) {
		w := newWorld(t)
		f := form()
		f.Del("mode")
		f.Del("everyone")
		got := w.post(t, "/a/lk-nordtal/alarms/preview", f)
		if got.Code != http.StatusUnprocessableEntity {
			t.Errorf("status %d, want 422", got.Code)
		}
		for _, want := range []string{`href="#mode"`, `href="#audience"`, "2 Angaben", "Übung: bitte melden\nund kommen"} {
			if !strings.Contains(got.Body.String(), want) {
				t.Errorf("the form lacks %q", want)
			}
		}
		golden(t, "raise-errors.de.html", got.Body.Bytes())
	})
	t.Run("the same form sent twice raises one alarm", func(t *testing.T) {
		w := newWorld(t)
		first, second := w.post(t, "/a/lk-nordtal/alarms", form()), w.post(t, "/a/lk-nordtal/alarms", form())
		if len(w.alarms.drafts) != 1 {
			t.Fatalf("%d alarms were raised", len(w.alarms.drafts))
		}
		d := w.alarms.drafts[0]
		if d.Mode != event.Exercise || !d.Audience.Everyone || d.Actor != "operator" || d.TextDE != "Übung: bitte melden\nund kommen" {
			t.Errorf("draft %+v", d)
		}
		to := first.Header().Get("Location")
		if first.Code != http.StatusSeeOther || to != second.Header().Get("Location") || !strings.HasPrefix(to, board+"?receipt=") {
			t.Errorf("%d to %q, then to %q", first.Code, to, second.Header().Get("Location"))
		}
		if body := w.get(t, to).Body.String(); !strings.Contains(body, "Gesichert bei 2 Betreibern") {
			t.Error("the board does not tell how safe the write is")
		}
	})
	t.Run("another site's page cannot raise", func(t *testing.T) {
		w := newWorld(t)
		got := w.do(t, http.MethodPost, "/a/lk-nordtal/alarms", strings.NewReader(form().Encode()), func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Origin", "https://evil.example")
		})
		if got.Code != http.StatusForbidden || len(w.alarms.drafts) != 0 {
			t.Errorf("status %d, %d alarms", got.Code, len(w.alarms.drafts))
		}
	})
	t.Run("an authority that is not here is refused, with the way to its sites", func(t *testing.T) {
		w := newWorld(t)
		got := w.post(t, "/a/amt-anderswo/alarms", form())
		if got.Code != http.StatusNotFound || len(w.alarms.drafts) != 0 || !strings.Contains(got.Body.String(), "https://sued.example/") {
			t.Errorf("status %d, %d alarms", got.Code, len(w.alarms.drafts))
		}
	})
}

func TestClosing(t *testing.T) {
	w := newWorld(t)
	w.get(t, board+"/cancel")
	w.get(t, board+"/allclear")
	if len(w.alarms.closed) != 0 {
		t.Fatal("asking has closed the alarm")
	}
	w.post(t, board+"/allclear", nil)
	got := w.post(t, board+"/cancel", nil)
	want := []string{"allclear 0123456789abcdef by operator", "cancel 0123456789abcdef by operator"}
	if d := cmp.Diff(want, w.alarms.closed); d != "" || got.Code != http.StatusSeeOther {
		t.Errorf("%d %s", got.Code, d)
	}
}

// TestAHeldAlarmIsShownEverywhereAndCalledWhenAsked: nothing that a person has raised is silently not called.
func TestAHeldAlarmIsShownEverywhereAndCalledWhenAsked(t *testing.T) {
	w := newWorld(t)
	w.alarms.held = true
	for _, path := range []string{"/", "/fragment/overview", "/a/lk-nordtal/alarms", heldBoard, heldBoard + "/fragment"} {
		got := w.get(t, path+"?lang=de").Body.String()
		if !strings.Contains(strings.ToLower(got), "zurückgehalten") {
			t.Errorf("%s does not tell that an alarm is held", path)
		}
	}
	body := w.get(t, heldBoard+"?lang=de").Body.String()
	for _, want := range []string{"ging beim Auslösen 3 Tage nach", "377 Personen", heldBoard + "/call"} {
		if !strings.Contains(body, want) {
			t.Errorf("the board lacks %q", want)
		}
	}
	if got := w.get(t, board+"/call"); got.Code != http.StatusConflict {
		t.Errorf("an alarm that is not held: %d", got.Code)
	}
	w.get(t, heldBoard+"/call")
	if len(w.alarms.closed) != 0 {
		t.Fatal("asking has ordered the calling")
	}
	got := w.post(t, heldBoard+"/call", nil)
	if d := cmp.Diff([]string{"call 00000000000000fe by operator"}, w.alarms.closed); d != "" || got.Code != http.StatusSeeOther {
		t.Errorf("%d %s", got.Code, d)
	}
}

func TestReplyingFromAPhone(t *testing.T) {
	w := newWorld(t)
	w.cookie = nil
	if body := w.get(t, "/r/good-token").Body.String(); !strings.Contains(body, "Echteinsatz") || w.alarms.reply != nil {
		t.Fatal("the page lacks the mode, or showing it has recorded a reply")
	}
	got := w.post(t, "/r/good-token", url.Values{"reply": {"coming"}, "minutes": {"45"}})
	if got.Code != http.StatusSeeOther || w.alarms.reply == nil || w.alarms.reply.ETAMinutes != 45 {
		t.Fatalf("%d, reply %+v", got.Code, w.alarms.reply)
	}
	body := w.get(t, got.Header().Get("Location")).Body.String()
	for _, want := range []string{"Ich komme, in 45 Minuten.", "Gesichert bei 2 Betreibern", "https://sued.example/r/good-token"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page afterwards lacks %q", want)
		}
	}
	again := w.get(t, "/r/good-token").Body.String()
	if !strings.Contains(again, "Ihre Antwort ist eingetragen.") || strings.Contains(again, "Gespeichert") || strings.Contains(again, "Gesichert") {
		t.Error("the link opened again claims more, or less, than that the reply is recorded")
	}
	if got := w.post(t, "/r/good-token", url.Values{"reply": {"maybe"}}); got.Code != http.StatusUnprocessableEntity {
		t.Errorf("an unknown answer: %d, want 422", got.Code)
	}
	if got := w.get(t, "/r/nonsense"); got.Code != http.StatusNotFound {
		t.Errorf("a strange token: %d, want 404", got.Code)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	w := newWorld(t)
	last := 0
	for range 80 {
		last = w.get(t, "/r/guess").Code
	}
	if last != http.StatusServiceUnavailable {
		t.Errorf("after 80 guesses: %d, want 503", last)
	}
	if got := w.get(t, "/r/good-token").Code; got != http.StatusOK {
		t.Errorf("a good token from the same address: %d", got)
	}
}

func TestSigningOutEndsTheSession(t *testing.T) {
	w := newWorld(t)
	w.post(t, "/signout", nil)
	if got := w.get(t, "/"); got.Code != http.StatusSeeOther {
		t.Errorf("after signing out: %d, want 303", got.Code)
	}
}

func TestStreamTellsNamesAndEndsWithTheSession(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w.handler)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/events?of=board&authority=lk-nordtal&alarm=0123456789abcdef", nil)
	r.AddCookie(w.cookie)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	w.names <- readmodel.Name{}
	if got := nextData(lines); got != "board list" {
		t.Fatalf("the stream says %q", got)
	}
	w.post(t, "/signout", nil)
	w.names <- readmodel.Name{}
	if got := nextData(lines); got != "" {
		t.Errorf("after signing out the stream says %q", got)
	}
}

// nextData returns the next event's data, "" at the end of the stream.
func nextData(lines *bufio.Scanner) string {
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			return data
		}
	}
	return ""
}
