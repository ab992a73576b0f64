// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/event"
)

// sessionChars is the length of a session's id: 16 characters of the code's id, then 16 drawn ones.
const sessionChars = 32

// away returns the last sending off that the invitation did not know of, or nil. One that was told at another site at the
// time of the invitation counts: better to ask twice than to let in somebody who was sent away.
func (s state) away() *sendOff {
	for _, a := range slices.Backward(s.Away) {
		if !slices.Contains(s.Despite, a.ID) {
			return &a
		}
	}
	return nil
}

// twice reports whether the code led to more than one session.
func (s state) twice() bool {
	return slices.ContainsFunc(s.Uses, func(u use) bool { return u.Session != s.Uses[0].Session })
}

// at says where the guest stands at a moment.
func (s state) at(now time.Time) State {
	switch {
	case s.away() != nil:
		return Away
	case !now.Before(s.Until):
		return Expired
	case s.twice():
		return Twice
	case len(s.Uses) > 0:
		return Inside
	}
	return Waiting
}

// admits reports whether the current code lets in at a moment.
func (s state) admits(now time.Time) bool { return s.Code.ID != "" && s.at(now) == Waiting }

// standing says whether a session may go on at a moment. The fact of its beginning may not have arrived here yet: the
// session's id tells by which code it came. If another session of that code is known here, the code was used twice.
func (s state) standing(session string, now time.Time) error {
	if s.Code.ID == "" || len(session) != sessionChars || !strings.HasPrefix(session, string(s.Code.ID)) {
		return ErrEnded
	}
	switch s.at(now) {
	case Away, Expired:
		return ErrEnded
	case Twice:
		return ErrTwice
	}
	if len(s.Uses) > 0 && s.Uses[0].Session != session {
		return ErrTwice
	}
	return nil
}

// check returns the draft as it is kept, or which field is wrong.
func (d Draft) check(now time.Time) (Draft, error) {
	d.Name = strings.TrimSpace(d.Name)
	if d.Name == "" || len(d.Name) > MaxName || strings.ContainsFunc(d.Name, unprintable) {
		return d, ErrName.At(0, "name")
	}
	subject := event.Subject(d.Incident)
	if root := subject.Root(); !subject.Valid() || root != "alarm" && root != "incident" || subject.Part(1) == "" || subject.Part(2) != "" {
		return d, ErrIncident.At(0, "incident")
	}
	var err error
	d.Until, err = checkUntil(d.Until, now)
	return d, err
}

func checkUntil(until, now time.Time) (time.Time, error) {
	if until.IsZero() {
		until = now.Add(DefaultLife)
	}
	if !until.After(now) || until.After(now.Add(MaxLife)) {
		return until, ErrUntil.At(0, "until")
	}
	return until.UTC().Truncate(time.Second), nil
}

func unprintable(r rune) bool { return r < 0x20 || r == 0x7f || r == utf8.RuneError }
