// SPDX-License-Identifier: EUPL-1.2

package privacy

import (
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// Format names the form of a Document. It changes when a field goes or changes its meaning.
const Format = "holdfast-person-export/1"

// Another stands for everybody else in a document.
const Another = "another person"

// Document is everything that one site holds about one person.
type Document struct {
	Format    string             `json:"format"`
	Authority event.AuthorityID  `json:"authority"`
	Person    directory.PersonID `json:"person"`
	// Site is whose knowledge this is, at MadeAt.
	Site   event.SiteID `json:"site"`
	MadeAt time.Time    `json:"madeAt"`
	// Notes explain the fields, in the order of the document.
	Notes     []Note          `json:"notes"`
	Directory Record          `json:"directory"`
	Account   Account         `json:"account"`
	Warnings  []Warning       `json:"warnings"`
	Roles     []Role          `json:"roles"`
	Approvals []Approval      `json:"approvals"`
	Sessions  []EndedSession  `json:"sessionsEnded"`
	Programs  []Program       `json:"programs"`
	Guests    []InvitedGuest  `json:"guestsInvited"`
	Alarms    []ReceivedAlarm `json:"alarmsReceived"`
	Raised    []RaisedAlarm   `json:"alarmsRaised"`
	Audit     []AuditLine     `json:"audit"`
	Erasure   *Erasure        `json:"erasure,omitempty"`
	// Truncated names the lists that are cut at their bound, the youngest entries being there.
	Truncated []string `json:"truncated"`
}

// Note explains one field.
type Note struct {
	Field string `json:"field"`
	DE    string `json:"de"`
	EN    string `json:"en"`
}

// Record is what the register holds. All but Readable is empty unless Readable is "readable".
type Record struct {
	Readable    directory.Readability `json:"readable"`
	DisplayName string                `json:"displayName,omitempty"`
	GivenName   string                `json:"givenName,omitempty"`
	FamilyName  string                `json:"familyName,omitempty"`
	Title       string                `json:"title,omitempty"`
	Position    string                `json:"position,omitempty"`
	Phone       string                `json:"phone,omitempty"`
	Language    directory.Language    `json:"language,omitempty"`
	// HasManager: the register names somebody as the person's superior.
	HasManager bool      `json:"hasManager"`
	Channels   []Channel `json:"channels"`
	Units      []Named   `json:"units"`
	Functions  []Named   `json:"functions"`
}

// Channel is one way to reach the person.
type Channel struct {
	Kind    directory.ChannelKind `json:"kind"`
	Address string                `json:"address"`
}

// Named is a unit or a function.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Account is what the person can come in with.
type Account struct {
	State       string    `json:"state"`
	Passkeys    []Passkey `json:"passkeys"`
	CodesLeft   int       `json:"codesLeft"`
	CodesIssued time.Time `json:"codesIssued,omitzero"`
	TOTP        bool      `json:"totp"`
	Missing     []string  `json:"missing"`
	InvitedAt   time.Time `json:"invitedAt,omitzero"`
	LastSignIn  time.Time `json:"lastSignIn,omitzero"`
}

// Passkey is one passkey.
type Passkey struct {
	Label string       `json:"label,omitempty"`
	Host  string       `json:"host"`
	Added time.Time    `json:"added"`
	Site  event.SiteID `json:"site"`
	// Synced: the device's maker keeps a copy.
	Synced bool `json:"synced"`
	Void   bool `json:"void"`
}

// Warning is that something about the account was noticed.
type Warning struct {
	What  string         `json:"what"`
	At    time.Time      `json:"at"`
	Sites []event.SiteID `json:"sites"`
}

// Role is a role that the person has or had, in person or by a function.
type Role struct {
	Role        access.Role          `json:"role"`
	Unit        directory.UnitID     `json:"unit,omitempty"`
	Function    directory.FunctionID `json:"function,omitempty"`
	From        time.Time            `json:"from,omitzero"`
	Until       time.Time            `json:"until,omitzero"`
	GrantedAt   time.Time            `json:"grantedAt,omitzero"`
	GrantedBy   string               `json:"grantedBy"`
	Withdrawn   bool                 `json:"withdrawn"`
	WithdrawnAt time.Time            `json:"withdrawnAt,omitzero"`
}

// Approval is a deed that took two people and in which the person had a part.
type Approval struct {
	ID   string      `json:"id"`
	Deed access.Deed `json:"deed"`
	// Parts are "asked", "decided" and "about".
	Parts   []string  `json:"parts"`
	AskedAt time.Time `json:"askedAt"`
	AskedBy string    `json:"askedBy"`
	State   string    `json:"state"`
}

// EndedSession is a session that was ended before its time. It is remembered until all sessions of the person are ended.
type EndedSession struct {
	Expires time.Time `json:"expires"`
}

// Program is an app password or a program in the person's name, or one that the person made.
type Program struct {
	Name     string    `json:"name,omitempty"`
	Kind     string    `json:"kind"`
	Owned    bool      `json:"owned"`
	MadeAt   time.Time `json:"madeAt"`
	Expires  time.Time `json:"expires"`
	State    string    `json:"state"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
}

// InvitedGuest is that the person invited a guest; the guest's data is the guest's.
type InvitedGuest struct {
	Incident  string    `json:"incident"`
	InvitedAt time.Time `json:"invitedAt"`
}

// ReceivedAlarm is an alarm that was for the person.
type ReceivedAlarm struct {
	Alarm    string                  `json:"alarm"`
	RaisedAt time.Time               `json:"raisedAt,omitzero"`
	Mode     event.Mode              `json:"mode,omitempty"`
	TextDE   string                  `json:"textDe,omitempty"`
	TextEN   string                  `json:"textEn,omitempty"`
	Unit     directory.UnitID        `json:"unit,omitempty"`
	Channels []directory.ChannelKind `json:"channels"`
	Receipts []Receipt               `json:"receipts"`
	Reply    *Reply                  `json:"reply,omitempty"`
}

// Receipt is what gateways answered for one channel.
type Receipt struct {
	Channel directory.ChannelKind `json:"channel"`
	// AllClear: it was the message that ends the alarm.
	AllClear bool `json:"allClear"`
	// Accepted counts hand-overs that a gateway took. Refused is the reason's code of a final refusal.
	Accepted int          `json:"accepted"`
	Refused  string       `json:"refused,omitempty"`
	Site     event.SiteID `json:"site"`
	At       time.Time    `json:"at,omitzero"`
}

// Reply is the person's own answer.
type Reply struct {
	Kind       string       `json:"kind"`
	ETAMinutes int          `json:"etaMinutes,omitempty"`
	Site       event.SiteID `json:"site"`
	At         time.Time    `json:"at,omitzero"`
}

// RaisedAlarm is an alarm that the person raised, closed, or both.
type RaisedAlarm struct {
	Alarm    string     `json:"alarm"`
	RaisedAt time.Time  `json:"raisedAt,omitzero"`
	Mode     event.Mode `json:"mode,omitempty"`
	TextDE   string     `json:"textDe,omitempty"`
	TextEN   string     `json:"textEn,omitempty"`
	Raised   bool       `json:"raised"`
	Closed   bool       `json:"closed"`
	// Ordered: the person had it called when it was held.
	Ordered bool `json:"ordered"`
}

// AuditLine is one recorded deed by or about the person.
type AuditLine struct {
	At   time.Time    `json:"at"`
	Site event.SiteID `json:"site"`
	Deed string       `json:"deed"`
	// Own: the person did it. Else By says what sort of somebody did, and way and address are left out: they are not the person's.
	Own     bool   `json:"own"`
	By      string `json:"by,omitempty"`
	Way     string `json:"way,omitempty"`
	From    string `json:"from,omitempty"`
	Object  string `json:"object,omitempty"`
	Outcome string `json:"outcome"`
	Code    string `json:"code,omitempty"`
	Count   int    `json:"count"`
}

// Erasure is how far erasing a person has come.
type Erasure struct {
	Person directory.PersonID `json:"person"`
	// At is when it was asked for; By is an actor ("person/12c0…").
	At time.Time `json:"at"`
	By string    `json:"by,omitempty"`
	// Confirmed and Missing are sites that may hold the authority's data: those that have destroyed the keys, and those that
	// have not said so yet.
	Confirmed []event.SiteID `json:"confirmed"`
	Missing   []event.SiteID `json:"missing"`
	// Complete: every site has confirmed.
	Complete bool `json:"complete"`
}
