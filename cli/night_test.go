// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

const anAlarm = "7f3a7f3a7f3a7f3a"

// says runs a command and checks that it says all of the parts, in this order.
func (f *fakeSite) says(args []string, parts ...string) {
	f.t.Helper()
	code, out, said := f.run(args...)
	rest := out
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			f.t.Errorf("%v: %d, %q does not follow in\n%s%s", args, code, part, out, said)
			return
		}
		rest = after
	}
	if code != 0 {
		f.t.Errorf("%v: %d %q", args, code, said)
	}
}

func (f *fakeSite) withBoard(t alarm.Tally) {
	f.answers["GET "+of+"/alarms/"+anAlarm] = alarm.Board{Total: t, Channels: []alarm.ChannelTally{{Channel: directory.SMS}, {Channel: directory.Email}},
		Alarm: alarm.Alarm{Authority: "lk-nordtal", ID: anAlarm, Raised: alarm.Raised{Mode: event.Actual, TextDE: "Stab."}}}
}

func board(args ...string) []string {
	return append([]string{"alarm", "board", anAlarm, inNordtal}, args...)
}

func TestTheBoardNamesWhoIsSilentWithTheirNumbers(t *testing.T) {
	f := newFakeSite(t)
	f.withBoard(alarm.Tally{Recipients: 1, Called: 1, Silent: 3})
	f.answers["GET "+of+"/alarms/"+anAlarm+"/people"] = []alarm.PersonLine{{Person: bert}, {Person: anna}, {Person: "dddddddddddddddd"}}
	f.answers["GET "+of+"/people/"+anna] = api.Person{ID: anna, FamilyName: "Müller", GivenName: "Anna", Reachability: []api.Channel{{Address: "+49151"}, {Address: "anna@x"}}}
	f.answers["GET "+of+"/people/"+bert] = api.Person{ID: bert, FamilyName: "Adler", GivenName: "Bert"}
	f.says(board(), "1 person; called 1", "silent: 3 of 3", "(removed)", "Adler, Bert", "no channel", "Müller, Anna", "+49151, anna@x", anna)
	if code, _, said := f.run(board("--who", "nobody")...); code != 0 || said != "" { // the fake site takes every status
		t.Errorf("%d %q", code, said)
	}
	// Whoever may see no people gets the counts.
	f.answers["GET "+of+"/alarms/"+anAlarm+"/people"] = refused{fault.New(fault.Forbidden, "access.forbidden", "no", "no")}
	f.says(board(), "silent 3")
}

func TestOfManySilentTheBoardNamesTheFirstOfTheRegister(t *testing.T) {
	f := newFakeSite(t)
	f.withBoard(alarm.Tally{Recipients: 30, Called: 30, Silent: 25})
	var lines []alarm.PersonLine
	var people []api.Person
	for i := range 30 {
		p := api.Person{ID: directory.PersonID(fmt.Sprintf("%016x", i)), FamilyName: fmt.Sprintf("Name%02d", i)}
		people = append(people, p)
		if i >= 5 {
			lines = append(lines, alarm.PersonLine{Person: p.ID})
		}
	}
	f.answers["GET "+of+"/alarms/"+anAlarm+"/people"], f.answers["GET "+of+"/people"] = lines, api.People{People: people, Total: 30}
	f.says(board(), "silent: 20 of 25", "Name05", "Name24")
	if _, out, _ := f.run(board()...); strings.Contains(out, "Name25") || strings.Contains(out, "Name04") {
		t.Error(out)
	}
}

func TestAnAlarmThatCallsNobodyLooksLikeOne(t *testing.T) {
	f := newFakeSite(t)
	warning := api.Calls{Warning: "NOBODY WILL BE CALLED: why"}
	f.answers["POST "+of+"/alarms/preview"] = api.Preview{Preview: alarm.Preview{People: 1, PerChannel: map[directory.ChannelKind]int{"sms": 1}}, Calls: warning}
	f.answers["POST "+of+"/alarms"] = api.RaisedAlarm{ID: anAlarm, People: 1, Calls: warning}
	raise := []string{"alarm", "raise", "--everyone", "--mode", "test", "--text-de", "x", inNordtal}
	f.says(raise, "WARNING: NOBODY WILL BE CALLED: why", "is raised: 1 person")
	f.says(append(raise, "--preview"), "Nothing is raised", "for 1 person", "by sms: 1 person", "WARNING: NOBODY WILL BE CALLED: why")
	f.withBoard(alarm.Tally{Recipients: 1, Pending: 1})
	f.answers["GET "+of+"/alarms/"+anAlarm+"/people"] = []alarm.PersonLine{{Person: anna}}
	f.answers["GET "+of+"/people/"+anna] = api.Person{ID: anna, FamilyName: "Müller", GivenName: "Anna"}
	f.answers["GET /api/v1/status"] = api.Status{Warnings: []string{"LK: NOBODY"}, Status: site.Status{Authorities: []site.Authority{{ID: "lk-nordtal", Sites: []event.SiteID{"s1"}}},
		Roll: site.Roll{Members: []site.Member{{Profile: site.Profile{Site: "s1", Description: site.Description{Channels: []string{"email"}}}},
			{Profile: site.Profile{Site: "s2", Description: site.Description{Channels: []string{"sms"}}}}}}}}
	f.says(board(), "Nobody has been called yet.", "WARNING: nobody will be called by sms", "pending: 1 of 1", "Müller, Anna")
	if _, out, _ := f.run(board()...); strings.Contains(out, "called by email") {
		t.Error(out)
	}
	f.says([]string{"status"}, "WARNING: LK: NOBODY")
	f.answers["POST "+of+"/alarms/"+anAlarm+"/all-clear"] = api.Written{}
	end := []string{"alarm", "all-clear", anAlarm, inNordtal}
	f.says(end, "Nobody has been called, so nobody is told.", "Stored")
	f.withBoard(alarm.Tally{Called: 1391})
	f.says(end, "It goes to 1391 people")
}

func TestPeopleAreFoundByIDAndShownWithTheirAddresses(t *testing.T) {
	f := newFakeSite(t)
	f.answers["GET "+of+"/people/"+anna] = api.Person{ID: anna, DisplayName: "Anna Müller", Reachability: []api.Channel{{Address: "+49151"}}}
	f.says([]string{"directory", "people", anna, inNordtal}, "Anna Müller", "+49151", "1 of 1")
	f.says([]string{"directory", "people", "Anna", "Müller", inNordtal}, "anna@nordtal.example", "no channel", "3 of 3")
	f.says([]string{"directory", "people", "cccccccccccccccc", inNordtal}, "3 of 3") // no such id: it may be a word
}

func TestEveryFileOfLettersIsNamed(t *testing.T) {
	f := newFakeSite(t)
	var list api.AccountInvitations
	for i := range 501 {
		list.Invitations = append(list.Invitations, api.AccountInvitation{Person: directory.PersonID(fmt.Sprintf("%016x", i))})
	}
	args := []string{"account", "invite", inNordtal}
	for _, i := range list.Invitations {
		args = append(args, string(i.Person))
	}
	f.answers["POST "+of+"/accounts/invitations"] = api.AccountInvitations{Invitations: []api.AccountInvitation{
		{Person: anna, Name: "Anna", URL: "https://portal.test/enrol/SECRET", Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}}}
	pdf := filepath.Join(t.TempDir(), "l.pdf")
	second := strings.TrimSuffix(pdf, ".pdf") + "-2.pdf"
	if err := os.WriteFile(second, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	args = append(args, "--letters", pdf)
	if code, _, said := f.run(args...); code != 6 || !strings.Contains(said, second) || len(f.asked) > 1 {
		t.Errorf("the second file is there: %d %q, asked %d", code, said, len(f.asked))
	}
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	f.says(args, pdf+": 1 letter\n", second+": 1 letter\n", "all of these files", "Invited: 2.")
}

func TestRolesNameTheirHoldersAndTooFewAreToldOf(t *testing.T) {
	f := newFakeSite(t)
	f.answers["GET "+of+"/roles"] = []api.Grant{{ID: "g1", InForce: true, GrantDraft: api.GrantDraft{Role: access.Administrator, Function: "f1"}},
		{ID: "g2", InForce: true, GrantDraft: api.GrantDraft{Role: access.Administrator, Person: anna}}}
	f.answers["GET "+of+"/functions"] = []api.Function{{ID: "f1", Name: "Leiter Stab", Holders: []directory.PersonID{anna}}}
	f.answers["GET "+of+"/people/"+anna] = api.Person{ID: anna, DisplayName: "Anna Müller"}
	f.says([]string{"role", "list", inNordtal}, "function/f1 Leiter Stab", "person/"+anna+" Anna Müller")
	f.answers["DELETE "+of+"/roles/g3"] = api.Written{}
	f.answers["GET "+of+"/policy"] = api.Policy{TwoPersons: []access.Permission{access.ErasePerson}}
	withdraw := []string{"role", "withdraw", "g3", inNordtal}
	f.says(withdraw, "Done.", "WARNING: 1 person may erase")
	f.answers["GET "+of+"/functions"] = []api.Function{{ID: "f1", Holders: []directory.PersonID{bert}}}
	if _, out, _ := f.run(withdraw...); strings.Contains(out, "WARNING") {
		t.Error(out)
	}
	f.answers["PUT "+of+"/policy"] = api.Written{}
	f.says([]string{"policy", "set", "--mass-alarm-from", "0", inNordtal}, "Done.", "WARNING: from now on one person alone can alarm everybody")
}

func TestOneOperatorAloneIsToldOf(t *testing.T) {
	f := newFakeSite(t)
	member := func(id event.SiteID, name, operator string) site.Member {
		return site.Member{Profile: site.Profile{Site: id, Operator: operator, Description: site.Description{Name: name}}}
	}
	status := api.Status{Status: site.Status{Self: "s1", Roll: site.Roll{Members: []site.Member{member("s1", "Nord", "Eins eG"), member("s2", "Sued", "Zwei eG")},
		Pending: []site.Pending{{Profile: site.Profile{Site: "s3", Description: site.Description{Name: "Box"}}, Endorsed: []string{"Eins  EG"}, Needed: 2}}}}}
	f.answers["GET /api/v1/status"], f.answers["POST /api/v1/authorities"] = status, site.Authority{}
	add := []string{"authority", "add", "kv-neu", "--name-de", "Neu"}
	f.says(add, "kv-neu is added", "WARNING: all its data is with one operator", "holdfast authority allow kv-neu SITE")
	if _, out, _ := f.run(append(add, "--sites", "Nord,Sued")...); !strings.Contains(out, "is added") || strings.Contains(out, "WARNING") {
		t.Error(out)
	}
	f.answers["POST /api/v1/sites/s3/endorsement"] = api.Admission{Site: "s3"}
	f.says([]string{"admit", "Box"}, "Nothing has changed: Eins eG has endorsed", "a site of another operator; needed: 2 operators")
	status.Self = "s2"
	f.answers["GET /api/v1/status"] = status
	f.says([]string{"admit", "Box"}, "Endorsed; not a member yet.")
	status.Pending[0].Needed = 3
	f.says([]string{"admit", "Box"}, "Endorsed; not a member yet: 1 operator more needed.")
	f.answers["POST /api/v1/sites/s3/endorsement"] = api.Admission{Site: "s3", Member: true}
	f.says([]string{"admit", "Box"}, "The site is a member now.")
}

func TestALostPasskeyIsLookedUpWhereOneIs(t *testing.T) {
	f := newFakeSite(t)
	f.answers["DELETE "+of+"/accounts/"+anna+"/passkeys/x"] = refused{fault.New(fault.NotFound, codeNoPasskey, "there is no such passkey", "load the page again")}
	code, _, said := f.run("account", "remove-passkey", anna, "x", inNordtal)
	if code != 5 || !strings.Contains(said, "holdfast account show "+anna) || strings.Contains(said, "page") {
		t.Errorf("%d %q", code, said)
	}
}

func TestTimesHaveAZoneAndNumbersAPlural(t *testing.T) {
	at := time.Date(2026, 11, 22, 5, 22, 7, 0, time.UTC)
	for got, want := range map[string]string{count(1, "person"): "1 person", count(0, "person"): "0 people", count(uint64(2), "page"): "2 pages",
		day(at): at.Local().Format("2006-01-02 15:04 MST"), second(at): at.Local().Format("2006-01-02 15:04:05 MST"), day(time.Time{}): "-", second(time.Time{}): "-"} {
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

// refused is an answer that is a fault.
type refused struct{ f *fault.Fault }

func (r refused) problem() web.Problem { return web.ProblemOf(r.f) }
