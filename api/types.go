// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

// Written says where a write lies and how safe it is.
type Written struct {
	Receipt string `json:"receipt"`
	// Operators are those at whose sites the write is known to be on the disk with its keys, ours included.
	Operators []string `json:"operators"`
	// Secured: there are two or more of them. Until then it is stored, here.
	Secured bool `json:"secured"`
}

// Status is this site at a glance.
type Status struct {
	Federation site.Status `json:"federation"`
	Peers      []Peer      `json:"peers"`
	// FoldBehind is how many pages are stored that the read model does not show yet.
	FoldBehind uint64    `json:"foldBehind"`
	Troubles   []Trouble `json:"troubles"`
}

// Peer is how far another site and this one are apart.
type Peer struct {
	Site      event.SiteID `json:"site"`
	LastHeard time.Time    `json:"lastHeard,omitzero"`
	// Behind counts pages that we lack, Ahead those that the peer lacks, as far as known.
	Behind uint64 `json:"behind"`
	Ahead  uint64 `json:"ahead"`
	// OffsetMillis is how far the peer's clock is ahead of ours.
	OffsetMillis int64  `json:"offsetMillis"`
	Trouble      string `json:"trouble,omitempty"`
}

// Trouble is something that is stored but cannot be shown. Reasons stay in the site's log: they may quote people.
type Trouble struct {
	Authority event.AuthorityID `json:"authority,omitempty"`
	Subject   event.Subject     `json:"subject,omitempty"`
	Kind      event.Kind        `json:"kind,omitempty"`
	Log       string            `json:"log,omitempty"`
}

// StateHash is the hash over everything this site has folded; it is the same at sites that hold the same logs.
type StateHash struct {
	Hash string `json:"hash"`
}

// Merge is what came from a site after a cut.
type Merge struct {
	Authority event.AuthorityID `json:"authority"`
	From      event.SiteID      `json:"from"`
	// FirstWrittenAt and LastWrittenAt are by the origin's clock, ArrivedAt and Until by ours.
	FirstWrittenAt time.Time `json:"firstWrittenAt"`
	LastWrittenAt  time.Time `json:"lastWrittenAt"`
	ArrivedAt      time.Time `json:"arrivedAt"`
	Until          time.Time `json:"until"`
	Events         int       `json:"events"`
	// Late events sorted before something that was known here already.
	Late int `json:"late"`
	// FirstCopy: the history that this site was given when it joined or was allowed.
	FirstCopy bool `json:"firstCopy,omitempty"`
}

// SignInRequest asks for a link; zero seconds mean a day.
type SignInRequest struct {
	LifeSeconds int `json:"lifeSeconds,omitempty"`
}

// SignInLink is good once, until it expires.
type SignInLink struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// SitesAnswer is who belongs to the federation, who waits and who was removed.
type SitesAnswer struct {
	Self    event.SiteID       `json:"self"`
	Members []site.Member      `json:"members"`
	Pending []site.Pending     `json:"pending"`
	Removed []site.RemovedSite `json:"removed"`
}

// InvitationRequest asks for an invitation; zero seconds mean a day.
type InvitationRequest struct {
	Name        string `json:"name"`
	Operator    string `json:"operator"`
	LifeSeconds int    `json:"lifeSeconds,omitempty"`
}

// Invitation is what the new site is given; its token works once.
type Invitation struct {
	Token string `json:"token"`
}

// Admission tells whether a site is a member now.
type Admission struct {
	Site   event.SiteID `json:"site"`
	Member bool         `json:"member"`
}

// Person is a person as this site can read them. All but id, units, functions and readable is empty unless readable is
// "readable".
type Person struct {
	ID           directory.PersonID     `json:"id"`
	Readable     directory.Readability  `json:"readable"`
	DisplayName  string                 `json:"displayName,omitempty"`
	GivenName    string                 `json:"givenName,omitempty"`
	FamilyName   string                 `json:"familyName,omitempty"`
	Title        string                 `json:"title,omitempty"`
	Position     string                 `json:"position,omitempty"`
	Phone        string                 `json:"phone,omitempty"`
	Language     directory.Language     `json:"language,omitempty"`
	Manager      directory.PersonID     `json:"manager,omitempty"`
	Units        []directory.UnitID     `json:"units"`
	Functions    []directory.FunctionID `json:"functions"`
	Reachability []Reach                `json:"reachability"`
}

// Reach is one way to reach a person.
type Reach struct {
	Kind    directory.ChannelKind `json:"kind"`
	Address string                `json:"address"`
}

// People is one page of a list of persons.
type People struct {
	People []Person `json:"people"`
	// Total is exact without a text; with one it ends at directory.CountLimit+1, which means "more".
	Total int `json:"total"`
}

// Unit is an organisational unit; parent is missing at the top.
type Unit struct {
	ID       directory.UnitID      `json:"id"`
	Parent   directory.UnitID      `json:"parent,omitempty"`
	Name     string                `json:"name"`
	People   int                   `json:"people"`
	Readable directory.Readability `json:"readable"`
}

// Function is a function with its holders and deputies, in the order in which they are asked.
type Function struct {
	ID       directory.FunctionID  `json:"id"`
	Name     string                `json:"name"`
	Code     string                `json:"code,omitempty"`
	Holders  []directory.PersonID  `json:"holders"`
	Deputies []directory.PersonID  `json:"deputies"`
	Readable directory.Readability `json:"readable"`
}

// ImportReport says what an import did, or on a dry run would do; see directory.Report.
type ImportReport struct {
	directory.Report
	// Refused lists the first refused entries, each with line, field, reason and way out; RefusedTotal counts all.
	Refused []web.Problem `json:"refused"`
	Remarks []web.Problem `json:"remarks"`
	// Written is missing if nothing was written.
	Written *Written `json:"written,omitempty"`
}

// AlarmDraft is an alarm to be raised or previewed. Mode has no default: whoever raises an alarm says which it is.
type AlarmDraft struct {
	TextDE   string             `json:"textDe,omitempty"`
	TextEN   string             `json:"textEn,omitempty"`
	Mode     event.Mode         `json:"mode,omitempty"`
	Audience directory.Audience `json:"audience"`
	// Channels are used all at once; empty means every one that the audience has.
	Channels []directory.ChannelKind `json:"channels,omitempty"`
	// Ranking are the sites that call first; the other allowed ones follow.
	Ranking []event.SiteID `json:"ranking,omitempty"`
	// TakeoverMillis is the delay per rank, 0 for the default of 5 s; LinkValidSeconds how long replies are taken.
	TakeoverMillis   int64 `json:"takeoverMillis,omitempty"`
	LinkValidSeconds int64 `json:"linkValidSeconds,omitempty"`
}

// RaisedAlarm is the answer to raising.
type RaisedAlarm struct {
	ID             alarm.ID `json:"id"`
	People         int      `json:"people"`
	WithoutChannel int      `json:"withoutChannel"`
	Written        Written  `json:"written"`
}

// ClosingWords are what a cancellation or an all-clear says besides itself; both may be missing.
type ClosingWords struct {
	TextDE string `json:"textDe,omitempty"`
	TextEN string `json:"textEn,omitempty"`
}
