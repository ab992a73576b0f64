// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// Federation is this site's view of who belongs and who may hold what, in memory. It is the policy of logs and keyring:
// asking it never blocks. It is safe for concurrent use. A Service fills it; until then nobody is a member.
type Federation struct {
	self event.SiteID
	snap atomic.Pointer[snapshot]

	mu   sync.Mutex
	subs map[chan struct{}]struct{}
}

var (
	_ eventlog.Policy = (*Federation)(nil)
	_ eventlog.Closer = (*Federation)(nil)
)

type snapshot struct {
	facts       Membership
	roll        Roll
	members     map[event.SiteID]Member
	folded      map[event.SiteID]bool // members by facts, not by a pin only
	removed     map[event.SiteID]map[eventlog.LogID]eventlog.Head
	heardTo     map[event.SiteID]map[eventlog.LogID]eventlog.Head // of removed sites, in the federation's own logs
	authorities map[event.AuthorityID]*policy
	list        []Authority
	operators   map[string]string // one spelling for each operator
	surplus     []Surplus
	fingerprint string
}

// policy is one authority's part of a snapshot.
type policy struct {
	Authority
	standing
	allowed map[event.SiteID]bool
	closed  map[event.SiteID]map[eventlog.LogID]eventlog.Head
	state   AuthorityState
}

// NewFederation returns the view of a site that knows nobody yet.
func NewFederation(self event.SiteID) *Federation {
	f := &Federation{self: self, subs: make(map[chan struct{}]struct{})}
	f.snap.Store(newSnapshot(self, folded{}, bootstrap{}))
	return f
}

// bootstrap is what a site was told before it had a log to read: who the founder is, and whom to talk to.
type bootstrap struct {
	founder event.SiteID
	pins    []Member
}

// newSnapshot combines what was folded with the pins. A pin counts until the folded facts know its site as a member or
// as removed; that it is merely pending there can only mean that facts are still missing here.
func newSnapshot(self event.SiteID, f folded, b bootstrap) *snapshot {
	s := &snapshot{
		facts:       f.members,
		roll:        f.members.Roll(b.founder),
		members:     make(map[event.SiteID]Member),
		folded:      make(map[event.SiteID]bool),
		removed:     make(map[event.SiteID]map[eventlog.LogID]eventlog.Head),
		heardTo:     make(map[event.SiteID]map[eventlog.LogID]eventlog.Head),
		authorities: make(map[event.AuthorityID]*policy),
		operators:   make(map[string]string),
	}
	for _, r := range s.roll.Removed {
		s.removed[r.Site], s.heardTo[r.Site] = map[eventlog.LogID]eventlog.Head{}, byLog(r.heardTo)
	}
	for _, m := range s.roll.Members {
		s.folded[m.Site] = true
	}
	for _, m := range slices.Concat(s.roll.Members, b.pins) {
		if _, known := s.members[m.Site]; !known && s.removed[m.Site] == nil {
			m.Self = m.Site == self
			s.members[m.Site] = m
		}
	}
	s.roll.Members = s.roll.Members[:0:0]
	for _, m := range s.members {
		s.roll.Members = append(s.roll.Members, m)
	}
	slices.SortFunc(s.roll.Members, func(a, b Member) int { return strings.Compare(string(a.Site), string(b.Site)) })
	for _, m := range slices.Backward(s.roll.Members) {
		s.operators[operatorKey(m.Operator)] = m.Operator
	}
	s.roll.Pending = slices.DeleteFunc(s.roll.Pending, func(p Pending) bool { _, is := s.members[p.Site]; return is })
	s.surplus = f.founders.surplus()
	for id, state := range f.authorities {
		if p := newPolicy(id, f.founders.without(state), s.roll.rank); p != nil {
			s.authorities[id] = p
			s.list = append(s.list, p.Authority)
		}
	}
	slices.SortFunc(s.list, func(a, b Authority) int { return strings.Compare(string(a.ID), string(b.ID)) })
	s.closeRemoved()
	s.fingerprint = mustJSON([]any{s.roll, s.list})
	return s
}

// closeRemoved finds where the logs of removed sites end. It takes the authorities: only they tell who may hold which logs.
func (s *snapshot) closeRemoved() {
	for i := range s.roll.Removed {
		r := &s.roll.Removed[i]
		r.Closings = r.named(s.wasAllowed)
		s.removed[r.Site] = byLog(r.Closings)
	}
}

// wasAllowed reports whether the authority allows the site or has done so: what a site has said about logs while it might hold
// them does not end with that, or it would be set apart again. Whom a fact names that does not count was never allowed.
func (s *snapshot) wasAllowed(site event.SiteID, authority event.AuthorityID) bool {
	if authority == event.Federation {
		return true // members only are heard at all
	}
	p := s.authorities[authority]
	return p != nil && p.was[site]
}

// newPolicy returns what the authority's facts come to, nil if its founding is not known (yet).
func newPolicy(id event.AuthorityID, state AuthorityState, rank func(event.SiteID) int) *policy {
	st := state.stand(rank)
	if st.founding == nil {
		return nil
	}
	p := &policy{
		Authority: Authority{ID: id, NameDE: st.founding.NameDE, NameEN: st.founding.NameEN, Sites: st.sites()},
		standing:  st,
		allowed:   make(map[event.SiteID]bool),
		closed:    make(map[event.SiteID]map[eventlog.LogID]eventlog.Head),
		state:     state,
	}
	for _, site := range p.Sites {
		p.allowed[site] = true
	}
	for _, site := range st.withdrawn() {
		p.closed[site] = byLog(st.closings[site])
	}
	return p
}

func byLog(heads []eventlog.Head) map[eventlog.LogID]eventlog.Head {
	m := make(map[eventlog.LogID]eventlog.Head, len(heads))
	for _, h := range heads {
		m[h.Branch.LogID] = h
	}
	return m
}

// Self returns the site whose view this is.
func (f *Federation) Self() event.SiteID { return f.self }

// Founder returns the site that founded the federation, which is the federation's id; "" if it is not known yet.
func (f *Federation) Founder() event.SiteID { return f.snap.Load().roll.Founder }

// Member reports whether the site is admitted and not removed.
func (f *Federation) Member(site event.SiteID) bool {
	_, ok := f.snap.Load().members[site]
	return ok
}

// Allowed reports whether the site is a member that the authority allows. For event.Federation it is every member.
func (f *Federation) Allowed(site event.SiteID, authority event.AuthorityID) bool {
	s := f.snap.Load()
	if _, member := s.members[site]; !member {
		return false
	}
	if authority == event.Federation {
		return true
	}
	p := s.authorities[authority]
	return p != nil && p.allowed[site]
}

// Operator returns who runs the member, in one spelling for all sites of the operator; "" for a stranger.
func (f *Federation) Operator(site event.SiteID) string {
	s := f.snap.Load()
	return s.operators[operatorKey(s.members[site].Operator)]
}

// Closing returns where a log ends: because its site was removed, or because the authority no longer allows the site. A
// log of such a site that nobody named when it was closed ends before its first page.
func (f *Federation) Closing(log eventlog.LogID) (eventlog.Head, bool) {
	s := f.snap.Load()
	closings, closed := s.removed[log.Site]
	if closed && log.Authority == event.Federation {
		closings = s.heardTo[log.Site]
	}
	if p := s.authorities[log.Authority]; !closed && p != nil {
		closings, closed = p.closed[log.Site]
	}
	if !closed {
		return eventlog.Head{}, false
	}
	head, named := closings[log]
	if !named {
		head = eventlog.Head{Branch: eventlog.Branch{LogID: log}}
	}
	return head, true
}

// Former returns the sites that may have had the authority's data and are to have none any more, in order of their ids: those that
// it allowed once, and those that were removed while it allowed them. Of a site whose facts have not arrived here only the id is
// known.
func (f *Federation) Former(authority event.AuthorityID) (list []Profile) {
	s := f.snap.Load()
	p := s.authorities[authority]
	if p == nil {
		return nil
	}
	profiles := make(map[event.SiteID]Profile)
	for _, m := range s.roll.Members {
		profiles[m.Site] = m.Profile
	}
	for _, r := range s.roll.Removed {
		profiles[r.Site] = r.Profile
	}
	for site := range p.live {
		_, removed := s.removed[site]
		if !removed && p.allowed[site] {
			continue
		}
		profile := profiles[site]
		profile.Site = site
		list = append(list, profile)
	}
	slices.SortFunc(list, func(a, b Profile) int { return strings.Compare(string(a.Site), string(b.Site)) })
	return list
}

// Withdrawn reports whether the authority has allowed this site once and does not any more, or this site was removed: then
// nothing of the authority may stay here. An authority of which facts are still missing is not withdrawn.
func (f *Federation) Withdrawn(authority event.AuthorityID) bool {
	s := f.snap.Load()
	if authority == event.Federation {
		return false
	}
	_, removed := s.removed[f.self]
	p := s.authorities[authority]
	return removed || p != nil && p.closed[f.self] != nil
}

// Members returns all members, this site included, in order of their ids.
func (f *Federation) Members() []Member { return slices.Clone(f.snap.Load().roll.Members) }

// Pending returns the sites that wait to be admitted, in order of their ids.
func (f *Federation) Pending() []Pending { return slices.Clone(f.snap.Load().roll.Pending) }

// Removing returns the members that some operators want removed, and not yet enough, in order of their ids.
func (f *Federation) Removing() []Removing { return slices.Clone(f.snap.Load().roll.Removing) }

// Removed returns the sites that were members and are not any more, in order of their ids.
func (f *Federation) Removed() []RemovedSite { return slices.Clone(f.snap.Load().roll.Removed) }

// MemberOf returns the member that the site is.
func (f *Federation) MemberOf(site event.SiteID) (Member, bool) {
	m, ok := f.snap.Load().members[site]
	return m, ok
}

// Peers returns the ids of all members but this site, in order; none if this site is no member.
func (f *Federation) Peers() []event.SiteID {
	s := f.snap.Load()
	if _, ok := s.members[f.self]; !ok {
		return nil
	}
	var peers []event.SiteID
	for _, m := range s.roll.Members {
		if m.Site != f.self {
			peers = append(peers, m.Site)
		}
	}
	return peers
}

// Authorities returns all authorities of the federation in order of their ids.
func (f *Federation) Authorities() []Authority { return slices.Clone(f.snap.Load().list) }

// Authority returns the authority of the id.
func (f *Federation) Authority(id event.AuthorityID) (Authority, bool) {
	if p := f.snap.Load().authorities[id]; p != nil {
		return p.Authority, true
	}
	return Authority{}, false
}

// AuthorityIDs returns the ids of the authorities that allow this site, in order.
func (f *Federation) AuthorityIDs() []event.AuthorityID {
	var ids []event.AuthorityID
	for _, a := range f.snap.Load().list {
		if f.Allowed(f.self, a.ID) {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// Names returns the hosts under which people reach the portal for an authority: those that its allowed member sites give, each
// once, in order. For event.Federation they are those of all members.
func (f *Federation) Names(authority event.AuthorityID) []string {
	var names []string
	for _, m := range f.snap.Load().roll.Members {
		if f.Allowed(m.Site, authority) {
			names = append(names, m.Names...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Gateway tells which of an authority's sites can hand over messages of one kind of channel.
type Gateway struct {
	Channel string `json:"channel"`
	// Sites are the authority's members that have a gateway or do not say, in order of their ids; empty if nobody has one.
	Sites []event.SiteID `json:"sites"`
	// Here reports whether the site that was asked is one of them.
	Here bool `json:"here"`
}

// Gateways returns for each kind of channel which of the authority's sites have a gateway, in the order of the kinds. It answers
// from memory.
func (f *Federation) Gateways(authority event.AuthorityID, kinds ...string) []Gateway {
	var out []Gateway
	for _, kind := range kinds {
		g := Gateway{Channel: kind, Sites: []event.SiteID{}}
		for _, m := range f.snap.Load().roll.Members {
			if m.Gateway(kind) && f.Allowed(m.Site, authority) {
				g.Sites, g.Here = append(g.Sites, m.Site), g.Here || m.Site == f.self
			}
		}
		out = append(out, g)
	}
	return out
}

// Subscribe returns a channel that is woken after each change of the view, and a function that ends it.
func (f *Federation) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs[ch] = struct{}{}
	return ch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs, ch)
	}
}

// update puts a new snapshot in place and reports whether it differs from the one before.
func (f *Federation) update(s *snapshot) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := f.snap.Load().fingerprint != s.fingerprint
	f.snap.Store(s)
	if changed {
		for ch := range f.subs {
			select {
			case ch <- struct{}{}:
			default: // it is awake already
			}
		}
	}
	return changed
}
