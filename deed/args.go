// SPDX-License-Identifier: EUPL-1.2

package deed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// ErrArgs is returned for arguments of a deed that this program cannot read: a newer one has written them.
var ErrArgs = fault.New(fault.Conflict, "deed.args", "this site cannot read what is to be approved",
	"approve it at the site where it was asked for, or ask for it anew")

// maxArgs bounds the arguments of a deed, in bytes; an event's bound is larger.
const maxArgs = 48 << 10

// alarmArgs is the stored form of an alarm that waits. Fields are only added.
type alarmArgs struct {
	TextDE   string                  `json:"textDe,omitempty"`
	TextEN   string                  `json:"textEn,omitempty"`
	Mode     event.Mode              `json:"mode"`
	Audience directory.Audience      `json:"audience"`
	Channels []directory.ChannelKind `json:"channels,omitempty"`
	Ranking  []event.SiteID          `json:"ranking,omitempty"`
	// TakeoverAfter and LinkValid are in milliseconds, 0 for the default.
	TakeoverAfter int64 `json:"takeoverAfterMillis,omitempty"`
	LinkValid     int64 `json:"linkValidMillis,omitempty"`
}

// AlarmArgs returns a draft as the arguments of access.DeedRaiseAlarm: sorted where order means nothing, and without actor and
// grant, so that the same alarm has the same arguments whoever asks.
func AlarmArgs(d alarm.Draft) json.RawMessage {
	return encode(alarmArgs{TextDE: d.TextDE, TextEN: d.TextEN, Mode: d.Mode,
		Audience: directory.Audience{Everyone: d.Audience.Everyone, Units: sorted(d.Audience.Units),
			Functions: sorted(d.Audience.Functions), Persons: sorted(d.Audience.Persons)},
		Channels: sorted(d.Channels), Ranking: d.Ranking,
		TakeoverAfter: d.TakeoverAfter.Milliseconds(), LinkValid: d.LinkValid.Milliseconds()})
}

// ReadAlarm is the inverse of AlarmArgs. It returns ErrArgs for anything else.
func ReadAlarm(args json.RawMessage) (alarm.Draft, error) {
	var a alarmArgs
	if err := decode(args, &a); err != nil {
		return alarm.Draft{}, err
	}
	return alarm.Draft{TextDE: a.TextDE, TextEN: a.TextEN, Mode: a.Mode, Audience: a.Audience, Channels: a.Channels, Ranking: a.Ranking,
		TakeoverAfter: millis(a.TakeoverAfter), LinkValid: millis(a.LinkValid)}, nil
}

type eraseArgs struct {
	Person directory.PersonID `json:"person"`
}

// EraseArgs returns the arguments of access.DeedErasePerson.
func EraseArgs(person directory.PersonID) json.RawMessage { return encode(eraseArgs{person}) }

// ReadErase is the inverse of EraseArgs. It returns ErrArgs for anything else.
func ReadErase(args json.RawMessage) (directory.PersonID, error) {
	var a eraseArgs
	if err := decode(args, &a); err != nil {
		return "", err
	}
	if a.Person == "" {
		return "", ErrArgs
	}
	return a.Person, nil
}

// ReadGrant is the inverse of access.GrantDraft.Args. It returns ErrArgs for anything else.
func ReadGrant(args json.RawMessage) (d access.GrantDraft, err error) {
	return d, decode(args, &d)
}

// ReadPolicy is the inverse of access.Policy.Args. It returns ErrArgs for anything else.
func ReadPolicy(args json.RawMessage) (p access.Policy, err error) {
	return p, decode(args, &p)
}

// decode refuses what it does not know whole: approving a part of a wish would be approving another wish.
func decode(args json.RawMessage, into any) error {
	if len(args) > maxArgs {
		return ErrArgs
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return ErrArgs.With(err)
	}
	if d.More() {
		return ErrArgs
	}
	return nil
}

// encode cannot fail for the types of this package.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

func sorted[T cmp.Ordered](list []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// millis reads a length of time; what is out of bounds becomes the default.
func millis(ms int64) time.Duration {
	if ms < 0 || ms > int64(1000*time.Hour/time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
