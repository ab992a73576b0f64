// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/web"
)

func TestStrangersGetNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	a := w.sites[0]
	a.importAt(nordtal, table(erika, jonas, fatma))
	w.alarmPeople("Quastenflosser geht vor.")
	person, board := a.named(nordtal, "Quastenflosser"), a.onlyBoard()
	real := strings.NewReplacer("{authority}", string(nordtal), "{person}", string(person.ID), "{alarm}", string(board.Alarm.ID), "{site}", string(a.id),
		"{secret}", "aaaa", "{token}", "aaaa", "{$}", "")
	before := a.hash()
	c := browser()
	routes := a.routes()
	for _, r := range routes {
		method, path, named := strings.Cut(r.Pattern, " ")
		if !named {
			method, path = http.MethodGet, r.Pattern
		}
		status, body := a.request(c, method, real.Replace(path))
		noSecrets(t, r.Pattern, body)
		switch {
		case r.Open:
		case method == http.MethodGet && !strings.HasPrefix(path, "/api/"):
			if status != http.StatusSeeOther {
				t.Errorf("%s answers a stranger with %d", r.Pattern, status)
			}
		case status != http.StatusUnauthorized:
			t.Errorf("%s answers a stranger with %d", r.Pattern, status)
		}
	}
	if len(routes) < 50 {
		t.Errorf("only %d routes: the test has lost some", len(routes))
	}
	if got := a.hash(); got != before {
		t.Error("a stranger has changed something")
	}
}

func (s *station) hash() string {
	s.w.t.Helper()
	st, err := s.State(s.w.t.Context())
	s.w.must(err)
	return st.Hash
}

func TestAStrangersProblemSaysWhatToDo(t *testing.T) {
	w := newWorld(t, 1)
	_, body := w.sites[0].request(browser(), http.MethodGet, "/api/v1/status")
	var p web.Problem
	w.must(json.Unmarshal([]byte(body), &p))
	wantFault(t, p.Fault(), "web.sign_in", "not signed in", "/signin")
}

func TestASignInLinkWorksOnceAndSigningOutEndsTheSession(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	path := func(link string) string { return strings.TrimPrefix(link, "http://"+a.portal) }
	c := browser()
	for range 2 { // looking at the link does not use it up: mail scanners look
		if status, _ := a.request(c, http.MethodGet, path(a.signIn)); status != http.StatusOK {
			t.Fatalf("the link that init printed answers %d", status)
		}
	}
	if status, _ := a.request(c, http.MethodPost, path(a.signIn)); status != http.StatusSeeOther {
		t.Fatalf("signing in answers %d", status)
	}
	if status, _ := a.request(c, http.MethodGet, "/"); status != http.StatusOK {
		t.Errorf("the overview answers %d after signing in", status)
	}
	if status, body := a.request(browser(), http.MethodPost, path(a.signIn)); status != http.StatusUnauthorized || !strings.Contains(body, "signin-link") {
		t.Errorf("the link's second use answers %d: %s", status, body)
	}
	stolen := browser()
	home := &url.URL{Scheme: "http", Host: a.portal, Path: "/"}
	stolen.Jar.SetCookies(home, c.Jar.Cookies(home))
	if status, _ := a.request(stolen, http.MethodGet, "/"); status != http.StatusOK {
		t.Fatalf("the copied session answers %d: the test proves nothing", status)
	}
	if status, _ := a.request(c, http.MethodPost, "/signout"); status != http.StatusSeeOther {
		t.Errorf("signing out answers %d", status)
	}
	for who, client := range map[string]*http.Client{"the browser": c, "a copy of its cookie": stolen} {
		if status, _ := a.request(client, http.MethodGet, "/"); status != http.StatusSeeOther {
			t.Errorf("%s is still signed in: %d", who, status)
		}
	}
}

func TestASessionSurvivesARestart(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	c := a.signedIn()
	a.end()
	a.start()
	if status, _ := a.request(c, http.MethodGet, "/"); status != http.StatusOK {
		t.Errorf("after a restart the overview answers %d", status)
	}
}

func TestAPageOfAnotherWebsiteCannotAct(t *testing.T) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	a := w.sites[0]
	a.importAt(nordtal, table(erika))
	c := a.signedIn()
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://boese.example"}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.portal+"/a/"+string(nordtal)+"/alarms", strings.NewReader("mode=actual"))
		w.must(err)
		for k, v := range header {
			r.Header.Set(k, v)
		}
		answer, err := c.Do(r)
		w.must(err)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden {
			t.Errorf("with %v it answers %d", header, answer.StatusCode)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if status, body := a.request(browser(), http.MethodGet, path); status != http.StatusOK || body != want {
			t.Errorf("%s answers %d %q", path, status, body)
		}
	}
	// More than the whole disk is to be kept free: writing is refused, reading goes on, and the door says so.
	w.authority(nordtal, 1)
	a.importAt(nordtal, table(erika))
	a.end()
	a.changeConfig(func(c *Config) { c.Disk.ReserveMiB = 1 << 40 })
	a.start()
	if status, body := a.request(browser(), http.MethodGet, "/healthz"); status != http.StatusOK {
		t.Errorf("a site that only reads is not healthy: %d %q", status, body)
	}
	if status, body := a.request(browser(), http.MethodGet, "/readyz"); status != http.StatusServiceUnavailable || !strings.HasPrefix(body, "disk.full: ") {
		t.Errorf("/readyz answers %d %q", status, body)
	}
	_, _, err := holdfast(t, "directory", "import", "-", "--authority", string(nordtal), "--data", a.data)
	if err == nil {
		t.Error("an empty file is imported")
	}
	_, err = a.Raise(t.Context(), nordtal, alarmToAll("Übung"), "")
	wantFault(t, err, "log.no_room", "nearly full", "make room")
	if a.named(nordtal, "Quastenflosser").DisplayName == "" {
		t.Error("people are not shown any more")
	}
	a.end()
	a.changeConfig(func(c *Config) { c.Disk.ReserveMiB = 64 })
	a.start()
	if status, body := a.request(browser(), http.MethodGet, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz answers %d %q when there is room again", status, body)
	}
	_, err = a.Raise(t.Context(), nordtal, alarmToAll("Übung"), "")
	w.must(err)
}

func TestTheOperatorsSocketIsForTheOperatorAlone(t *testing.T) {
	w := newWorld(t, 1)
	for _, name := range []string{api.SocketFile, ConfigFile, "site.key", localFile, keyringFile, modelFile} {
		if mode := fileMode(t, w.sites[0].data, name); mode&0o077 != 0 {
			t.Errorf("%s has mode %s", name, fmt.Sprintf("%04o", mode))
		}
	}
}
