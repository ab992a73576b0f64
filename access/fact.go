// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"encoding/json"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// The kinds of facts. Their JSON is a stored form; testdata keeps one of each for ever.
const (
	KindGranted           event.Kind = "access.Granted"
	KindWithdrawn         event.Kind = "access.Withdrawn"
	KindPolicySet         event.Kind = "access.PolicySet"
	KindApprovalAsked     event.Kind = "access.ApprovalAsked"
	KindApproved          event.Kind = "access.Approved"
	KindRefused           event.Kind = "access.Refused"
	KindApprovalWithdrawn event.Kind = "access.ApprovalWithdrawn"
)

// Granted says that a person, or whoever holds or deputises a function, has a role from now on. Its subject is "grant/ID".
// From and Until are milliseconds since 1970, 0 for no bound.
type Granted struct {
	Role     Role                 `json:"role"`
	Unit     directory.UnitID     `json:"unit,omitempty"` // with everything below it; "" is the whole authority
	Person   directory.PersonID   `json:"person,omitempty"`
	Function directory.FunctionID `json:"function,omitempty"`
	From     int64                `json:"from,omitempty"`
	Until    int64                `json:"until,omitempty"`
}

// Withdrawn ends a grant for good. It names the grant, so it wins wherever it sorts.
type Withdrawn struct {
	Grant string `json:"grant"`
}

// PolicySet replaces the authority's policy. Its subject is "policy/access".
type PolicySet struct {
	MassAlarmFrom     int                 `json:"massAlarmFrom"`
	TwoPersons        []Permission        `json:"twoPersons,omitempty"`
	ProviderOff       bool                `json:"providerOff,omitempty"`
	RetentionDays     map[event.Class]int `json:"retentionDays,omitempty"`
	SessionMaxMinutes int                 `json:"sessionMaxMinutes"`
}

// ApprovalAsked says that somebody wants to do something that takes two. Its subject is "approval/ID".
type ApprovalAsked struct {
	Deed Deed `json:"deed"`
	// Args are what the deed is done with: canonical JSON without personal data, see Service.Ask.
	Args    json.RawMessage `json:"args,omitempty"`
	Size    int             `json:"size,omitempty"`
	Expires int64           `json:"expires"` // milliseconds since 1970
	// Units is the asker's scope, empty for the whole authority: who approves needs it too.
	Units []directory.UnitID `json:"units,omitempty"`
	// Behind is the person in whose name a program asks.
	Behind string `json:"behind,omitempty"`
	// Maker is the actor who made the program that asks.
	Maker string `json:"maker,omitempty"`
}

// Approved says that a second person agreed, and that the deed was done then and there. Result is what came of it ("alarm/7f3a").
type Approved struct {
	Result string `json:"result,omitempty"`
}

// Refused says that a second person did not agree.
type Refused struct{}

// ApprovalWithdrawn says that the asker does not want it any more.
type ApprovalWithdrawn struct{}

// rootOf tells under which root each kind belongs.
var rootOf = map[event.Kind]string{
	KindGranted: "grant", KindWithdrawn: "grant", KindPolicySet: "policy",
	KindApprovalAsked: "approval", KindApproved: "approval", KindRefused: "approval", KindApprovalWithdrawn: "approval",
}

func grantSubject(id string) event.Subject    { return event.Subject("grant/" + id) }
func approvalSubject(id string) event.Subject { return event.Subject("approval/" + id) }

// policySubject is the one subject of an authority's policy.
const policySubject event.Subject = "policy/access"
