// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Kind says where a site stands.
type Kind string

// The kinds of sites.
const (
	Provider Kind = "provider" // at a cloud provider
	Box      Kind = "box"      // in an authority's own building
)

// Bounds of what sites say about themselves and authorities.
const (
	maxText      = 120
	maxAddresses = 8
	maxNames     = 8
	maxChannels  = 8
	maxSites     = 64 // members, and allowed sites of one authority
)

// Description is what a site says about itself and may change.
type Description struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Addresses are where peers reach it, "host:port", best first.
	Addresses []string `json:"addresses,omitempty"`
	// PortalURL is where people reach it: "https://b.example.org".
	PortalURL string `json:"portalUrl,omitempty"`
	// Names are the hosts under which people reach the portal at this site, its own and those that it shares with others:
	// "holdfast.example.org", no addresses, no ports, lower case. Passkeys are enrolled under each of them.
	Names []string `json:"names,omitempty"`
	// Channels are the kinds of channels ("sms", "email") for which the site has a gateway. Empty means that it has none, nil
	// that it does not say, as in facts from before there was this field.
	Channels []string `json:"channels,omitzero"`
}

// Gateway reports whether the site has a gateway for a kind of channel. One that does not say is not counted as having none.
func (d Description) Gateway(kind string) bool {
	return d.Channels == nil || slices.Contains(d.Channels, kind)
}

// Profile is a site as it is founded or proposed.
type Profile struct {
	Site event.SiteID `json:"site"`
	// Operator is who runs the site. Operators count by this name, letter case and spaces aside.
	Operator string `json:"operator"`
	Description
	SealKey seal.PublicKey `json:"sealKey"`
	// SealCert is the site's signature that SealKey is its own.
	SealCert []byte `json:"sealCert"`
}

// Member is an admitted site.
type Member struct {
	Profile
	// Self marks the site that was asked.
	Self bool `json:"self,omitempty"`
}

// Pending is a proposed site that lacks endorsements.
type Pending struct {
	Profile
	// Endorsed are the operators that have endorsed it, the inviter's first.
	Endorsed []string `json:"endorsed"`
	// Needed is how many distinct operators it takes now.
	Needed int `json:"needed"`

	endorsers []event.SiteID
}

// RemovedSite is a site that was a member. Its logs are closed.
type RemovedSite struct {
	Profile
	Closings []eventlog.Head `json:"closings,omitempty"`
}

// Roll is who belongs to the federation, each list in order of site ids.
type Roll struct {
	Members []Member  `json:"members"`
	Pending []Pending `json:"pending,omitempty"`
	// Removing are the members that some operators want removed, and not yet enough.
	Removing []Removing    `json:"removing,omitempty"`
	Removed  []RemovedSite `json:"removed,omitempty"`
	// Founder is the site whose founding counts; the federation is known by its id.
	Founder event.SiteID `json:"founder,omitempty"`

	admitted []event.SiteID // in that order, removed ones too
	voters   map[event.SiteID][]event.SiteID
}

// rank returns how many sites were admitted before the site; a site that never was comes last.
func (r Roll) rank(site event.SiteID) int {
	if i := slices.Index(r.admitted, site); i >= 0 {
		return i
	}
	return len(r.admitted)
}

// Authority is a public authority (Behörde) that the federation keeps able to communicate.
type Authority struct {
	ID     event.AuthorityID `json:"id"`
	NameDE string            `json:"nameDe"`
	NameEN string            `json:"nameEn"`
	// Sites are the allowed sites, in order; they need not all be members any more.
	Sites []event.SiteID `json:"sites"`
}

// Operators returns the distinct operators of the members, folded for comparison, in order.
func operatorsOf(members map[event.SiteID]*Member) []string {
	var list []string
	for _, m := range members {
		list = append(list, operatorKey(m.Operator))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// operatorKey makes two spellings of one operator count once.
func operatorKey(operator string) string {
	return strings.ToLower(strings.Join(strings.Fields(operator), " "))
}

// needed is how many distinct operators must agree where there are so many.
func needed(operators int) int { return max(1, min(2, operators)) }

// roll is the calculation of a Roll: facts are told to it in their order.
type roll struct {
	founder    event.SiteID
	members    map[event.SiteID]*Member
	candidates map[event.SiteID]*Pending
	removed    map[event.SiteID]*RemovedSite
	votes      map[event.SiteID][]vote
	admitted   []event.SiteID
}

// vote is one site's wish to remove another.
type vote struct {
	by       event.SiteID
	operator string
	closes   []eventlog.Head
}

// Roll returns who belongs to the federation. The founding that counts is that of founder, or the first one if founder
// is not known. It is a pure function of the facts.
func (m Membership) Roll(founder event.SiteID) Roll {
	r := roll{founder: founder, members: map[event.SiteID]*Member{}, candidates: map[event.SiteID]*Pending{},
		removed: map[event.SiteID]*RemovedSite{}, votes: map[event.SiteID][]vote{}}
	for i := range m.Facts {
		r.tell(&m.Facts[i])
	}
	for site, d := range m.descriptions() {
		if member := r.members[site]; member != nil {
			member.Description = d
		}
	}
	return r.result()
}

// Members returns the members according to the facts.
func Members(state Membership) []Member { return state.Roll("").Members }

func (r *roll) tell(f *MembershipFact) {
	switch {
	case f.Founded != nil:
		r.founded(f.By, f.Founded)
	case r.members[f.By] == nil:
		// Only members at this place propose, endorse and remove.
	case f.Proposed != nil:
		r.proposed(f.By, f.Proposed)
	case f.Endorsed != nil:
		r.endorse(f.By, f.Endorsed.Site)
	case f.Removed != nil:
		r.remove(f.By, f.Removed)
	}
}

func (r *roll) founded(by event.SiteID, f *Founded) {
	if len(r.members) > 0 || f.Site != by || r.founder != "" && r.founder != by {
		return
	}
	r.founder = by
	r.admit(by, f.Profile)
}

func (r *roll) admit(site event.SiteID, p Profile) {
	r.members[site] = &Member{Profile: p}
	r.admitted = append(r.admitted, site)
}

func (r *roll) proposed(by event.SiteID, p *Proposed) {
	if p.Federation != r.founder || r.members[p.Site] != nil || r.removed[p.Site] != nil {
		return // whoever is here needs no proposal, and a removed key never comes back
	}
	c := r.candidates[p.Site]
	if c == nil {
		c = &Pending{Profile: p.Profile}
		r.candidates[p.Site] = c
	}
	if operatorKey(c.Operator) != operatorKey(p.Operator) {
		return // two inviters disagree about whose site it is: the first proposal stands, this is no endorsement of it
	}
	r.endorse(by, p.Site)
}

func (r *roll) endorse(by, candidate event.SiteID) {
	c := r.candidates[candidate]
	if c == nil {
		return
	}
	if !slices.Contains(c.endorsers, by) {
		c.endorsers = append(c.endorsers, by)
	}
	c.Endorsed, c.Needed = r.endorsements(c)
	if len(c.Endorsed) >= c.Needed && len(r.members) < maxSites {
		delete(r.candidates, candidate)
		r.admit(candidate, c.Profile)
	}
}

// endorsements counts the operators of those endorsers that are still members.
func (r *roll) endorsements(c *Pending) (operators []string, need int) {
	seen := make(map[string]bool)
	for _, site := range c.endorsers {
		if m := r.members[site]; m != nil && !seen[operatorKey(m.Operator)] {
			seen[operatorKey(m.Operator)] = true
			operators = append(operators, m.Operator)
		}
	}
	return operators, needed(len(operatorsOf(r.members)))
}

func (r *roll) remove(by event.SiteID, f *Removed) {
	v := vote{by, operatorKey(r.members[by].Operator), f.Closes}
	if gone := r.removed[f.Site]; gone != nil {
		// Another closing that was on its way at the same time.
		gone.Closings = lowest(gone.Closings, ofSite(v.closes, f.Site))
		return
	}
	target := r.members[f.Site]
	if target == nil || len(r.members) == 1 {
		return
	}
	r.votes[f.Site] = append(r.votes[f.Site], v)
	gone := &RemovedSite{Profile: target.Profile}
	for _, v := range r.counted(target) {
		gone.Closings = lowest(gone.Closings, ofSite(v.closes, f.Site))
	}
	if now := r.removing(target); len(now.Agreed) >= now.Needed {
		delete(r.members, f.Site)
		r.removed[f.Site] = gone
	}
}

func (r *roll) result() Roll {
	out := Roll{Founder: r.founder, Members: []Member{}, admitted: r.admitted, voters: r.votersOf()}
	for _, m := range r.members {
		out.Members = append(out.Members, *m)
	}
	for _, c := range r.candidates {
		c.Endorsed, c.Needed = r.endorsements(c)
		out.Pending = append(out.Pending, *c)
	}
	for site := range r.votes {
		if m := r.members[site]; m != nil && len(r.counted(m)) > 0 {
			out.Removing = append(out.Removing, r.removing(m))
		}
	}
	for _, g := range r.removed {
		out.Removed = append(out.Removed, *g)
	}
	slices.SortFunc(out.Members, func(a, b Member) int { return strings.Compare(string(a.Site), string(b.Site)) })
	slices.SortFunc(out.Pending, func(a, b Pending) int { return strings.Compare(string(a.Site), string(b.Site)) })
	slices.SortFunc(out.Removing, func(a, b Removing) int { return strings.Compare(string(a.Site), string(b.Site)) })
	slices.SortFunc(out.Removed, func(a, b RemovedSite) int { return strings.Compare(string(a.Site), string(b.Site)) })
	return out
}

// lowest merges closings: of each log the lower page, of equal pages the lower hash. The result is in order.
func lowest(a, b []eventlog.Head) []eventlog.Head {
	all := append(slices.Clone(a), b...)
	slices.SortFunc(all, func(x, y eventlog.Head) int {
		if c := strings.Compare(x.Branch.LogID.String(), y.Branch.LogID.String()); c != 0 {
			return c
		}
		if x.Page != y.Page {
			if x.Page < y.Page {
				return -1
			}
			return 1
		}
		return bytes.Compare(x.Hash[:], y.Hash[:])
	})
	return slices.CompactFunc(all, func(x, y eventlog.Head) bool { return x.Branch.LogID == y.Branch.LogID })
}

// ofSite leaves out what is not the site's to be closed.
func ofSite(heads []eventlog.Head, site event.SiteID) []eventlog.Head {
	return slices.DeleteFunc(slices.Clone(heads), func(h eventlog.Head) bool { return h.Branch.Site != site })
}

// The refusals of descriptions.
var (
	ErrProfile = fault.New(fault.Invalid, "site.profile", "what is said about the site is not usable", "mend it and try again")
	ErrSealKey = fault.New(fault.Forbidden, "site.seal_key", "the sealing key is not certified by the site's own key",
		"the site's key file is damaged, or somebody stands in between: compare the site's id on both sides")
)

// check returns ErrProfile or ErrSealKey for a profile that nobody should believe.
func (p Profile) check() error {
	if _, err := seal.KeyOf(p.Site); err != nil {
		return ErrProfile.At(0, "site").Because("%v", err)
	}
	if !plain(p.Operator) {
		return ErrProfile.At(0, "operator").Because("an operator has a name of 1 to %d bytes on one line", maxText)
	}
	if err := p.Description.check(); err != nil {
		return err
	}
	if len(p.SealKey) != 32 || !seal.Verify(p.Site, "sealing-key", p.SealKey, p.SealCert) {
		return ErrSealKey
	}
	return nil
}

func (d Description) check() error {
	switch {
	case !plain(d.Name):
		return ErrProfile.At(0, "name").Because("a site has a name of 1 to %d bytes on one line", maxText)
	case d.Kind != Provider && d.Kind != Box:
		return ErrProfile.At(0, "kind").Because("a site is a %q or a %q", Provider, Box)
	case len(d.Addresses) > maxAddresses || slices.ContainsFunc(d.Addresses, func(a string) bool { return !plain(a) }):
		return ErrProfile.At(0, "addresses").Because("at most %d, each host:port", maxAddresses)
	case len(d.Names) > maxNames || slices.ContainsFunc(d.Names, func(n string) bool { return !isHost(n) }) || twice(d.Names):
		return ErrProfile.At(0, "names").Because("at most %d, each once, each the name of a host in lower case without a port, no address", maxNames)
	case len(d.Channels) > maxChannels || slices.ContainsFunc(d.Channels, func(c string) bool { return !channelKind.MatchString(c) }) || twice(d.Channels):
		return ErrProfile.At(0, "channels").Because("at most %d, each once, each a short word in lower case", maxChannels)
	}
	if d.PortalURL == "" {
		return nil
	}
	u, err := url.Parse(d.PortalURL)
	if err != nil || len(d.PortalURL) > 300 || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ErrProfile.At(0, "portalUrl").Because("it is not an http or https address")
	}
	return nil
}

// channelKind is wider than the kinds of today: a site tells of a kind that others do not know yet.
var channelKind = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

var hostLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// isHost reports whether a text is the name of a host in lower case (RFC 1123, 2.1) and not an address.
func isHost(s string) bool {
	labels := strings.Split(s, ".")
	last := labels[len(labels)-1]
	return len(s) <= 253 && strings.Trim(last, "0123456789") != "" &&
		!slices.ContainsFunc(labels, func(l string) bool { return !hostLabel.MatchString(l) })
}

func twice(list []string) bool {
	return len(slices.Compact(slices.Sorted(slices.Values(list)))) < len(list)
}

// plain reports whether a text is one short line.
func plain(s string) bool {
	return s != "" && len(s) <= maxText && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// consent is what a joining site signs: that it wants to belong to the federation, with this sealing key, on this
// invitation and under this operator's name.
func consent(federation event.SiteID, invitation string, p Profile) []byte {
	h := sha256.New()
	for _, part := range []string{string(federation), invitation, string(p.Site), operatorKey(p.Operator), string(p.SealKey)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)
}
