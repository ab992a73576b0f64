// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
)

// A grant is withdrawn on one side of a cut and used on the other: there it holds until the sites meet, then nowhere.
func TestAGrantWithdrawnOnOneSideIsUsedOnTheOther(t *testing.T) {
	w := officers(t, 2)
	a, b := w.sites[0], w.sites[1]
	before := a.may(person("anna"), RaiseAlarm, true)
	if after := b.may(person("anna"), RaiseAlarm, true); after.Grant != before.Grant {
		t.Errorf("the sites name different grants: %s and %s", before.Grant, after.Grant)
	}
	w.pass(time.Minute)
	r, err := a.Withdraw(a.ctx, console, nordtal, before.Grant)
	ok(t, err)
	a.may(person("anna"), RaiseAlarm, false)
	w.pass(time.Minute)
	used := b.ask(person("anna"), DeedRaiseAlarm, `1`) // what B accepts now names the grant
	facts := lastFact(t, b)
	if facts.Grant != before.Grant || facts.Stamp <= r.Events[0].Stamp {
		t.Errorf("what was done under the grant cannot be told from it: %+v", facts)
	}
	w.merge()
	for _, s := range w.sites {
		s.may(person("anna"), RaiseAlarm, false)
		g := s.grantOf(before.Grant)
		if !g.Withdrawn || g.WithdrawnBy != "operator" || !g.WithdrawnAt.Equal(noon.Add(time.Minute)) || g.WithdrawnStamp != r.Events[0].Stamp {
			t.Errorf("%+v", g)
		}
		if got := s.request(used.ID); got.State != Pending || got.AskedBy != "person/anna" {
			t.Errorf("the merge judged: %+v", got)
		}
	}
}

// lastFact returns the youngest event of a site's own.
func lastFact(t *testing.T, s *station) (last event.Event) {
	t.Helper()
	for _, h := range s.log.OwnHeads() {
		pages, err := s.log.Read(s.ctx, h.Branch, 0, 64<<20)
		ok(t, err)
		for _, p := range pages {
			if e := p.Events[len(p.Events)-1]; e.Stamp > last.Stamp {
				last = e
			}
		}
	}
	return last
}

// The clock of the site that withdraws is an hour behind, so that the withdrawal is dated before the granting.
func TestAWithdrawalWinsOverAnyClock(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	g := a.grants(AlarmOfficer, "anna")
	w.merge()
	b.slow = time.Hour
	ok(t, second(b.Withdraw(b.ctx, console, nordtal, g.ID)))
	w.merge()
	for _, s := range w.sites {
		s.may(person("anna"), RaiseAlarm, false)
	}
	if got := a.grantOf(g.ID); !got.WithdrawnAt.Before(got.GrantedAt) {
		t.Errorf("the test's clocks are right: %+v", got)
	}
}

// Two administrators withdraw each other on two sides: it leaves none, and the console is the way back.
func TestTwoAdministratorsWithdrawEachOther(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	anna, bert := a.grants(Administrator, "anna"), a.grants(Administrator, "bert")
	w.merge()
	ok(t, second(a.Withdraw(a.ctx, person("anna"), nordtal, bert.ID)))
	ok(t, second(b.Withdraw(b.ctx, person("bert"), nordtal, anna.ID)))
	w.merge()
	for _, s := range w.sites {
		s.may(person("anna"), GrantRoles, false)
		s.may(person("bert"), GrantRoles, false)
	}
	b.grants(Administrator, "anna")
	w.merge()
	a.may(person("anna"), GrantRoles, true)
}

func TestBothSidesWithdrawOneGrant(t *testing.T) {
	w := officers(t, 2)
	a, b := w.sites[0], w.sites[1]
	g := a.may(person("anna"), RaiseAlarm, true).Grant
	first, err := a.Withdraw(a.ctx, console, nordtal, g)
	ok(t, err)
	w.pass(time.Minute)
	ok(t, second(b.Withdraw(b.ctx, console, nordtal, g)))
	w.merge()
	if x, y := a.grantOf(g), b.grantOf(g); !cmp.Equal(x, y) || x.WithdrawnStamp != first.Events[0].Stamp {
		t.Errorf("%+v and %+v", x, y)
	}
}

// Two people are enough on each side of a cut. What is pending on both stays pending and is shown together; approving one does
// nothing about the other.
func TestRequestsOnBothSidesStayPendingAndAreShownTogether(t *testing.T) {
	w := officers(t, 2)
	a, b := w.sites[0], w.sites[1]
	x := a.ask(person("anna"), DeedRaiseAlarm, `{"text":"Flut"}`)
	w.pass(time.Minute)
	y := b.ask(person("bert"), DeedRaiseAlarm, `{"text": "Flut"}`)
	if x.Elsewhere != nil || y.Elsewhere != nil {
		t.Error("they see each other through a cut")
	}
	w.merge()
	for _, s := range w.sites {
		gotX, gotY := s.request(x.ID), s.request(y.ID)
		if gotX.State != Pending || gotY.State != Pending {
			t.Errorf("the merge decided: %s, %s", gotX.State, gotY.State)
		}
		want := []Twin{{ID: y.ID, AskedBy: "person/bert", AskedAt: noon.Add(time.Minute), AskedSite: b.log.Self(), State: Pending}}
		if diff := cmp.Diff(want, gotX.Elsewhere); diff != "" {
			t.Error(diff)
		}
	}
	a.approves(person("anna"), y.ID, "alarm/1")
	w.merge()
	got := b.request(x.ID)
	if got.State != Pending || len(got.Elsewhere) != 1 || got.Elsewhere[0].State != WasApproved || got.Elsewhere[0].Result != "alarm/1" {
		t.Errorf("%+v", got)
	}
	w.pass(24 * time.Hour)
	if got := b.request(x.ID); got.State != HasExpired {
		t.Errorf("%s after a day", got.State)
	}
}

// One request, known on both sides, is approved on both: it was done twice, and says so. Or one side refuses: done is done.
func TestDecidingOnBothSidesIsVisible(t *testing.T) {
	w := officers(t, 2)
	a, b := w.sites[0], w.sites[1]
	a.grants(AlarmOfficer, "dora")
	twice, mixed, gone := a.ask(person("anna"), DeedRaiseAlarm, `1`), a.ask(person("anna"), DeedRaiseAlarm, `2`), a.ask(person("anna"), DeedRaiseAlarm, `3`)
	w.merge()

	w.pass(time.Minute)
	ok(t, second(a.Refuse(a.ctx, person("bert"), nordtal, mixed.ID)))
	ok(t, second(a.Refuse(a.ctx, person("anna"), nordtal, gone.ID)))
	a.approves(person("bert"), twice.ID, "alarm/a")
	w.pass(time.Minute)
	b.approves(person("dora"), twice.ID, "alarm/b")
	b.approves(person("dora"), mixed.ID, "alarm/c")
	ok(t, second(b.Refuse(b.ctx, person("dora"), nordtal, gone.ID)))
	w.merge()

	for _, s := range w.sites {
		got := s.request(twice.ID)
		want := []Decision{{State: WasApproved, By: "person/bert", At: noon.Add(time.Minute), Site: a.log.Self(), Result: "alarm/a"},
			{State: WasApproved, By: "person/dora", At: noon.Add(2 * time.Minute), Site: b.log.Self(), Result: "alarm/b"}}
		if diff := cmp.Diff(want, got.Decisions); diff != "" || !slices.Equal(got.DecidedBy, []string{"person/bert", "person/dora"}) || got.Result != "alarm/a" {
			t.Errorf("%v, %s: %s", got.DecidedBy, got.Result, diff)
		}
		if got := s.request(mixed.ID); got.State != WasApproved || !slices.Equal(got.DecidedBy, []string{"person/dora"}) || got.Result != "alarm/c" || len(got.Decisions) != 2 {
			t.Errorf("%+v", got)
		}
		if got := s.request(gone.ID); got.State != WasRefused || !slices.Equal(got.DecidedBy, []string{"person/dora"}) {
			t.Errorf("%+v", got)
		}
	}
}

// Of two policies set on two sides the later one counts at both sites.
func TestOfTwoPoliciesTheLaterCounts(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	early, late := DefaultPolicy(), DefaultPolicy()
	early.MassAlarmFrom, late.MassAlarmFrom = 100, 200
	ok(t, second(b.SetPolicy(b.ctx, console, nordtal, early)))
	w.pass(time.Minute)
	ok(t, second(a.SetPolicy(a.ctx, console, nordtal, late)))
	w.merge()
	for _, s := range w.sites {
		p, err := s.Policy(s.ctx, nordtal)
		ok(t, err)
		if diff := cmp.Diff(late, p); diff != "" {
			t.Error(diff)
		}
	}
}
