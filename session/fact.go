// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// The kinds of facts. Their JSON is a stored form; testdata keeps one of each for ever.
const (
	KindEnded    event.Kind = "session.Ended"
	KindAllEnded event.Kind = "session.AllEnded"
)

// Ended says that one session is over at every site.
type Ended struct {
	Session string `json:"session"`
	// Expires is when the session would have ended by itself, by the clock of the site where it began. It is for who reads the facts:
	// no rule looks at it.
	Expires time.Time `json:"expires"`
}

// AllEnded says that all sessions are over which were begun where this fact was not known. Its event id enters the epoch.
type AllEnded struct{}

const root = "sessions"

// SubjectOf returns the subject of the sessions of a person or guest.
func SubjectOf(id string) event.Subject { return event.Subject(root + "/" + id) }
