// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/site"
)

// Members is a Federation made of the member list.
type Members struct{ Federation *site.Federation }

// Held returns the authorities that allow this site.
func (m Members) Held() []event.AuthorityID { return m.Federation.AuthorityIDs() }

// Sites returns the members that the authority allows.
func (m Members) Sites(authority event.AuthorityID) []Site {
	var sites []Site
	for _, s := range m.Federation.Members() {
		if m.Federation.Allowed(s.Site, authority) {
			sites = append(sites, Site{ID: s.Site, Operator: m.Federation.Operator(s.Site), PortalURL: s.PortalURL})
		}
	}
	return sites
}

// heardLately is how long ago a neighbour may have been heard to count as reachable. They speak every second.
const heardLately = 4 * time.Second

// Neighbours is a Replication made of the replicator. Another site counts if another operator runs it: what one operator
// holds twice is not secured.
type Neighbours struct {
	Replicator *eventlog.Replicator
	Policy     eventlog.Policy
	Self       event.SiteID
	Now        func() time.Time
}

// Replicated reports whether sites of two operators, ours included, hold the position.
func (n Neighbours) Replicated(log eventlog.LogID, pos eventlog.Position) bool {
	return len(n.Replicator.Secured(log, pos)) >= 2
}

// Reachable reports whether a site of another operator that may hold the authority's logs was heard in the last seconds.
func (n Neighbours) Reachable(authority event.AuthorityID) bool {
	own, now := n.Policy.Operator(n.Self), n.Now()
	for _, lag := range n.Replicator.Lag() {
		if !lag.LastHeard.IsZero() && now.Sub(lag.LastHeard) < heardLately &&
			n.Policy.Operator(lag.Peer) != own && n.Policy.Allowed(lag.Peer, authority) {
			return true
		}
	}
	return false
}

// StaleSince reports what is not folded yet of what the others had when they were last silent, see eventlog.Replicator.Fresh.
func (n Neighbours) StaleSince(authority event.AuthorityID) (time.Time, bool) {
	return n.Replicator.StaleSince(authority)
}

// Refresh makes it stale until the others have been asked again.
func (n Neighbours) Refresh(authority event.AuthorityID) { n.Replicator.Refresh(authority) }
