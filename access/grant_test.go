// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

func TestAGrantIsInForceFromItsFirstInstantUntilBeforeItsLast(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	from, until := noon.Add(time.Hour), noon.Add(2*time.Hour)
	g := s.mustGrant(GrantDraft{Role: AlarmOfficer, Person: "anna", From: from, Until: until})
	for at, want := range map[time.Time]bool{
		noon: false, from.Add(-time.Millisecond): false, from: true, until.Add(-time.Millisecond): true, until: false, until.AddDate(10, 0, 0): false,
	} {
		w.now = at
		s.may(person("anna"), RaiseAlarm, want)
		if got := s.grantOf(g.ID).InForce(at); got != want {
			t.Errorf("at %v InForce is %v", at, got)
		}
		if got := len(s.must(s.Holders(s.ctx, nordtal, AlarmOfficer))); got != map[bool]int{true: 1}[want] {
			t.Errorf("at %v there are %d holders", at, got)
		}
	}
}

// With the clock ten years ahead a grant without an end still holds.
func TestAGrantWithoutAnEndHasNone(t *testing.T) {
	w := newWorld(t, 1)
	w.sites[0].grants(Administrator, "anna")
	w.now = noon.AddDate(10, 0, 0)
	w.sites[0].may(person("anna"), GrantRoles, true)
}

func TestSeveralGrantsOfOnePermissionAddUp(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	north := s.grants(AlarmOfficer, "dora", "nord")
	if v := s.may(person("dora"), RaiseAlarm, true); v.Grant != north.ID || !slices.Equal(v.Units, []directory.UnitID{"nord"}) {
		t.Errorf("one unit: %+v", v)
	}
	south := s.mustGrant(GrantDraft{Role: AlarmOfficer, Function: "s1", Unit: "sued"})
	if v := s.may(person("dora"), RaiseAlarm, true); v.Grant != min(north.ID, south.ID) || !slices.Equal(v.Units, []directory.UnitID{"nord", "sued"}) {
		t.Errorf("two units: %+v", v)
	}
	all := s.grants(AlarmOfficer, "dora")
	if v := s.may(person("dora"), RaiseAlarm, true); v.Grant != all.ID || v.Units != nil {
		t.Errorf("everywhere: %+v", v)
	}
	if v := s.may(person("dora"), SeeAlarms, true); v.Grant != "" || v.Units != nil {
		t.Errorf("a member's right: %+v", v)
	}
	all2, err := s.Permitted(s.ctx, person("dora"), nordtal)
	ok(t, err)
	if diff := cmp.Diff(Verdict{Grant: all.ID}, all2[CloseAlarm]); diff != "" {
		t.Error(diff)
	}
}

func TestAUnitCoversWhatIsBelowIt(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	w.units[nordtal] = append(w.units[nordtal], directory.Unit{ID: "ring1", Parent: "ring2"}, directory.Unit{ID: "ring2", Parent: "ring1"})
	w.people[nordtal]["anna"] = directory.Person{ID: "anna", Units: []directory.UnitID{"sued", "eins"}}
	w.people[nordtal]["bert"] = directory.Person{ID: "bert", Units: []directory.UnitID{"sued"}}
	north := Verdict{Units: []directory.UnitID{"nord"}}
	for _, c := range []struct {
		v    Verdict
		a    directory.Audience
		want bool
	}{
		{Verdict{}, directory.Audience{Everyone: true, Functions: []directory.FunctionID{"s1"}}, true},
		{north, directory.Audience{}, true},
		{north, directory.Audience{Everyone: true}, false},
		{north, directory.Audience{Functions: []directory.FunctionID{"s1"}}, false},
		{north, directory.Audience{Units: []directory.UnitID{"nord", "eins"}}, true},
		{north, directory.Audience{Units: []directory.UnitID{"eins", "haus"}}, false},
		{north, directory.Audience{Units: []directory.UnitID{"sued"}}, false},
		{north, directory.Audience{Units: []directory.UnitID{"never heard of"}}, false},
		{north, directory.Audience{Units: []directory.UnitID{"ring1"}}, false},
		{north, directory.Audience{Persons: []directory.PersonID{"anna"}}, true},
		{north, directory.Audience{Persons: []directory.PersonID{"anna", "bert"}}, false},
		{north, directory.Audience{Persons: []directory.PersonID{"nobody"}}, false},
	} {
		got, err := s.CoversAudience(s.ctx, nordtal, c.v, c.a)
		ok(t, err)
		if got != c.want {
			t.Errorf("%v covers %+v: %v", c.v.Units, c.a, got)
		}
		if !c.a.Everyone && len(c.a.Functions)+len(c.a.Persons) == 0 {
			if got, err := s.Covers(s.ctx, nordtal, c.v, c.a.Units...); err != nil || got != c.want {
				t.Errorf("%v covers %+v: %v, %v", c.v.Units, c.a.Units, got, err)
			}
		}
	}
	if whole, err := s.Covers(s.ctx, nordtal, north, ""); err != nil || whole {
		t.Errorf("a unit covers the whole authority: %v", err)
	}
}

func TestAnAdministratorOfAUnitGrantsThereOnly(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	s.grants(Administrator, "anna", "nord")
	everywhere := s.grants(Auditor, "carl")
	for unit, want := range map[directory.UnitID]error{"nord": nil, "eins": nil, "sued": ErrForbidden, "haus": ErrForbidden, "": ErrForbidden, "none": ErrForbidden} {
		_, _, err := s.Grant(s.ctx, person("anna"), nordtal, GrantDraft{Role: AlarmOfficer, Person: "bert", Unit: unit})
		if want == nil {
			ok(t, err)
		} else {
			wantErr(t, err, want)
		}
	}
	wantErr(t, second(s.Withdraw(s.ctx, person("anna"), nordtal, everywhere.ID)), ErrForbidden)
	wantErr(t, second(s.SetPolicy(s.ctx, person("anna"), nordtal, DefaultPolicy())), ErrForbidden)
}

func TestAGrantThatMakesNoSenseIsRefused(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	s.grants(Administrator, "anna")
	s.mustGrant(GrantDraft{Role: Auditor, Person: "bert", Until: noon.Add(time.Hour)})
	erased := w.people[nordtal]["emil"]
	erased.Readable = directory.Erased
	w.people[nordtal]["emil"] = erased
	for _, c := range []struct {
		name string
		d    GrantDraft
		want error
	}{
		{"a role that is not granted", GrantDraft{Role: MemberRole, Person: "bert"}, ErrRole},
		{"guest", GrantDraft{Role: GuestRole, Person: "bert"}, ErrRole},
		{"a role to come", GrantDraft{Role: "king", Person: "bert"}, ErrRole},
		{"operator", GrantDraft{Role: Operator, Person: "bert"}, ErrOperatorOnly},
		{"nobody", GrantDraft{Role: Auditor}, ErrHolder},
		{"both", GrantDraft{Role: Auditor, Person: "bert", Function: "s1"}, ErrHolder},
		{"somebody unknown", GrantDraft{Role: Auditor, Person: "zoe"}, ErrHolder},
		{"somebody erased", GrantDraft{Role: Auditor, Person: "emil"}, ErrHolder},
		{"a function unknown", GrantDraft{Role: Auditor, Function: "s9"}, ErrHolder},
		{"a unit unknown", GrantDraft{Role: Auditor, Person: "bert", Unit: "west"}, ErrUnit},
		{"over before now", GrantDraft{Role: Auditor, Person: "carl", Until: noon}, ErrTerm},
		{"over before it begins", GrantDraft{Role: Auditor, Person: "carl", From: noon.Add(time.Hour), Until: noon.Add(time.Hour)}, ErrTerm},
		{"granted already", GrantDraft{Role: Auditor, Person: "bert", Until: noon.Add(time.Hour)}, ErrGranted},
		{"granted already, for longer", GrantDraft{Role: Auditor, Person: "bert", From: noon.Add(time.Minute), Until: noon.Add(time.Minute * 2)}, ErrGranted},
		{"granted, longer than before", GrantDraft{Role: Auditor, Person: "bert", Until: noon.Add(2 * time.Hour)}, nil},
		{"granted, and now without end", GrantDraft{Role: Auditor, Person: "bert"}, nil},
		{"granted, now in a unit", GrantDraft{Role: Auditor, Person: "bert", Unit: "nord"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(s.log.Heads())
			_, r, err := s.Grant(s.ctx, person("anna"), nordtal, c.d)
			if c.want == nil {
				ok(t, err)
				if r.Events[0].Grant == "" || r.Events[0].Actor != "person/anna" {
					t.Errorf("the fact does not say who and why: %+v", r.Events[0])
				}
				return
			}
			wantErr(t, err, c.want)
			if len(r.Events) > 0 || len(s.log.Heads()) != before {
				t.Error("something was written")
			}
		})
	}
}

func TestTheConsoleMakesTheFirstAdministratorAndAnyOperator(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	wantErr(t, second2(s.Grant(s.ctx, person("anna"), nordtal, GrantDraft{Role: Administrator, Person: "anna"})), ErrForbidden)
	first := s.grants(Administrator, "anna")
	if first.GrantedBy != "operator" || !first.GrantedAt.Equal(noon) {
		t.Errorf("%+v", first)
	}
	operator := s.grants(Operator, "bert")
	s.may(person("bert"), ManageSite, true)
	ok(t, second(s.Withdraw(s.ctx, person("anna"), nordtal, operator.ID))) // taking power away needs no console
	s.may(person("bert"), ManageSite, false)
	wantErr(t, second(s.Withdraw(s.ctx, person("anna"), nordtal, operator.ID)), ErrWithdrawn)
	wantErr(t, second(s.Withdraw(s.ctx, person("anna"), nordtal, "0000000000000000")), ErrGrantUnknown)
}

func second2[A, B any](_ A, _ B, err error) error { return err }

func TestTheLastAdministratorStays(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	anna := s.grants(Administrator, "anna")
	withdraw := func(id string) error { return second(s.Withdraw(s.ctx, person("anna"), nordtal, id)) }
	wantErr(t, withdraw(anna.ID), ErrLastAdministrator)

	unit := s.grants(Administrator, "bert", "nord")
	later := s.mustGrant(GrantDraft{Role: Administrator, Person: "bert", From: noon.Add(time.Hour)})
	w.assign(nordtal, "vacant", "zoe", "yve")
	delete(w.people[nordtal], "zoe")
	delete(w.people[nordtal], "yve")
	vacant := s.mustGrant(GrantDraft{Role: Administrator, Function: "vacant"})
	wantErr(t, withdraw(anna.ID), ErrLastAdministrator) // none of them is an administrator of everything now
	for _, g := range []Grant{unit, later, vacant} {
		ok(t, withdraw(g.ID))
	}

	s.mustGrant(GrantDraft{Role: Administrator, Function: "s1", Until: noon.Add(time.Hour)})
	w.pass(time.Hour) // ended just now
	wantErr(t, withdraw(anna.ID), ErrLastAdministrator)
	s.mustGrant(GrantDraft{Role: Administrator, Function: "s1"})
	ok(t, withdraw(anna.ID))
	s.may(person("anna"), GrantRoles, false)
	s.may(person("emil"), GrantRoles, true)

	live, err := s.live(s.ctx, nordtal)
	ok(t, err)
	for _, g := range live {
		ok(t, second(s.Withdraw(s.ctx, console, nordtal, g.ID))) // the console may
	}
	s.may(person("emil"), GrantRoles, false)
}

func TestAFunctionGivesItsRoleToWhoeverHasItNow(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	s.mustGrant(GrantDraft{Role: AlarmOfficer, Function: "s1"})
	s.may(person("dora"), RaiseAlarm, true)
	s.may(person("emil"), RaiseAlarm, true)
	if diff := cmp.Diff([]directory.PersonID{"dora", "emil"}, s.must(s.Holders(s.ctx, nordtal, AlarmOfficer))); diff != "" {
		t.Error(diff)
	}
	w.people[nordtal]["dora"] = directory.Person{ID: "dora", Readable: directory.Readable}
	w.people[nordtal]["carl"] = directory.Person{ID: "carl", Readable: directory.NotYet, Functions: []directory.FunctionID{"s2", "s1"}}
	s.may(person("dora"), RaiseAlarm, false)
	s.may(person("carl"), RaiseAlarm, true) // that a name cannot be read here yet takes no right away
}

func TestGrantsAreListedLiveOnesFirst(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	var ids []string
	for _, p := range []directory.PersonID{"anna", "bert", "carl"} {
		w.pass(time.Minute)
		ids = append(ids, s.grants(Auditor, p).ID)
	}
	w.pass(time.Minute)
	r, err := s.Withdraw(s.ctx, console, nordtal, ids[2])
	ok(t, err)
	list, err := s.Grants(s.ctx, nordtal)
	ok(t, err)
	want := []Grant{
		{ID: ids[1], Role: Auditor, Person: "bert", GrantedBy: "operator", GrantedAt: noon.Add(2 * time.Minute)},
		{ID: ids[0], Role: Auditor, Person: "anna", GrantedBy: "operator", GrantedAt: noon.Add(time.Minute)},
		{ID: ids[2], Role: Auditor, Person: "carl", GrantedBy: "operator", GrantedAt: noon.Add(3 * time.Minute),
			Withdrawn: true, WithdrawnBy: "operator", WithdrawnAt: noon.Add(4 * time.Minute), WithdrawnStamp: r.Events[0].Stamp},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	if other, err := s.Grants(s.ctx, westmark); err != nil || len(other) > 0 {
		t.Errorf("another authority's grants: %v, %v", other, err)
	}
}

func TestThePolicyIsTheDefaultUntilItIsSet(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	p, err := s.Policy(s.ctx, nordtal)
	ok(t, err)
	if diff := cmp.Diff(DefaultPolicy(), p); diff != "" {
		t.Error(diff)
	}
	for field, change := range map[string]func(*Policy){
		"massAlarmFrom":     func(p *Policy) { p.MassAlarmFrom = -1 },
		"twoPersons":        func(p *Policy) { p.TwoPersons = []Permission{SeePeople} },
		"sessionMaxMinutes": func(p *Policy) { p.SessionMaxMinutes = MaxSessionMinutes + 1 },
		"retentionDays":     func(p *Policy) { p.RetentionDays[event.Audit] = 0 },
	} {
		bad := DefaultPolicy()
		change(&bad)
		_, err := s.SetPolicy(s.ctx, console, nordtal, bad)
		wantErr(t, err, ErrPolicy)
		if f := ErrPolicy.At(0, field); err == nil || err.Error() != f.Error() {
			t.Errorf("got %v, want %v", err, f)
		}
	}
	want := Policy{MassAlarmFrom: 0, ProviderOff: true, SessionMaxMinutes: 60}
	ok(t, second(s.SetPolicy(s.ctx, console, nordtal, want)))
	p, err = s.Policy(s.ctx, nordtal)
	ok(t, err)
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}
