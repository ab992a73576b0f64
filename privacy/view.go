// SPDX-License-Identifier: EUPL-1.2

package privacy

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// readReceived returns the alarms that have a row for the person, the youngest first. The join is forced to begin with the
// authority's alarms, of which there are few; rows of people are found by their key.
func readReceived(ctx context.Context, q readmodel.Query, authority event.AuthorityID, person directory.PersonID, limit int) (list []ReceivedAlarm, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var id, state, unit, channels, own string
		if err := rows.Scan(&id, &state, &unit, &channels, &own); err != nil {
			return err
		}
		var a alarm.AlarmState
		var p *alarm.PersonState
		if err := json.Unmarshal([]byte(state), &a); err != nil {
			return fmt.Errorf("read an alarm's row: %w", err)
		}
		if err := json.Unmarshal([]byte(own), &p); err != nil {
			return fmt.Errorf("read a recipient's row: %w", err)
		}
		list = append(list, receivedOf(id, a, unit, channels, p))
		return nil
	}, `SELECT a.id, a.state, p.unit, p.channels, p.state FROM alarm a
		CROSS JOIN alarm_person p ON p.authority = a.authority AND p.alarm = a.id AND p.person = ?2
		WHERE a.authority = ?1 ORDER BY a.raised_at DESC, a.id LIMIT ?3`, string(authority), string(person), limit)
	return list, err
}

func receivedOf(id string, a alarm.AlarmState, unit, channels string, p *alarm.PersonState) ReceivedAlarm {
	out := ReceivedAlarm{Alarm: id, RaisedAt: wall(a.RaisedWall), Mode: a.Raised.Mode, TextDE: a.Raised.TextDE, TextEN: a.Raised.TextEN,
		Unit: directory.UnitID(unit), Channels: []directory.ChannelKind{}, Receipts: []Receipt{}}
	for k := range strings.SplitSeq(channels, ",") {
		if k != "" {
			out.Channels = append(out.Channels, directory.ChannelKind(k))
		}
	}
	if p == nil {
		return out
	}
	for _, r := range p.Receipts {
		line := Receipt{Channel: r.Channel, AllClear: r.Wave == alarm.Closing, Accepted: r.Accepted, Site: r.Site, At: wall(r.Wall)}
		if r.Final {
			line.Refused = r.Reason
		}
		out.Receipts = append(out.Receipts, line)
	}
	if r := p.Reply; r != nil {
		out.Reply = &Reply{Kind: string(r.Kind), ETAMinutes: r.ETAMinutes, Site: r.Via, At: wall(r.Wall)}
	}
	return out
}

// readRaised returns the alarms that the actor raised, closed or had called, the youngest first.
func readRaised(ctx context.Context, q readmodel.Query, authority event.AuthorityID, actor string, limit int) (list []RaisedAlarm, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			return err
		}
		var a alarm.AlarmState
		if err := json.Unmarshal([]byte(state), &a); err != nil {
			return fmt.Errorf("read an alarm's row: %w", err)
		}
		out := RaisedAlarm{Alarm: id, RaisedAt: wall(a.RaisedWall), Mode: a.Raised.Mode, TextDE: a.Raised.TextDE, TextEN: a.Raised.TextEN,
			Raised: a.RaisedBy == actor}
		for _, c := range a.Closings {
			out.Closed = out.Closed || c.By == actor
		}
		for _, o := range a.Orders {
			out.Ordered = out.Ordered || o.By == actor
		}
		if out.Raised || out.Closed || out.Ordered {
			list = append(list, out)
		}
		return nil
	}, `SELECT id, state FROM alarm WHERE authority = ?1 AND instr(state, ?2) > 0 ORDER BY raised_at DESC, id LIMIT ?3`,
		string(authority), `"`+actor+`"`, limit)
	return list, err
}

func each(ctx context.Context, q readmodel.Query, read func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func wall(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
