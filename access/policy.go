// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// Policy is what an authority has decided about access. Of two settings on two sides of a cut the later one in order counts,
// everywhere.
type Policy struct {
	// MassAlarmFrom is from how many recipients on raising an alarm takes two people; 0 is never.
	MassAlarmFrom int
	// TwoPersons are the marked permissions: every deed under them takes two people. Each has a Deed.
	TwoPersons []Permission
	// ProviderOff closes the way in by the authority's own identity provider.
	ProviderOff bool
	// RetentionDays says how long facts of a class are kept; a class that is not in it is kept without an end.
	RetentionDays map[event.Class]int
	// SessionMaxMinutes is the most that a session lasts without a new sign-in.
	SessionMaxMinutes int
}

// Bounds of a policy.
const (
	MaxRetentionDays  = 100 * 366
	MinSessionMinutes = 15
	MaxSessionMinutes = 7 * 24 * 60
)

// DefaultPolicy returns the policy of an authority that has not set one: two people for an alarm of 500 recipients or more and
// for erasing a person, the audit kept for a year, sessions of twelve hours.
func DefaultPolicy() Policy {
	return Policy{MassAlarmFrom: 500, TwoPersons: []Permission{ErasePerson}, RetentionDays: map[event.Class]int{event.Audit: 365}, SessionMaxMinutes: 12 * 60}
}

// Args returns the policy as the arguments of an approval.
func (p Policy) Args() json.RawMessage { return argsOf(p) }

// ErrPolicy is returned for a policy that is out of bounds, with the field.
var ErrPolicy = fault.New(fault.Invalid, "access.policy", "this value is not possible",
	"recipients: 0 or more; marked deeds: alarm.raise, person.erase, role.grant, policy.set; days: 1 to 36,600; minutes: 15 to 10,080")

func (p Policy) check() error {
	switch {
	case p.MassAlarmFrom < 0:
		return ErrPolicy.At(0, "massAlarmFrom")
	case slices.ContainsFunc(p.TwoPersons, func(x Permission) bool { return !markable(x) }):
		// A mark that nobody looks at would be a false promise.
		return ErrPolicy.At(0, "twoPersons")
	case p.SessionMaxMinutes < MinSessionMinutes || p.SessionMaxMinutes > MaxSessionMinutes:
		return ErrPolicy.At(0, "sessionMaxMinutes")
	}
	for class, days := range p.RetentionDays {
		if !class.Valid() || days < 1 || days > MaxRetentionDays {
			return ErrPolicy.At(0, "retentionDays")
		}
	}
	return nil
}

// Policy returns the authority's policy, DefaultPolicy if none was set. The caller owns the result.
func (s *Service) Policy(ctx context.Context, authority event.AuthorityID) (Policy, error) {
	var st State
	var found bool
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		found, err = q.State(ctx, authority, policySubject, &st)
		return err
	})
	if err != nil {
		return Policy{}, deed(err, "read the policy")
	}
	if !found || st.Policy == nil {
		return DefaultPolicy(), nil
	}
	return Policy(*st.Policy), nil
}

// changeTakesTwo is the rule of which changes of a policy take two people: every one if it is marked, and otherwise those that
// let one person do, or make unreadable, what now takes two or is kept. A mark that one person could take away would be none.
// Switching the identity provider off takes one person only, because it must go in one click.
func (p Policy) changeTakesTwo(next Policy) bool {
	off := p
	off.ProviderOff = true
	if !p.ProviderOff && bytes.Equal(off.sorted().Args(), next.sorted().Args()) {
		return false
	}
	return slices.Contains(p.TwoPersons, SetPolicy) || p.loosened(next)
}

// loosened reports whether the next policy has a mark less, lets larger alarms pass, or keeps the audit's addresses shorter.
func (p Policy) loosened(next Policy) bool {
	if slices.ContainsFunc(p.TwoPersons, func(x Permission) bool { return !slices.Contains(next.TwoPersons, x) }) {
		return true
	}
	if p.MassAlarmFrom > 0 && (next.MassAlarmFrom == 0 || next.MassAlarmFrom > p.MassAlarmFrom) {
		return true
	}
	was, is := p.RetentionDays[event.Audit], next.RetentionDays[event.Audit]
	return is > 0 && (was == 0 || is < was)
}

// sorted returns the policy in the form in which it is stored.
func (p Policy) sorted() Policy {
	p.TwoPersons = slices.Compact(slices.Sorted(slices.Values(p.TwoPersons)))
	return p
}

// SetPolicy replaces the authority's policy. It takes SetPolicy for the whole authority. It returns the refusals of judging,
// ErrPolicy, or ErrNeedsSecond if the policy in force marks its own change or is loosened by it, and no approval of this very
// policy is being carried out.
func (s *Service) SetPolicy(ctx context.Context, by Principal, authority event.AuthorityID, p Policy) (eventlog.Receipt, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	v, err := s.judgeThere(ctx, by, authority, SetPolicy)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	if v.Units != nil {
		return eventlog.Receipt{}, ErrForbidden
	}
	if err := p.check(); err != nil {
		return eventlog.Receipt{}, err
	}
	now, err := s.Policy(ctx, authority)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	if by.Kind != Console && now.changeTakesTwo(p) && !s.carried.has(authority, sameness(DeedSetPolicy, p.Args())) {
		return eventlog.Receipt{}, ErrNeedsSecond
	}
	fact := PolicySet(p.sorted())
	fact.RetentionDays = maps.Clone(p.RetentionDays)
	r, err := s.append(ctx, authority, event.Register, event.Draft{
		Subject: policySubject, Kind: KindPolicySet, Actor: by.Actor(), Grant: v.Grant, Data: fact})
	return r, deed(err, "set the policy")
}
