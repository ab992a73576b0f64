// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"math"
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

// cutOff is after how long without a word of anybody a site takes it that it stays alone: longer than a moved machine, a
// switched route or a connection that is made anew takes. Until then it calls on as if the others were only slow, since they
// will soon be there and may have called as well.
const cutOff = 12 * time.Second

// Neighbours is a Replication made of the replicator. Another site counts if another operator runs it: what one operator
// holds twice is not secured.
type Neighbours struct {
	Replicator *eventlog.Replicator
	Policy     eventlog.Policy
	Self       event.SiteID
	Now        func() time.Time
	// Since tells since when this process could have heard others, by Now: since it knows them, which after the folding of a whole read
	// model is long after its start. Nil is long ago.
	Since func() time.Time
}

// Replicated reports whether sites of two operators, ours included, hold the position.
func (n Neighbours) Replicated(log eventlog.LogID, pos eventlog.Position) bool {
	return len(n.Replicator.Secured(log, pos)) >= 2
}

// Unheard returns for how long no site of another operator was heard that may hold the authority's logs; for how long one could have
// been if none was, and never if there is none.
func (n Neighbours) Unheard(authority event.AuthorityID) time.Duration {
	own, now, least := n.Policy.Operator(n.Self), n.Now(), never
	for _, lag := range n.Replicator.Lag() {
		if n.Policy.Operator(lag.Peer) == own || !n.Policy.Allowed(lag.Peer, authority) {
			continue
		}
		heard := lag.LastHeard
		if heard.IsZero() {
			if n.Since == nil {
				continue
			}
			heard = n.Since()
		}
		least = min(least, now.Sub(heard))
	}
	return least
}

// never is the longest time there is.
const never time.Duration = math.MaxInt64

// StaleSince reports what is not folded yet of what the others had when they were last silent, see eventlog.Replicator.Fresh.
func (n Neighbours) StaleSince(authority event.AuthorityID) (time.Time, bool) {
	return n.Replicator.StaleSince(authority)
}

// Refresh makes it stale until the others have been asked again.
func (n Neighbours) Refresh(authority event.AuthorityID) { n.Replicator.Refresh(authority) }
