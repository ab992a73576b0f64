// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/directory"
)

// officers makes anna and bert alarm officers of everything, carl one of unit nord.
func officers(t testing.TB, sites int) *world {
	w := newWorld(t, sites)
	s := w.sites[0]
	s.grants(AlarmOfficer, "anna")
	s.grants(AlarmOfficer, "bert")
	s.grants(AlarmOfficer, "carl", "nord")
	w.merge()
	return w
}

func TestWhatTakesTwo(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	marked := Policy{MassAlarmFrom: 0, TwoPersons: []Permission{RaiseAlarm, GrantRoles}, SessionMaxMinutes: 720}
	for _, c := range []struct {
		policy Policy
		deed   Deed
		size   int
		want   bool
	}{
		{DefaultPolicy(), DeedRaiseAlarm, 499, false}, {DefaultPolicy(), DeedRaiseAlarm, 500, true}, {DefaultPolicy(), DeedErasePerson, 1, true},
		{DefaultPolicy(), DeedGrantRole, 9999, false}, {DefaultPolicy(), DeedSetPolicy, 0, false},
		{marked, DeedRaiseAlarm, 0, true}, {marked, DeedErasePerson, 1, false}, {marked, DeedGrantRole, 1, true},
		{Policy{SessionMaxMinutes: 720}, DeedRaiseAlarm, 1_000_000, false},
	} {
		ok(t, second(s.SetPolicy(s.ctx, console, nordtal, c.policy)))
		got, err := s.NeedsSecond(s.ctx, person("anna"), nordtal, c.deed, c.size)
		if err != nil || got != c.want {
			t.Errorf("%s of %d under %+v: %v, %v", c.deed, c.size, c.policy, got, err)
		}
		if got, err := s.NeedsSecond(s.ctx, console, nordtal, c.deed, c.size); got || err != nil {
			t.Errorf("the console needs a second person: %v", err)
		}
	}
	wantErr(t, second(s.NeedsSecond(s.ctx, person("anna"), nordtal, "stack.move", 1)), ErrDeed)
	wantErr(t, second(s.NeedsSecond(s.ctx, person("anna"), westmark, DeedRaiseAlarm, 1)), ErrNoAuthority)
}

func TestTheSecondPersonCarriesItOut(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	asked := s.ask(person("anna"), DeedRaiseAlarm, ` { "text": "Flut", "mode":"exercise", "n": 12345678901234567890 } `)
	want := Approval{ID: asked.ID, Deed: DeedRaiseAlarm, Args: json.RawMessage(`{"mode":"exercise","n":12345678901234567890,"text":"Flut"}`), Size: 900,
		AskedBy: "person/anna", AskedAt: noon, Expires: noon.Add(24 * time.Hour), AskedSite: s.log.Self(), State: Pending}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	w.pass(time.Minute)
	var carried int
	a, r, err := s.Approve(s.ctx, person("bert"), nordtal, asked.ID, func(_ context.Context, a Approval) (string, error) {
		carried++
		if diff := cmp.Diff(want, a); diff != "" {
			t.Error(diff)
		}
		return "alarm/7f3a", nil
	})
	ok(t, err)
	want.State, want.DecidedBy, want.Result = WasApproved, []string{"person/bert"}, "alarm/7f3a"
	want.Decisions = []Decision{{State: WasApproved, By: "person/bert", At: noon.Add(time.Minute), Site: s.log.Self(), Result: "alarm/7f3a"}}
	if diff := cmp.Diff(want, a); diff != "" || carried != 1 || r.Events[0].Grant == "" {
		t.Errorf("carried out %d times: %s", carried, diff)
	}
	wantErr(t, second2(s.Approve(s.ctx, person("bert"), nordtal, asked.ID, nil)), ErrDecided)
	wantErr(t, second(s.Refuse(s.ctx, person("bert"), nordtal, asked.ID)), ErrDecided)
	wantErr(t, second(s.Approval(s.ctx, westmark, asked.ID)), ErrApprovalUnknown)
	list, err := s.Approvals(s.ctx, nordtal)
	ok(t, err)
	if diff := cmp.Diff([]Approval{want}, list); diff != "" {
		t.Error(diff)
	}
}

func TestWhoMayNotBeTheSecondPerson(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	program := Principal{Kind: Program, Authority: nordtal, ID: "prog", Scopes: []Permission{RaiseAlarm}, Owner: "bert"}
	ownerless := Principal{Kind: Program, Authority: nordtal, ID: "free", Scopes: []Permission{RaiseAlarm}}
	byAnna := s.ask(person("anna"), DeedRaiseAlarm, `1`)
	byProgram := s.ask(program, DeedRaiseAlarm, `2`)
	byCarl := s.ask(person("carl"), DeedRaiseAlarm, `3`)
	byConsole := s.ask(console, DeedRaiseAlarm, `4`)
	if byProgram.Behind != "person/bert" || byProgram.AskedBy != "program/prog" || len(byCarl.Units) != 1 {
		t.Errorf("%+v %+v", byProgram, byCarl)
	}
	limited := person("bert")
	limited.Limited = true
	borrowed := person("bert")
	borrowed.Way = ByOIDC
	for _, c := range []struct {
		p    Principal
		a    Approval
		want error
	}{
		{person("anna"), byAnna, ErrSamePerson},
		{program, byAnna, ErrSamePerson}, // not a person
		{ownerless, byAnna, ErrSamePerson},
		{person("bert"), byProgram, ErrSamePerson}, // the one behind it
		{console, byConsole, ErrSamePerson},
		{person("carl"), byAnna, ErrForbidden}, // has less than the asker
		{person("dora"), byAnna, ErrForbidden},
		{limited, byAnna, ErrForbidden},
		{borrowed, byAnna, ErrOwnKey}, // whoever has the identity provider could be both
		{Principal{Kind: Person, Authority: westmark, ID: "bert"}, byAnna, ErrNoAuthority},
	} {
		_, _, err := s.Approve(s.ctx, c.p, nordtal, c.a.ID, func(context.Context, Approval) (string, error) {
			t.Error("something was carried out")
			return "", nil
		})
		wantErr(t, err, c.want)
	}
	for id, p := range map[string]Principal{byAnna.ID: console, byProgram.ID: person("anna"), byCarl.ID: person("anna"), byConsole.ID: person("bert")} {
		if a := s.approves(p, id, ""); a.State != WasApproved {
			t.Errorf("%+v", a)
		}
	}
}

func TestTheAskerMustHaveTheRightStill(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	extra := s.grants(AlarmOfficer, "dora")
	unit := s.grants(AlarmOfficer, "emil", "nord")
	byDora, byEmil := s.ask(person("dora"), DeedRaiseAlarm, `1`), s.ask(person("emil"), DeedRaiseAlarm, `2`)
	s.grants(AlarmOfficer, "dora", "nord") // less than she had
	ok(t, second(s.Withdraw(s.ctx, console, nordtal, extra.ID)))
	ok(t, second(s.Withdraw(s.ctx, console, nordtal, unit.ID)))
	for _, a := range []Approval{byDora, byEmil} {
		wantErr(t, second2(s.Approve(s.ctx, person("bert"), nordtal, a.ID, nil)), ErrAskerMayNot)
		ok(t, second(s.Refuse(s.ctx, person("bert"), nordtal, a.ID)))
	}
}

func TestARequestExpires(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	a, _, err := s.Ask(s.ctx, person("anna"), nordtal, DeedRaiseAlarm, []byte(`1`), 900, time.Hour)
	ok(t, err)
	late := s.ask(person("anna"), DeedRaiseAlarm, `2`)
	w.now = noon.Add(time.Hour - time.Millisecond)
	if got := s.request(a.ID).State; got != Pending {
		t.Errorf("a millisecond before: %s", got)
	}
	w.now = noon.Add(time.Hour)
	if got := s.request(a.ID).State; got != HasExpired {
		t.Errorf("in the last instant: %s", got)
	}
	wantErr(t, second2(s.Approve(s.ctx, person("bert"), nordtal, a.ID, nil)), ErrExpired)
	wantErr(t, second(s.Refuse(s.ctx, person("bert"), nordtal, a.ID)), ErrExpired)
	list, err := s.Approvals(s.ctx, nordtal)
	ok(t, err)
	if len(list) != 2 || list[0].ID != late.ID {
		t.Errorf("what is pending does not come first: %+v", list)
	}
	if again := s.ask(person("anna"), DeedRaiseAlarm, `1`); again.State != Pending || again.Elsewhere != nil {
		t.Errorf("asked again after it had expired: %+v", again)
	}
}

func TestIfItFailsNothingIsApproved(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	a := s.ask(person("anna"), DeedRaiseAlarm, `1`)
	broken := errors.New("broken")
	_, r, err := s.Approve(s.ctx, person("bert"), nordtal, a.ID, func(context.Context, Approval) (string, error) { return "x", broken })
	if err != broken || len(r.Events) > 0 || s.request(a.ID).State != Pending { //nolint:errorlint // unchanged
		t.Errorf("%v, %s", err, s.request(a.ID).State)
	}
	// While one carries it out, nobody else does; and whoever goes away meanwhile has approved it nevertheless.
	ctx, goAway := context.WithCancel(s.ctx)
	done, _, err := s.Approve(ctx, person("bert"), nordtal, a.ID, func(context.Context, Approval) (string, error) {
		wantErr(t, second2(s.Approve(s.ctx, person("bert"), nordtal, a.ID, nil)), ErrInHand)
		wantErr(t, second(s.Refuse(s.ctx, person("anna"), nordtal, a.ID)), ErrInHand)
		goAway()
		return strings.Repeat("ä", 300), nil
	})
	ok(t, err)
	if done.State != WasApproved || len(done.Result) != maxResult {
		t.Errorf("%s, %d bytes", done.State, len(done.Result))
	}
}

func TestTheAskerWithdrawsOthersRefuse(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	mine, theirs := s.ask(person("anna"), DeedRaiseAlarm, `1`), s.ask(person("anna"), DeedRaiseAlarm, `2`)
	ok(t, second(s.Refuse(s.ctx, person("anna"), nordtal, mine.ID)))
	ok(t, second(s.Refuse(s.ctx, person("bert"), nordtal, theirs.ID)))
	if a, b := s.request(mine.ID), s.request(theirs.ID); a.State != WasWithdrawn || b.State != WasRefused || b.DecidedBy[0] != "person/bert" {
		t.Errorf("%s, %s by %v", a.State, b.State, b.DecidedBy)
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	ask := func(p Principal, d Deed, args string, life time.Duration) error {
		return second2(s.Ask(s.ctx, p, nordtal, d, []byte(args), 1, life))
	}
	anna := person("anna")
	wantErr(t, ask(anna, "stack.move", `1`, 0), ErrDeed)
	wantErr(t, ask(anna, DeedErasePerson, `1`, 0), ErrForbidden)
	wantErr(t, ask(anna, DeedRaiseAlarm, `{`, 0), ErrArgs)
	wantErr(t, ask(anna, DeedRaiseAlarm, ``, 0), ErrArgs)
	wantErr(t, ask(anna, DeedRaiseAlarm, `"`+strings.Repeat("x", MaxArgs)+`"`, 0), ErrArgs)
	wantErr(t, ask(anna, DeedRaiseAlarm, `1`, -1), ErrLife)
	wantErr(t, ask(anna, DeedRaiseAlarm, `1`, MaxLife+1), ErrLife)
	ok(t, ask(anna, DeedRaiseAlarm, `{"a":1,"b":2}`, MaxLife))
	wantErr(t, ask(anna, DeedRaiseAlarm, `{"b": 2, "a": 1}`, 0), ErrAsked)
	ok(t, ask(person("bert"), DeedRaiseAlarm, `{"b": 2, "a": 1}`, 0))
	for i := 1; i < MaxPendingEach; i++ {
		ok(t, ask(anna, DeedRaiseAlarm, fmt.Sprint(i), 0))
	}
	wantErr(t, ask(anna, DeedRaiseAlarm, `"one more"`, 0), ErrTooManyPending)
	ok(t, ask(person("bert"), DeedRaiseAlarm, `"another asker"`, 0))
}

// Granting and the policy hold to the mark by themselves: without an approval of just that nothing is done.
func TestAMarkedGrantTakesAnApprovalOfJustThat(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	s.grants(Administrator, "anna")
	s.grants(Administrator, "bert")
	policy := DefaultPolicy()
	policy.TwoPersons = []Permission{GrantRoles, SetPolicy}
	ok(t, second(s.SetPolicy(s.ctx, console, nordtal, policy)))

	d := GrantDraft{Role: AlarmOfficer, Person: "carl", Until: noon.Add(time.Hour).In(time.FixedZone("CET", 3600))}
	wantErr(t, second2(s.Grant(s.ctx, person("anna"), nordtal, d)), ErrNeedsSecond)
	wantErr(t, second(s.SetPolicy(s.ctx, person("anna"), nordtal, DefaultPolicy())), ErrNeedsSecond)

	d.Until = d.Until.UTC()
	a := s.ask(person("anna"), DeedGrantRole, string(d.Args()))
	approved, _, err := s.Approve(s.ctx, person("bert"), nordtal, a.ID, func(ctx context.Context, a Approval) (string, error) {
		other := d
		other.Person = "dora"
		wantErr(t, second2(s.Grant(ctx, person("bert"), nordtal, other)), ErrNeedsSecond)
		var asked GrantDraft
		ok(t, json.Unmarshal(a.Args, &asked))
		g, _, err := s.Grant(ctx, person("bert"), nordtal, asked)
		return "grant/" + g.ID, err
	})
	ok(t, err)
	s.may(person("carl"), RaiseAlarm, true)
	if g := s.grantOf(strings.TrimPrefix(approved.Result, "grant/")); g.GrantedBy != "person/bert" {
		t.Errorf("%+v", g)
	}
	d.Person = "emil"
	wantErr(t, second2(s.Grant(s.ctx, person("bert"), nordtal, d)), ErrNeedsSecond)

	a = s.ask(person("bert"), DeedSetPolicy, string(DefaultPolicy().Args()))
	_, _, err = s.Approve(s.ctx, person("anna"), nordtal, a.ID, func(ctx context.Context, a Approval) (string, error) {
		var asked Policy
		ok(t, json.Unmarshal(a.Args, &asked))
		return "", second(s.SetPolicy(ctx, person("anna"), nordtal, asked))
	})
	ok(t, err)
	ok(t, second2(s.Grant(s.ctx, person("bert"), nordtal, d)))
}

func TestEqualArgumentsAreFoundEqual(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	a := s.ask(person("anna"), DeedRaiseAlarm, `{"a":1,"b":[2,3]}`)
	b := s.ask(person("bert"), DeedRaiseAlarm, `{ "b" : [2, 3], "a" : 1 }`)
	s.ask(person("bert"), DeedRaiseAlarm, `{"b":[3,2],"a":1}`)
	want := []Twin{{ID: a.ID, AskedBy: "person/anna", AskedAt: noon, AskedSite: s.log.Self(), State: Pending}}
	if diff := cmp.Diff(want, b.Elsewhere); diff != "" {
		t.Error(diff)
	}
	ok(t, second(s.Refuse(s.ctx, person("anna"), nordtal, a.ID)))
	if got := s.request(b.ID).Elsewhere; got != nil {
		t.Errorf("a withdrawn request is shown: %+v", got)
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[1,2.50,"\u00fc<"]}`, `1e400`, `"`, `{"a":1,"a":2}`, "\xff", strings.Repeat("[", 9999), `{} {}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		once, err := canonical(raw)
		if err != nil {
			return
		}
		twice, err := canonical(once)
		if err != nil || string(once) != string(twice) || len(once) > MaxArgs || !json.Valid(once) {
			t.Errorf("%q becomes %q becomes %q, %v", raw, once, twice, err)
		}
	})
}

var _ Directory = (*directory.Service)(nil)
