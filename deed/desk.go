// SPDX-License-Identifier: EUPL-1.2

package deed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// Access is what a desk needs of an access.Service.
type Access interface {
	Judge(ctx context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error)
	CoversAudience(ctx context.Context, authority event.AuthorityID, v access.Verdict, a directory.Audience) (bool, error)
	NeedsSecond(ctx context.Context, p access.Principal, authority event.AuthorityID, d access.Deed, size int) (bool, error)
	Ask(ctx context.Context, p access.Principal, authority event.AuthorityID, d access.Deed, args json.RawMessage, size int, life time.Duration) (access.Approval, eventlog.Receipt, error)
	Approve(ctx context.Context, p access.Principal, authority event.AuthorityID, id string, carry func(context.Context, access.Approval) (string, error)) (access.Approval, eventlog.Receipt, error)
	Grant(ctx context.Context, by access.Principal, authority event.AuthorityID, d access.GrantDraft) (access.Grant, eventlog.Receipt, error)
	SetPolicy(ctx context.Context, by access.Principal, authority event.AuthorityID, p access.Policy) (eventlog.Receipt, error)
}

// Alarms is what a desk needs of an alarm.Service.
type Alarms interface {
	Preview(ctx context.Context, authority event.AuthorityID, audience directory.Audience, channels ...directory.ChannelKind) (alarm.Preview, error)
	Raise(ctx context.Context, authority event.AuthorityID, d alarm.Draft) (alarm.Alarm, eventlog.Receipt, error)
	Alarm(ctx context.Context, authority event.AuthorityID, id alarm.ID) (alarm.Alarm, error)
	OrderCalling(ctx context.Context, authority event.AuthorityID, id alarm.ID, actor, grant string) (eventlog.Receipt, error)
}

// Desk takes deeds. Fill all fields. It is safe for concurrent use; its methods block as those of the services do.
type Desk struct {
	Access Access
	Alarms Alarms
	// Erase destroys a person's keys in the directory and all that the other packages keep of them, in the name of by.
	Erase func(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, person directory.PersonID) error
}

// How long a request waits for its second person.
const (
	// AlarmLife is short: an alarm that nobody has approved in an hour is no alarm any more.
	AlarmLife = time.Hour
	// OtherLife is that of all other deeds.
	OtherLife = 3 * 24 * time.Hour
)

// ErrOutside is returned to somebody who wants to do something to people outside of the units that their right is bound to.
var ErrOutside = fault.New(fault.Forbidden, "deed.outside", "your right is bound to some units, and this goes beyond them",
	"choose only units that you are responsible for, or people in them; everybody and functions take a right for the whole authority")

// ErrDeed is returned for an approval of a deed that this program does not know.
var ErrDeed = fault.New(fault.Conflict, "deed.unknown", "this site does not know what is to be approved",
	"approve it at the site where it was asked for")

// Outcome is what came of asking for a deed.
type Outcome struct {
	// Waiting is set if a second person is needed: then Approval tells what they will see, and nothing is done yet.
	Waiting  bool
	Approval access.Approval
	// Alarm is the alarm, Grant the grant, if the deed was to raise or to grant one.
	Alarm alarm.Alarm
	Grant access.Grant
	// Receipt is that of the last fact; its Log is zero where a deed leaves none that has one.
	Receipt eventlog.Receipt
}

// Within returns ErrOutside if the verdict does not hold for everybody in the audience.
func (d *Desk) Within(ctx context.Context, authority event.AuthorityID, v access.Verdict, a directory.Audience) error {
	covered, err := d.Access.CoversAudience(ctx, authority, v, a)
	if err == nil && !covered {
		err = ErrOutside
	}
	return err
}

// AlarmNeedsSecond tells how many people an alarm would call, and whether that takes two.
func (d *Desk) AlarmNeedsSecond(ctx context.Context, by access.Principal, authority event.AuthorityID, draft alarm.Draft) (people int, second bool, err error) {
	p, err := d.Alarms.Preview(ctx, authority, draft.Audience, draft.Channels...)
	if err != nil {
		return 0, false, err
	}
	second, err = d.Access.NeedsSecond(ctx, by, authority, access.DeedRaiseAlarm, p.People)
	return p.People, second, err
}

// Raise raises an alarm in the name of by, or asks for a second person. The verdict is the one that by's request rests on. It
// returns ErrOutside and the refusals of the services.
func (d *Desk) Raise(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, draft alarm.Draft) (Outcome, error) {
	if err := d.Within(ctx, authority, v, draft.Audience); err != nil {
		return Outcome{}, err
	}
	people, second, err := d.AlarmNeedsSecond(ctx, by, authority, draft)
	if err != nil {
		return Outcome{}, err
	}
	if second {
		return d.ask(ctx, by, authority, access.DeedRaiseAlarm, AlarmArgs(draft), people, AlarmLife)
	}
	draft.Actor, draft.Grant = by.Actor(), v.Grant
	raised, r, err := d.Alarms.Raise(ctx, authority, draft)
	return Outcome{Alarm: raised, Receipt: r}, err
}

// EraseNeedsSecond tells whether erasing somebody takes two.
func (d *Desk) EraseNeedsSecond(ctx context.Context, by access.Principal, authority event.AuthorityID) (bool, error) {
	return d.Access.NeedsSecond(ctx, by, authority, access.DeedErasePerson, 1)
}

// ErasePerson erases somebody, or asks for a second person. It returns ErrOutside as Raise does.
func (d *Desk) ErasePerson(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, person directory.PersonID) (Outcome, error) {
	if err := d.Within(ctx, authority, v, directory.Audience{Persons: []directory.PersonID{person}}); err != nil {
		return Outcome{}, err
	}
	second, err := d.EraseNeedsSecond(ctx, by, authority)
	if err != nil {
		return Outcome{}, err
	}
	if second {
		return d.ask(ctx, by, authority, access.DeedErasePerson, EraseArgs(person), 1, OtherLife)
	}
	return Outcome{}, d.Erase(ctx, by, v, authority, person)
}

// GrantRole grants a role, or asks for a second person.
func (d *Desk) GrantRole(ctx context.Context, by access.Principal, authority event.AuthorityID, draft access.GrantDraft) (Outcome, error) {
	draft.From, draft.Until = toMilli(draft.From), toMilli(draft.Until)
	second, err := d.Access.NeedsSecond(ctx, by, authority, access.DeedGrantRole, 1)
	if err != nil {
		return Outcome{}, err
	}
	if second {
		return d.ask(ctx, by, authority, access.DeedGrantRole, draft.Args(), 1, OtherLife)
	}
	g, r, err := d.Access.Grant(ctx, by, authority, draft)
	return Outcome{Grant: g, Receipt: r}, err
}

// SetPolicy sets the authority's policy, or asks for a second person. Whether a change that is not marked takes one, access knows:
// it depends on what the change is.
func (d *Desk) SetPolicy(ctx context.Context, by access.Principal, authority event.AuthorityID, p access.Policy) (Outcome, error) {
	second, err := d.Access.NeedsSecond(ctx, by, authority, access.DeedSetPolicy, 1)
	if err != nil {
		return Outcome{}, err
	}
	var r eventlog.Receipt
	if !second || p.ProviderOff { // switching the provider off is exempt
		r, err = d.Access.SetPolicy(ctx, by, authority, p)
		second = errors.Is(err, access.ErrNeedsSecond)
	}
	if second {
		return d.ask(ctx, by, authority, access.DeedSetPolicy, p.Args(), 1, OtherLife)
	}
	return Outcome{Receipt: r}, err
}

// toMilli returns the instant as facts keep it, so that what is approved is the same to the byte as what was asked.
func toMilli(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func (d *Desk) ask(ctx context.Context, by access.Principal, authority event.AuthorityID, what access.Deed, args json.RawMessage, size int, life time.Duration) (Outcome, error) {
	a, r, err := d.Access.Ask(ctx, by, authority, what, args, size, life)
	return Outcome{Waiting: true, Approval: a, Receipt: r}, err
}

// Approve approves what another person has asked for, and does it. Its errors are those of the services, ErrOutside, ErrArgs
// and ErrDeed; after an error nothing is approved.
func (d *Desk) Approve(ctx context.Context, by access.Principal, authority event.AuthorityID, id string) (access.Approval, eventlog.Receipt, error) {
	return d.Access.Approve(ctx, by, authority, id, func(ctx context.Context, a access.Approval) (string, error) {
		return d.Carry(ctx, by, authority, a)
	})
}

// Carry does what an approval is for, in the name of by, who approves, and returns what came of it: the subject of the alarm,
// grant or person. It judges by anew. Only Approve calls it, and whoever tests it.
func (d *Desk) Carry(ctx context.Context, by access.Principal, authority event.AuthorityID, a access.Approval) (result string, err error) {
	switch a.Deed {
	case access.DeedRaiseAlarm:
		return d.carryAlarm(ctx, by, authority, a)
	case access.DeedErasePerson:
		person, err := ReadErase(a.Args)
		if err != nil {
			return "", err
		}
		v, err := d.Access.Judge(ctx, by, authority, access.ErasePerson)
		if err != nil {
			return "", err
		}
		if err := d.Within(ctx, authority, v, directory.Audience{Persons: []directory.PersonID{person}}); err != nil {
			return "", err
		}
		return string(person.Subject()), d.Erase(ctx, by, v, authority, person)
	case access.DeedGrantRole:
		draft, err := ReadGrant(a.Args)
		if err != nil {
			return "", err
		}
		g, _, err := d.Access.Grant(ctx, by, authority, draft)
		return "grant/" + g.ID, err
	case access.DeedSetPolicy:
		p, err := ReadPolicy(a.Args)
		if err != nil {
			return "", err
		}
		_, err = d.Access.SetPolicy(ctx, by, authority, p)
		return "policy/access", err
	}
	return "", ErrDeed.Because("%.30q", string(a.Deed))
}

// carryAlarm raises the alarm in the name of the one who asked, by the grant of the one who approves: the asker's right was
// judged when they asked, the approver's is judged now.
func (d *Desk) carryAlarm(ctx context.Context, by access.Principal, authority event.AuthorityID, a access.Approval) (string, error) {
	draft, err := ReadAlarm(a.Args)
	if err != nil {
		return "", err
	}
	v, err := d.Access.Judge(ctx, by, authority, access.RaiseAlarm)
	if err != nil {
		return "", err
	}
	if err := d.Within(ctx, authority, v, draft.Audience); err != nil {
		return "", err
	}
	draft.Actor, draft.Grant = a.AskedBy, v.Grant
	raised, _, err := d.Alarms.Raise(ctx, authority, draft)
	if err != nil {
		return "", fmt.Errorf("raise an approved alarm: %w", err)
	}
	return "alarm/" + string(raised.ID), nil
}
