// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/privacy"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

const (
	anna = "aaaaaaaaaaaaaaaa"
	bert = "bbbbbbbbbbbbbbbb"
	of   = "/api/v1/authorities/lk-nordtal"
)

// fakeSite answers routes with what the test says, and notes what it was asked.
type fakeSite struct {
	t       *testing.T
	answers map[string]any // by "METHOD /path"
	asked   []string
	args    []string
}

// accepted is an answer with status 202.
type accepted struct{ v any }

func newFakeSite(t *testing.T) *fakeSite {
	f := &fakeSite{t: t, answers: map[string]any{
		"GET " + of + "/people": api.People{Total: 3, People: []api.Person{
			{ID: anna, DisplayName: "Anna Müller", GivenName: "Anna", FamilyName: "Müller", Readable: directory.Readable,
				Reachability: []api.Channel{{Kind: directory.Email, Address: "anna@nordtal.example"}}},
			{ID: bert, DisplayName: "Bert Müller", GivenName: "Bert", FamilyName: "Müller", Readable: directory.Readable,
				Reachability: []api.Channel{{Kind: directory.Email, Address: "bert@nordtal.example"}}},
			{ID: "cccccccccccccccc", DisplayName: "Annabell Müllerin", Readable: directory.Readable},
		}},
		"GET /api/v1/authorities": []site.Authority{{ID: "lk-nordtal", NameDE: "Landkreis Nordtal", NameEN: "Nordtal District"}},
	}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("hf1_abc_def\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.args = []string{"--url", server.URL, "--token-file", token}
	return f
}

func (f *fakeSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Authorization") != "Bearer hf1_abc_def" {
		f.t.Errorf("%s comes without the token: %q", r.URL, r.Header.Get("Authorization"))
	}
	key := r.Method + " " + r.URL.Path
	f.asked = append(f.asked, strings.TrimSpace(strings.TrimPrefix(key, "GET "+of)+" "+string(body)))
	switch v := f.answers[key].(type) {
	case nil:
		p := web.ProblemOf(fault.New(fault.NotFound, "test.none", "no "+key, "none"))
		web.WriteJSON(w, p.Status, "", p)
	case refused:
		web.WriteJSON(w, v.problem().Status, "", v.problem())
	case accepted:
		web.WriteJSON(w, http.StatusAccepted, "", v.v)
	default:
		web.WriteJSON(w, http.StatusOK, "", v)
	}
}

// run runs a command line against the site, for authority lk-nordtal unless it names none.
func (f *fakeSite) run(args ...string) (code int, out, said string) {
	return run(Commands{}, append(slices.Clone(f.args), args...)...)
}

const inNordtal = "--authority=lk-nordtal"

func TestAPersonIsNamedByIDAddressOrName(t *testing.T) {
	f := newFakeSite(t)
	f.answers["DELETE "+of+"/accounts/"+anna+"/sessions"] = api.Written{Receipt: "r", Secured: true, Operators: []string{"a", "b"}}
	for _, word := range []string{anna, "ANNA@nordtal.example", "anna müller", "Müller, Anna"} {
		code, out, said := f.run("account", "signout", word, inNordtal)
		if code != 0 || !strings.Contains(out, "Done. Secured") {
			t.Errorf("%q: %d %q %q", word, code, out, said)
		}
	}
	for word, want := range map[string]string{
		"Müller":              "means more than one person: " + anna + " Anna Müller; " + bert + " Bert Müller; cccccccccccccccc Annabell Müllerin (use an id)",
		"nobody@nordtal.test": `"nobody@nordtal.test" means no person`,
	} {
		if code, _, said := f.run("account", "signout", word, inNordtal); code < 5 || !strings.Contains(said, want) {
			t.Errorf("%q: %d %q, want %q", word, code, said, want)
		}
	}
}

func TestPickListsFiveAtMost(t *testing.T) {
	var many []candidate
	for i := range 7 {
		many = append(many, candidate{id: fmt.Sprint("id", i)})
	}
	_, err := pick("person", "x", false, many)
	if text := err.Error(); !strings.Contains(text, "id4") || strings.Contains(text, "id5") || !strings.Contains(text, "and more") {
		t.Errorf("got %v", err)
	}
	if _, err := pick("person", "x", true, many[:1]); fault.Of(err).Code != "cli.several" {
		t.Errorf("one of many: %v", err)
	}
}

func TestWhatWaitsForASecondPersonEndsWithNine(t *testing.T) {
	f := newFakeSite(t)
	p := accepted{api.Pending{Approval: api.Approval{ID: "7f3a", State: "pending", Expires: time.Now().Add(time.Hour)}}}
	f.answers["POST "+of+"/alarms"], f.answers["POST "+of+"/people/"+anna+"/erase"], f.answers["POST "+of+"/roles"] = p, p, p
	for _, args := range [][]string{
		{"alarm", "raise", "--everyone", "--mode", "test", "--text-de", "x", inNordtal},
		{"person", "erase", inNordtal, anna, "--yes"},
		{"directory", "erase", anna, inNordtal, "--yes"},
		{"role", "grant", "auditor", "--person", anna, inNordtal},
	} {
		code, out, said := f.run(args...)
		if code != 9 || said != "" || !strings.Contains(out, "holdfast approval approve 7f3a --authority lk-nordtal --yes") {
			t.Errorf("%v: %d %q %q", args, code, out, said)
		}
		code, out, _ = f.run(append(args, "--json")...)
		var got api.Pending
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 9 || got.Approval.ID != "7f3a" {
			t.Errorf("%v as JSON: %d %q %v", args, code, out, err)
		}
	}
}

func TestARoleIsGrantedToPersonsAndFunctions(t *testing.T) {
	f := newFakeSite(t)
	f.answers["GET "+of+"/functions"] = []api.Function{{ID: "f1f1f1f1f1f1f1f1", Name: "S1 Personal", Code: "S1"}, {ID: "f2f2f2f2f2f2f2f2", Name: "S2 Lage", Code: "S2"}}
	f.answers["GET "+of+"/units"] = []api.Unit{{ID: "0101010101010101", Name: "Amt 32"}, {ID: "0202020202020202", Name: "Amt 33"}}
	f.answers["POST "+of+"/roles"] = api.Granted{Grant: api.Grant{ID: "g1"}}
	if code, out, said := f.run("role", "grant", "alarm-officer", "--function", "s2", "--unit", "amt 32", "--until", "2027-01-31T00:00:00Z", inNordtal); code != 0 || !strings.Contains(out, "g1") {
		t.Errorf("%d %q %q", code, out, said)
	}
	want := `POST ` + of + `/roles {"role":"alarm-officer","unit":"0101010101010101","function":"f2f2f2f2f2f2f2f2","until":"2027-01-31T00:00:00Z"}`
	if got := f.asked[len(f.asked)-1]; got != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
	for _, args := range [][]string{{"--person", anna, "--function", "s2"}, {}, {"--person", anna, "--until", "yesterday"}} {
		if code, _, said := f.run(append([]string{"role", "grant", "auditor", inNordtal}, args...)...); code == 0 || said == "" {
			t.Errorf("%v ends with %d", args, code)
		}
	}
}

func TestPolicyChangesOnlyWhatIsSaid(t *testing.T) {
	f := newFakeSite(t)
	f.answers["GET "+of+"/policy"] = api.Policy{MassAlarmFrom: 500, TwoPersons: []access.Permission{access.ErasePerson}, RetentionDays: map[event.Class]int{event.Audit: 365, event.Operations: 1825}, SessionMaxMinutes: 720}
	f.answers["PUT "+of+"/policy"] = api.Written{}
	if code, out, said := f.run("policy", "set", "--provider", "off", "--keep", "audit=90", inNordtal); code != 0 || !strings.HasPrefix(out, "Done.") {
		t.Errorf("%d %q %q", code, out, said)
	}
	want := `PUT ` + of + `/policy {"massAlarmFrom":500,"twoPersons":["person.erase"],"providerOff":true,"retentionDays":{"audit":90,"operations":1825},"sessionMaxMinutes":720}`
	if got := f.asked[len(f.asked)-1]; got != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
	if code, out, _ := f.run("policy", "show", inNordtal); code != 0 || !strings.Contains(out, "500 recipients on") || !strings.Contains(out, "kept for 365 days") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, said := f.run("policy", "set", "--keep", "operations=30", inNordtal); code == 0 || !strings.Contains(said, "audit=DAYS") {
		t.Errorf("a term that nothing enforces: %d %q", code, said)
	}
}

func TestInvitationsGoIntoLettersOrAreWarnedOf(t *testing.T) {
	f := newFakeSite(t)
	f.answers["GET "+of+"/accounts"] = api.AccountList{Accounts: []api.AccountLine{{Person: api.Person{ID: anna}}, {Person: api.Person{ID: bert}}}}
	f.answers["POST "+of+"/accounts/invitations"] = api.AccountInvitations{Invitations: []api.AccountInvitation{
		{Person: anna, Name: "Anna Müller", Language: directory.German, URL: "https://portal.test/enrol/SECRET", Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}}}
	code, out, said := f.run("account", "invite", anna, inNordtal)
	if code != 0 || !strings.Contains(out, "/enrol/SECRET") || !strings.Contains(said, "can enrol as that person") {
		t.Errorf("%d %q %q", code, out, said)
	}
	pdf := filepath.Join(t.TempDir(), "letters.pdf")
	code, out, said = f.run("account", "invite", "--all", inNordtal, "--letters", pdf)
	raw, err := os.ReadFile(pdf)
	if code != 0 || err != nil || !bytes.HasPrefix(raw, []byte("%PDF-")) || strings.Contains(out+said, "SECRET") {
		t.Errorf("%d %q %q %v", code, out, said, err)
	}
	if info, err := os.Stat(pdf); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info, err)
	}
	if got := f.asked[len(f.asked)-1]; got != `POST `+of+`/accounts/invitations {"persons":["`+anna+`","`+bert+`"]}` {
		t.Errorf("sent %s", got)
	}
	before := len(f.asked)
	if code, _, said := f.run("account", "invite", anna, inNordtal, "--letters", pdf); code != 6 || !strings.Contains(said, "there already") || slices.ContainsFunc(f.asked[before:], func(s string) bool { return strings.HasPrefix(s, "POST") }) {
		t.Errorf("over another file: %d %q %v", code, said, f.asked[before:])
	}
	if code, out, _ := f.run("account", "invite", anna, inNordtal, "--letters", pdf+"2", "--json"); code != 0 || strings.Contains(out, "SECRET") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, _ := f.run("account", "invite", inNordtal); code != 2 {
		t.Errorf("nobody named: %d", code)
	}
}

func TestALetterThatCannotBeWrittenLeavesNoFile(t *testing.T) {
	f := newFakeSite(t)
	pdf := filepath.Join(t.TempDir(), "letters.pdf")
	code, _, _ := f.run("account", "invite", anna, inNordtal, "--letters", pdf)
	if _, err := os.Stat(pdf); code != 5 || !os.IsNotExist(err) {
		t.Errorf("%d %v", code, err)
	}
}

func TestSecretsAreShownOnceOrGoIntoAFile(t *testing.T) {
	f := newFakeSite(t)
	f.answers["POST "+of+"/programs"] = api.MadeProgram{Program: api.Program{ID: "p1"}, Secret: "hf1_p1_SECRET"}
	f.answers["POST "+of+"/guests"] = api.InvitedGuest{Guest: api.Guest{ID: "g1"}, Code: "ABCDE-FGHJK"}
	if code, out, said := f.run("program", "make", "Wachplan", "--scope", "alarm.see", inNordtal); code != 0 || !strings.HasPrefix(out, "hf1_p1_SECRET\n") || !strings.Contains(said, "only now") {
		t.Errorf("%d %q %q", code, out, said)
	}
	path := filepath.Join(t.TempDir(), "token")
	code, out, said := f.run("program", "make", "Wachplan", "--scope", "alarm.see", inNordtal, "--token-out", path)
	raw, err := os.ReadFile(path)
	if code != 0 || err != nil || string(raw) != "hf1_p1_SECRET\n" || strings.Contains(out+said, "SECRET") {
		t.Errorf("%d %q %q %q %v", code, out, said, raw, err)
	}
	if code, out, _ := f.run("guest", "invite", "THW", "--alarm", "7f3a", inNordtal); code != 0 || !strings.HasPrefix(out, "ABCDE-FGHJK\n") || !strings.Contains(f.asked[len(f.asked)-1], `"incident":"alarm/7f3a"`) {
		t.Errorf("%d %q %v", code, out, f.asked)
	}
}

func TestPersonExportWritesAFile(t *testing.T) {
	f := newFakeSite(t)
	f.answers["POST "+of+"/people/"+anna+"/export"] = privacy.Document{Format: privacy.Format, Person: anna}
	path := filepath.Join(t.TempDir(), "anna.json")
	code, out, said := f.run("person", "export", inNordtal, "anna@nordtal.example", "-o", path)
	raw, err := os.ReadFile(path)
	var d privacy.Document
	if code != 0 || !strings.Contains(out, "Written to "+path) || err != nil || json.Unmarshal(raw, &d) != nil || d.Person != anna {
		t.Errorf("%d %q %q %q %v", code, out, said, raw, err)
	}
}

func TestErasingWantsAnID(t *testing.T) {
	f := newFakeSite(t)
	for _, args := range [][]string{{"person", "erase", inNordtal, anna}, {"person", "erase", inNordtal, "Anna Müller", "--yes"}} {
		if code, _, said := f.run(args...); code != 2 || said == "" || len(f.asked) > 0 {
			t.Errorf("%v: %d %q %v", args, code, said, f.asked)
		}
	}
}

func TestRemoteFlagsGoTogether(t *testing.T) {
	f := newFakeSite(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[int][]string{
		2: {"--token-file", empty}, 3: {"--url", "http://portal.test", "--token-file", f.args[3]},
	} {
		if code, _, said := run(Commands{}, append(args, "status")...); code != want || strings.Contains(said, "abc_def") {
			t.Errorf("%v: %d %q", args, code, said)
		}
	}
	for _, args := range [][]string{{"--url", "https://portal.test", "--token-file", empty}, {"--url", "https://portal.test", "--token-file", empty + "x"},
		{"--url", "https://portal.test", "--token-file", f.args[3], "--ca", empty}} {
		if code, _, said := run(Commands{}, append(args, "status")...); code != 3 || said == "" {
			t.Errorf("%v: %d %q", args, code, said)
		}
	}
}

func TestTimesAreDaysMomentsOrLengths(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 14, 15, 0, time.UTC)
	for word, want := range map[string]time.Time{"": {}, "2026-12-01": time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), "2026-12-01T05:06:07Z": time.Date(2026, 12, 1, 5, 6, 7, 0, time.UTC),
		"36h": now.Add(36 * time.Hour)} {
		if got, err := at(word, now, 1); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", word, got, err)
		}
	}
	if got, err := at("36h", now, -1); err != nil || !got.Equal(now.Add(-36*time.Hour)) {
		t.Errorf("%v %v", got, err)
	}
	for _, word := range []string{"tomorrow", "-1h", "2026-13-01"} {
		if _, err := at(word, now, 1); fault.Of(err).Code != "cli.time" {
			t.Errorf("%q: %v", word, err)
		}
	}
}

// exported writes an audit of a few lines and returns its export.
func exported(t *testing.T) []byte {
	t.Helper()
	ctx, rnd := context.Background(), rand.NewChaCha8([32]byte{3})
	now := func() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	id, err := seal.NewIdentity(rnd)
	must(err)
	ring, err := keyring.Open(":memory:", keyring.Config{Identity: id, Rand: rnd, Now: now})
	must(err)
	t.Cleanup(func() { _ = ring.Close() })
	must(ring.Found(ctx, "lk-nordtal"))
	log, err := eventlog.Open(ctx, eventlog.Config{Identity: id, Store: eventlog.NewMemory(now), Clock: event.NewClock(now), Rand: rnd, Policy: anybody{}, Keys: ring, Now: now})
	must(err)
	model, err := readmodel.Open(ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{audit.Fold()}, Source: log, Keys: ring, Self: id.Site(), Now: now})
	must(err)
	t.Cleanup(func() { _ = model.Close() })
	s := audit.New(audit.Config{Self: id.Site(), Log: log, Model: model, Keys: ring, Now: now, Rand: rnd})
	for range 3 {
		must(s.Record(ctx, "lk-nordtal", audit.Entry{Deed: "signin", Actor: "person/" + anna, From: "192.0.2.1"}))
	}
	var file bytes.Buffer
	must(s.Export(ctx, "lk-nordtal", log, &file))
	return file.Bytes()
}

type anybody struct{}

func (anybody) Member(event.SiteID) bool                     { return true }
func (anybody) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (anybody) Operator(event.SiteID) string                 { return "one" }

func TestAuditVerifyNeedsNoSite(t *testing.T) {
	whole := exported(t)
	verify := func(name string, content []byte, args ...string) (int, string, string) {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return run(Commands{}, append([]string{"audit", "verify", path}, args...)...)
	}
	if code, out, said := verify("whole", whole); code != 0 || !strings.Contains(out, "3 lines checked") && !strings.Contains(out, "and 3 lines") || !strings.Contains(out, "The file is sound.") {
		t.Errorf("whole: %d %q %q", code, out, said)
	}
	var report audit.Report
	if code, out, _ := verify("json", whole, "--json"); code != 0 || json.Unmarshal([]byte(out), &report) != nil || report.Lines != 3 {
		t.Errorf("as JSON: %d %q", code, out)
	}
	changed := bytes.Clone(whole)
	changed[len(changed)/2] ^= 1
	if code, out, said := verify("changed", changed); code != 6 || !strings.Contains(out, "problem: ") || !strings.Contains(said, "is not what the sites have signed") {
		t.Errorf("changed: %d %q %q", code, out, said)
	}
	if code, _, said := verify("other", []byte("hello")); code != 3 || !strings.Contains(said, "not an audit export") {
		t.Errorf("another file: %d %q", code, said)
	}
	if code, _, said := run(Commands{}, "audit", "verify", filepath.Join(t.TempDir(), "none")); code != 3 || said == "" {
		t.Errorf("no file: %d %q", code, said)
	}
}
