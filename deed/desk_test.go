// SPDX-License-Identifier: EUPL-1.2

package deed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

const nordtal = event.AuthorityID("lk-nordtal")

var (
	asker  = access.Principal{Kind: access.Person, Authority: nordtal, ID: "1111111111111111"}
	second = access.Principal{Kind: access.Person, Authority: nordtal, ID: "2222222222222222"}
)

// office is the services behind a desk. Everybody has every right, bound to bound; size says from how many people on an alarm
// takes two, and marked which deeds always do.
type office struct {
	bound  []directory.UnitID
	size   int
	marked []access.Deed
	judge  error
	fail   error

	asked   []access.Approval
	alarms  []alarm.Draft
	grants  []access.GrantDraft
	policy  *access.Policy
	erased  []directory.PersonID
	results []string
	ordered []string
}

func (o *office) Judge(_ context.Context, p access.Principal, _ event.AuthorityID, _ access.Permission) (access.Verdict, error) {
	return access.Verdict{Grant: "grant-" + p.ID[:1], Units: o.bound}, o.judge
}

func (o *office) CoversAudience(_ context.Context, _ event.AuthorityID, v access.Verdict, a directory.Audience) (bool, error) {
	return v.Units == nil || !a.Everyone && len(a.Persons) == 0 && len(a.Functions) == 0 &&
		!slices.ContainsFunc(a.Units, func(u directory.UnitID) bool { return !slices.Contains(v.Units, u) }), o.fail
}

func (o *office) NeedsSecond(_ context.Context, _ access.Principal, _ event.AuthorityID, d access.Deed, size int) (bool, error) {
	return slices.Contains(o.marked, d) || d == access.DeedRaiseAlarm && o.size > 0 && size >= o.size, nil
}

func (o *office) Ask(_ context.Context, p access.Principal, _ event.AuthorityID, d access.Deed, args json.RawMessage, size int, life time.Duration) (access.Approval, eventlog.Receipt, error) {
	a := access.Approval{ID: "a1", Deed: d, Args: args, Size: size, AskedBy: p.Actor(), Expires: time.Unix(0, 0).Add(life)}
	o.asked = append(o.asked, a)
	return a, eventlog.Receipt{}, nil
}

func (o *office) Approve(ctx context.Context, _ access.Principal, _ event.AuthorityID, id string, carry func(context.Context, access.Approval) (string, error)) (access.Approval, eventlog.Receipt, error) {
	i := slices.IndexFunc(o.asked, func(a access.Approval) bool { return a.ID == id })
	if i < 0 {
		return access.Approval{}, eventlog.Receipt{}, access.ErrApprovalUnknown
	}
	result, err := carry(ctx, o.asked[i])
	if err == nil {
		o.results = append(o.results, result)
	}
	return o.asked[i], eventlog.Receipt{}, err
}

func (o *office) Grant(_ context.Context, _ access.Principal, _ event.AuthorityID, d access.GrantDraft) (access.Grant, eventlog.Receipt, error) {
	o.grants = append(o.grants, d)
	return access.Grant{ID: "g1"}, eventlog.Receipt{}, o.fail
}

func (o *office) SetPolicy(_ context.Context, p1 access.Principal, _ event.AuthorityID, p access.Policy) (eventlog.Receipt, error) {
	if slices.Contains(o.marked, access.DeedSetPolicy) && p1.ID == asker.ID {
		return eventlog.Receipt{}, access.ErrNeedsSecond
	}
	o.policy = &p
	return eventlog.Receipt{}, o.fail
}

func (o *office) Preview(_ context.Context, _ event.AuthorityID, a directory.Audience, _ ...directory.ChannelKind) (alarm.Preview, error) {
	if a.Everyone {
		return alarm.Preview{People: 1000}, nil
	}
	return alarm.Preview{People: 10}, nil
}

func (o *office) Raise(_ context.Context, _ event.AuthorityID, d alarm.Draft) (alarm.Alarm, eventlog.Receipt, error) {
	if o.fail != nil {
		return alarm.Alarm{}, eventlog.Receipt{}, o.fail
	}
	o.alarms = append(o.alarms, d)
	return alarm.Alarm{ID: "7f3a"}, eventlog.Receipt{}, nil
}

func (o *office) Alarm(_ context.Context, _ event.AuthorityID, id alarm.ID) (alarm.Alarm, error) {
	for i, d := range o.alarms {
		if string(id) == fmt.Sprint(i) {
			return alarm.Alarm{ID: id, Raised: alarm.Raised{Audience: d.Audience}}, nil
		}
	}
	return alarm.Alarm{}, alarm.ErrUnknown
}

func (o *office) OrderCalling(_ context.Context, _ event.AuthorityID, id alarm.ID, actor, grant string) (eventlog.Receipt, error) {
	o.ordered = append(o.ordered, string(id)+" "+actor+" "+grant)
	return eventlog.Receipt{}, o.fail
}

func (o *office) desk() *Desk {
	return &Desk{Access: o, Alarms: o, Erase: func(_ context.Context, _ access.Principal, _ access.Verdict, _ event.AuthorityID, p directory.PersonID) error {
		o.erased = append(o.erased, p)
		return o.fail
	}}
}

func draft(everyone bool) alarm.Draft {
	d := alarm.Draft{TextDE: "Bitte melden", Mode: event.Exercise, Channels: []directory.ChannelKind{directory.SMS}, Actor: "somebody else", Grant: "stolen"}
	if d.Audience = (directory.Audience{Units: []directory.UnitID{"a2"}}); everyone {
		d.Audience = directory.Audience{Everyone: true}
	}
	return d
}

func TestSmallAlarmIsRaisedInTheNameOfWhoAsks(t *testing.T) {
	o := &office{size: 500}
	out, err := o.desk().Raise(t.Context(), asker, access.Verdict{Grant: "g7"}, nordtal, draft(false))
	if err != nil || out.Waiting || out.Alarm.ID != "7f3a" || len(o.alarms) != 1 || len(o.asked) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if d := o.alarms[0]; d.Actor != "person/1111111111111111" || d.Grant != "g7" {
		t.Errorf("actor %q, grant %q", d.Actor, d.Grant)
	}
}

func TestMassAlarmWaitsAndIsCarriedOutAsItWasAsked(t *testing.T) {
	o := &office{size: 500}
	d := o.desk()
	out, err := d.Raise(t.Context(), asker, access.Verdict{}, nordtal, draft(true))
	if err != nil || !out.Waiting || len(o.alarms) != 0 || o.asked[0].Size != 1000 || !o.asked[0].Expires.Equal(time.Unix(0, 0).Add(AlarmLife)) {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, _, err := d.Approve(t.Context(), second, nordtal, "a1"); err != nil || len(o.alarms) != 1 || !slices.Equal(o.results, []string{"alarm/7f3a"}) {
		t.Fatalf("%v, %d alarms, results %q", err, len(o.alarms), o.results)
	}
	if got := o.alarms[0]; got.Actor != "person/1111111111111111" || got.Grant != "grant-2" || got.TextDE != "Bitte melden" || !got.Audience.Everyone || got.Mode != event.Exercise {
		t.Errorf("carried out: %+v", got)
	}
}

func TestOrderingACallReachesNoFurtherThanTheRight(t *testing.T) {
	many := draft(false)
	for i := range shownAudience {
		many.Audience.Units = append(many.Audience.Units, directory.UnitID(fmt.Sprint(i)))
	}
	o := &office{alarms: []alarm.Draft{draft(false), draft(true), many}}
	d := o.desk()
	bound := access.Verdict{Units: []directory.UnitID{"a2"}, Grant: "g"}
	for id, want := range map[alarm.ID]error{"0": nil, "1": ErrOutside, "2": ErrOutside, "3": alarm.ErrUnknown} {
		if _, err := d.OrderCalling(t.Context(), asker, bound, nordtal, id); !errors.Is(err, want) {
			t.Errorf("alarm %s: got %v, want %v", id, err, want)
		}
	}
	if _, err := d.OrderCalling(t.Context(), asker, access.Verdict{Grant: "h"}, nordtal, "1"); err != nil {
		t.Error(err)
	}
	if !slices.Equal(o.ordered, []string{"0 person/1111111111111111 g", "1 person/1111111111111111 h"}) {
		t.Errorf("ordered: %q", o.ordered)
	}
}

func TestNobodyAlarmsBeyondTheirUnits(t *testing.T) {
	o := &office{size: 500, bound: []directory.UnitID{"a2"}}
	d := o.desk()
	bound := access.Verdict{Units: []directory.UnitID{"a2"}}
	if _, err := d.Raise(t.Context(), asker, bound, nordtal, draft(true)); !errors.Is(err, ErrOutside) {
		t.Errorf("asking: %v", err)
	}
	if _, err := d.Raise(t.Context(), asker, bound, nordtal, draft(false)); err != nil {
		t.Errorf("within the unit: %v", err)
	}
	if _, err := d.ErasePerson(t.Context(), asker, bound, nordtal, "3333333333333333"); !errors.Is(err, ErrOutside) {
		t.Errorf("erasing: %v", err)
	}
	for _, a := range []access.Approval{{Deed: access.DeedRaiseAlarm, Args: AlarmArgs(draft(true))}, {Deed: access.DeedErasePerson, Args: EraseArgs("3333333333333333")}} {
		if _, err := d.Carry(t.Context(), second, nordtal, a); !errors.Is(err, ErrOutside) {
			t.Errorf("approving %s: %v", a.Deed, err)
		}
	}
	if len(o.alarms) != 1 || len(o.erased) != 0 {
		t.Errorf("%d alarms, erased %v", len(o.alarms), o.erased)
	}
}

func TestMarkedDeedsWaitAndAreCarriedOut(t *testing.T) {
	all := []access.Deed{access.DeedErasePerson, access.DeedGrantRole, access.DeedSetPolicy}
	o := &office{marked: all}
	d := o.desk()
	until := time.Date(2026, 11, 22, 3, 14, 15, 123456789, time.FixedZone("MEZ", 3600))
	grant := access.GrantDraft{Role: access.Auditor, Person: "3333333333333333", Until: until}
	policy := access.DefaultPolicy()
	policy.ProviderOff = true
	for _, ask := range []func() (Outcome, error){
		func() (Outcome, error) {
			return d.ErasePerson(t.Context(), asker, access.Verdict{}, nordtal, "3333333333333333")
		},
		func() (Outcome, error) { return d.GrantRole(t.Context(), asker, nordtal, grant) },
		func() (Outcome, error) { return d.SetPolicy(t.Context(), asker, nordtal, policy) },
	} {
		if out, err := ask(); err != nil || !out.Waiting {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	if len(o.erased)+len(o.grants) > 0 || o.policy != nil {
		t.Fatal("something was done without a second person")
	}
	var results []string
	for _, a := range o.asked {
		result, err := d.Carry(t.Context(), second, nordtal, a)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
	}
	if want := []string{"person/3333333333333333", "grant/g1", "policy/access"}; !slices.Equal(results, want) {
		t.Errorf("results %q", results)
	}
	if !o.policy.ProviderOff || !bytes.Equal(o.policy.Args(), o.asked[2].Args) || len(o.erased) != 1 {
		t.Errorf("policy %+v, erased %v", o.policy, o.erased)
	}
	// Package access compares what is granted with what was asked, to the byte.
	if got := o.grants[0]; !bytes.Equal(got.Args(), o.asked[1].Args) || !got.Until.Equal(until.Truncate(time.Millisecond)) {
		t.Errorf("granted %s, asked %s", got.Args(), o.asked[1].Args)
	}
}

func TestUnmarkedDeedsAreDoneAtOnce(t *testing.T) {
	o := &office{}
	d := o.desk()
	if out, err := d.ErasePerson(t.Context(), asker, access.Verdict{}, nordtal, "3333333333333333"); err != nil || out.Waiting || len(o.erased) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err := d.GrantRole(t.Context(), asker, nordtal, access.GrantDraft{Role: access.Auditor}); err != nil || out.Grant.ID != "g1" {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := d.SetPolicy(t.Context(), asker, nordtal, access.DefaultPolicy()); err != nil || o.policy == nil {
		t.Error(err)
	}
}

func TestCarryFailsRatherThanHalfway(t *testing.T) {
	broken := errors.New("the disk is gone")
	newer := json.RawMessage(`{"mode":"exercise","audience":{"everyone":true},"quietly":true}`)
	for name, c := range map[string]struct {
		office   office
		approval access.Approval
		want     error
	}{
		"an unknown deed":        {office{}, access.Approval{Deed: "plan.delete"}, ErrDeed},
		"a newer alarm":          {office{}, access.Approval{Deed: access.DeedRaiseAlarm, Args: newer}, ErrArgs},
		"no person":              {office{}, access.Approval{Deed: access.DeedErasePerson, Args: json.RawMessage(`{}`)}, ErrArgs},
		"a grant that is none":   {office{}, access.Approval{Deed: access.DeedGrantRole, Args: json.RawMessage(`[]`)}, ErrArgs},
		"a policy that is none":  {office{}, access.Approval{Deed: access.DeedSetPolicy, Args: json.RawMessage(`{} {}`)}, ErrArgs},
		"no right to alarm":      {office{judge: access.ErrForbidden}, access.Approval{Deed: access.DeedRaiseAlarm, Args: AlarmArgs(draft(true))}, access.ErrForbidden},
		"no right to erase":      {office{judge: access.ErrForbidden}, access.Approval{Deed: access.DeedErasePerson, Args: EraseArgs("3333333333333333")}, access.ErrForbidden},
		"the log takes no alarm": {office{fail: broken}, access.Approval{Deed: access.DeedRaiseAlarm, Args: AlarmArgs(draft(true))}, broken},
		"the log takes no grant": {office{fail: broken}, access.Approval{Deed: access.DeedGrantRole, Args: access.GrantDraft{}.Args()}, broken},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.office.desk().Carry(t.Context(), second, nordtal, c.approval); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if len(c.office.alarms)+len(c.office.erased) > 0 {
				t.Error("something was done")
			}
		})
	}
}
