// SPDX-License-Identifier: EUPL-1.2

package oidc

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
)

const anna = "anna.weiss@nordtal.example"

func TestAPersonSignsInWithTheirProvider(t *testing.T) {
	for _, method := range []string{"", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			i := newIssuer(t)
			i.method = method
			p := i.provider()
			if i.asked("/.well-known/openid-configuration") != 0 {
				t.Error("the provider is asked before anybody signs in")
			}
			q := i.visit(p)
			for k, want := range map[string]string{"response_type": "code", "client_id": "holdfast", "redirect_uri": redirect, "state": state, "nonce": nonce,
				"code_challenge_method": "S256", "scope": "openid profile email"} {
				if q.Get(k) != want {
					t.Errorf("%s is %q, want %q", k, q.Get(k), want)
				}
			}
			got, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect)
			ok(t, err)
			if got != anna {
				t.Errorf("got %q", got)
			}
			if n := i.asked("/.well-known/openid-configuration"); n != 1 {
				t.Errorf("the provider describes itself %d times, want once", n)
			}
		})
	}
}

func TestTheClaimMayBeANumberOrComeFromUserinfo(t *testing.T) {
	i := newIssuer(t)
	i.claims["employee"] = 10004711
	p := i.provider(func(c *Config) { c.Claim = "employee" })
	i.visit(p)
	got, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect)
	ok(t, err)
	if got != "10004711" {
		t.Errorf("got %q", got)
	}
	delete(i.claims, "email")
	i.userinfo = map[string]any{"sub": "4711", "email": anna}
	p = i.provider()
	i.visit(p)
	got, err = p.Exchange(t.Context(), "code", nonce, verifier, redirect)
	ok(t, err)
	if got != anna {
		t.Errorf("got %q", got)
	}
	i.userinfo["sub"] = "4712"
	if _, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect); !errors.Is(err, ErrRefused) {
		t.Errorf("the userinfo of somebody else: got %v", err)
	}
}

// Anybody can send a browser back with a code of their own making; that must not become a flood at the provider.
func TestExchangesAreBounded(t *testing.T) {
	i := newIssuer(t)
	p := i.provider()
	i.visit(p)
	for range maxExchanges {
		p.exchanges <- struct{}{}
	}
	if _, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one too many: got %v", err)
	}
	<-p.exchanges
	if got, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect); err != nil || got != anna {
		t.Errorf("got %q, %v", got, err)
	}
}

// Whatever is wrong with a token, nobody comes in, and the error tells neither token nor secret nor claim.
func TestALieLetsNobodyIn(t *testing.T) {
	other := newIssuer(t)
	_, other.key = keys()
	for name, lie := range map[string]func(*issuer){
		"no token":          func(i *issuer) { i.sign = func(string, string) string { return "" } },
		"no signature":      func(i *issuer) { i.sign = unsigned },
		"a shared secret's": func(i *issuer) { i.sign = i.hs256 },
		"another key's":     func(i *issuer) { i.sign = other.rs256 },
		"changed after signing": func(i *issuer) {
			i.sign = func(h, b string) string { s := i.rs256(h, b); return s[:len(s)-8] + "AAAAAAAA" }
		},
		"another issuer's":           func(i *issuer) { i.claims["iss"] = other.URL },
		"for another client":         func(i *issuer) { i.claims["aud"] = "mail" },
		"for others too":             func(i *issuer) { i.claims["aud"] = []string{"holdfast", "mail"} },
		"for others too, not ours":   func(i *issuer) { i.claims["aud"], i.claims["azp"] = []string{"holdfast", "mail"}, "mail" },
		"expired":                    func(i *issuer) { i.claims["exp"] = noon.Add(-time.Second).Unix() },
		"without an end":             func(i *issuer) { delete(i.claims, "exp") },
		"another nonce":              func(i *issuer) { i.claims["nonce"] = nonce + "x" },
		"no nonce":                   func(i *issuer) { delete(i.claims, "nonce") },
		"not yet valid":              func(i *issuer) { i.claims["nbf"] = noon.Add(time.Hour).Unix() },
		"an unverified address":      func(i *issuer) { i.claims["email_verified"] = false },
		"an unverified address, too": func(i *issuer) { i.claims["email_verified"] = "false" },
		"no claim":                   func(i *issuer) { delete(i.claims, "email"); i.userinfo = map[string]any{"sub": "4711"} },
		"a list":                     func(i *issuer) { i.claims["email"] = []string{anna} },
		"an empty claim":             func(i *issuer) { i.claims["email"] = " " },
		"a long claim":               func(i *issuer) { i.claims["email"] = strings.Repeat("x", maxClaim+1) },
		"two lines":                  func(i *issuer) { i.claims["email"] = anna + "\nbert@nordtal.example" },
		"another's access token":     func(i *issuer) { i.claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA" },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			p := i.provider()
			i.visit(p)
			lie(i)
			got, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect)
			if !errors.Is(err, ErrRefused) || got != "" {
				t.Fatalf("got %q, %v", got, err)
			}
			for _, private := range []string{anna, secret, "s3cret", "eyJ", verifier, nonce} {
				if strings.Contains(err.Error(), private) {
					t.Errorf("the error tells %q: %v", private, err)
				}
			}
		})
	}
}

func TestAStolenCodeIsWorthNothingWithoutTheVerifier(t *testing.T) {
	i := newIssuer(t)
	p := i.provider()
	i.visit(p)
	for name, try := range map[string]func() (string, error){
		"another verifier": func() (string, error) { return p.Exchange(t.Context(), "code", nonce, verifier+"x", redirect) },
		"another code":     func() (string, error) { return p.Exchange(t.Context(), "c0de", nonce, verifier, redirect) },
		"another way back": func() (string, error) { return p.Exchange(t.Context(), "code", nonce, verifier, redirect+"x") },
		"no code":          func() (string, error) { return p.Exchange(t.Context(), "", nonce, verifier, redirect) },
	} {
		_, err := try()
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v", name, err)
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the provider's words come through: %v", name, err)
		}
	}
	for _, call := range []error{second(p.AuthURL(t.Context(), "", nonce, verifier, redirect)), second(p.AuthURL(t.Context(), state, "", verifier, redirect)),
		second(p.AuthURL(t.Context(), state, nonce, "short", redirect)), second(p.Exchange(t.Context(), "code", "", verifier, redirect))} {
		if fault.KindOf(call) != fault.Internal {
			t.Errorf("got %v", call)
		}
	}
}

func second(_ string, err error) error { return err }

func TestADeadProviderIsSaidAtOnceAndTriedAgain(t *testing.T) {
	i := newIssuer(t)
	now := noon
	p := i.provider(func(c *Config) { c.Now = func() time.Time { return now } })
	const well = "/.well-known/openid-configuration"
	i.lie(well, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for range 3 {
		if _, err := p.AuthURL(t.Context(), state, nonce, verifier, redirect); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	if n := i.asked(well); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	i.lie(well, nil)
	now = now.Add(pause)
	i.visit(p)
	now = now.Add(rediscover)
	i.lie(well, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	i.visit(p) // what was known goes on
	if n := i.asked(well); n != 3 {
		t.Errorf("asked %d times, want three times", n)
	}
	i.Close()
	if _, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// Slow and endless answers, at each of the places where we ask.
func TestAnswersAreBounded(t *testing.T) {
	for _, path := range []string{"/.well-known/openid-configuration", "/token", "/keys", "/me"} {
		for name, lie := range map[string]http.HandlerFunc{
			"slow": func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // a server notices that the client has gone once it has read all
				<-r.Context().Done()
			},
			"huge": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"x":"`))
				for line := []byte(strings.Repeat("x", 64<<10)); ; {
					if _, err := w.Write(line); err != nil {
						return
					}
				}
			},
			"elsewhere": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				t.Parallel()
				i := newIssuer(t)
				delete(i.claims, "email")
				i.userinfo = map[string]any{"sub": "4711", "email": anna}
				p := i.provider()
				p.client.Timeout = 300 * time.Millisecond
				i.lie(path, lie)
				_, err := p.AuthURL(t.Context(), state, nonce, verifier, redirect)
				if err == nil {
					i.visit(p)
					_, err = p.Exchange(t.Context(), "code", nonce, verifier, redirect)
				}
				if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrRefused) {
					t.Errorf("got %v", err)
				}
				if len(err.Error()) > 600 {
					t.Errorf("the error has %d bytes", len(err.Error()))
				}
				if i.asked("/elsewhere") > 0 {
					t.Error("a redirect was followed")
				}
			})
		}
	}
}

func TestADescriptionMustNotLeadAstray(t *testing.T) {
	for name, lie := range map[string]func(map[string]any){
		"another issuer":   func(d map[string]any) { d["issuer"] = "https://evil.example" },
		"a script":         func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
		"in the clear":     func(d map[string]any) { d["token_endpoint"] = "http://192.0.2.7/token" },
		"keys from a file": func(d map[string]any) { d["jwks_uri"] = "file:///etc/passwd" },
	} {
		i := newIssuer(t)
		i.describe = lie
		if _, err := i.provider().AuthURL(t.Context(), state, nonce, verifier, redirect); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestASecretThatCannotBeReadIsSaid(t *testing.T) {
	i := newIssuer(t)
	p := i.provider()
	i.visit(p)
	ok(t, os.WriteFile(p.cfg.SecretFile, nil, 0o600))
	if _, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect); !errors.Is(err, ErrSecret) {
		t.Errorf("an empty file: got %v", err)
	}
	ok(t, os.Remove(p.cfg.SecretFile))
	if _, err := p.Exchange(t.Context(), "code", nonce, verifier, redirect); !errors.Is(err, ErrSecret) {
		t.Errorf("no file: got %v", err)
	}
}

func TestWrongSettingsNameTheField(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"authority": func(c *Config) { c.Authority = "" },
		"issuer":    func(c *Config) { c.Issuer = "http://login.nordtal.example" },
		"client":    func(c *Config) { c.ClientID = "" },
		"claim":     func(c *Config) { c.Claim = "e mail" },
	} {
		c := Config{Authority: "lk-nordtal", Issuer: "https://login.nordtal.example", ClientID: "holdfast"}
		change(&c)
		_, err := New(c)
		if f, is := errors.AsType[*fault.Fault](err); !is || f.Field != field || f.Kind != fault.Invalid {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestManyAtOnceAskOnce(t *testing.T) {
	i := newIssuer(t)
	p := i.provider()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := p.AuthURL(t.Context(), state, nonce, verifier, redirect); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := i.asked("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func FuzzClaims(f *testing.F) {
	f.Add([]byte(`"anna@nordtal.example"`), []byte(`true`))
	f.Add([]byte(`4711`), []byte(`"false"`))
	f.Add([]byte(`{"a":[]}`), []byte(``))
	f.Fuzz(func(t *testing.T, email, verified []byte) {
		got, err := claims{"email": email, "email_verified": verified}.read("email")
		if (err == nil) != (got != "") || len(got) > maxClaim || strings.ContainsAny(got, "\n\r\x00") {
			t.Errorf("got %q, %v", got, err)
		}
		if err == nil && strings.Contains(string(verified), "false") {
			t.Error("an unverified address was believed")
		}
	})
}
