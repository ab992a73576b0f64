// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// The kinds of facts. Their JSON is a stored form; testdata keeps one of each for ever.
const (
	KindInvited        event.Kind = "identity.Invited"
	KindInvitationUsed event.Kind = "identity.InvitationUsed"
	KindPasskeyAdded   event.Kind = "identity.PasskeyAdded"
	KindPasskeyRemoved event.Kind = "identity.PasskeyRemoved"
	KindCodesIssued    event.Kind = "identity.CodesIssued"
	KindCodeUsed       event.Kind = "identity.CodeUsed"
	KindTOTPSet        event.Kind = "identity.TOTPSet"
	KindTOTPRemoved    event.Kind = "identity.TOTPRemoved"
	KindLinkMade       event.Kind = "identity.LinkMade"
	KindLinkUsed       event.Kind = "identity.LinkUsed"
	KindVouched        event.Kind = "identity.Vouched"
	KindVouchingUsed   event.Kind = "identity.VouchingUsed"
	KindSignedIn       event.Kind = "identity.SignedIn"
	KindCounterFell    event.Kind = "identity.CounterFell"
	KindTold           event.Kind = "identity.Told"
)

// Invited says that the person may enrol with a secret. It replaces the invitations before it.
type Invited struct {
	// ID is random and means nothing: 16 hexadecimal characters.
	ID string `json:"id"`
	// Hash is the SHA-256 of the secret, which has 144 random bits.
	Hash []byte `json:"hash"`
	// Expires is in seconds since 1970, by the clock of the site that invited.
	Expires int64 `json:"expires"`
}

// InvitationUsed says that somebody began to enrol with the invitation.
type InvitationUsed struct {
	ID      string `json:"id"`
	Session string `json:"session"`
}

// PasskeyAdded says that a passkey was enrolled under a name.
type PasskeyAdded struct {
	// ID is the first half of the SHA-256 of the credential's own id, in hexadecimal, shortened to 16 characters.
	ID   string `json:"id"`
	Host string `json:"host"`
	// Key is a key of the account; Sealed is the JSON of the credential, sealed with it under
	// "identity/account/PERSON/passkey/ID".
	Key    event.KeyID `json:"key"`
	Sealed []byte      `json:"sealed"`
	// Session is where it was enrolled: a passkey goes with a session that turns out to be void.
	Session string `json:"session"`
}

// PasskeyRemoved says that a passkey is not accepted any more. A removal in a session that turns out to be void does not
// count.
type PasskeyRemoved struct {
	ID      string `json:"id"`
	Session string `json:"session,omitempty"`
}

// CodeHash is one recovery code as it is kept.
type CodeHash struct {
	// ID are the code's first four characters. They are random, and no part of its 80 secret bits.
	ID string `json:"id"`
	// Hash is argon2id (t=2, m=19 MiB, p=1; OWASP Password Storage Cheat Sheet) of ID and secret with Salt, 32 bytes.
	Hash []byte `json:"hash"`
	Salt []byte `json:"salt"`
}

// CodesIssued says that a new sheet of codes was printed. It replaces the sheets before it.
type CodesIssued struct {
	Set     string     `json:"set"`
	Codes   []CodeHash `json:"codes"`
	Session string     `json:"session"`
}

// CodeUsed says that a code was used up.
type CodeUsed struct {
	Set     string `json:"set"`
	Code    string `json:"code"`
	Session string `json:"session"`
}

// TOTPSet says that codes are to be accompanied by one-time passwords. Sealed is the secret in base32, sealed with Key, a
// key of the account, under "identity/account/PERSON/totp".
type TOTPSet struct {
	Key     event.KeyID `json:"key"`
	Sealed  []byte      `json:"sealed"`
	Session string      `json:"session"`
}

// TOTPRemoved says that codes are enough again. It concerns what was set before it.
type TOTPRemoved struct{}

// LinkMade says that the console made a sign-in link. Its fields are those of Invited.
type LinkMade struct {
	ID      string `json:"id"`
	Hash    []byte `json:"hash"`
	Expires int64  `json:"expires"`
}

// LinkUsed says that somebody signed in with the link.
type LinkUsed struct {
	ID      string `json:"id"`
	Session string `json:"session"`
}

// Vouched says that a colleague has said who the person with the spoken characters is.
type Vouched struct {
	// Spoken is an HMAC of the characters under the authority's key "id", 32 hexadecimal characters.
	Spoken string             `json:"spoken"`
	By     directory.PersonID `json:"by"`
	// Session is the voucher's.
	Session string `json:"session"`
}

// VouchingUsed says that somebody signed in because two colleagues had vouched.
type VouchingUsed struct {
	// Ticket is the first half of the SHA-256 of the ticket, in hexadecimal.
	Ticket  string               `json:"ticket"`
	By      []directory.PersonID `json:"by"`
	Session string               `json:"session"`
}

// SignedIn says that the person signed in on a day, so that every site can tell who stays away. It is told once a day.
type SignedIn struct {
	// Day is the origin's day in UTC: "2026-11-22".
	Day string     `json:"day"`
	Way access.Way `json:"way"`
	// Passkey and Counter are set for passkeys; Counter is 0 for those that do not count.
	Passkey string `json:"passkey,omitempty"`
	Counter uint32 `json:"counter,omitempty"`
}

// CounterFell says that a passkey's counter was not higher than the one known before: there may be a copy of the key.
type CounterFell struct {
	Passkey string `json:"passkey"`
	Session string `json:"session"`
	Was     uint32 `json:"was"`
	Is      uint32 `json:"is"`
}

// Told says that somebody was told of a warning: the person, administrators, or both.
type Told struct {
	Warning        string `json:"warning"`
	Person         bool   `json:"person,omitempty"`
	Administrators int    `json:"administrators,omitempty"`
}
