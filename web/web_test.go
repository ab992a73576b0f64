// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/localstore"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newSessions(t *testing.T) (*Sessions, *localstore.Store, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
	store, err := localstore.Open(filepath.Join(t.TempDir(), "local.db"), c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &Sessions{Store: store, Tokens: &fakeTokens{}, Audit: &recorder{}, Self: access.Principal{Kind: access.Console},
		Rand: rand.NewChaCha8([32]byte{7}), Now: c.now}, store, c
}

func newLogger(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func TestOnce(t *testing.T) {
	s, store, c := newSessions(t)
	o := &Once{Store: store, Rand: s.Rand, Now: c.now}
	key, err := o.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	do := func() (string, error) { runs++; return "alarm 7", nil }
	for range 3 {
		if got, err := o.Do(t.Context(), "a", key, do); err != nil || got != "alarm 7" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if _, err := o.Do(t.Context(), "b", key, do); err != nil || runs != 2 {
		t.Errorf("%d runs, %v; want one in each of two scopes", runs, err)
	}
	bad := func() (string, error) { return "", errors.New("no") }
	if _, err := o.Do(t.Context(), "c", key, bad); err == nil {
		t.Error("the failure was swallowed")
	}
	if got, err := o.Do(t.Context(), "c", key, do); err != nil || got != "alarm 7" {
		t.Errorf("after a failure: %q, %v", got, err)
	}
	nested := func() (string, error) { return o.Do(t.Context(), "d", key, do) }
	if _, err := o.Do(t.Context(), "d", key, nested); !errors.Is(err, ErrUnderWay) {
		t.Errorf("while under way: %v, want ErrUnderWay", err)
	}
	if _, err := o.Do(t.Context(), "e", "short", do); !errors.Is(err, ErrOnceKey) {
		t.Errorf("short key: %v, want ErrOnceKey", err)
	}
}

func handler(next http.HandlerFunc) (http.Handler, *bytes.Buffer) {
	var logged bytes.Buffer
	errs := &Errors{Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	mux := http.NewServeMux()
	mux.Handle("/", next)
	return Handler(HandlerConfig{Errors: errs, BehindTLS: true, Strict: func(host string) bool { return host == "alarm.example" }, LargeBody: func(r *http.Request) bool { return r.URL.Path == "/large" }}, mux), &logged
}

func TestHandler(t *testing.T) {
	t.Run("a panic becomes an error without details", func(t *testing.T) {
		h, logged := handler(func(http.ResponseWriter, *http.Request) { panic("secret detail") })
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		if rec.Code != 500 || strings.Contains(rec.Body.String(), "secret") || !strings.Contains(logged.String(), "secret detail") {
			t.Errorf("%d %s, log %s", rec.Code, rec.Body, logged)
		}
	})
	t.Run("only the federation's names insist on TLS", func(t *testing.T) {
		h, _ := handler(func(http.ResponseWriter, *http.Request) {})
		for host, want := range map[string]bool{"alarm.example": true, "alarm.example:8600": true, "192.0.2.7:8600": false, "box.local": false} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = host
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if got := rec.Header().Get("Strict-Transport-Security") != ""; got != want {
				t.Errorf("%s: %v, want %v", host, got, want)
			}
		}
	})
	t.Run("behind a proxy the sender is whom the proxy names", func(t *testing.T) {
		for header, want := range map[string]string{"198.51.100.7": "198.51.100.7", "10.0.0.1, 198.51.100.7": "198.51.100.7", "nonsense": "192.0.2.1", "": "192.0.2.1"} {
			got := ""
			h := Handler(HandlerConfig{Errors: &Errors{Logger: newLogger(t)}, ClientHeader: "X-Forwarded-For"},
				http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = senderOf(r) }))
			r := httptest.NewRequest("GET", "/", nil)
			if header != "" {
				r.Header.Set("X-Forwarded-For", header)
			}
			if h.ServeHTTP(httptest.NewRecorder(), r); got != want {
				t.Errorf("%q: %s, want %s", header, got, want)
			}
		}
	})
	t.Run("another site's page changes nothing", func(t *testing.T) {
		called := false
		h, _ := handler(func(http.ResponseWriter, *http.Request) { called = true })
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
			r := httptest.NewRequest("POST", "/", strings.NewReader("x"))
			r.Header.Set(name, value)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if rec.Code != http.StatusForbidden || called {
				t.Errorf("%s: %d", name, rec.Code)
			}
		}
	})
	t.Run("bodies are bounded", func(t *testing.T) {
		h, _ := handler(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				http.Error(w, "", Status(fault.KindOf(BodyError(err))))
			}
		})
		for path, want := range map[string]int{"/": 413, "/large": 200} {
			for _, known := range []bool{true, false} {
				r := httptest.NewRequest("POST", path, io.LimitReader(zeros{}, 2<<20))
				if known {
					r.ContentLength = 2 << 20
				}
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				if rec.Code != want {
					t.Errorf("%s known=%v: %d, want %d", path, known, rec.Code, want)
				}
			}
		}
	})
	t.Run("pages are compressed for those who can read it", func(t *testing.T) {
		h, _ := handler(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, strings.Repeat("hello ", 100))
		})
		for accept, want := range map[string]string{"gzip, br": "gzip", "gzip;q=0": "", "br": ""} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept-Encoding", accept)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if got := rec.Header().Get("Content-Encoding"); got != want {
				t.Errorf("%q: %q, want %q", accept, got, want)
			}
			if want == "gzip" {
				z, err := gzip.NewReader(rec.Body)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(z); err != nil || len(b) != 600 {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			}
		}
	})
	t.Run("the language is chosen by hand, then by memory, then by the browser", func(t *testing.T) {
		var got Language
		h, _ := handler(func(_ http.ResponseWriter, r *http.Request) { got = LanguageOf(r.Context()) })
		for _, c := range []struct {
			query, cookie, accept string
			want                  Language
		}{{"", "", "", German}, {"", "", "en-GB,en;q=0.9", English}, {"", "", "fr,de;q=0.5", German}, {"", "", "fr", German}, {"", "", ";;;", German},
			{"", "en", "de", English}, {"?lang=de", "en", "en", German}, {"?lang=xx", "", "en", English}} {
			r := httptest.NewRequest("GET", "/"+c.query, nil)
			r.Header.Set("Accept-Language", c.accept)
			if c.cookie != "" {
				r.AddCookie(&http.Cookie{Name: "lang", Value: c.cookie})
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if got != c.want {
				t.Errorf("%+v: got %s", c, got)
			}
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestErrorsHaveAStatusEach(t *testing.T) {
	kinds := []fault.Kind{fault.Invalid, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.Conflict, fault.TooLarge, fault.Exhausted,
		fault.Unavailable, fault.Internal}
	seen := map[int]fault.Kind{}
	for _, k := range kinds {
		s := Status(k)
		if s < 400 || seen[s] != "" {
			t.Errorf("%s has status %d, as has %q", k, s, seen[s])
		}
		seen[s] = k
	}
	if Status("unheard of") != 500 {
		t.Error("an unknown kind is not a 500")
	}
	f := fault.New(fault.Invalid, "x.y", "wrong", "mend it").At(7, "mail")
	if back := ProblemOf(f).Fault(); back.Error() != f.Error() || !errors.Is(back, f) {
		t.Errorf("a fault does not survive the way: %v", back)
	}
}

func TestAttempts(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	a := NewAttempts(c.now, 3, time.Second, 2)
	try := func(from string) error {
		r := httptest.NewRequest("POST", "/", nil)
		r.RemoteAddr = from
		return a.Allow(r)
	}
	for range 3 {
		if err := try("192.0.2.1:1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := try("192.0.2.1:2"); !errors.Is(err, ErrTooOften) {
		t.Errorf("fourth: %v, want ErrTooOften", err)
	}
	if err := try("[2001:db8::1]:1"); err != nil {
		t.Errorf("another address: %v", err)
	}
	for range 2 {
		_ = try("[2001:db8::ffff]:1")
	}
	if err := try("[2001:db8::2]:1"); !errors.Is(err, ErrTooOften) {
		t.Errorf("the same /64: %v, want ErrTooOften", err)
	}
	for i := range 100 {
		_ = try(fmt.Sprintf("198.51.100.%d:1", i))
	}
	if len(a.seen) > 3 {
		t.Errorf("%d addresses are remembered, the bound is 2 and one shared", len(a.seen))
	}
	c.t = c.t.Add(time.Minute)
	if err := try("192.0.2.1:3"); err != nil {
		t.Errorf("after a rest: %v", err)
	}
}

func TestAssets(t *testing.T) {
	a, err := NewAssets(fstest.MapFS{"a.css": {Data: []byte(strings.Repeat("a{}", 100))}, "b.txt": {Data: []byte("x")}}, "/assets/")
	if err != nil {
		t.Fatal(err)
	}
	if a.Path("b.txt") != "" || !strings.HasPrefix(a.Path("a.css"), "/assets/a.") || a.TransferBytes("a.css") > 60 {
		t.Errorf("%q, %q, %d bytes", a.Path("b.txt"), a.Path("a.css"), a.TransferBytes("a.css"))
	}
	for path, want := range map[string]int{a.Path("a.css"): 200, "/assets/a.000000000000.css": 404, "/assets/../x": 404} {
		rec := httptest.NewRecorder()
		a.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
}

const aSite = event.SiteID("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

func FuzzReceipt(f *testing.F) {
	r := Receipt{Log: eventlog.LogID{Authority: "lk-nordtal", Class: event.Operations, Site: aSite, Incarnation: "0011223344556677"},
		At: eventlog.Position{Page: 12, Index: 3}}
	f.Add(r.String())
	f.Add("@.")
	f.Add("a/b/c/d@1.2")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseReceipt(text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := ParseReceipt(got.String())
		if err != nil || again != got {
			t.Errorf("%q became %+v, then %+v, %v", text, got, again, err)
		}
	})
}

func TestListen(t *testing.T) {
	t.Run("OK", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln, secure, err := Listen(ctx, ListenConfig{Address: "127.0.0.1:0"})
		if err != nil || secure {
			t.Fatal(secure, err)
		}
		served := make(chan error, 1)
		go func() {
			served <- Serve(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }),
				slog.New(slog.DiscardHandler))
		}()
		answer, err := http.Get("http://" + ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		cancel()
		if err := <-served; err != nil || string(b) != "hello" {
			t.Errorf("%q, %v", b, err)
		}
	})
	t.Run("ErrPlain", func(t *testing.T) {
		if _, _, err := Listen(t.Context(), ListenConfig{Address: "0.0.0.0:0"}); !errors.Is(err, ErrPlain) {
			t.Errorf("got %v, want ErrPlain", err)
		}
	})
	t.Run("ErrPort", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if _, _, err := Listen(t.Context(), ListenConfig{Address: ln.Addr().String()}); !errors.Is(err, ErrPort) {
			t.Errorf("got %v, want ErrPort", err)
		}
	})
	t.Run("ErrCertificate", func(t *testing.T) {
		if _, _, err := Listen(t.Context(), ListenConfig{Address: "127.0.0.1:0", CertFile: "none.pem", KeyFile: "none.pem"}); fault.Of(err).Code != "web.certificate" {
			t.Errorf("got %v, want web.certificate", err)
		}
	})
}

func TestLimitGivesSlotsBack(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := limit(inner, 1)
	for range 3 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = got.Close()
		_ = got.Close()
		_ = c.Close()
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("accepting after closing succeeded")
	}
}
