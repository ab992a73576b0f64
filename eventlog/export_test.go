// SPDX-License-Identifier: EUPL-1.2

package eventlog

import "codeberg.org/holdfast/holdfast/event"

// Records returns of how many logs something is kept in memory.
func (l *Log) Records() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

// Failures returns how many failed fetches from a peer are remembered.
func (r *Replicator) Failures(peer event.SiteID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.peer(peer).failures)
}
