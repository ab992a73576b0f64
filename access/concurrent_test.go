// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// At one site two administrators cannot withdraw each other at the same time.
func TestTwoAdministratorsOfOneSiteDoNotLockItOut(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	for range 20 {
		grants := map[string]Grant{"bert": s.grants(Administrator, "anna"), "anna": s.grants(Administrator, "bert")}
		var wg sync.WaitGroup
		var refused atomic.Int32
		for who, g := range grants {
			wg.Go(func() {
				if _, err := s.Withdraw(s.ctx, person(who), nordtal, g.ID); err != nil {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if n := refused.Load(); n != 1 {
			t.Fatalf("%d of two withdrawals were refused", n)
		}
		live, err := s.live(s.ctx, nordtal)
		ok(t, err)
		ok(t, second(s.Withdraw(s.ctx, console, nordtal, live[0].ID)))
	}
}

// However many press the button at one site, a deed is done once.
func TestARequestIsCarriedOutOnceAtOneSite(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	for i := range 10 {
		s.mustGrant(GrantDraft{Role: AlarmOfficer, Person: "dora", Until: noon.AddDate(1, i, 0)})
	}
	a := s.ask(person("anna"), DeedRaiseAlarm, `1`)
	var wg sync.WaitGroup
	var carried, approved atomic.Int32
	for i := range 16 {
		p := person([]string{"bert", "dora"}[i%2])
		wg.Go(func() {
			_, _, err := s.Approve(s.ctx, p, nordtal, a.ID, func(context.Context, Approval) (string, error) {
				return fmt.Sprint(carried.Add(1)), nil
			})
			switch {
			case err == nil:
				approved.Add(1)
			case !errors.Is(err, ErrInHand) && !errors.Is(err, ErrDecided):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if carried.Load() != 1 || approved.Load() != 1 {
		t.Errorf("carried out %d times, approved %d times", carried.Load(), approved.Load())
	}
}

// full is a log without room.
type full struct{}

func (full) Append(context.Context, event.AuthorityID, event.Class, ...event.Draft) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, eventlog.ErrNoRoom
}

func TestADeedWhoseApprovalCannotBeWrittenSaysSo(t *testing.T) {
	w := officers(t, 1)
	s := w.sites[0]
	a := s.ask(person("anna"), DeedRaiseAlarm, `1`)
	s.cfg.Log = full{}
	_, _, err := s.Approve(s.ctx, person("bert"), nordtal, a.ID, func(context.Context, Approval) (string, error) { return "alarm/1", nil })
	wantErr(t, err, ErrNotRecorded)
	wantErr(t, err, eventlog.ErrNoRoom)
	wantErr(t, second2(s.Grant(s.ctx, console, nordtal, GrantDraft{Role: Auditor, Person: "emil"})), eventlog.ErrNoRoom)
	if got := s.request(a.ID).State; got != Pending {
		t.Errorf("%s", got)
	}
}
