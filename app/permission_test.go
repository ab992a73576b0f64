// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

// columns are the kinds of people and programs, in the order of the letters in routeTable. Whoever has a role is a member
// besides. The program's token has every scope that a token may have.
var columns = []struct {
	letter byte
	name   string
	role   access.Role
}{
	{'l', "limited", ""}, {'m', "member", access.MemberRole}, {'a', "alarm officer", access.AlarmOfficer},
	{'j', "journal keeper", access.JournalKeeper}, {'p', "plan editor", access.PlanEditor}, {'d', "administrator", access.Administrator},
	{'r', "auditor", access.Auditor}, {'o', "operator", access.Operator}, {'g', "guest", ""}, {'t', "token", ""}, {'c', "console", ""},
}

const open = "open"

// rows reads a table of letters and names.
func rows(t *testing.T, table string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for line := range strings.Lines(strings.TrimSpace(table)) {
		who, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		name = strings.TrimSpace(name)
		if _, twice := out[name]; !ok || twice {
			t.Fatalf("bad row %q", line)
		}
		out[name] = who
	}
	return out
}

// house is a site with one of everybody signed in, in one authority of three: another is at this site too, the third at
// another site only.
type house struct {
	*station
	handler http.Handler
	routes  []web.Route
	who     map[byte]access.Principal
	token   string
	alarm   event.Subject
}

// Authorities with names of one length, so that not even the length of an answer need differ.
const (
	foreign = event.AuthorityID("kv-aaaaa") // its data is at this site
	faraway = event.AuthorityID("kv-bbbbb") // its data is at another site
	nowhere = event.AuthorityID("kv-ccccc")
)

func newHouse(t *testing.T) *house {
	t.Helper()
	w := newWorld(t, 2)
	w.authority(nordtal, 1)
	w.authority(foreign, 1)
	w.must(w.sites[1].AddAuthority(t.Context(), site.AuthorityDraft{ID: faraway, NameDE: "Weit weg", NameEN: "Far away", Sites: []event.SiteID{w.sites[1].id}}))
	h := &house{station: w.sites[0], who: make(map[byte]access.Principal)}
	w.eventually("the site knows of the authority elsewhere", func() error {
		if _, ok := h.site.federation.Authority(faraway); !ok {
			return errNotYet
		}
		return nil
	})
	h.importAt(nordtal, table("1;Quastenflosser;Erika;;0171 3920101;Amt 32", "2;Zwergdommel;Jonas;;;Amt 32", "3;Rohrweihe;Fatma;;;Amt 32",
		"4;Kormoran;Ida;;;Amt 32", "5;Eisvogel;Kai;;;Amt 32", "6;Blesshuhn;Max;;;Amt 32", "7;Reiher;Ute;;;Amt 32", "8;Wiesel;Jo;;;Amt 32"))
	h.importAt(foreign, table("9;Haubentaucher;Lena;;0171 3920109;Abteilung 1"))
	h.populate()
	handler, _, err := h.site.handlers()
	w.must(err)
	h.handler, h.routes = handler, h.station.routes()
	return h
}

var errNotYet = context.DeadlineExceeded

// populate signs everybody in, each by a way in of theirs.
func (h *house) populate() {
	t, ctx, s := h.w.t, h.w.t.Context(), h.site
	t.Helper()
	names := []string{"Quastenflosser", "Zwergdommel", "Rohrweihe", "Kormoran", "Eisvogel", "Blesshuhn", "Reiher", "Wiesel"}
	for _, c := range columns {
		switch c.letter {
		case 'l':
			person := h.take(&names)
			list, _, err := s.accounts.Invite(ctx, s.console(), nordtal, []directory.PersonID{person}, 0)
			h.w.must(err)
			h.who['l'], err = s.accounts.UseInvitation(ctx, list[0].Secret)
			h.w.must(err)
		case 'g':
			a, err := h.Raise(ctx, nordtal, alarmToAll("Übung"), "")
			h.w.must(err)
			h.alarm = event.Subject("alarm/" + a.ID)
			_, code, _, err := s.guests.Invite(ctx, s.console(), nordtal, guest.Draft{Name: "Gast", Incident: string(h.alarm)})
			h.w.must(err)
			h.who['g'], err = s.guests.Enter(ctx, code)
			h.w.must(err)
		case 't':
			scopes := slices.DeleteFunc(access.Permissions(), func(p access.Permission) bool { return !p.Scopable() })
			_, token, _, err := s.programs.Make(ctx, s.console(), nordtal, program.Draft{Name: "alles", Kind: program.API, Scopes: scopes})
			h.w.must(err)
			h.token = token
		case 'c':
			h.who['c'] = access.Principal{Kind: access.Console, Way: access.ByLink}
		default:
			h.who[c.letter] = h.person(h.take(&names), c.role)
		}
	}
}

func (h *house) take(names *[]string) directory.PersonID {
	name := (*names)[0]
	*names = (*names)[1:]
	return h.named(nordtal, name).ID
}

// person gives somebody a role and signs them in by a link.
func (s *station) person(id directory.PersonID, role access.Role) access.Principal {
	t := s.w.t
	t.Helper()
	if role.Grantable() {
		_, _, err := s.site.access.Grant(t.Context(), s.site.console(), nordtal, access.GrantDraft{Role: role, Person: id})
		s.w.must(err)
	}
	secret, _, err := s.site.accounts.Link(t.Context(), s.site.console(), nordtal, id, time.Hour)
	s.w.must(err)
	p, err := s.site.accounts.UseLink(t.Context(), secret)
	s.w.must(err)
	return p
}

// cookie returns a token of a session: of a person a new one, because some routes end all that a person has.
func (h *house) cookie(letter byte) string {
	t := h.w.t
	t.Helper()
	p := h.who[letter]
	if p.Kind == access.Person {
		p.Session = ""
	}
	token, _, err := h.site.tokens.Issue(t.Context(), p)
	h.w.must(err)
	return token
}

// ask sends a request as one of the columns, 's' for a stranger.
func (h *house) ask(letter byte, method, path string) *httptest.ResponseRecorder {
	t := h.w.t
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://"+h.portal+path, nil)
	if method != http.MethodGet && !strings.HasPrefix(path, "/api/") {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	switch letter {
	case 's':
	case 't':
		r.Header.Set("Authorization", "Bearer "+h.token)
	default:
		r.AddCookie(&http.Cookie{Name: "holdfast", Value: h.cookie(letter)})
	}
	rec := httptest.NewRecorder()
	h.handler.ServeHTTP(rec, r)
	return rec
}

var placeholder = regexp.MustCompile(`\{([a-z$]+)\}`)

// filled puts an authority and ids of nothing into a route's pattern.
func filled(pattern string, a event.AuthorityID) (method, path string) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = http.MethodGet, pattern
	}
	return method, placeholder.ReplaceAllStringFunc(path, func(s string) string {
		switch s {
		case "{authority}":
			return string(a)
		case "{$}":
			return ""
		}
		return anID
	})
}

// The three answers to somebody who may not.
func unknown(rec *httptest.ResponseRecorder) bool {
	return rec.Code == http.StatusUnauthorized || rec.Code == http.StatusSeeOther && rec.Header().Get("Location") == "/signin"
}

// forbidden is the guard's refusal, or that of a domain, which knows more: the console has no account, an invitation's session
// removes nothing.
func forbidden(rec *httptest.ResponseRecorder) bool {
	return rec.Code == http.StatusForbidden && refusal.MatchString(rec.Body.String())
}

var refusal = regexp.MustCompile(`"code":"[a-z]+\.[a-z_]+"|<code>[a-z]+\.[a-z_]+</code>`)

func noAuthority(rec *httptest.ResponseRecorder) bool {
	return rec.Code == http.StatusNotFound && strings.Contains(rec.Body.String(), "access.no_authority")
}

func TestPermissionOfEveryRouteForEverybody(t *testing.T) {
	h := newHouse(t)
	want, asked := rows(t, routeTable), 0
	for _, r := range h.routes {
		row, ok := want[r.Pattern]
		delete(want, r.Pattern)
		if row == open || r.Open {
			if !ok || row != open || !r.Open {
				t.Errorf("%s is open: %t, and its row says %q", r.Pattern, r.Open, row)
			}
			continue
		}
		method, path := filled(r.Pattern, nordtal)
		var got strings.Builder
		for _, c := range columns {
			rec := h.ask(c.letter, method, path)
			asked++
			switch {
			case forbidden(rec), c.letter == 't' && unknown(rec) && !strings.HasPrefix(path, "/api/"):
				got.WriteByte('-')
			case rec.Code >= http.StatusInternalServerError, unknown(rec) && r.Pattern != "POST /enrol/done", noAuthority(rec),
				rec.Code == http.StatusForbidden:
				t.Errorf("%s answers the %s with %d: %.500s", r.Pattern, c.name, rec.Code, rec.Body)
				got.WriteByte('?')
			default:
				got.WriteByte(c.letter)
			}
		}
		if got.String() != row {
			t.Errorf("%s %s\n  but its row says\n%s", got.String(), r.Pattern, row)
		}
		if rec := h.ask('s', method, path); !unknown(rec) {
			t.Errorf("%s answers a stranger with %d", r.Pattern, rec.Code)
		}
	}
	for pattern := range want {
		t.Errorf("there is no route %s", pattern)
	}
	t.Logf("%d routes, %d answers", len(h.routes), asked)
}

// Nobody learns from an answer whether an authority exists, not even by its length.
func TestPermissionInAnotherAuthorityIsLikeThatInNone(t *testing.T) {
	h := newHouse(t)
	asked := 0
	for _, r := range h.routes {
		if !strings.Contains(r.Pattern, "{authority}") {
			continue
		}
		who := "lmajpdrogt"
		if r.Open {
			who = "s"
		}
		for _, letter := range []byte(who) {
			var answers []string
			for _, a := range []event.AuthorityID{nowhere, foreign, faraway} {
				method, path := filled(r.Pattern, a)
				rec := h.ask(letter, method, path)
				asked++
				portalToken := letter == 't' && !strings.HasPrefix(path, "/api/")
				if !r.Open && !portalToken && !noAuthority(rec) || portalToken && !unknown(rec) {
					t.Errorf("%s answers %c for %s with %d: %.300s", r.Pattern, letter, a, rec.Code, rec.Body)
				}
				answers = append(answers, answerOf(rec, a))
			}
			if answers[0] != answers[1] || answers[0] != answers[2] {
				t.Errorf("%s tells %c one authority from another:\n%s", r.Pattern, letter, strings.Join(answers, "\n----\n"))
			}
		}
		if method, path := filled(r.Pattern, nowhere); !r.Open {
			far, none := h.ask('c', method, strings.Replace(path, string(nowhere), string(faraway), 1)), h.ask('c', method, path)
			if !noAuthority(far) || !noAuthority(none) {
				t.Errorf("%s answers the console with %d and %d", r.Pattern, far.Code, none.Code)
			}
		}
	}
	if asked < 2000 {
		t.Errorf("only %d answers: the test has lost some", asked)
	}
	t.Logf("%d answers", asked)
}

// answerOf returns the whole answer, with the authority's id made the same.
func answerOf(rec *httptest.ResponseRecorder, a event.AuthorityID) string {
	var b strings.Builder
	_ = rec.Result().Header.Write(&b)
	return strings.ReplaceAll(http.StatusText(rec.Code)+"\n"+b.String()+"\n"+rec.Body.String(), string(a), "AUTHORITY")
}
