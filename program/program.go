// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// The bounds.
const (
	// MaxLife bounds how long a program works, DefaultLife is how long it works if nobody says.
	MaxLife     = 2 * 365 * 24 * time.Hour
	DefaultLife = 365 * 24 * time.Hour
	// MaxPrograms bounds the living programs of one authority that are not app passwords, MaxOwned those of one owner.
	MaxPrograms = 200
	MaxOwned    = 20
	// MaxName bounds a program's name, in bytes.
	MaxName = 120
)

// ID names a program: 16 hexadecimal characters, random.
type ID string

// Subject returns the subject of the program's facts.
func (id ID) Subject() event.Subject { return event.Subject("program/" + string(id)) }

// Kind says what a program speaks.
type Kind string

// The kinds of programs.
const (
	API     Kind = "api"
	LDAP    Kind = "ldap"
	CardDAV Kind = "carddav"
	WebDAV  Kind = "webdav"
)

// Valid reports whether k is one of the kinds.
func (k Kind) Valid() bool { return k == API || k.AppPassword() }

// AppPassword reports whether programs of the kind belong to a person and speak one protocol.
func (k Kind) AppPassword() bool { return k == LDAP || k == CardDAV || k == WebDAV }

// scopes returns what an app password of the kind may do if nobody says less.
func (k Kind) scopes() []access.Permission {
	switch k {
	case LDAP, CardDAV:
		return []access.Permission{access.SeePeople}
	case WebDAV:
		return []access.Permission{access.SeeOverview}
	}
	return nil
}

// Fit reports whether a program may hold the permission: none by which rights, accounts or programs are made, people's data
// destroyed or sites moved, and none that takes a human's word. Access has the table.
func Fit(p access.Permission) bool { return p.Valid() && p.Scopable() }

// State says where a program stands.
type State string

// The states of a program.
const (
	Alive   State = "alive"
	Gone    State = "withdrawn"
	Expired State = "expired"
)

// Program is one program as this site can read it.
type Program struct {
	ID   ID
	Name string // "" unless Readable is directory.Readable
	// Readable says whether this site can read the name.
	Readable directory.Readability
	Kind     Kind
	Scopes   []access.Permission
	Owner    directory.PersonID // "" for none
	Expires  time.Time
	// MadeBy and WithdrawnBy are actors ("person/12c0…"); WithdrawnBy is "" for a program that was not withdrawn.
	MadeBy      string
	MadeAt      time.Time
	WithdrawnBy string
	WithdrawnAt time.Time
	// LastUsed is when it came in last, zero for never: exact for this site, by the day for others. UsedAt is the site.
	LastUsed time.Time
	UsedAt   event.SiteID
	State    State
}

// Draft is what to make.
type Draft struct {
	Name string
	Kind Kind
	// Scopes are the most that an API token may do; at least one. Empty for an app password: what its protocol needs.
	Scopes []access.Permission
	// Owner is the person in whose name the program works: required for an app password, possible for an API token.
	Owner   directory.PersonID
	Expires time.Time // zero: DefaultLife from now
}

// The refusals.
var (
	// ErrToken is returned for everything that does not let in: unknown, wrong, withdrawn, expired, another protocol.
	ErrToken = fault.New(fault.Unauthenticated, "program.token", "this token or app password is not valid",
		"check that it is complete; if it is old, make a new one on the page of programs")
	// ErrUnknown is returned where a program is named that this site does not know, or not yet.
	ErrUnknown = fault.New(fault.NotFound, "program.unknown", "there is no such program", "look at the list of programs")
	// ErrName, ErrKind, ErrScopes, ErrOwner and ErrExpires are wrong drafts.
	ErrName   = fault.New(fault.Invalid, "program.name", "a program needs a name of at most 120 bytes in one line", "write what it is and where it runs")
	ErrKind   = fault.New(fault.Invalid, "program.kind", "there is no such kind of program", "use api, ldap, carddav or webdav")
	ErrScopes = fault.New(fault.Invalid, "program.scopes", "a program cannot be given this permission", "choose at least one permission, and none by which rights, accounts or programs are made")
	// ErrBeyond is returned where giving roles takes two people and a program would get more than its maker has.
	ErrBeyond = fault.New(fault.Forbidden, "program.beyond", "giving roles takes two people here, so a program may do no more than you may yourself",
		"choose only permissions that you have, or have it made at the console")
	ErrOwner   = fault.New(fault.Invalid, "program.owner", "an app password belongs to a person of the register", "name the person")
	ErrExpires = fault.New(fault.Invalid, "program.expires", "a program works from now on for two years at most", "choose an earlier end; make a new one when it is near")
	// ErrTooMany is returned when MaxPrograms or MaxOwned are there already.
	ErrTooMany = fault.New(fault.Exhausted, "program.too_many", "there are too many programs already", "withdraw those that nobody uses")
)
