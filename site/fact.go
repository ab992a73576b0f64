// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// The kinds of facts. All are in logs of event.Federation, class register.
const (
	KindFounded          event.Kind = "site.Founded"
	KindProposed         event.Kind = "site.Proposed"
	KindEndorsed         event.Kind = "site.Endorsed"
	KindRemoved          event.Kind = "site.Removed"
	KindDescribed        event.Kind = "site.Described"
	KindJoined           event.Kind = "site.Joined"
	KindAuthorityFounded event.Kind = "site.AuthorityFounded"
	KindAllowed          event.Kind = "site.Allowed"
	KindForbidden        event.Kind = "site.Forbidden"
)

// SubjectMembers is the one subject of all membership facts: they need one total order.
const SubjectMembers event.Subject = "members"

// SubjectOf returns the subject of an authority's facts.
func SubjectOf(authority event.AuthorityID) event.Subject {
	return event.Subject("authority/" + string(authority))
}

// Founded says that a site has begun a federation, with itself as the only member.
type Founded struct {
	Profile
}

// Proposed says that a member has invited a site, and that the site has joined with that invitation. It is also the
// endorsement of the inviter's operator.
type Proposed struct {
	Profile
	Invitation string `json:"invitation"`
	// Consent is the site's own signature, see consent.
	Consent []byte `json:"consent"`
	// Federation is the founder's id, which the consent names.
	Federation event.SiteID `json:"federation"`
	// Heard names what the sites of the inviter's operator, the inviter among them, have said so far for admitting sites, see
	// Membership.heardOf. What else they say sorts behind this proposal once the proposed site has acknowledged it, however it
	// is dated. Facts from before there was this field have none; then only dates and the order within a log tell.
	Heard []string `json:"heard,omitzero"`
}

// Joined says by which proposal the site became a member, as it saw it then. The site states it once, of itself. It is what
// makes a proposal firm: it keeps its place, and what it has not heard comes behind it.
type Joined struct {
	// By is the site that proposed, the others say where in its log.
	By          event.SiteID  `json:"by"`
	Incarnation string        `json:"incarnation"`
	Page        uint64        `json:"page"`
	Hash        eventlog.Hash `json:"hash"`
	Index       uint32        `json:"index"`
}

// Endorsed says that a member is for admitting the site.
type Endorsed struct {
	Site event.SiteID `json:"site"`
}

// Removed says that a member is for removing the site, and how far it knew the site's logs.
type Removed struct {
	Site   event.SiteID    `json:"site"`
	Closes []eventlog.Head `json:"closes,omitempty"`
	// Heard names what the site had said for admitting and removing sites as far as that was known, see Membership.heardOf. What
	// none of those had heard whose votes removed it does not count, however it is dated. A vote may be in several facts; what
	// they name counts together. Facts from before there was this field have none; then only dates tell.
	Heard []string `json:"heard,omitzero"`
	// More says that the vote goes on in the next fact; it counts when it is complete.
	More bool `json:"more,omitempty"`
}

// maxNamed bounds how many facts another one names as heard: 35 bytes each, and an event has 64 KiB.
const maxNamed = 1024

// Described says what a site now says about itself.
type Described struct {
	Description
}

// AuthorityFounded says that an authority exists, and which sites it allows at first.
type AuthorityFounded struct {
	NameDE string         `json:"nameDe"`
	NameEN string         `json:"nameEn"`
	Sites  []event.SiteID `json:"sites"`
}

// Allowed says that the authority allows a site. The fact's id is the allowance.
type Allowed struct {
	Site event.SiteID `json:"site"`
}

// Forbidden says that allowances of a site are withdrawn, and how far the site's logs of the authority were known.
type Forbidden struct {
	Site      event.SiteID    `json:"site"`
	Withdraws []event.ID      `json:"withdraws"`
	Closes    []eventlog.Head `json:"closes,omitempty"`
	// Heard is what the site had said about the authority's sites as far as that was known: what it says beyond, however it
	// dates it, does not count. Facts from before there was this field have none; then only dates tell.
	Heard []Heard `json:"heard,omitzero"`
	// Named names the same facts one by one, and decides where it is there: a page number can be signed twice, a place cannot.
	// It is never nil in what is written now, and holds at most maxNamedHere, those first that let somebody in.
	Named []string `json:"named,omitzero"`
}

// maxNamedHere bounds how many facts a withdrawal names as heard. An authority's sites are decided upon a few times a year; the
// event has to hold the ends of up to a hundred logs, too.
const maxNamedHere = 512

// Heard names the last page, in one incarnation of a site's register log, that tells of the authority.
type Heard struct {
	Incarnation string `json:"incarnation"`
	Page        uint64 `json:"page"`
}
