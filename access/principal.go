// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// PrincipalKind says what sort of somebody acts.
type PrincipalKind string

// The kinds of principals.
const (
	Person  PrincipalKind = "person"  // somebody of the authority's directory
	Visitor PrincipalKind = "guest"   // somebody who was let in for one incident
	Program PrincipalKind = "program" // an API token or an app password
	Console PrincipalKind = "console" // whoever holds the machine: the operator's socket, or a link printed there
)

// Way is the way by which somebody came in.
type Way string

// The ways in. They stand in sessions and in the audit.
const (
	ByPasskey    Way = "passkey"
	ByCode       Way = "code"       // a recovery code from the printed sheet
	ByVouching   Way = "vouching"   // two colleagues have confirmed who it is
	ByOIDC       Way = "oidc"       // the authority's own identity provider
	ByInvitation Way = "invitation" // leads to enrolment and to nothing else
	ByLink       Way = "link"       // a one-time link that the console made
	ByGuestCode  Way = "guest"
	ByToken      Way = "token"   // a program's API token or app password
	ByConsole    Way = "console" // the operator's socket
)

// Principal is who acts, as a session, a token or a socket has shown it. It is a plain value. It says who somebody is, not what
// they may do: that is judged anew each time, see Service.Judge.
type Principal struct {
	Kind PrincipalKind `json:"kind"`
	// Authority is the one authority the principal belongs to, "" for the console.
	Authority event.AuthorityID `json:"authority,omitempty"`
	// ID is the person's, guest's or program's id; "" for the console.
	ID string `json:"id,omitempty"`
	// Session is 32 hexadecimal characters, "" where there is no session (programs, the socket).
	Session string `json:"session,omitempty"`
	Way     Way    `json:"way"`
	// Begun is when the session began, by the clock of Site, the site where it did.
	Begun time.Time    `json:"begun,omitzero"`
	Site  event.SiteID `json:"site,omitempty"`
	// Epoch is the principal's youngest "signed out everywhere" that Site knew of when the session began, see package session.
	Epoch string `json:"epoch,omitempty"`
	// Limited is set on a session that may enrol and do nothing else: that of an invitation.
	Limited bool `json:"limited,omitempty"`
	// Incident is the one subject ("alarm/7f3a") that a guest may see.
	Incident string `json:"incident,omitempty"`
	// Scopes are the most that a program may do; what it may do in fact is that, and what its owner's roles allow.
	Scopes []Permission `json:"scopes,omitempty"`
	// Owner is the person ("" for none) in whose name an app password works.
	Owner string `json:"owner,omitempty"`
	// Maker is the actor ("person/12c0…") who made a program: whoever has its token first is no second person to it.
	Maker string `json:"maker,omitempty"`
}

// Actor returns the name under which facts record the principal: "person/12c0…", "guest/…", "program/…", "operator". The
// operator's site is the origin of the log the fact is in.
func (p Principal) Actor() string {
	if p.Kind == Console {
		return "operator"
	}
	return string(p.Kind) + "/" + p.ID
}

// Borrowed reports whether only somebody else's word says who p is: that of the authority's identity provider, which may have been
// seized. A borrowed sign-in uses a person's rights, but administers nothing and leaves no way in behind, see ErrOwnKey.
func (p Principal) Borrowed() bool { return p.Way == ByOIDC }

// IsZero reports whether p is nobody.
func (p Principal) IsZero() bool { return p.Kind == "" }
