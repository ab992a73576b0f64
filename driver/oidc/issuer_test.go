// SPDX-License-Identifier: EUPL-1.2

package oidc

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	state    = "state-0123456789abcdef"
	nonce    = "nonce-0123456789abcdef"
	verifier = "verifier-0123456789abcdef0123456789abcdef0123456789"
	redirect = "https://nordtal.example/oidc/back"
	secret   = "s3cret+with/odd%chars"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// issuer is a small identity provider. Its fields make it lie.
type issuer struct {
	*httptest.Server
	t    testing.TB
	key  *rsa.PrivateKey
	mu   sync.Mutex
	asks map[string]int

	challenge string // what the last authorization asked for
	claims    map[string]any
	userinfo  map[string]any
	method    string // of client authentication
	sign      func(head, body string) string
	describe  func(map[string]any)
	meddle    map[string]http.HandlerFunc
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keys are drawn once: that takes its time.
var keys = sync.OnceValues(func() (ours, others *rsa.PrivateKey) {
	return must(rsa.GenerateKey(rand.Reader, 2048)), must(rsa.GenerateKey(rand.Reader, 2048))
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newIssuer(t testing.TB) *issuer {
	key, _ := keys()
	i := &issuer{t: t, key: key, asks: make(map[string]int), meddle: make(map[string]http.HandlerFunc)}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	i.claims = map[string]any{"iss": i.URL, "sub": "4711", "aud": "holdfast", "exp": noon.Add(5 * time.Minute).Unix(), "iat": noon.Unix(),
		"nonce": nonce, "email": "anna.weiss@nordtal.example", "email_verified": true}
	i.sign = i.rs256
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asks[r.URL.Path]++
	meddle := i.meddle[r.URL.Path]
	i.mu.Unlock()
	if meddle != nil {
		meddle(w, r)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		i.wellKnown(w)
	case "/keys":
		answer(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
			"n": base64.RawURLEncoding.EncodeToString(i.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(i.key.E)).Bytes())}}})
	case "/token":
		i.token(w, r)
	case "/me":
		if r.Header.Get("Authorization") != "Bearer access" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, i.userinfo)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (i *issuer) wellKnown(w http.ResponseWriter) {
	d := map[string]any{"issuer": i.URL, "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
		"userinfo_endpoint": i.URL + "/me", "id_token_signing_alg_values_supported": []string{"RS256"}}
	if i.method != "" {
		d["token_endpoint_auth_methods_supported"] = []string{i.method}
	}
	if i.describe != nil {
		i.describe(d)
	}
	answer(w, d)
}

// token checks the client and the proof of the code (RFC 6749, 4.1.3; RFC 7636, 4.6).
func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(reason string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"` + reason + `","error_description":"the secret was s3cret"}`))
	}
	user, password, basic := r.BasicAuth()
	if basic {
		user, _ = url.QueryUnescape(user)
		password, _ = url.QueryUnescape(password)
	} else {
		user, password = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	proof := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case user != "holdfast" || password != secret || basic != (i.method == "" || i.method == "client_secret_basic"):
		refuse("invalid_client")
	case r.PostFormValue("code") != "code" || r.PostFormValue("redirect_uri") != redirect || r.PostFormValue("grant_type") != "authorization_code",
		base64.RawURLEncoding.EncodeToString(proof[:]) != i.challenge:
		refuse("invalid_grant")
	default:
		answer(w, map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 300, "id_token": i.idToken()})
	}
}

func (i *issuer) idToken() string {
	body, err := json.Marshal(i.claims)
	ok(i.t, err)
	return i.sign(`{"alg":"RS256","kid":"1","typ":"JWT"}`, string(body))
}

func (i *issuer) rs256(head, body string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(body))
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	ok(i.t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// hs256 signs with the public key as if it were a shared secret: an old trick.
func (i *issuer) hs256(_, body string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"1"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(body))
	h := hmac.New(sha256.New, i.key.N.Bytes())
	h.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func unsigned(_, body string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(body)) + "."
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (i *issuer) provider(change ...func(*Config)) *Provider {
	i.t.Helper()
	file := filepath.Join(i.t.TempDir(), "secret")
	ok(i.t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	c := Config{Authority: "lk-nordtal", Issuer: i.URL, ClientID: "holdfast", SecretFile: file, Now: func() time.Time { return noon }}
	for _, f := range change {
		f(&c)
	}
	p, err := New(c)
	ok(i.t, err)
	return p
}

// visit begins a sign-in, as a browser would.
func (i *issuer) visit(p *Provider) url.Values {
	i.t.Helper()
	address, err := p.AuthURL(i.t.Context(), state, nonce, verifier, redirect)
	ok(i.t, err)
	if !strings.HasPrefix(address, i.URL+"/auth?") {
		i.t.Fatalf("the browser is sent to %s", address)
	}
	u, err := url.Parse(address)
	ok(i.t, err)
	i.challenge = u.Query().Get("code_challenge")
	return u.Query()
}

func (i *issuer) asked(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asks[path]
}

func (i *issuer) lie(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.meddle[path] = h
}
