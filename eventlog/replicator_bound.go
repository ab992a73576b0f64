// SPDX-License-Identifier: EUPL-1.2

package eventlog

// Vouched reports whether a site of another operator than the origin's says that it holds the log. It does not block.
func (r *Replicator) Vouched(id LogID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.vouched(id)
}

// vouched goes by the first branch, which every holder has. The caller holds r.mu.
func (r *Replicator) vouched(id LogID) bool {
	origin := r.cfg.Policy.Operator(id.Site)
	for peer, s := range r.peers {
		operator := r.cfg.Policy.Operator(peer)
		if operator == "" || operator == origin || !r.mayKnow(peer, id.Authority) {
			continue
		}
		if h := s.heads[Branch{LogID: id}]; h != nil && h.Page > 0 {
			return true
		}
	}
	return false
}

// mayTake reports whether we may hold the log and have room for it now. What must wait counts as nothing that we
// lack: it must not keep this site from calling. The caller holds r.mu.
func (r *Replicator) mayTake(id LogID) bool {
	return r.cfg.Log.MayHold(id) == nil && r.cfg.Log.Room(id, r.vouched(id)) == nil
}

// mustWait reports whether the head's log waits for room.
func (r *Replicator) mustWait(h Head) bool {
	return r.cfg.Log.Room(h.Branch.LogID, r.Vouched(h.Branch.LogID)) != nil
}

// boundFailures forgets the failures of branches that the peer no longer announces, so that there are never more of
// them than of its heads and what is fetched right now.
func (s *peerState) boundFailures() {
	if len(s.failures) <= len(s.heads)+maxLogsAtOnce {
		return
	}
	for b := range s.failures {
		if s.heads[b] == nil {
			delete(s.failures, b)
		}
	}
}
