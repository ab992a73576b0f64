// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// PeerLag is how far a peer and we are apart, as far as we know.
type PeerLag struct {
	Peer event.SiteID
	// LastHeard is when, by our clock, a message of the peer last arrived, of whatever kind; zero if never.
	LastHeard time.Time
	// Behind is how many pages the peer is known to have and we lack, of the logs we may hold.
	Behind uint64
	// Ahead is how many pages we have that the peer may hold and has not reported.
	Ahead uint64
	// Offset is how far the peer's wall clock is ahead of ours, from its last answer; more than a few seconds is a clock
	// to be mended.
	Offset time.Duration
	// Trouble is the last error with this peer, or why pages of it were refused; "" when all is well.
	Trouble string
}

// Lag returns the state of every peer, in a fixed order. It does not block.
func (r *Replicator) Lag() []PeerLag {
	peers := r.others()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]PeerLag, 0, len(peers))
	for _, id := range peers {
		s := r.peer(id)
		out = append(out, PeerLag{
			Peer: id, LastHeard: s.lastHeard, Behind: r.behind(s), Ahead: r.ahead(id, s), Offset: s.offset, Trouble: s.trouble(),
		})
	}
	return out
}

// trouble returns the last error with the peer, or why something that it has was refused: that stays to be seen after the
// next exchange has gone well.
func (s *peerState) trouble() string {
	if s.lastError != "" {
		return s.lastError
	}
	if s.leftOut > 0 {
		return fmt.Sprintf("the site announces more than the %d logs that are kept of one site; %d are left out", maxHeadsPerPeer, s.leftOut)
	}
	first := "" // of several always the same one
	for b, f := range s.failures {
		if h := s.heads[b]; h != nil && h.relation == refusedHead && (first == "" || f.text < first) {
			first = f.text
		}
	}
	return first
}

// behind counts a second branch that we lack as one page at least; how many it has is only known when it is there.
func (r *Replicator) behind(s *peerState) (pages uint64) {
	for _, h := range s.heads {
		if h.Page == 0 || h.relation != lackedHead || !r.mayTake(h.Branch.LogID) {
			continue
		}
		mine := r.ours[Branch{LogID: h.Branch.LogID}].Page
		if h.Page > mine {
			pages += h.Page - mine
		} else {
			pages++
		}
	}
	return pages
}

func (r *Replicator) ahead(peer event.SiteID, s *peerState) (pages uint64) {
	theirs := make(map[LogID]uint64)
	for _, h := range s.heads {
		theirs[h.Branch.LogID] = max(theirs[h.Branch.LogID], h.Page)
	}
	for _, a := range r.ours {
		if a.Page > theirs[a.Branch.LogID] && r.mayKnow(peer, a.Branch.Authority) {
			pages += a.Page - theirs[a.Branch.LogID]
		}
	}
	return pages
}

// Secured returns the operators, sorted, at whose sites the position is durable: the page on the disk, and its keys. It
// goes by what sites have reported last, and counts a report only if its hash is in our own chain. Our own operator
// counts too. It does not block.
func (r *Replicator) Secured(log LogID, pos Position) (operators []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add := func(site event.SiteID) {
		if op := r.cfg.Policy.Operator(site); op != "" && r.mayKnow(site, log.Authority) {
			operators = append(operators, op)
		}
	}
	if r.ours[Branch{LogID: log}].Durable >= pos.Page {
		add(r.cfg.Self)
	}
	for id, s := range r.peers {
		if s.reaches(log, pos) {
			add(id)
		}
	}
	slices.Sort(operators)
	return slices.Compact(operators)
}

// Replicated reports whether at least one other site has the position durable. It does not block.
func (r *Replicator) Replicated(log LogID, pos Position) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.peers {
		if r.mayKnow(id, log.Authority) && s.reaches(log, pos) {
			return true
		}
	}
	return false
}

// reaches reports whether the peer has reported the position as durable, in our own chain.
func (s *peerState) reaches(log LogID, pos Position) bool {
	for b, h := range s.heads {
		if b.LogID == log && h.relation == heldHead && h.in.Fork == "" && h.Durable >= pos.Page {
			return true
		}
	}
	return false
}

// Elsewhere reports whether another site has said that its disk has the branch at least up to the head: what a site must
// know before it gives up a damaged copy. It does not block.
func (r *Replicator) Elsewhere(head Head) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.peers {
		for _, h := range s.heads {
			if h.relation == heldHead && h.in == head.Branch && h.Page >= head.Page && r.mayKnow(id, head.Branch.Authority) {
				return true
			}
		}
	}
	return false
}

// heardLately is how long a peer counts as reachable after its last message: three pushes may get lost.
const heardLately = 3*pushInterval + pushInterval/2

// Wait blocks until the position is durable at sites of that many operators. If ctx ends first it returns a fault of
// kind Unavailable; the events stay stored and go on their way nevertheless.
func (r *Replicator) Wait(ctx context.Context, log LogID, pos Position, operators int) error {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		have := len(r.Secured(log, pos))
		if have >= operators {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errUnsecured.Because("%d of %d operators", have, operators).With(ctx.Err())
		}
	}
}
