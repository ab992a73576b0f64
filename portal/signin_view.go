// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"html/template"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// The views of signing in, enrolling and one's own account.

// wrongView is what a form says about what was refused.
type wrongView struct{ Message, WayOut string }

type signInView struct {
	Passkeys  bool // they can work under this address
	Host      string
	Names     []linkView // where they can, if they cannot here
	Providers []linkView
	Ended     string // which sessions were ended just now, in words
}

type codeView struct {
	Code  string // as it was typed
	TOTP  bool   // the digits of an app are asked for
	Wrong *wrongView
}

type vouchingView struct {
	Asked     bool
	Over      bool
	Spoken    string
	Confirmed int
	Enough    bool
	Expires   time.Time
}

type invitationView struct {
	nameView
	Authority string
	Expires   time.Time
	Secret    string
}

type handOverView struct{ Token, Host string }

type enrolView struct {
	nameView
	Of, At    int
	Kind      string
	Done      bool // this step was done before
	Host      string
	Here      bool   // the passkey is made under this address
	Next      string // where it is made otherwise
	Skip      string
	Limited   bool
	CodesLeft int
	Keys      int
}

type accountView struct {
	Who         *whoView
	Console     bool
	Authority   string
	Way         string
	Begun       time.Time
	Site        string
	Done        string
	Warnings    []ownWarning
	Missing     []string
	Names       []namePasskeys
	Here        bool // a passkey can be added under this address
	CodesLeft   int
	FewCodes    bool
	CodesIssued time.Time
	TOTP        bool
	Passwords   []passwordRow
	Kinds       []string
	Key         string // of the form for a password
}

type ownWarning struct {
	Text, Sites string
	At          time.Time
}

type namePasskeys struct {
	Host     string
	Here     bool
	Former   bool   // not a name any more
	Step     string // of enrolment, where a passkey under this name is added
	Passkeys []passkeyRow
}

type passkeyRow struct {
	ID, Label    string
	Added        time.Time
	Synced, Void bool
}

type passwordRow struct {
	ID, Name, Kind      string
	Made, Expires, Used time.Time
}

type codesView struct {
	nameView
	Authority string
	Codes     []string
	URLs      []string
	At        time.Time
	Back      string
}

type totpView struct {
	Secret, URI string
	QR          template.HTML
	Wrong       *wrongView
}

type passwordView struct {
	Name, Kind, Secret, User string
	Expires                  time.Time
}

type vouchView struct {
	Authority event.AuthorityID
	Text      string
	Searched  bool
	More      bool
	Found     []personRow
	Person    *personRow
	Code      string
	Wrong     *wrongView
	Done      string // the person vouched for just now
}

type incidentView struct {
	alarmRow
	Now                  time.Time
	OtherText, OtherLang string
	Tiles                []tileView
}
