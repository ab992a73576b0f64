// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"testing"

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
