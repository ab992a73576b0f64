// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"cmp"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/deed"
)

// deedWords are the names that the audit has for what is done, wherever a package gives one.
var deedWords = regexp.MustCompile(`\bDeed: +"([a-z.]+)"|\bs\.audit\(ctx, [a-z]+, "([a-z.]+)"|DeedSignIn = "([a-z.]+)"|e\.Deed(?:, e\.[A-Z][a-z]+)* = "([a-z.]+)"`)

func TestEveryDeedHasWords(t *testing.T) {
	all, err := loadTexts(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	deeds := append([]string{audit.DeedOthers, audit.DeedExpire}, sourceDeeds(t)...)
	deeds = append(deeds, deed.NoteAsk)
	for _, need := range access.Permissions() {
		deeds = append(deeds, string(need))
	}
	if len(deeds) < 40 {
		t.Errorf("only %d deeds were found", len(deeds))
	}
	for _, d := range deeds {
		if !access.Permission(d).Valid() && !slices.Contains(otherDeeds, d) {
			t.Errorf("nobody can search for %s", d)
		}
		for language, words := range all {
			if deedText(words, d) == d {
				t.Errorf("%s has no word for %s", language, d)
			}
		}
	}
}

func sourceDeeds(t *testing.T) (deeds []string) {
	t.Helper()
	for _, dir := range []string{".", "../api", "../web", "../identity", "../session", "../guest", "../program", "../app"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range deedWords.FindAllStringSubmatch(string(source), -1) {
				deeds = append(deeds, strings.Join(m[1:], ""))
			}
		}
	}
	return deeds
}

func TestObjectsAreReadFromPathsAndWords(t *testing.T) {
	for object, want := range map[string]string{
		"":                                      " ",
		"administrator person/1111111111111111": "administrator person/1111111111111111 ",
		"12 persons":                            "persons/12 ",
		"/a/lk-nordtal/people":                  " ",
		"/a/lk-nordtal/accounts/1111111111111111/signout":       "person/1111111111111111 ",
		"/api/v1/authorities/lk-nordtal/roles/aa00000000000002": "grant/aa00000000000002 ",
		"/a/lk-nordtal/alarms/preview":                          " ",
		"/api/v1/scrub":                                         " /api/v1/scrub",
	} {
		if tokens, rest := objectsIn(object); strings.Join(tokens, " ")+" "+rest != want {
			t.Errorf("%q names %q, %q", object, tokens, rest)
		}
	}
}

// TestTheAuditTellsWhatWasDone looks at what is written down of deeds whose permission does not tell.
func TestTheAuditTellsWhatWasDone(t *testing.T) {
	for path, want := range map[string]string{
		"roles/aa00000000000002/withdraw":                             "role.withdraw alarm-officer function/f1",
		"accounts/remind?person=1111111111111111":                     "account.remind person/1111111111111111",
		"accounts/2222222222222222/signout":                           "account.signout /a/lk-nordtal/accounts/2222222222222222/signout",
		"guests/dd00000000000002/away":                                "guest.away /a/lk-nordtal/guests/dd00000000000002/away",
		"roles?role=auditor&holder=person/2222222222222222&unit=a2":   "role.grant auditor person/2222222222222222 unit/a2",
		"policy/provider?provider=off":                                "policy.provider policy/access",
		"people/2222222222222222/erase?understood=1":                  "approval.ask person.erase person/2222222222222222 approval/bb00000000000006",
		"accounts/letters?whom=chosen&person=2222222222222222&days=7": "account.invite person/2222222222222222",
	} {
		w := newOfficeWorld(t, administrator)
		path, query, _ := strings.Cut(path, "?")
		form, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got := w.post(t, desk+path, form)
		// The first line is the sign-in.
		if lines := w.audit.recorded[1:]; len(lines) != 1 || lines[0].Deed+" "+lines[0].Object != want {
			t.Errorf("%s: %d, the audit has %+v", path, got.Code, lines)
		}
	}
}

// TestAFormWithMistakesIsNoDeed: nothing was done, so the audit must not say that it was.
func TestAFormWithMistakesIsNoDeed(t *testing.T) {
	w := newOfficeWorld(t, administrator)
	for _, path := range []string{"roles", "policy", "programs", "people/2222222222222222/erase"} {
		if got := w.post(t, desk+path, url.Values{"mass": {"x"}}); got.Code != http.StatusUnprocessableEntity || len(w.audit.recorded) != 1 {
			t.Errorf("%s: %d, the audit has %+v", path, got.Code, w.audit.recorded)
		}
	}
}

// TestWhatOnlyCalculatesIsNoDeed: a preview alarms nobody, so the audit does not say that it did.
func TestWhatOnlyCalculatesIsNoDeed(t *testing.T) {
	w := newOfficeWorld(t, administrator)
	for _, path := range []string{"alarms/new", "alarms/preview"} {
		form := url.Values{"audience": {"everyone"}, "text_de": {"Lage"}, "mode": {"exercise"}, "channel": {"sms"}, "key": {"k1"}}
		if got := w.post(t, desk+path, form); len(w.audit.recorded) != 1 || got.Code >= 500 {
			t.Errorf("%s: %d, the audit has %+v", path, got.Code, w.audit.recorded)
		}
	}
}

// TestWhatIsSeenHasWords: no page that shows sealed data is told of in the words of a deed.
func TestWhatIsSeenHasWords(t *testing.T) {
	all, err := loadTexts(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	var p Portal
	for _, route := range p.Routes() {
		if seen := "audit.seen." + cmp.Or(route.Deed, string(route.Need)); route.Sealed {
			for language, words := range all {
				if _, there := words.words[seen]; !there {
					t.Errorf("%s has no word for %s, as of %s", language, seen, route.Pattern)
				}
			}
		}
	}
}
