// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// Ongoing is an alarm for which something is due, as a caller needs it.
type Ongoing struct {
	Alarm
	Wave Wave
	// Start is what the wave began with: the raising, the closing, or an order to call.
	Start Moment
	// Due counts the hand-overs that are due, by channel; Pending counts the people.
	Due     map[directory.ChannelKind]int
	Pending int
	Callers map[event.SiteID]Sign
}

// Due is one person for whom something is due.
type Due struct {
	Person   directory.PersonID
	Channels []directory.ChannelKind
}

// Desk is the view by which a Caller finds its work.
type Desk struct{ Model Reader }

// maxOngoing bounds how many alarms are called for at one time; the youngest come first, so that old ones that nobody has closed never hold up
// a new one.
const maxOngoing = 500

// Ongoing returns the alarms whose wave came to this site after since (by its own clock) and that have something due, the
// youngest first.
func (d Desk) Ongoing(ctx context.Context, since time.Time) ([]Ongoing, error) {
	var out []Ongoing
	err := d.Model.View(ctx, func(q readmodel.Query) error {
		out = nil
		err := rows(ctx, q, func(scan func(...any) error) error {
			a, err := scanAlarm(scan)
			out = append(out, ongoingOf(a))
			return err
		}, `SELECT `+alarmColumns+` FROM `+alarmTable+`
			WHERE a.start_arrived > ? AND a.event <> ''
				AND CASE a.ending WHEN '' THEN c.due_call ELSE c.due_closing END > 0
			ORDER BY a.start_arrived DESC, a.id LIMIT ?`, since.UnixMilli(), maxOngoing)
		for i := range out {
			if err == nil {
				err = out[i].readDue(ctx, q)
			}
		}
		return err
	})
	return out, err
}

func ongoingOf(a Alarm) Ongoing {
	o := Ongoing{Alarm: a, Wave: Call, Start: a.start, Pending: a.Due, Callers: a.callers.Sites}
	if a.Ending != StillOpen {
		o.Wave = Closing
	}
	return o
}

func (o *Ongoing) readDue(ctx context.Context, q readmodel.Query) error {
	channels, err := readTallies(ctx, q, o.Authority, o.ID, "channel")
	if err != nil {
		return err
	}
	o.Due = make(map[directory.ChannelKind]int)
	for _, c := range channels {
		o.Due[directory.ChannelKind(c.name)] = c.tally.DueCall
		if o.Wave == Closing {
			o.Due[directory.ChannelKind(c.name)] = c.tally.DueClosing
		}
	}
	return nil
}

// Came returns the alarms of which a part that makes sites call came to this site after since, by its own clock, the oldest
// first, at most limit; the rest comes with the next call.
func (d Desk) Came(ctx context.Context, since time.Time, limit int) (list []Alarm, err error) {
	err = d.Model.View(ctx, func(q readmodel.Query) error {
		list = nil
		return rows(ctx, q, func(scan func(...any) error) error {
			a, err := scanAlarm(scan)
			list = append(list, a)
			return err
		}, `SELECT `+alarmColumns+` FROM `+alarmTable+` WHERE a.start_arrived > ? AND a.event <> ''
			ORDER BY a.start_arrived, a.id LIMIT ?`, since.UnixMilli(), limit)
	})
	return list, err
}

// Due returns people of the alarm after the given one for whom something is due in the wave, in order, at most limit.
func (d Desk) Due(ctx context.Context, authority event.AuthorityID, id ID, w Wave, after directory.PersonID, limit int) ([]Due, error) {
	return d.due(ctx, w, `person > ?3`, `person`, authority, id, after, limit)
}

// DueDown returns people before the given one ("": the last ones) for whom something is due, the last one first, at most limit.
func (d Desk) DueDown(ctx context.Context, authority event.AuthorityID, id ID, w Wave, before directory.PersonID, limit int) ([]Due, error) {
	return d.due(ctx, w, `(?3 = '' OR person < ?3)`, `person DESC`, authority, id, before, limit)
}

// DuePlace returns the person with n people before them for whom something is due, "" if there are fewer.
func (d Desk) DuePlace(ctx context.Context, authority event.AuthorityID, id ID, w Wave, n int) (directory.PersonID, error) {
	column := dueColumn(w)
	var p directory.PersonID
	err := d.Model.View(ctx, func(q readmodel.Query) error {
		return q.QueryRowContext(ctx, `SELECT person FROM alarm_person WHERE authority = ? AND alarm = ? AND `+column+` <> ''
			ORDER BY person LIMIT 1 OFFSET ?`, string(authority), string(id), n).Scan(&p)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return p, err
}

// StillDue reports whether the person has something due by that channel in the wave.
func (d Desk) StillDue(ctx context.Context, authority event.AuthorityID, id ID, w Wave, p directory.PersonID, k directory.ChannelKind) (bool, error) {
	column := dueColumn(w)
	var channels string
	err := d.Model.View(ctx, func(q readmodel.Query) error {
		return q.QueryRowContext(ctx, `SELECT `+column+` FROM alarm_person WHERE authority = ? AND alarm = ? AND person = ?`,
			string(authority), string(id), string(p)).Scan(&channels)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return slices.Contains(split(channels), k), err
}

func dueColumn(w Wave) string {
	if w == Closing {
		return "due_closing"
	}
	return "due_call"
}

func (d Desk) due(ctx context.Context, w Wave, where, order string, args ...any) ([]Due, error) {
	column := dueColumn(w)
	var out []Due
	err := d.Model.View(ctx, func(q readmodel.Query) error {
		out = nil
		return rows(ctx, q, func(scan func(...any) error) error {
			var p Due
			var channels string
			err := scan(&p.Person, &channels)
			p.Channels = split(channels)
			out = append(out, p)
			return err
		}, `SELECT person, `+column+` FROM alarm_person WHERE authority = ?1 AND alarm = ?2 AND `+column+` <> '' AND `+where+`
			ORDER BY `+order+` LIMIT ?4`, args...)
	})
	return out, err
}
