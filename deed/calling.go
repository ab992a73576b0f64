// SPDX-License-Identifier: EUPL-1.2

package deed

import (
	"context"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// shownAudience is how many units or persons an alarm tells of its audience at most.
const shownAudience = 200

// WithinAlarm returns ErrOutside if the verdict does not hold for everybody whom the alarm is for, and alarm.ErrUnknown if there is none.
func (d *Desk) WithinAlarm(ctx context.Context, authority event.AuthorityID, v access.Verdict, id alarm.ID) error {
	if v.Units == nil {
		return nil
	}
	a, err := d.Alarms.Alarm(ctx, authority, id)
	if err != nil {
		return err
	}
	if who := a.Raised.Audience; max(len(who.Units), len(who.Persons)) >= shownAudience {
		return ErrOutside // the alarm tells only the first of them
	}
	return d.Within(ctx, authority, v, a.Raised.Audience)
}

// OrderCalling makes the sites call for a held alarm in the name of by. It takes no second person: who had to agree to the alarm
// did so when it was raised, and it goes to nobody else. It returns WithinAlarm's errors and those of alarm.Service.OrderCalling.
func (d *Desk) OrderCalling(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, id alarm.ID) (eventlog.Receipt, error) {
	if err := d.WithinAlarm(ctx, authority, v, id); err != nil {
		return eventlog.Receipt{}, err
	}
	return d.Alarms.OrderCalling(ctx, authority, id, by.Actor(), v.Grant)
}
