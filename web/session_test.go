// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// fakeTokens are tokens that say the principal's id in the clear.
type fakeTokens struct {
	mu    sync.Mutex
	known map[string]access.Principal
	due   bool
	ended []string
}

func (f *fakeTokens) Issue(_ context.Context, p access.Principal) (string, time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = map[string]access.Principal{}
	}
	token := "token-of-" + p.Actor()
	f.known[token] = p
	return token, time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC), nil
}

func (f *fakeTokens) Verify(_ context.Context, token string) (access.Principal, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.known[token]
	if !ok {
		return p, false, ErrSignIn
	}
	return p, f.due, nil
}

func (f *fakeTokens) Renew(ctx context.Context, p access.Principal) (string, time.Time, error) {
	return f.Issue(ctx, p)
}

func (f *fakeTokens) End(_ context.Context, p access.Principal) (eventlog.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, "token-of-"+p.Actor())
	f.ended = append(f.ended, p.Actor())
	return eventlog.Receipt{}, nil
}

// recorder keeps the audit in memory.
type recorder struct {
	mu       sync.Mutex
	recorded []audit.Entry
	gathered []audit.Entry
	where    []event.AuthorityID
}

func (r *recorder) Record(ctx context.Context, authority event.AuthorityID, e audit.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.recorded, r.where = append(r.recorded, e), append(r.where, authority)
	return nil
}

func (r *recorder) Gather(authority event.AuthorityID, e audit.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathered, r.where = append(r.gathered, e), append(r.where, authority)
}

func withCookie(c *http.Cookie, secure bool) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if secure {
		r.TLS = &tls.ConnectionState{}
	}
	if c != nil {
		r.AddCookie(c)
	}
	return r
}

func TestSessionsBeginAndEnd(t *testing.T) {
	for _, secure := range []bool{true, false} {
		s, _, _ := newSessions(t)
		rec := httptest.NewRecorder()
		who := access.Principal{Kind: access.Person, Authority: "lk-nordtal", ID: "12c0", Way: access.ByPasskey}
		if err := s.Begin(rec, withCookie(nil, secure), who); err != nil {
			t.Fatal(err)
		}
		c := rec.Result().Cookies()[0]
		if !c.HttpOnly || c.Secure != secure || c.SameSite != http.SameSiteLaxMode || strings.HasPrefix(c.Name, "__Host-") != secure || c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %+v", c)
		}
		if a, err := s.Authenticate(withCookie(c, secure)); err != nil || a.ID != "person/12c0" || a.Authority != "lk-nordtal" {
			t.Errorf("got %v, %v", a, err)
		}
		noted := s.Audit.(*recorder)
		if len(noted.recorded) != 1 || noted.recorded[0].Deed != DeedSignIn || noted.recorded[0].Way != "passkey" || noted.recorded[0].Actor != "person/12c0" || noted.where[0] != "lk-nordtal" {
			t.Errorf("the audit has %+v", noted.recorded)
		}
		if err := s.End(rec, withCookie(c, secure)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(withCookie(c, secure)); !errors.Is(err, ErrSignIn) {
			t.Errorf("after signing out: %v, want ErrSignIn", err)
		}
	}
}

func TestWhoeverSignsInEndsTheSessionBefore(t *testing.T) {
	s, _, _ := newSessions(t)
	one := access.Principal{Kind: access.Person, Authority: "lk-nordtal", ID: "12c0", Session: "1"}
	rec := httptest.NewRecorder()
	if err := s.Begin(rec, withCookie(nil, true), one); err != nil {
		t.Fatal(err)
	}
	first := rec.Result().Cookies()[0]
	other := access.Principal{Kind: access.Person, Authority: "lk-nordtal", ID: "77aa", Session: "2"}
	if err := s.Begin(httptest.NewRecorder(), withCookie(first, true), other); err != nil {
		t.Fatal(err)
	}
	if ended := s.Tokens.(*fakeTokens).ended; len(ended) != 1 || ended[0] != "person/12c0" {
		t.Errorf("ended %v, want the session before", ended)
	}
}

func TestAFullDiskKeepsNobodyOut(t *testing.T) {
	s, _, _ := newSessions(t)
	full := &fullRecorder{}
	s.Audit = full
	rec := httptest.NewRecorder()
	if err := s.Begin(rec, withCookie(nil, true), access.Principal{Kind: access.Person, Authority: "lk-nordtal", ID: "12c0"}); err != nil {
		t.Fatal(err)
	}
	if len(rec.Result().Cookies()) != 1 || len(full.gathered) != 1 {
		t.Errorf("%d cookies, %d lines kept for later", len(rec.Result().Cookies()), len(full.gathered))
	}
}

// fullRecorder has no room.
type fullRecorder struct{ recorder }

func (*fullRecorder) Record(context.Context, event.AuthorityID, audit.Entry) error {
	return fault.New(fault.Exhausted, "log.no_room", "full", "make room")
}

func TestSessionsRefuseStrangers(t *testing.T) {
	s, _, _ := newSessions(t)
	for _, c := range []*http.Cookie{nil, {Name: "__Host-holdfast", Value: "guess"}, {Name: "__Host-holdfast", Value: strings.Repeat("x", 5000)}, {Name: "__Host-holdfast", Value: ""}} {
		if _, err := s.Authenticate(withCookie(c, true)); !errors.Is(err, ErrSignIn) {
			t.Errorf("got %v, want ErrSignIn", err)
		}
	}
	s.Refused(withCookie(nil, true), access.ByCode, ErrSignIn)
	if noted := s.Audit.(*recorder); len(noted.gathered) != 1 || noted.gathered[0].Outcome != audit.Refused || noted.gathered[0].Way != "code" || noted.where[0] != "" {
		t.Errorf("the audit has %+v", noted.gathered)
	}
}

func TestConsoleLinksWorkOnce(t *testing.T) {
	s, store, c := newSessions(t)
	path, _, err := s.NewLink(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimPrefix(path, "/signin/")
	if err := store.Each(t.Context(), bucketSignIn, func(key string, value []byte) error {
		if strings.Contains(key+string(value), secret) {
			t.Error("the store holds the secret itself")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if p, err := s.UseLink(t.Context(), secret); err != nil || p.Kind != access.Console || p.Way != access.ByLink {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := s.UseLink(t.Context(), secret); !errors.Is(err, ErrLinkUsed) {
		t.Errorf("second use: %v, want ErrLinkUsed", err)
	}
	late, _, err := s.NewLink(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c.t = c.t.Add(2 * time.Hour)
	if _, err := s.UseLink(t.Context(), strings.TrimPrefix(late, "/signin/")); !errors.Is(err, ErrLinkUsed) {
		t.Errorf("an expired link: %v, want ErrLinkUsed", err)
	}
}

// judge allows whoever has the permission among his scopes, in his own authority.
type judge struct{}

func (judge) Judge(_ context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error) {
	if authority != "" && authority != p.Authority {
		return access.Verdict{}, fault.New(fault.NotFound, "access.no_authority", "no", "no")
	}
	for _, s := range p.Scopes {
		if s == need {
			return access.Verdict{Grant: "g1"}, nil
		}
	}
	return access.Verdict{}, fault.New(fault.Forbidden, "access.forbidden", "no", "no")
}

func TestGuardPermission(t *testing.T) {
	noted := &recorder{}
	errs := &Errors{Logger: newLogger(t)}
	who := access.Principal{Kind: access.Person, Authority: "lk-nordtal", ID: "12c0", Scopes: []access.Permission{access.SeePeople, access.RaiseAlarm}}
	g := &Guard{Auth: Fixed(who), Judge: judge{}, Audit: noted, Errors: errs, Refuse: errs.Write}
	var grant string
	done := func(w http.ResponseWriter, r *http.Request) error {
		a, _ := ActorOf(r.Context())
		grant = a.Verdict.Grant
		About(r.Context(), "alarm", "7f3a")
		return nil
	}
	mux := http.NewServeMux()
	g.Mount(mux, []Route{
		{Pattern: "GET /a/{authority}/people", Need: access.SeePeople, Sealed: true, Handle: done},
		{Pattern: "POST /a/{authority}/alarms", Need: access.RaiseAlarm, Handle: done},
		{Pattern: "POST /a/{authority}/roles", Need: access.GrantRoles, Handle: done},
		{Pattern: "GET /forgotten", Handle: done},
		{Pattern: "GET /open", Open: true, Handle: done},
	})
	for _, c := range []struct {
		method, path       string
		status             int
		recorded, gathered int
	}{
		{"GET", "/a/lk-nordtal/people", 200, 0, 1},
		{"POST", "/a/lk-nordtal/alarms", 200, 1, 0},
		{"POST", "/a/lk-nordtal/roles", 403, 0, 1},
		{"POST", "/a/stadt-seeheim/alarms", 404, 0, 1},
		{"GET", "/forgotten", 403, 0, 1}, // a route that forgot to say what it needs is nobody's
		{"GET", "/open", 200, 0, 0},
	} {
		*noted, grant = recorder{}, ""
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest(c.method, c.path, nil))
		if rec.Code != c.status || len(noted.recorded) != c.recorded || len(noted.gathered) != c.gathered {
			t.Errorf("%s %s: %d, %d recorded, %d gathered; want %+v", c.method, c.path, rec.Code, len(noted.recorded), len(noted.gathered), c)
		}
		if c.recorded == 1 && (grant != "g1" || noted.recorded[0].Grant != "g1" || noted.recorded[0].Deed != "alarm.raise" || noted.recorded[0].Object != "alarm 7f3a") {
			t.Errorf("%s %s: grant %q, noted %+v", c.method, c.path, grant, noted.recorded)
		}
	}
}

// Whoever hangs up while their deed is done is in the audit all the same.
func TestHangingUpDoesNotEscapeTheAudit(t *testing.T) {
	noted := &recorder{}
	errs := &Errors{Logger: newLogger(t)}
	who := access.Principal{Kind: access.Person, Authority: "lk-nordtal", ID: "12c0", Scopes: []access.Permission{access.RaiseAlarm}}
	g := &Guard{Auth: Fixed(who), Judge: judge{}, Audit: noted, Errors: errs, Refuse: errs.Write}
	for _, broken := range []bool{false, true} {
		*noted = recorder{}
		ctx, hangUp := context.WithCancel(t.Context())
		mux := http.NewServeMux()
		g.Mount(mux, []Route{{Pattern: "POST /a/{authority}/alarms", Need: access.RaiseAlarm, Handle: func(_ http.ResponseWriter, r *http.Request) error {
			hangUp()
			if broken {
				return fmt.Errorf("wait for the page: %w", r.Context().Err())
			}
			return nil
		}}})
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "POST", "/a/lk-nordtal/alarms", nil))
		if len(noted.recorded) != 1 || (noted.recorded[0].Code == ErrStopped.Code) != broken || noted.recorded[0].Outcome != audit.Done {
			t.Errorf("broken %v: the audit has %+v", broken, noted.recorded)
		}
	}
}

func TestRefusedTokensAreInTheAudit(t *testing.T) {
	noted := &recorder{}
	errs := &Errors{Logger: newLogger(t)}
	g := &Guard{Auth: Bearer{Programs: programs{}, Otherwise: Fixed{}}, Judge: judge{}, Audit: noted, Errors: errs, Refuse: errs.Write}
	mux := http.NewServeMux()
	g.Mount(mux, []Route{{Pattern: "GET /x", Need: access.SeeSite, Handle: func(http.ResponseWriter, *http.Request) error { return nil }}})
	r := httptest.NewRequest("GET", "/x", nil)
	r.Header.Set("Authorization", "Bearer bad")
	mux.ServeHTTP(httptest.NewRecorder(), r)
	if len(noted.gathered) != 1 || noted.gathered[0].Way != "token" || noted.gathered[0].Outcome != audit.Refused || noted.where[0] != "" {
		t.Errorf("the audit has %+v", noted.gathered)
	}
}

func TestBearer(t *testing.T) {
	b := Bearer{Programs: programs{}, Otherwise: Fixed{Kind: access.Console}}
	for header, want := range map[string]string{"": "operator", "Bearer good": "program/p1"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		if a, err := b.Authenticate(r); err != nil || a.ID != want {
			t.Errorf("%q: %v, %v", header, a, err)
		}
	}
	for _, header := range []string{"Bearer bad", "Basic Z29vZA==", "Bearer " + strings.Repeat("x", 3000)} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		if a, err := b.Authenticate(r); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%.20q: %v, %v; a wrong token must not fall back to the cookie", header, a, err)
		}
	}
}

type programs struct{}

func (programs) Authenticate(_ context.Context, token string) (access.Principal, error) {
	if token != "good" {
		return access.Principal{}, ErrSignIn
	}
	return access.Principal{Kind: access.Program, ID: "p1", Authority: "lk-nordtal"}, nil
}
