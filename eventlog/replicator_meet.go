// SPDX-License-Identifier: EUPL-1.2

package eventlog

import "codeberg.org/holdfast/holdfast/event"

// Meet makes Run exchange with the peer at once instead of at the next tick: call it when a connection to the peer has come
// (back) up. It does not block, and does nothing while Run is not running.
func (r *Replicator) Meet(peer event.SiteID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.loops[peer]; l != nil {
		s := r.peer(peer)
		s.down.fresh()
		s.up.fresh()
		signal(l.push)
	}
}
