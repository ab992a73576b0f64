// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/program"
)

// neighbour is what there is in the other authority at the same site, by the placeholder that a route has for it.
type neighbour map[string]string

// settleIn fills the other authority with one of everything.
func (h *house) settleIn() neighbour {
	t, ctx, s := h.w.t, h.w.t.Context(), h.site
	t.Helper()
	h.importAt(foreign, table("9;Haubentaucher;Lena;;0171 3920109;Abteilung 1", "10;Basstölpel;Nils;;;Abteilung 1"))
	lena := h.named(foreign, "Haubentaucher").ID
	g, _, err := s.access.Grant(ctx, s.console(), foreign, access.GrantDraft{Role: access.Administrator, Person: lena})
	h.w.must(err)
	a, err := h.Raise(ctx, foreign, alarmToAll("Haubentaucherprobe"), "")
	h.w.must(err)
	subject := string(event.Subject("alarm/" + a.ID))
	visitor, _, _, err := s.guests.Invite(ctx, s.console(), foreign, guest.Draft{Name: "Haubentauchergast", Incident: subject})
	h.w.must(err)
	p, _, _, err := s.programs.Make(ctx, s.console(), foreign, program.Draft{Name: "Haubentaucherprogramm", Kind: program.API, Scopes: []access.Permission{access.SeeAlarms}})
	h.w.must(err)
	asked, _, err := s.access.Ask(ctx, access.Principal{Kind: access.Person, Authority: foreign, ID: string(lena), Way: access.ByPasskey}, foreign,
		access.DeedErasePerson, deed.EraseArgs(h.named(foreign, "Basstölpel").ID), 1, time.Hour)
	h.w.must(err)
	h.w.must(s.audit.Record(ctx, foreign, audit.Entry{Deed: "people.see", Actor: "person/" + string(lena), Object: "/a/" + string(foreign), Outcome: audit.Done}))
	return neighbour{"{person}": string(lena), "{grant}": g.ID, "{alarm}": string(a.ID), "{guest}": string(visitor.ID), "{program}": string(p.ID),
		"{approval}": asked.ID}
}

// path fills a route of one's own authority with ids: the neighbour's, or those of nothing with as many characters.
func (n neighbour) path(pattern string, ids bool) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	return method, placeholder.ReplaceAllStringFunc(path, func(s string) string {
		id, ok := n[s]
		switch {
		case s == "{authority}":
			return string(nordtal)
		case s == "{$}":
			return ""
		case !ok:
			return anID
		case ids:
			return id
		}
		return strings.Repeat("0", len(id)-2) + "ff"
	})
}

// masked takes out what two answers to one question may differ in: places in a log, times, ids, the audit of the question before, who
// has the answer's fact already, and what the question itself said.
func masked(answer string, said ...string) string {
	for _, s := range said {
		if s != "" {
			answer = strings.ReplaceAll(strings.ReplaceAll(answer, s, "SAID"), url.QueryEscape(s), "SAID")
		}
	}
	return changing.ReplaceAllString(answer, "*")
}

var changing = regexp.MustCompile(`@[0-9]+\.[0-9]+|%40[0-9]+\.[0-9]+|20[0-9-]{8}T[0-9:.]+Z|Set-Cookie: .*|\b[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?\b|[A-Za-z0-9+/_=-]{40,}|"[0-9a-f]{16}"|(?s:"audit": ?\[.*\],)|"secured": ?[a-z]+|"operators": ?\[[^\]]*\]`)

// Somebody who knows an id of another authority learns nothing with it in their own.
func TestPermissionByAnIDOfAnotherAuthority(t *testing.T) {
	h := newHouse(t)
	n, asked := h.settleIn(), 0
	for _, r := range h.routes {
		if r.Open || !placeholder.MatchString(strings.Replace(r.Pattern, "{authority}", "", 1)) {
			continue
		}
		for _, letter := range []byte("madrtg") {
			method, path := n.path(r.Pattern, true)
			_, none := n.path(r.Pattern, false)
			if path == none {
				continue
			}
			asked++
			got, want := h.ask(letter, method, path), h.ask(letter, method, none)
			if got.Code != want.Code || masked(got.Body.String(), path, idsOf(path)) != masked(want.Body.String(), none, idsOf(none)) {
				t.Errorf("%s tells %c an id of another authority from one of nothing: %d, %d\n%s", r.Pattern, letter, got.Code, want.Code,
					cmp.Diff(masked(want.Body.String(), none, idsOf(none)), masked(got.Body.String(), path, idsOf(path))))
			}
			if strings.Contains(got.Body.String(), "Haubentaucher") {
				t.Errorf("%s tells %c: %s", r.Pattern, letter, got.Body)
			}
		}
	}
	if asked < 200 {
		t.Errorf("only %d answers: the test has lost some", asked)
	}
	if p, err := h.Person(t.Context(), foreign, directory.PersonID(n["{person}"])); err != nil || p.Readable != directory.Readable {
		t.Errorf("the person there is %v, %v", p.Readable, err)
	}
	t.Logf("%d pairs of answers", asked)
}

// idsOf returns the id in a path of a route: what stands behind the authority's third word.
func idsOf(path string) string {
	for _, part := range strings.Split(path, "/") {
		if len(part) >= 12 && part != string(nordtal) && !strings.ContainsAny(part, "-.") {
			return part
		}
	}
	return ""
}

// searches are questions that could have found something in another authority.
var searches = []string{
	"/a/{authority}/people?q=Haubentaucher", "/a/{authority}/vouch?q=Haubentaucher", "/a/{authority}/accounts?q=Haubentaucher",
	"/a/{authority}/audit?q=kv-aaaaa", "/a/{authority}/roles/new?q=Haubentaucher",
	"/api/v1/authorities/{authority}/people?q=Haubentaucher", "/api/v1/authorities/{authority}/people?text=Haubentaucher",
	"/api/v1/authorities/{authority}/audit?text=kv-aaaaa", "/api/v1/authorities/{authority}/accounts?limit=500", "/api/v1/authorities/{authority}/roles?all=true",
}

// No page, list, search, count or export of one authority shows anything of another.
func TestPermissionOfOneAuthorityShowsNothingOfAnother(t *testing.T) {
	h := newHouse(t)
	n := h.settleIn()
	h.w.must(h.site.audit.Flush(t.Context()))
	secrets := []string{"Haubentaucher", "Basstölpel", "3920109", "Abteilung 1", string(foreign), string(faraway), "Weit weg"}
	for _, id := range n {
		secrets = append(secrets, id)
	}
	asked, shows := 0, 0
	look := func(letter byte, path string) {
		asked++
		body := h.ask(letter, http.MethodGet, path).Body.String()
		for _, secret := range secrets {
			said := strings.Contains(path, secret) && strings.Count(body, secret) <= 3 // what was searched for stands in its field
			if strings.Contains(body, secret) && !said && letter != 'c' {
				t.Errorf("%s tells %c %q: %s", path, letter, secret, around(body, secret))
			}
			if letter == 'c' && strings.Contains(body, secret) {
				shows++
			}
		}
	}
	for _, letter := range []byte("majpdrogtc") {
		for _, r := range h.routes {
			if method, path := filled(r.Pattern, nordtal); method == http.MethodGet && !strings.HasSuffix(r.Pattern, "/openapi.yaml") {
				look(letter, path)
			}
		}
		for _, path := range searches {
			look(letter, strings.Replace(path, "{authority}", string(nordtal), 1))
		}
	}
	if asked < 700 || shows == 0 {
		t.Errorf("%d answers, %d at the console that show the other authority: the test proves nothing", asked, shows)
	}
	t.Logf("%d answers", asked)
}

func around(body, text string) string {
	i := strings.Index(body, text)
	return body[max(0, i-200):min(len(body), i+200)]
}

// Streams, receipts and searches in another authority are refused like those in none.
func TestPermissionToFollowAnotherAuthority(t *testing.T) {
	h := newHouse(t)
	n := h.settleIn()
	log := ""
	for _, head := range h.site.log.Heads() {
		if head.Branch.Authority == foreign && head.Branch.Class == event.Register {
			log = head.Branch.LogID.String()
		}
	}
	if log == "" {
		t.Fatal("there is no log to ask for")
	}
	questions := []string{"/events?of=alarms&authority=AUTHORITY", "/events?of=board&authority=AUTHORITY&alarm=" + n["{alarm}"],
		"/receipt?receipt=" + url.QueryEscape(strings.Replace(log, string(foreign), "AUTHORITY", 1)+"@1.0"),
		"/api/v1/secured?receipt=" + url.QueryEscape(strings.Replace(log, string(foreign), "AUTHORITY", 1)+"@1.0")}
	for _, path := range searches {
		questions = append(questions, strings.NewReplacer("{authority}", "AUTHORITY", string(foreign), "AUTHORITY").Replace(path))
	}
	for _, question := range questions {
		for _, letter := range []byte("lmajpdrogt") {
			var answers []string
			for _, a := range []event.AuthorityID{nowhere, foreign, faraway} {
				rec := h.ask(letter, http.MethodGet, strings.ReplaceAll(question, "AUTHORITY", string(a)))
				answers = append(answers, masked(answerOf(rec, a)))
			}
			if answers[0] != answers[1] || answers[0] != answers[2] {
				t.Errorf("%s tells %c one authority from another:\n%s%s", question, letter, cmp.Diff(answers[0], answers[1]), cmp.Diff(answers[0], answers[2]))
			}
		}
	}
}

// The time that a refusal takes tells nothing, because nothing is looked up for it: it is the same where nothing can be.
func TestPermissionInAnotherAuthorityIsRefusedWithoutALook(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for letter, p := range h.who {
		for _, a := range []event.AuthorityID{foreign, faraway, nowhere} {
			if letter == 'c' && a == foreign {
				continue
			}
			if _, err := h.site.access.Judge(ctx, p, a, access.SeePeople); err != access.ErrNoAuthority { //nolint:errorlint // the very same
				t.Errorf("%c in %s: %v", letter, a, err)
			}
		}
	}
	_, err := h.site.access.Judge(ctx, h.who['d'], nordtal, access.GrantRoles)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("where something must be looked up it is %v: the test proves nothing", err)
	}
}

// What somebody was refused in another authority stands in the audit of their own, and nowhere else.
func TestPermissionThatWasRefusedIsInOnesOwnAudit(t *testing.T) {
	h := newHouse(t)
	ctx, s := t.Context(), h.site
	for _, letter := range []byte("mt") {
		h.ask(letter, http.MethodGet, "/api/v1/authorities/"+string(foreign)+"/people")
		h.ask(letter, http.MethodPost, "/api/v1/authorities/"+string(nordtal)+"/roles")
	}
	h.ask('c', http.MethodGet, "/a/"+string(faraway)+"/people")
	h.w.must(s.audit.Flush(ctx))
	refusals := func(a event.AuthorityID) (list []string) {
		lines, err := s.audit.Entries(ctx, a, audit.Query{Outcome: string(audit.Refused), Limit: 100})
		h.w.must(err)
		for _, l := range lines {
			list = append(list, l.Actor+" "+l.Code)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	member := h.who['m'].Actor()
	h.w.eventually("the refusals are in the audit", func() error {
		own, console := refusals(nordtal), refusals(event.Federation)
		if len(own) != 4 || !slices.Contains(own, member+" access.no_authority") || !slices.Contains(own, member+" access.forbidden") ||
			!slices.Contains(console, "operator access.no_authority") {
			return fmt.Errorf("there is %v, and %v of the console", own, console)
		}
		return nil
	})
	if there := refusals(foreign); len(there) > 0 {
		t.Errorf("the other authority's audit has %v", there)
	}
}
