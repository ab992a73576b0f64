// SPDX-License-Identifier: EUPL-1.2

package sms

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/alarm/channeltest"
)

// fakeGateway takes what a typical provider takes.
type fakeGateway struct {
	mu     sync.Mutex
	answer channeltest.Answer
	got    []channeltest.Delivery
	auth   string
	done   chan struct{}
}

func (g *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	answer := g.answer
	g.mu.Unlock()
	switch answer {
	case channeltest.NotNow:
		w.Header().Set("Retry-After", "7")
		http.Error(w, "busy: "+string(body), http.StatusServiceUnavailable)
		return
	case channeltest.Never:
		http.Error(w, "bad: "+string(body), http.StatusBadRequest)
		return
	case channeltest.Hang:
		select {
		case <-r.Context().Done():
		case <-g.done:
		}
		return
	case channeltest.Break:
		panic(http.ErrAbortHandler)
	}
	var m struct{ To, Text, Reference string }
	if err := json.Unmarshal(body, &m); err != nil || m.Reference != r.Header.Get("Idempotency-Key") {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.auth = r.Header.Get("Authorization")
	g.got = append(g.got, channeltest.Delivery{To: m.To, Text: m.Text, Key: m.Reference})
	fmt.Fprintf(w, `{"messages":[{"id":"m-%d"}]}`, len(g.got))
}

func config(url string) Config {
	return Config{
		URL: url, Body: `{"to":"{{.To}}","text":"{{.Text}}","reference":"{{.Key}}"}`,
		IdempotencyHeader: "Idempotency-Key", Ref: "messages.0.id", Auth: Bearer, Secret: "token",
	}
}

func secrets(ref string) (string, error) {
	if ref == "token" {
		return "s3cret\n", nil
	}
	return "", errors.New("no such secret")
}

func start(t *testing.T) (*fakeGateway, *httptest.Server, *Gateway) {
	t.Helper()
	g := &fakeGateway{done: make(chan struct{})}
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(g.done) })
	ch, err := New(config(srv.URL), secrets)
	if err != nil {
		t.Fatal(err)
	}
	return g, srv, ch
}

func TestConformance(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Fixture {
		g, srv, ch := start(t)
		return channeltest.Fixture{
			Channel: ch,
			To:      func(n int) string { return fmt.Sprintf("+4917100%05d", n) },
			Bad:     []string{"+4917\", \"to\": \"1", "+49171\r\nX: y", "", "hans@example.org"},
			Answer:  func(a channeltest.Answer) { g.mu.Lock(); g.answer = a; g.mu.Unlock() },
			Received: func() []channeltest.Delivery {
				g.mu.Lock()
				defer g.mu.Unlock()
				return append([]channeltest.Delivery(nil), g.got...)
			},
			Stop: srv.Close,
		}
	})
}

func TestSecretAndReferenceAreUsed(t *testing.T) {
	g, _, ch := start(t)
	res, err := ch.Send(t.Context(), alarm.Message{IdempotencyKey: "k", To: "+491711234567", Text: "x"})
	if err != nil || res.Ref != "m-1" || g.auth != "Bearer s3cret" {
		t.Errorf("got %+v, %v, authorization %q", res, err, g.auth)
	}
	ch.cfg.Secret = "gone"
	if _, err := ch.Send(t.Context(), alarm.Message{To: "+491711234567"}); err == nil || errors.Is(err, alarm.ErrFinal) {
		t.Errorf("without its secret: got %v, want a temporary error", err)
	}
}

func TestStatusesAreSortedIntoFinalAndTemporary(t *testing.T) {
	for status, final := range map[int]bool{
		400: true, 410: true, 422: true, 451: true, 408: false, 425: false, 429: false,
		401: false, 402: false, 403: false, 404: false, 405: false, 407: false, 301: false, 500: false, 502: false, 503: false,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(status)
		}))
		ch, err := New(config(srv.URL), secrets)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ch.Send(t.Context(), alarm.Message{To: "+491711234567"})
		e, ok := errors.AsType[*alarm.SendError](err)
		if !ok || e.Final != final || e.RetryAfter != 3*time.Second {
			t.Errorf("status %d: got %+v, want final %v", status, err, final)
		}
		srv.Close()
	}
}

func TestRetryAfterIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "999999": MaxRetryAfter, "-3": 0, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"url":      func(c *Config) { c.URL = "http://sms.example/send" },
		"body":     func(c *Config) { c.Body = `{"to": {{.To}}, "text": {{.Text}}}` },
		"auth":     func(c *Config) { c.Auth = "digest" },
		"secret":   func(c *Config) { c.Secret = "" },
		"encoding": func(c *Config) { c.Encoding = "xml" },
	} {
		c := config("https://sms.example/send")
		change(&c)
		if _, err := New(c, secrets); err == nil || !strings.Contains(err.Error(), "field "+name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c := config("https://sms.example/send?to={{.To}}&text={{.Text}}")
	c.Method, c.Body, c.Encoding = "GET", "", Form
	if _, err := New(c, secrets); err != nil {
		t.Errorf("a GET interface: %v", err)
	}
	c.Body = "{{.Nobody}}"
	if _, err := New(c, secrets); err == nil {
		t.Error("an unknown value in the body was taken")
	}
}
