// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

// Written says where a write lies and how safe it is.
type Written struct {
	Receipt string `json:"receipt,omitempty"`
	// Secured: sites of at least two operators have it on disk, with its keys. Until then it is stored, here.
	Secured   bool     `json:"secured"`
	Operators []string `json:"operators"`
}

// Status is the federation as this site sees it.
type Status struct {
	site.Status
	Lag []Lag `json:"lag"`
	// BehindPages is how many pages the read model has not folded yet.
	BehindPages uint64 `json:"behindPages"`
	Forks       int    `json:"forks"`
	// Warnings are sentences for people about authorities that are here: whose sites lack gateways, or whose alarms are held.
	Warnings []string `json:"warnings,omitempty"`
	// Conditions are what is wrong with this site's stores, or was within the last day.
	Conditions []health.Condition `json:"conditions,omitempty"`
}

// Lag is how far another site and this one are apart.
type Lag struct {
	Site          event.SiteID `json:"site"`
	LastHeard     time.Time    `json:"lastHeard,omitzero"`
	BehindPages   uint64       `json:"behindPages"` // pages it has and we lack
	AheadPages    uint64       `json:"aheadPages"`  // pages we have and it has not reported
	OffsetSeconds float64      `json:"offsetSeconds"`
	Trouble       string       `json:"trouble,omitempty"`
}

// State is the hash over all that this site has folded.
type State struct {
	Site event.SiteID `json:"site"`
	Hash string       `json:"hash"`
	// BehindPages are those that this site knows of and has not folded; the hash speaks of the rest.
	BehindPages uint64 `json:"behindPages"`
}

// Merge is what came in late from another site, all at once.
type Merge struct {
	Authority event.AuthorityID `json:"authority"`
	From      event.SiteID      `json:"from"`
	// FirstWall and LastWall are by the origin's clock, ArrivedAt by ours.
	FirstWall time.Time `json:"firstWall"`
	LastWall  time.Time `json:"lastWall"`
	ArrivedAt time.Time `json:"arrivedAt"`
	Events    int       `json:"events"`
	// Late events sorted before something that was known here already.
	Late int `json:"late"`
	// FirstCopy: the history that this site was given when it joined or was allowed.
	FirstCopy bool `json:"firstCopy"`
}

// Trouble is something that was set aside so that the rest could go on, or something that is wrong with a store.
type Trouble struct {
	Authority event.AuthorityID `json:"authority,omitempty"`
	Subject   event.Subject     `json:"subject,omitempty"`
	Log       string            `json:"log,omitempty"`
	Kind      event.Kind        `json:"kind,omitempty"`
	Reason    string            `json:"reason"`
	// Store and Cause are set for a store, with what the site does about it and what is left to do.
	Store  health.Store `json:"store,omitempty"`
	Cause  health.Cause `json:"cause,omitempty"`
	Doing  string       `json:"doing,omitempty"`
	WayOut string       `json:"wayOut,omitempty"`
	Since  time.Time    `json:"since,omitzero"`
}

// Damage is a stored page that is not what was stored.
type Damage struct {
	Log          string `json:"log"`
	Page         uint64 `json:"page"`
	Reason       string `json:"reason"`
	FetchedAgain bool   `json:"fetchedAgain"`
}

// Invitation is what a new site joins with, once.
type Invitation struct {
	Name     string `json:"name"`
	Operator string `json:"operator"`
	// Hours it is good for; 0 is a day.
	Hours int    `json:"hours,omitempty"`
	Token string `json:"token,omitempty"` // in the answer
}

// Link is a sign-in link, good once.
type Link struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires,omitzero"`
}

// ImportReport says what an import did, or would do.
type ImportReport struct {
	directory.Report
	Refused []web.Problem `json:"refused"`
	Remarks []web.Problem `json:"remarks"`
	// Written is empty if nothing was written.
	Written Written `json:"written"`
}

// Person is a person as this site can read them. All but id, units, functions and readable is empty unless readable is
// "readable".
type Person struct {
	ID           directory.PersonID     `json:"id"`
	DisplayName  string                 `json:"displayName,omitempty"`
	GivenName    string                 `json:"givenName,omitempty"`
	FamilyName   string                 `json:"familyName,omitempty"`
	Title        string                 `json:"title,omitempty"`
	Position     string                 `json:"position,omitempty"`
	Phone        string                 `json:"phone,omitempty"`
	Language     directory.Language     `json:"language,omitempty"`
	Units        []directory.UnitID     `json:"units"`
	Functions    []directory.FunctionID `json:"functions"`
	Reachability []Channel              `json:"reachability"`
	Readable     directory.Readability  `json:"readable"`
}

// Channel is one way to reach a person.
type Channel struct {
	Kind    directory.ChannelKind `json:"kind"`
	Address string                `json:"address"`
}

// People is one page of a list of persons; Total counts all that match. With a text it ends at directory.CountLimit+1,
// which means "more".
type People struct {
	Total  int      `json:"total"`
	People []Person `json:"people"`
}

// Unit is an organisational unit.
type Unit struct {
	ID     directory.UnitID `json:"id"`
	Parent directory.UnitID `json:"parent,omitempty"`
	Name   string           `json:"name"`
	People int              `json:"people"`
	// Readable tells whether the name could be opened here.
	Readable directory.Readability `json:"readable"`
}

// Function is a function with its holders and deputies, in the order in which they are asked.
type Function struct {
	ID       directory.FunctionID `json:"id"`
	Name     string               `json:"name"`
	Code     string               `json:"code,omitempty"`
	Holders  []directory.PersonID `json:"holders"`
	Deputies []directory.PersonID `json:"deputies"`
	// Readable tells whether the name could be opened here.
	Readable directory.Readability `json:"readable"`
}

// AlarmDraft is an alarm before it is raised. Mode has no default: whoever raises an alarm says which it is.
type AlarmDraft struct {
	TextDE   string                  `json:"textDe,omitempty"`
	TextEN   string                  `json:"textEn,omitempty"`
	Mode     event.Mode              `json:"mode"`
	Audience directory.Audience      `json:"audience"`
	Channels []directory.ChannelKind `json:"channels,omitempty"`
	Ranking  []event.SiteID          `json:"ranking,omitempty"`
	// TakeoverMillis is how long a site waits, times its rank, without news of the calling one; 0 is the default.
	TakeoverMillis int `json:"takeoverMillis,omitempty"`
	// LinkHours is how long the reply links are good for; 0 is the default.
	LinkHours int `json:"linkHours,omitempty"`
}

// RaisedAlarm is what raising answers.
type RaisedAlarm struct {
	ID             alarm.ID `json:"id"`
	People         int      `json:"people"`
	WithoutChannel int      `json:"withoutChannel"`
	Written        Written  `json:"written"`
	Calls
}

// Preview is whom an alarm would reach, and who would call them.
type Preview struct {
	alarm.Preview
	Calls
}

// Words are what a cancellation or an all-clear says besides itself.
type Words struct {
	TextDE string `json:"textDe,omitempty"`
	TextEN string `json:"textEn,omitempty"`
}
