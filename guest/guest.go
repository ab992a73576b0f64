// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// The bounds.
const (
	// MaxGuests bounds the guests of one authority who are neither gone nor expired.
	MaxGuests = 500
	// MaxLife bounds how long an invitation lasts, DefaultLife is how long it lasts if nobody says.
	MaxLife     = 7 * 24 * time.Hour
	DefaultLife = 24 * time.Hour
	// MaxName bounds a guest's name, in bytes.
	MaxName = 120
)

// ID names a guest: 16 hexadecimal characters, random.
type ID string

// Subject returns the subject of the guest's facts.
func (id ID) Subject() event.Subject { return event.Subject("guest/" + string(id)) }

// State says where a guest stands.
type State string

// The states of a guest.
const (
	Waiting State = "invited" // the code was not used yet
	Inside  State = "entered"
	Twice   State = "twice" // the code was used at two sites that did not see each other: nobody is let in
	Away    State = "away"  // sent away
	Expired State = "expired"
)

// Guest is one guest as this site can read them.
type Guest struct {
	ID   ID
	Name string // "" unless Readable is directory.Readable
	// Readable says whether this site can read the name.
	Readable directory.Readability
	Incident string // the one subject they see: "alarm/7f3a…"
	Until    time.Time
	// InvitedBy is the actor ("person/12c0…") who invited or renewed last, at InvitedAt by the clock of their site.
	InvitedBy string
	InvitedAt time.Time
	// EnteredAt and Sites tell when and where the code was used; two sites, or one that is there twice, are a warning.
	EnteredAt time.Time
	Sites     []event.SiteID
	// SentAwayBy is the actor who sent the guest away, "" for nobody.
	SentAwayBy string
	SentAwayAt time.Time
	State      State
}

// Draft is whom to invite.
type Draft struct {
	Name     string
	Incident string
	Until    time.Time // zero: DefaultLife from now
}

// The refusals.
var (
	// ErrCode is returned for every code that does not let in: wrong, used, expired, of somebody who was sent away. It does
	// not tell which, because whoever types codes on the off chance would learn from it.
	ErrCode = fault.New(fault.Unauthenticated, "guest.code", "this code does not let anybody in",
		"read it again; a code works once and for a limited time: if it was used, ask whoever invited you for a new one")
	// ErrBusy is returned while too many codes are checked, or one code is tried too often.
	ErrBusy = fault.New(fault.Unavailable, "guest.busy", "this code was tried too often, or too many codes are being checked",
		"wait a minute and type the code again")
	// ErrEnded is returned for a session whose guest was sent away, renewed, or is past their end.
	ErrEnded = fault.New(fault.Unauthenticated, "guest.ended", "your visit is over",
		"ask whoever invited you for a new code")
	// ErrTwice is returned for the sessions of a code that was used twice.
	ErrTwice = fault.New(fault.Unauthenticated, "guest.twice", "your code was used at two places, so neither is let in any more",
		"ask whoever invited you for a new code")
	// ErrUnknown is returned where a guest is named that this site does not know, or not yet.
	ErrUnknown = fault.New(fault.NotFound, "guest.unknown", "there is no such guest",
		"look at the list of guests; one who was invited elsewhere appears as soon as the sites see each other")
	// ErrName, ErrIncident and ErrUntil are wrong drafts.
	ErrName     = fault.New(fault.Invalid, "guest.name", "a guest needs a name of at most 120 bytes in one line", "write who they are and where they come from")
	ErrIncident = fault.New(fault.Invalid, "guest.incident", "a guest is let in for one incident", "choose the alarm they may see")
	ErrUntil    = fault.New(fault.Invalid, "guest.until", "an invitation lasts from now on for seven days at most", "choose an earlier end; a guest can be renewed")
	// ErrTooMany is returned when MaxGuests are there already.
	ErrTooMany = fault.New(fault.Exhausted, "guest.too_many", "there are 500 guests already", "send some away, or wait until their time is over")
)
