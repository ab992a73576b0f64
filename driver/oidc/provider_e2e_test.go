// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package oidc

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// certified starts a certified OpenID provider (e2e/oidc_provider.mjs; e2e/install.sh has installed it).
func certified(t *testing.T) (issuer string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	ok(t, l.Close())
	cmd := exec.Command("node", "../../e2e/oidc_provider.mjs", fmt.Sprint(port), redirect, anna)
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
	for s := bufio.NewScanner(out); s.Scan(); {
		if issuer, ready := strings.CutPrefix(s.Text(), "ready "); ready {
			return issuer
		}
	}
	t.Fatal("the provider has ended; run e2e/install.sh")
	return ""
}

var formAction = regexp.MustCompile(`action="([^"]+)"`)

// signIn does what a person does in a browser: it follows the provider's pages until it is sent back to us.
func signIn(t *testing.T, address string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	ok(t, err)
	var back *url.URL
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect) {
			back = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := browser.Get(address)
	ok(t, err)
	page := make([]byte, 64<<10)
	n, _ := bufio.NewReaderSize(resp.Body, len(page)).Read(page)
	ok(t, resp.Body.Close())
	action := formAction.FindSubmatch(page[:n])
	if action == nil {
		t.Fatalf("no form at %s: %s", resp.Request.URL, page[:n])
	}
	to, err := resp.Request.URL.Parse(string(action[1]))
	ok(t, err)
	resp, err = browser.PostForm(to.String(), url.Values{"prompt": {"login"}, "login": {anna}, "password": {"any"}})
	ok(t, err)
	ok(t, resp.Body.Close())
	if back == nil {
		t.Fatalf("the provider does not send us back, but stays at %s", resp.Request.URL)
	}
	return back.Query()
}

func TestACertifiedProviderLetsAPersonIn(t *testing.T) {
	issuer := certified(t)
	file := filepath.Join(t.TempDir(), "secret")
	ok(t, os.WriteFile(file, []byte("e2e-client-secret"), 0o600))
	p, err := New(Config{Authority: "lk-nordtal", Issuer: issuer, ClientID: "holdfast", SecretFile: file})
	ok(t, err)
	address, err := p.AuthURL(t.Context(), state, nonce, verifier, redirect)
	ok(t, err)
	back := signIn(t, address)
	if back.Get("state") != state || back.Get("iss") != issuer {
		t.Errorf("we are sent back with %v", back)
	}
	got, err := p.Exchange(t.Context(), back.Get("code"), nonce, verifier, redirect)
	ok(t, err)
	if got != anna {
		t.Errorf("got %q", got)
	}
	if _, err := p.Exchange(t.Context(), back.Get("code"), nonce, verifier, redirect); err == nil {
		t.Error("a code works twice")
	}
}
