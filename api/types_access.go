// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"encoding/json"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// GrantDraft is a role that is to be given: to one person or to whoever holds or deputises one function, in the whole
// authority or in one unit with everything below it, from and until a time or without a bound.
type GrantDraft = access.GrantDraft

// Grant is a role that somebody has, had, or will have.
type Grant struct {
	ID string `json:"id"`
	GrantDraft
	GrantedBy   string    `json:"grantedBy"`
	GrantedAt   time.Time `json:"grantedAt,omitzero"`
	Withdrawn   bool      `json:"withdrawn"`
	WithdrawnBy string    `json:"withdrawnBy,omitempty"`
	WithdrawnAt time.Time `json:"withdrawnAt,omitzero"`
	// InForce: the grant gives its role now.
	InForce bool `json:"inForce"`
}

// Granted is what granting answers when it is done at once.
type Granted struct {
	Grant   Grant   `json:"grant"`
	Written Written `json:"written"`
}

// Policy is what an authority has decided about access; see access.Policy for the fields.
type Policy struct {
	MassAlarmFrom     int                 `json:"massAlarmFrom"`
	TwoPersons        []access.Permission `json:"twoPersons"`
	ProviderOff       bool                `json:"providerOff"`
	RetentionDays     map[event.Class]int `json:"retentionDays"`
	SessionMaxMinutes int                 `json:"sessionMaxMinutes"`
}

// Approval is a deed that waits for a second person, or did.
type Approval struct {
	ID   string      `json:"id"`
	Deed access.Deed `json:"deed"`
	// Args are what the deed is done with, without personal data.
	Args      json.RawMessage `json:"args,omitempty"`
	Size      int             `json:"size,omitempty"`
	AskedBy   string          `json:"askedBy"`
	AskedAt   time.Time       `json:"askedAt"`
	AskedSite event.SiteID    `json:"askedSite"`
	Expires   time.Time       `json:"expires"`
	// State is pending, approved, refused, expired or withdrawn.
	State     string   `json:"state"`
	DecidedBy []string `json:"decidedBy"`
	// Result is what came of an approved one, such as "alarm/7f3a…".
	Result string `json:"result,omitempty"`
	// Elsewhere are other approvals of the same deed, asked for on the other side of a cut.
	Elsewhere []string `json:"elsewhere,omitempty"`
}

// Pending is the answer, with status 202, to a deed that takes a second person: nothing is done yet.
type Pending struct {
	Approval Approval `json:"approval"`
	Written  Written  `json:"written"`
}

// Guest is somebody who was let in for one incident.
type Guest struct {
	ID string `json:"id"`
	// Name is empty unless Readable is "readable".
	Name     string                `json:"name,omitempty"`
	Readable directory.Readability `json:"readable"`
	// Incident is the one subject the guest sees: "alarm/7f3a…".
	Incident   string         `json:"incident"`
	Until      time.Time      `json:"until"`
	State      string         `json:"state"`
	InvitedBy  string         `json:"invitedBy"`
	InvitedAt  time.Time      `json:"invitedAt"`
	EnteredAt  time.Time      `json:"enteredAt,omitzero"`
	Sites      []event.SiteID `json:"sites"`
	SentAwayBy string         `json:"sentAwayBy,omitempty"`
	SentAwayAt time.Time      `json:"sentAwayAt,omitzero"`
}

// GuestDraft is whom to invite. Until zero is the default, a day.
type GuestDraft struct {
	Name     string    `json:"name"`
	Incident string    `json:"incident"`
	Until    time.Time `json:"until,omitzero"`
}

// InvitedGuest is what inviting a guest answers. Code is shown this once.
type InvitedGuest struct {
	Guest   Guest   `json:"guest"`
	Code    string  `json:"code"`
	Written Written `json:"written"`
}

// Program is an API token or an app password.
type Program struct {
	ID       string                `json:"id"`
	Name     string                `json:"name,omitempty"`
	Readable directory.Readability `json:"readable"`
	Kind     string                `json:"kind"`
	Scopes   []access.Permission   `json:"scopes"`
	Owner    directory.PersonID    `json:"owner,omitempty"`
	Expires  time.Time             `json:"expires"`
	State    string                `json:"state"`
	MadeBy   string                `json:"madeBy"`
	MadeAt   time.Time             `json:"madeAt"`
	// WithdrawnBy is empty for a program that was not withdrawn.
	WithdrawnBy string    `json:"withdrawnBy,omitempty"`
	WithdrawnAt time.Time `json:"withdrawnAt,omitzero"`
	// LastUsed is exact for the answering site and by the day for others; missing: never.
	LastUsed time.Time    `json:"lastUsed,omitzero"`
	UsedAt   event.SiteID `json:"usedAt,omitempty"`
}

// ProgramDraft is a program that is to be made. Expires zero is the default, a year.
type ProgramDraft struct {
	Name    string              `json:"name"`
	Kind    string              `json:"kind"`
	Scopes  []access.Permission `json:"scopes,omitempty"`
	Owner   directory.PersonID  `json:"owner,omitempty"`
	Expires time.Time           `json:"expires,omitzero"`
}

// MadeProgram is what making a program answers. Secret is shown this once.
type MadeProgram struct {
	Program Program `json:"program"`
	Secret  string  `json:"secret"`
	Written Written `json:"written"`
}
