// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// AccountLine is one line of the list of accounts.
type AccountLine struct {
	Person Person `json:"person"`
	// State is none, invited, enrolled or dormant.
	State    string `json:"state"`
	Passkeys int    `json:"passkeys"`
	// Names are the hosts under which there is a passkey.
	Names      []string  `json:"names"`
	CodesLeft  int       `json:"codesLeft"`
	LastSignIn time.Time `json:"lastSignIn,omitzero"`
	InvitedAt  time.Time `json:"invitedAt,omitzero"`
}

// AccountList is one page of the list of accounts, with the counts of all.
type AccountList struct {
	Counts   AccountCounts `json:"counts"`
	Accounts []AccountLine `json:"accounts"`
}

// AccountCounts says how many people of the directory are in which state.
type AccountCounts struct {
	People   int `json:"people"`
	None     int `json:"none"`
	Invited  int `json:"invited"`
	Enrolled int `json:"enrolled"`
	Dormant  int `json:"dormant"`
}

// AccountFilter says which accounts to list. The zero filter lists everybody, by name.
type AccountFilter struct {
	State string
	Limit int // at most 500
	After directory.PersonID
}

// Account is what one person can come in with.
type Account struct {
	Person      Person    `json:"person"`
	State       string    `json:"state"`
	Passkeys    []Passkey `json:"passkeys"`
	CodesLeft   int       `json:"codesLeft"`
	CodesIssued time.Time `json:"codesIssued,omitzero"`
	TOTP        bool      `json:"totp"`
	// Missing is what is missing for the worst day: "passkey:HOST", "second passkey", "codes".
	Missing    []string  `json:"missing"`
	InvitedAt  time.Time `json:"invitedAt,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	LastSignIn time.Time `json:"lastSignIn,omitzero"`
}

// Passkey is one passkey of a person.
type Passkey struct {
	ID       string       `json:"id"`
	Host     string       `json:"host"`
	Label    string       `json:"label,omitempty"`
	Added    time.Time    `json:"added"`
	Site     event.SiteID `json:"site"`
	Synced   bool         `json:"synced"`
	Void     bool         `json:"void,omitempty"`
	Readable bool         `json:"readable"`
}

// Persons names up to 500 people of the directory.
type Persons struct {
	Persons []directory.PersonID `json:"persons"`
}

// AccountInvitationDraft says whom to invite to enrol, and how long the invitations are good; 0 hours is the default.
type AccountInvitationDraft struct {
	Persons []directory.PersonID `json:"persons"`
	Hours   int                  `json:"hours,omitempty"`
	// Send: send the addresses to the people, by the channels that the directory knows.
	Send bool `json:"send,omitempty"`
}

// AccountInvitation is one invitation. Its address is shown this once, and whoever has it may enrol as the person.
type AccountInvitation struct {
	Person   directory.PersonID `json:"person"`
	Name     string             `json:"name,omitempty"`
	Language directory.Language `json:"language,omitempty"`
	URL      string             `json:"url"`
	Expires  time.Time          `json:"expires"`
}

// AccountInvitations is what inviting answers.
type AccountInvitations struct {
	Invitations []AccountInvitation `json:"invitations"`
	// Sent is to how many a gateway took it.
	Sent    int     `json:"sent"`
	Written Written `json:"written"`
}

// Told is to how many people something was sent.
type Told struct {
	Told int `json:"told"`
}

// LinkDraft says how long a person's sign-in link is good; 0 is the default.
type LinkDraft struct {
	Minutes int `json:"minutes,omitempty"`
}

// Spoken are the characters that somebody has read out who asks to be vouched for.
type Spoken struct {
	Spoken string `json:"spoken"`
}

// AuditLine is one recorded deed.
type AuditLine struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
	// Since is when the first of several gathered deeds happened.
	Since   time.Time    `json:"since,omitzero"`
	Site    event.SiteID `json:"site"`
	Deed    string       `json:"deed"`
	Actor   string       `json:"actor,omitempty"`
	Way     string       `json:"way,omitempty"`
	From    string       `json:"from,omitempty"`
	Object  string       `json:"object,omitempty"`
	Outcome string       `json:"outcome"`
	Code    string       `json:"code,omitempty"`
	Grant   string       `json:"grant,omitempty"`
	Count   int          `json:"count"`
	// Readable is about From: readable, pseudonym, erased or not_yet.
	Readable string `json:"readable,omitempty"`
}

// AuditFilter says which lines of the audit to list, the newest first. Zero fields do not restrict.
type AuditFilter struct {
	Text, Actor, Deed, Grant, Outcome string
	From, Until                       time.Time
	Limit                             int // at most 500
	// After is the id of the last line of the page before.
	After string
}
