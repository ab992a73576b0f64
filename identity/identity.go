// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Bounds and defaults.
const (
	// MaxInvited bounds one call of Invite, Remind and SendInvitations.
	MaxInvited = 500
	// MaxInvitationLife bounds how long an invitation is good; DefaultInvitationLife is taken for zero.
	MaxInvitationLife     = 90 * 24 * time.Hour
	DefaultInvitationLife = 14 * 24 * time.Hour
	// MaxLinkLife bounds how long a sign-in link is good; DefaultLinkLife is taken for zero.
	MaxLinkLife     = 24 * time.Hour
	DefaultLinkLife = 15 * time.Minute
	// ChallengeLife is how long a person may take to answer with their passkey.
	ChallengeLife = 5 * time.Minute
	// HandOverLife is how long a token leads from name to name.
	HandOverLife = 5 * time.Minute
	// VouchingLife is how long two colleagues have, and VouchedSession how long the session lasts that comes of it.
	VouchingLife   = 10 * time.Minute
	VouchedSession = time.Hour
	// DormantAfter is how long somebody may stay away before they are listed as dormant.
	DormantAfter = 365 * 24 * time.Hour
	// MaxPasskeys bounds the passkeys of one person.
	MaxPasskeys = 20
	// CodesPerSheet is how many codes IssueCodes makes; with fewer than FewCodes left, new ones are asked for.
	CodesPerSheet = 10
	FewCodes      = 3
	// MaxAnswer bounds what a browser sends of a passkey, in bytes.
	MaxAnswer = 32 << 10
	// MaxLabel bounds the label of a passkey, in characters.
	MaxLabel = 60
	// MaxList bounds Accounts.
	MaxList = 500
)

// The refusals of this package. Each says what to do, and none tells whether there is such an account.
var (
	ErrInvitation = fault.New(fault.Unauthenticated, "identity.invitation", "the invitation is not valid here",
		"check the address; an invitation works once and for some days; if it was made a moment ago, try again in a minute; otherwise ask for a new one")
	ErrLink = fault.New(fault.Unauthenticated, "identity.link", "the sign-in link is not valid here",
		"a link works once and for some minutes; have a new one made at the console")
	ErrPasskey = fault.New(fault.Unauthenticated, "identity.passkey", "the passkey was not accepted",
		"try again; if it goes on, use another passkey, a recovery code, or have two colleagues vouch for you")
	ErrPasskeyNew = fault.New(fault.Invalid, "identity.passkey_new", "the new passkey was not accepted",
		"start again; the device has to ask for a PIN, a fingerprint or a face, and has to keep the passkey")
	ErrPasskeyTwice = fault.New(fault.Conflict, "identity.passkey_twice", "this passkey is enrolled already",
		"use another device or key for the second passkey")
	ErrPasskeyUnknown = fault.New(fault.NotFound, "identity.passkey_unknown", "there is no such passkey",
		"load the page again: it may have been removed")
	ErrTooManyPasskeys = fault.New(fault.TooLarge, "identity.too_many_passkeys", "an account has at most 20 passkeys",
		"remove those that are not used any more")
	ErrCode = fault.New(fault.Unauthenticated, "identity.code", "the code was not accepted",
		"check every character; a code works once; try the next one on the sheet, or have two colleagues vouch for you")
	ErrTOTP = fault.New(fault.Unauthenticated, "identity.totp", "the six digits from the app are missing or wrong",
		"wait for the next six digits and try again with the same code; check that the clock of the phone is right")
	ErrTOTPSecret = fault.New(fault.Invalid, "identity.totp_secret", "the six digits do not belong to this secret",
		"scan the code again, and type the digits that the app shows now")
	ErrBusy = fault.New(fault.Unavailable, "identity.busy", "this site checks too many codes at the moment",
		"try again in some seconds, or at another site")
	ErrThrottled = fault.New(fault.Unavailable, "identity.throttled", "too many attempts with this code",
		"wait a minute, or use another code of the sheet; passkeys work meanwhile")
	ErrHandOver = fault.New(fault.Unauthenticated, "identity.hand_over", "the way from one address to the other has ended",
		"go back to the first address and choose the next one again")
	ErrName = fault.New(fault.Invalid, "identity.name", "passkeys cannot be used under this address",
		"open the portal under one of its names; on the box's own address use a recovery code")
	ErrVouching = fault.New(fault.Unauthenticated, "identity.vouching", "nobody has vouched for you yet, or the time has passed",
		"read the eight characters to two colleagues who are signed in; after ten minutes start again")
	ErrSpoken = fault.New(fault.Invalid, "identity.spoken", "these are not eight characters as they are shown for vouching",
		"have them read to you again; there is no I, L, O or U among them")
	ErrSelf = fault.New(fault.Forbidden, "identity.self", "nobody can vouch for themself",
		"ask two colleagues")
	ErrVoucher = fault.New(fault.Forbidden, "identity.voucher", "with this sign-in nobody can vouch",
		"sign in with your own passkey or recovery code first")
	ErrStale = fault.New(fault.Forbidden, "identity.stale", "this takes a sign-in of the last ten minutes, so that nobody keeps an account whose phone they hold for a moment",
		"sign in again at /signin, then do it at once")
	ErrInviteAbove = fault.New(fault.Forbidden, "identity.invite_above", "this person administers, audits or operates and has access already: an invitation would let in whoever holds it",
		"have two administrators vouch, or have the operator of a site print a link: holdfast signin-link --person")
	ErrVouchAbove = fault.New(fault.Forbidden, "identity.vouch_above", "this person administers or audits the authority: that takes administrators to vouch",
		"have two administrators vouch, or have the operator of a site print a link: holdfast signin-link --person")
	ErrVouchOften = fault.New(fault.Unavailable, "identity.vouch_often", "you have vouched very often within ten minutes",
		"let other colleagues vouch, or go on in some minutes")
	ErrOIDC = fault.New(fault.Unauthenticated, "identity.oidc", "the identity provider's answer leads to nobody here",
		"enrol with an invitation first; if you have, use your passkey and tell the administrators")
	ErrProviderOff = fault.New(fault.Unauthenticated, "identity.provider_off", "signing in with the identity provider is switched off",
		"use your passkey or a recovery code")
	ErrNotYours = fault.New(fault.Forbidden, "identity.not_yours", "this can only be done with a sign-in of one's own",
		"sign in as the person concerned")
	ErrConsole = fault.New(fault.Forbidden, "identity.console", "a sign-in link is made at the console only",
		"use 'holdfast' on the machine itself, or send an invitation")
	ErrPersonUnknown = fault.New(fault.NotFound, "identity.person_unknown", "there is no such person in the register",
		"check the address; the person may have been removed")
	ErrGone = fault.New(fault.Unauthenticated, "identity.gone", "this account has ended",
		"ask the administrators of your authority")
	ErrVoid = fault.New(fault.Unauthenticated, "identity.void", "this session has ended, because the secret it began with was used twice",
		"sign in with your passkey or with a code that nobody has used; if you did not use it twice yourself, tell the administrators")
	ErrVouchedOver = fault.New(fault.Unauthenticated, "identity.vouched_over", "a session by vouching lasts an hour",
		"enrol a passkey while you are in, or have two colleagues vouch for you again")
	ErrTooMany = fault.New(fault.TooLarge, "identity.too_many", "at most 500 people at a time", "do it in several parts")
	ErrLife    = fault.New(fault.Invalid, "identity.life", "the time is out of bounds", "an invitation is good for up to 90 days, a link for up to a day")
	ErrLabel   = fault.New(fault.Invalid, "identity.label", "the label is too long", "use up to 60 characters")
)

// Origin is the address under which a browser sees the portal.
type Origin struct {
	// Host is the relying party's id: the host without a port.
	Host string
	// URL is "https://host:port", without a path.
	URL string
}

// Invitation is an invitation as it is handed out: its secret is nowhere else.
type Invitation struct {
	Person  directory.PersonID
	Secret  string
	Expires time.Time
}

// InvitationView is what the page behind an invitation shows.
type InvitationView struct {
	Authority event.AuthorityID
	Person    directory.Person
	Expires   time.Time
}

// Passkey is one passkey of a person.
type Passkey struct {
	// ID is 16 hexadecimal characters: a hash of the credential's own id.
	ID   string
	Host string
	// Label is what the person calls it, "" if this site cannot read it.
	Label string
	Added time.Time
	// Site is where it was enrolled.
	Site event.SiteID
	// Synced says that the device keeps it in an account of its maker as well.
	Synced bool
	// Void says that it was enrolled in a session that is void; it is refused.
	Void bool
	// Readable is false while this site cannot read it, or never again.
	Readable bool
}

// State sorts accounts; see the package comment.
type State string

// The states of accounts.
const (
	StateNone     State = "none"
	StateInvited  State = "invited"
	StateEnrolled State = "enrolled"
	StateDormant  State = "dormant"
)

// Account is one person's account.
type Account struct {
	Person      directory.Person
	State       State
	Passkeys    []Passkey
	CodesLeft   int
	CodesIssued time.Time // zero if there are none
	TOTP        bool
	// Missing is what is missing for the worst day: "passkey:HOST", "second passkey", "codes".
	Missing    []string
	InvitedAt  time.Time // the youngest invitation, zero if there is none
	Expires    time.Time // of that invitation, zero if it is used
	LastSignIn time.Time // to the day; zero if never
}

// AccountLine is one line of the list of accounts.
type AccountLine struct {
	Person     directory.Person
	State      State
	Passkeys   int
	Names      []string // the hosts under which there is a passkey
	CodesLeft  int
	LastSignIn time.Time
	InvitedAt  time.Time
}

// Filter says which accounts to list; the zero Filter lists everybody of the directory by name.
type Filter struct {
	// State is "" for all.
	State State
	Limit int // at most MaxList, which is taken for 0
	// After is the last person of the page before.
	After directory.PersonID
}

// Counts says how many people of the directory are in which state; the four add up to People.
type Counts struct{ People, None, Invited, Enrolled, Dormant int }

// VouchState is how far a vouching has come, as the one who waits sees it.
type VouchState struct {
	// Confirmed is how many people have vouched, 2 at most.
	Confirmed int
	Expires   time.Time
	// Spoken are the characters to read out.
	Spoken string
}

// InvitedAgain is the warning that somebody who is enrolled was invited again, by somebody other than the console: whoever has the
// invitation can enrol in that person's name. The person is told within a day or not at all.
const InvitedAgain = "invited_again"

// CameByVouching is the notice that somebody came in because two colleagues had vouched: the person learns it, and so do the
// administrators, because two who agree could let in a third under a person's name.
const CameByVouching = "vouched"

// Warning is something that somebody should know about an account.
type Warning struct {
	// ID names it within the account.
	ID     string
	Person directory.PersonID
	// What is "code_twice", "invitation_twice", "link_twice", "vouching_twice", "counter", InvitedAgain, or CameByVouching.
	What string
	// Sites are where it happened, Sessions what came of it, in the same order.
	Sites    []event.SiteID
	Sessions []string
	At       time.Time // the youngest of them
	// ToldPerson says that person and administrators were told; of InvitedAgain, only the person is.
	ToldPerson bool
}

// Message is a text in both languages; Messenger takes the person's.
type Message struct{ SubjectDE, SubjectEN, TextDE, TextEN string }

// Messenger tells somebody something by the channels that the directory knows of. It blocks until a gateway has taken it.
type Messenger interface {
	Tell(ctx context.Context, authority event.AuthorityID, person directory.PersonID, m Message) error
}
