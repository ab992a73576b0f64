// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"errors"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// Whoever has seized the authority's identity provider may be anybody, an administrator too.
func TestPermissionsOfWhomOnlyTheProviderKnowsAdministerNothing(t *testing.T) {
	s := newWorld(t, 1).sites[0]
	for _, r := range []Role{Administrator, AlarmOfficer, Auditor, Operator} {
		s.grants(r, "anna")
	}
	p := person("anna")
	p.Way = ByOIDC
	list, err := s.Permitted(s.ctx, p, nordtal)
	ok(t, err)
	for _, need := range Permissions() {
		_, ofOwn := s.Judge(s.ctx, person("anna"), nordtal, need)
		_, borrowed := s.Judge(s.ctx, p, nordtal, need)
		_, listed := list[need]
		switch lacks := p.lacksKey(need); {
		case ofOwn == nil && lacks:
			wantErr(t, borrowed, ErrOwnKey)
		case ofOwn != nil:
			wantErr(t, borrowed, ErrForbidden)
		default:
			ok(t, borrowed)
		}
		if listed != (borrowed == nil) {
			t.Errorf("%s: listed %v, judged %v", need, listed, borrowed)
		}
	}
	for _, need := range []Permission{ManageAccounts, GrantRoles, ManagePrograms, SetPolicy, ImportDirectory, Vouch} {
		if !p.lacksKey(need) {
			t.Errorf("%s needs no key of one's own", need)
		}
	}
	wantErr(t, second2(s.Grant(s.ctx, p, nordtal, GrantDraft{Role: Administrator, Person: "bert"})), ErrOwnKey)
}

func TestAMarkIsTakenAwayByTwo(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	s.grants(Administrator, "anna")
	s.grants(Administrator, "bert")
	change := func(do func(*Policy)) Policy {
		p := DefaultPolicy()
		do(&p)
		return p
	}
	anna := person("anna")
	for name, p := range map[string]Policy{
		"a mark less":              change(func(p *Policy) { p.TwoPersons = nil }),
		"larger alarms":            change(func(p *Policy) { p.MassAlarmFrom = 501 }),
		"alarms of any size":       change(func(p *Policy) { p.MassAlarmFrom = 0 }),
		"less of the audit's past": change(func(p *Policy) { p.RetentionDays = map[event.Class]int{event.Audit: 1} }),
	} {
		if err := second(s.SetPolicy(s.ctx, anna, nordtal, p)); err == nil {
			t.Errorf("%s: one person did it", name)
		} else {
			wantErr(t, err, ErrNeedsSecond)
		}
	}
	strict := change(func(p *Policy) {
		p.TwoPersons, p.MassAlarmFrom, p.RetentionDays = []Permission{SetPolicy, ErasePerson}, 100, map[event.Class]int{event.Audit: 1000}
	})
	ok(t, second(s.SetPolicy(s.ctx, anna, nordtal, strict)))

	// Switching the provider off goes alone, even where every change is marked; on does not, nor off with something else.
	off, more := strict, strict
	off.ProviderOff, more.ProviderOff, more.SessionMaxMinutes = true, true, 15
	wantErr(t, second(s.SetPolicy(s.ctx, anna, nordtal, more)), ErrNeedsSecond)
	ok(t, second(s.SetPolicy(s.ctx, anna, nordtal, off)))
	wantErr(t, second(s.SetPolicy(s.ctx, anna, nordtal, strict)), ErrNeedsSecond)

	a := s.ask(anna, DeedSetPolicy, string(strict.Args()))
	_, _, err := s.Approve(s.ctx, person("bert"), nordtal, a.ID, func(ctx context.Context, _ Approval) (string, error) {
		return "policy/access", second(s.SetPolicy(ctx, person("bert"), nordtal, strict))
	})
	ok(t, err)
	ok(t, second(s.SetPolicy(s.ctx, console, nordtal, DefaultPolicy())))
}

func TestNobodyIsTheSecondToTheirOwnProgram(t *testing.T) {
	s := newWorld(t, 1).sites[0]
	s.grants(AlarmOfficer, "anna")
	s.grants(AlarmOfficer, "bert")
	p := Principal{Kind: Program, Authority: nordtal, ID: "prog", Way: ByToken, Scopes: []Permission{RaiseAlarm}, Maker: "person/anna"}
	a := s.ask(p, DeedRaiseAlarm, `1`)
	_, _, err := s.Approve(s.ctx, person("anna"), nordtal, a.ID, func(context.Context, Approval) (string, error) { return "", nil })
	wantErr(t, err, ErrSamePerson)
	if got := s.approves(person("bert"), a.ID, "alarm/1"); got.State != WasApproved || got.Maker != "person/anna" {
		t.Errorf("%+v", got)
	}
}

// Whoever administers a unit must not win, by inviting somebody in it, a role that reaches further.
func TestPermissionIsNotWonThroughSomebodysAccount(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	s.grants(Administrator, "anna", "nord")
	v := s.may(person("anna"), ManageAccounts, true)
	covers := func(want bool, persons ...directory.PersonID) {
		t.Helper()
		got, err := s.CoversRoles(s.ctx, nordtal, v, persons...)
		ok(t, err)
		if got != want {
			t.Errorf("%v: %v, want %v", persons, got, want)
		}
	}
	covers(true, "bert", "dora", "anna")
	s.grants(Administrator, "bert", "eins") // below nord
	covers(true, "bert")
	auditor := s.grants(Auditor, "bert")
	covers(false, "carl", "bert")
	ok(t, second(s.Withdraw(s.ctx, console, nordtal, auditor.ID)))
	covers(true, "bert")
	s.mustGrant(GrantDraft{Role: AlarmOfficer, Function: "s1", Unit: "sued", From: noon.Add(time.Hour), Until: noon.Add(2 * time.Hour)})
	covers(false, "dora") // will have it
	covers(false, "emil")
	w.pass(3 * time.Hour)
	covers(true, "dora", "emil")
	if _, err := s.CoversRoles(s.ctx, nordtal, v, "nobody"); !errors.Is(err, directory.ErrPersonUnknown) {
		t.Errorf("somebody unknown: %v", err)
	}
	if all, err := s.CoversRoles(s.ctx, nordtal, Verdict{}, "bert"); err != nil || !all {
		t.Errorf("a right everywhere: %v, %v", all, err)
	}
}
