// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
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
	// Closings are where its logs end. In Membership.Roll they are what the votes say which removed it, see named.
	Closings []eventlog.Head `json:"closings,omitempty"`

	heardTo []eventlog.Head // where its logs of the federation end, see highest
	namings []naming        // what was said about its logs when it had been removed
}

// naming is what a member says about the ends of a removed site's logs without having been asked whether to remove it.
type naming struct {
	by     event.SiteID
	closes []eventlog.Head
}

// named returns the ends of the site's logs: those that the votes which removed it have named, and of other logs what those say
// who may hold them. Otherwise any member could close, later, what it does not even know, and have all others set it apart.
func (r RemovedSite) named(mayHold func(event.SiteID, event.AuthorityID) bool) []eventlog.Head {
	voted := byLog(r.Closings)
	var others []eventlog.Head
	for _, n := range r.namings {
		for _, h := range n.closes {
			if _, known := voted[h.Branch.LogID]; !known && mayHold(n.by, h.Branch.Authority) {
				others = append(others, h)
			}
		}
	}
	return lowest(r.Closings, others)
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

	admitted  []event.SiteID         // in that order, removed ones too
	proposals map[event.SiteID]*fact // by which each site waits or was admitted
	voters    map[event.SiteID][]event.SiteID
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
	early      map[event.SiteID][]event.SiteID // who has endorsed a site before it was proposed, by that site
	proposals  map[event.SiteID]*fact
	removed    map[event.SiteID]*RemovedSite
	votes      map[event.SiteID][]*vote // one per voting site
	admitted   []event.SiteID
	need       int // how many operators it takes now to admit a site; 0: to be counted again
	// unheard tells what sites that were just removed had said and those who removed them had not heard, see Removed.Heard.
	unheard []func(*fact) bool
}

// vote is one site's wish to remove another, put together from all its facts about that.
type vote struct {
	by       event.SiteID
	operator string
	closes   []eventlog.Head
	heard    []string
	says     bool // what it had heard
	partial  bool // more of it is to come
}

// maxRolls bounds how often a roll is calculated again because of what is said for removing one site.
const maxRolls = 8

// Roll returns who belongs to the federation. The founding that counts is that of founder, or the first one if founder
// is not known. It is a pure function of the set of facts. It is calculated again from the beginning, without them, if there are
// facts of a removed site that do not count.
func (m Membership) Roll(founder event.SiteID) Roll {
	facts := m.facts(founder)
	r := newRoll(founder)
	again := make(map[event.SiteID]int)
	for i := 0; i < len(facts); i++ {
		f := facts[i]
		r.tell(f)
		if len(r.unheard) == 0 {
			continue
		}
		counting := slices.DeleteFunc(slices.Clone(facts[:i]), r.isUnheard)
		r.unheard = nil
		if of := f.Fact.Removed.Site; len(counting) < i && again[of] < maxRolls {
			again[of]++
			facts = append(counting, facts[i:]...)
			r, i = newRoll(founder), -1
		}
	}
	for site, d := range m.Described {
		if member := r.members[site]; member != nil {
			member.Description = d.Description
		}
	}
	return r.result()
}

func newRoll(founder event.SiteID) *roll {
	return &roll{
		founder:    founder,
		members:    make(map[event.SiteID]*Member),
		candidates: make(map[event.SiteID]*Pending),
		early:      make(map[event.SiteID][]event.SiteID),
		proposals:  make(map[event.SiteID]*fact),
		removed:    make(map[event.SiteID]*RemovedSite),
		votes:      make(map[event.SiteID][]*vote),
	}
}

func (r *roll) isUnheard(f *fact) bool {
	return slices.ContainsFunc(r.unheard, func(unheard func(*fact) bool) bool { return unheard(f) })
}

// Members returns the members according to the facts.
func Members(state Membership) []Member { return state.Roll("").Members }

func (r *roll) tell(f *fact) {
	switch {
	case f.Fact.Founded != nil:
		r.founded(f.by, f.Fact.Founded)
	case r.members[f.by] == nil:
		// Only members at this place propose, endorse and remove.
	case f.Fact.Proposed != nil:
		r.proposed(f)
	case f.Fact.Endorsed != nil:
		r.endorse(f.by, f.Fact.Endorsed.Site)
	case f.Fact.Removed != nil:
		r.remove(f.by, f.Fact.Removed)
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
	r.need = 0
}

func (r *roll) proposed(f *fact) {
	p := f.Fact.Proposed
	if p.Federation != r.founder || r.members[p.Site] != nil || r.removed[p.Site] != nil {
		return // whoever is here needs no proposal, and a removed key never comes back
	}
	c := r.candidates[p.Site]
	if c == nil {
		c = &Pending{Profile: p.Profile, endorsers: r.early[p.Site]}
		r.candidates[p.Site], r.proposals[p.Site] = c, f
		delete(r.early, p.Site)
	}
	if operatorKey(c.Operator) != operatorKey(p.Operator) {
		return // two inviters disagree about whose site it is: the first proposal stands, this is no endorsement of it
	}
	r.endorse(f.by, p.Site)
}

// endorse counts an endorsement. One that comes before its proposal counts when that comes.
func (r *roll) endorse(by, candidate event.SiteID) {
	c := r.candidates[candidate]
	if c == nil {
		if r.members[candidate] == nil && r.removed[candidate] == nil {
			r.early[candidate] = append(r.early[candidate], by)
		}
		return
	}
	if !slices.Contains(c.endorsers, by) {
		c.endorsers = append(c.endorsers, by)
	}
	r.consider(c)
}

// consider admits a candidate if enough operators have endorsed it.
func (r *roll) consider(c *Pending) {
	c.Endorsed, c.Needed = r.endorsements(c)
	if len(c.Endorsed) >= c.Needed && len(r.members) < maxSites {
		delete(r.candidates, c.Site)
		r.admit(c.Site, c.Profile)
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
	if r.need == 0 {
		r.need = needed(len(operatorsOf(r.members)))
	}
	return operators, r.need
}

func (r *roll) remove(by event.SiteID, f *Removed) {
	if gone := r.removed[f.Site]; gone != nil {
		gone.namings = append(gone.namings, naming{by, ofSite(f.Closes, f.Site)})
		return
	}
	if r.members[f.Site] == nil {
		return
	}
	v := r.vote(by, f.Site)
	v.closes = append(v.closes, ofSite(f.Closes, f.Site)...)
	v.heard, v.says, v.partial = append(v.heard, f.Heard...), v.says || f.Heard != nil, f.More
	r.decide(f.Site)
}

// vote returns what a site has said so far for removing another.
func (r *roll) vote(by, site event.SiteID) *vote {
	for _, v := range r.votes[site] {
		if v.by == by {
			return v
		}
	}
	v := &vote{by: by, operator: operatorKey(r.members[by].Operator)}
	r.votes[site] = append(r.votes[site], v)
	return v
}

// decide takes a site out if enough operators are for it.
func (r *roll) decide(site event.SiteID) {
	target := r.members[site]
	if target == nil || len(r.members) == 1 {
		return
	}
	if now := r.removing(target); len(now.Agreed) < now.Needed {
		return
	}
	counted := r.counted(target)
	gone := &RemovedSite{Profile: target.Profile}
	for _, v := range counted {
		gone.Closings = append(gone.Closings, v.closes...)
	}
	gone.heardTo = highest(gone.Closings)
	r.leave(gone, counted)
}

// leave takes a site out. It may take fewer operators now, so whoever waits to be admitted or removed is looked at again: a site
// that has said what it wants says it once.
func (r *roll) leave(gone *RemovedSite, votes []*vote) {
	delete(r.members, gone.Site)
	r.removed[gone.Site] = gone
	r.need = 0
	if unheard := unheardBy(gone.Site, votes); unheard != nil {
		r.unheard = append(r.unheard, unheard)
	}
	for _, site := range slices.Sorted(maps.Keys(r.candidates)) {
		r.consider(r.candidates[site])
	}
	for _, site := range slices.Sorted(maps.Keys(r.votes)) {
		r.decide(site)
	}
}

// unheardBy returns what does not count of what a site has said before it was removed: all that none of the voters had heard. It
// is nil if one of them does not say what it had heard.
func unheardBy(site event.SiteID, votes []*vote) func(*fact) bool {
	heard := make(map[string]bool)
	for _, v := range votes {
		if !v.says {
			return nil
		}
		for _, name := range v.heard {
			heard[name] = true
		}
	}
	return func(f *fact) bool {
		counts := f.Fact.Proposed != nil || f.Fact.Endorsed != nil || f.Fact.Removed != nil
		return counts && f.by == site && !heard[f.name()]
	}
}

func (r *roll) result() Roll {
	out := Roll{Founder: r.founder, Members: []Member{}, admitted: r.admitted, proposals: r.proposals, voters: r.votersOf()}
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
		g.Closings = lowest(g.Closings)
		out.Removed = append(out.Removed, *g)
	}
	slices.SortFunc(out.Members, func(a, b Member) int { return strings.Compare(string(a.Site), string(b.Site)) })
	slices.SortFunc(out.Pending, func(a, b Pending) int { return strings.Compare(string(a.Site), string(b.Site)) })
	slices.SortFunc(out.Removing, func(a, b Removing) int { return strings.Compare(string(a.Site), string(b.Site)) })
	slices.SortFunc(out.Removed, func(a, b RemovedSite) int { return strings.Compare(string(a.Site), string(b.Site)) })
	return out
}

// lowest merges closings: of each log the lower page, of equal pages the lower hash. The result is in order.
func lowest(closings ...[]eventlog.Head) []eventlog.Head {
	first := make(map[eventlog.LogID]eventlog.Head)
	for _, h := range slices.Concat(closings...) {
		before, known := first[h.Branch.LogID]
		if !known || h.Page < before.Page || h.Page == before.Page && bytes.Compare(h.Hash[:], before.Hash[:]) < 0 {
			first[h.Branch.LogID] = h
		}
	}
	return slices.SortedFunc(maps.Values(first), func(x, y eventlog.Head) int {
		return strings.Compare(x.Branch.LogID.String(), y.Branch.LogID.String())
	})
}

// highest returns where the federation's own logs of a removed site end: where the one of those who removed it had heard most. What
// one of them had heard counts (see Removed.Heard), so every site must be able to fetch it; else sites would differ for good.
func highest(closings []eventlog.Head) []eventlog.Head {
	last := make(map[eventlog.LogID]eventlog.Head)
	for _, h := range closings {
		if h.Branch.Authority != event.Federation {
			continue
		}
		before, known := last[h.Branch.LogID]
		if !known || h.Page > before.Page || h.Page == before.Page && bytes.Compare(h.Hash[:], before.Hash[:]) < 0 {
			last[h.Branch.LogID] = h
		}
	}
	return slices.Collect(maps.Values(last))
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
