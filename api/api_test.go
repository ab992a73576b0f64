// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/site"

	"github.com/google/go-cmp/cmp"
)

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestClientAndRoutesAgree walks every method of the client over a real socket.
func TestClientAndRoutesAgree(t *testing.T) {
	c, h := dialled(t)
	ctx := t.Context()
	status := must(c.Status(ctx))(t)
	if status.Self != self || status.BehindPages != 3 || len(status.Lag) != 1 || status.Lag[0].OffsetSeconds != 1.5 || status.Members == nil {
		t.Errorf("status %+v", status)
	}
	if !slices.ContainsFunc(status.Warnings, func(w string) bool { return strings.Contains(w, "44 authorities more than count") }) {
		t.Errorf("the warnings are %q", status.Warnings)
	}
	if s := must(c.State(ctx))(t); s.Hash != "beef" || s.Site != self {
		t.Errorf("state %+v", s)
	}
	if m := must(c.Merges(ctx))(t); len(m) != 2 || m[0].Events != 5 || m[0].From != self {
		t.Errorf("merges %+v", m)
	}
	if d := must(c.Scrub(ctx))(t); len(d) != 2 || d[0].Reason != "torn" || !d[0].FetchedAgain {
		t.Errorf("damages %+v", d)
	}
	if x := must(c.Troubles(ctx))(t); len(x) != 3 || x[0].Reason != "broken" {
		t.Errorf("troubles %+v", x)
	}
	if l := must(c.SignInLink(ctx))(t); l != "https://x/signin/y" {
		t.Errorf("link %q", l)
	}
	if token := must(c.Invite(ctx, "Süd", "Betreiber", 48))(t); token != "token" {
		t.Errorf("token %q", token)
	}
	must(c.Admit(ctx, self))(t)
	must(c.RemoveSite(ctx, self, true))(t)
	must(c.Authorities(ctx))(t)
	for _, err := range []error{c.AddAuthority(ctx, site.AuthorityDraft{ID: nordtal}), c.Allow(ctx, nordtal, self), c.Forbid(ctx, nordtal, self),
		c.Erase(ctx, nordtal, anID)} {
		if err != nil {
			t.Error(err)
		}
	}
	if p := must(c.People(ctx, nordtal, directory.Search{Text: "mül"}))(t); p.Total != 1 || p.People[0].Reachability[0].Address != "+491713920012" {
		t.Errorf("people %+v", p)
	}
	must(c.Person(ctx, nordtal, anID))(t)
	must(c.Units(ctx, nordtal))(t)
	must(c.Functions(ctx, nordtal))(t)
	report := must(c.Import(ctx, nordtal, directory.ImportOptions{Format: directory.CSV, KeyColumn: "Nr"}, strings.NewReader("a;b")))(t)
	if report.Added != 1 || len(report.Refused) != 1 || report.Refused[0].Line != 3 || report.Refused[0].Field != "mobile" || !report.Written.Secured {
		t.Errorf("report %+v", report)
	}
	if p := must(c.Preview(ctx, nordtal, AlarmDraft{Audience: directory.Audience{Everyone: true}}))(t); p.People != 9 {
		t.Errorf("preview %+v", p)
	}
	draft := AlarmDraft{TextDE: "Ausfall", Mode: event.Test, Audience: directory.Audience{Everyone: true}, TakeoverMillis: 1500, LinkHours: 2}
	first, second := must(c.Raise(ctx, nordtal, draft, "a-key-of-16-bytes"))(t), must(c.Raise(ctx, nordtal, draft, "a-key-of-16-bytes"))(t)
	if d := cmp.Diff(first, second); d != "" || first.People != 9 || !first.Written.Secured {
		t.Errorf("raised %+v, again: %s", first, d)
	}
	must(c.Alarms(ctx, nordtal, now, 5))(t)
	must(c.Board(ctx, nordtal, anID))(t)
	if l := must(c.AlarmPeople(ctx, nordtal, anID, alarm.StatusComing, "", 5))(t); l[0].Reply.ETAMinutes != 20 {
		t.Errorf("people %+v", l)
	}
	must(c.Cancel(ctx, nordtal, anID, Words{TextDE: "Irrtum"}))(t)
	must(c.CallNow(ctx, nordtal, anID))(t)
	if _, err := c.AllClear(ctx, nordtal, anID, Words{}); !errors.Is(err, alarm.ErrClosed) || fault.Of(err).WayOut != alarm.ErrClosed.WayOut {
		t.Errorf("the fault did not come through: %v", err)
	}
	if w := must(c.Secured(ctx, first.Written.Receipt, 2, time.Millisecond))(t); !w.Secured || len(w.Operators) != 2 {
		t.Errorf("secured %+v", w)
	}
	want := []string{"invite Süd Betreiber 48h0m0s", "endorse " + string(self), "remove " + string(self) + " true", "add lk-nordtal", "allow lk-nordtal " + string(self),
		"forbid lk-nordtal " + string(self), "erase " + anID + " operator", "import csv Nr a;b", "raise Ausfall operator 1.5s 2h0m0s", "cancel " + anID + " Irrtum operator", "call " + anID + " operator"}
	if d := cmp.Diff(want, h.calls); d != "" {
		t.Errorf("what arrived (-want +got):\n%s", d)
	}
}

func TestNobodyThere(t *testing.T) {
	_, err := NewClient(t.TempDir()).Status(t.Context())
	if !errors.Is(err, ErrNoSite) || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want ErrNoSite", err)
	}
}

// fill puts an id into every placeholder.
var fill = strings.NewReplacer("{authority}", "lk-nordtal", "{alarm}", anID, "{grant}", anID, "{approval}", anID, "{passkey}", anID, "{guest}", anID, "{program}", anID, "{person}", anID, "{site}", string(self))

func TestStrangersGetNothing(t *testing.T) {
	a, h, handler := newAPI(t, stranger{})
	for _, route := range a.Routes() {
		method, path, ok := strings.Cut(fill.Replace(route.Pattern), " ")
		if !ok || route.Open {
			continue
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader("{}")))
		if rec.Code != http.StatusUnauthorized || !strings.Contains(rec.Body.String(), `"code":"web.sign_in"`) {
			t.Errorf("%s: %d %s", route.Pattern, rec.Code, rec.Body)
		}
	}
	if len(h.calls) > 0 {
		t.Errorf("a stranger has done %v", h.calls)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	_, _, handler := newAPI(t, console)
	authority := "/api/v1/authorities/lk-nordtal"
	for name, c := range map[string]struct {
		method, path, mediaType, body string
		status                        int
		want                          string
	}{
		"ErrNoRoute":       {"GET", "/api/v1/nothing", "", "", 404, "api.no_route"},
		"ErrNotHere":       {"GET", "/api/v1/authorities/amt-anderswo/people", "", "", 404, "access.no_authority"},
		"ErrUnknownField":  {"POST", authority + "/alarms", "application/json", `{"mood":"test"}`, 422, `"field":"mood"`},
		"ErrWrongType":     {"POST", authority + "/alarms", "application/json", `{"textDe":7}`, 422, `"field":"textDe"`},
		"ErrMode":          {"POST", authority + "/alarms", "application/json", `{"audience":{"everyone":true}}`, 422, `"field":"mode"`},
		"ErrMediaType":     {"POST", authority + "/alarms", "text/plain", `{}`, 422, "api.json"},
		"ErrTwoValues":     {"POST", authority + "/alarms", "application/json", `{}{}`, 422, "api.json"},
		"ErrTooLarge":      {"POST", authority + "/alarms", "application/json", `{"textDe":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "web.too_large"},
		"ErrLimit":         {"GET", authority + "/people?limit=9999", "", "", 422, `"field":"limit"`},
		"ErrBefore":        {"GET", authority + "/alarms?before=yesterday", "", "", 422, `"field":"before"`},
		"ErrStatus":        {"GET", authority + "/alarms/" + anID + "/people?status=maybe", "", "", 422, `"field":"status"`},
		"ErrReceipt":       {"GET", "/api/v1/secured?receipt=x", "", "", 422, "web.receipt"},
		"ErrHours":         {"POST", "/api/v1/invitations", "application/json", `{"hours":9999}`, 422, `"field":"hours"`},
		"ErrPersonUnknown": {"GET", authority + "/people/ffffffffffffffff", "", "", 404, "directory.person_unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.mediaType)
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, r)
			if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.want) || !strings.Contains(rec.Body.String(), `"wayOut"`) {
				t.Errorf("%d %s, want %d with %s", rec.Code, rec.Body, c.status, c.want)
			}
			if got := rec.Header().Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("content type %q", got)
			}
		})
	}
}

func TestImportsMayBeLarge(t *testing.T) {
	_, h, handler := newAPI(t, console)
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, httptest.NewRequest("POST", "/api/v1/authorities/lk-nordtal/imports", bytes.NewReader(make([]byte, 3<<20))))
	if rec.Code != http.StatusOK || len(h.calls) != 1 || len(h.calls[0]) < 3<<20 {
		t.Errorf("%d", rec.Code)
	}
}

// TestTheDescriptionHasAllRoutes compares openapi.yaml with the table of routes and their permissions, both ways, and follows
// every reference.
func TestTheDescriptionHasAllRoutes(t *testing.T) {
	var doc struct {
		Paths      map[string]map[string]any `yaml:"paths"`
		Components map[string]map[string]any `yaml:"components"`
	}
	if err := yaml.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	var described, routed []string
	for path, operations := range doc.Paths {
		for method, operation := range operations {
			if method != "parameters" {
				need, _ := operation.(map[string]any)["x-permission"].(string)
				described = append(described, strings.ToUpper(method)+" "+path+" "+need)
			}
		}
	}
	a, _, _ := newAPI(t, stranger{})
	for _, route := range a.Routes() {
		if strings.Contains(route.Pattern, " ") {
			routed = append(routed, route.Pattern+" "+string(route.Need))
		}
	}
	slices.Sort(described)
	slices.Sort(routed)
	if d := cmp.Diff(routed, described); d != "" {
		t.Errorf("routes and openapi.yaml differ (-routes +described):\n%s", d)
	}
	for line := range strings.Lines(string(description)) {
		_, ref, found := strings.Cut(line, "#/components/")
		for found {
			kind, rest, _ := strings.Cut(ref, "/")
			name, more, _ := strings.Cut(strings.NewReplacer(`"`, "'", "}", "'", "\n", "'").Replace(rest), "'")
			if doc.Components[kind][name] == nil {
				t.Errorf("the description refers to %s/%s, which is not there", kind, name)
			}
			_, ref, found = strings.Cut(more, "#/components/")
		}
	}
	if !bytes.HasPrefix(description, []byte("# SPDX-License-Identifier: Apache-2.0\n")) {
		t.Error("the description lacks its licence")
	}
}
