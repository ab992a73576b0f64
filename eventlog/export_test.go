// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

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

// BoundUrgent sets, for the time of a test, how many KiB of alarms are taken from one site in a day while space is scarce.
func BoundUrgent(t *testing.T, kib int) {
	was := urgentWhenScarce
	urgentWhenScarce = allowance{kib, 24 * time.Hour / time.Duration(kib)}
	t.Cleanup(func() { urgentWhenScarce = was })
}

// BoundApart sets how many bytes of pages behind the ends of closed logs are kept of one site.
func (l *Log) BoundApart(bytes int64) { l.apartLimit = bytes }

// PullOnly fetches what is known to be missing, without asking for news.
func (r *Replicator) PullOnly(ctx context.Context, peer event.SiteID) {
	for w := range ways {
		_, _ = r.pull(ctx, peer, w, 0)
	}
}

// FetchUrgent fetches once what a peer has of urgent logs, as Run does.
func (r *Replicator) FetchUrgent(ctx context.Context, peer event.SiteID) error {
	_, err := r.fetchOnce(ctx, peer, urgentWay)
	return err
}

// Holds reports whether something urgent holds back what can wait.
func (r *Replicator) Holds() bool {
	r.inlet.mu.Lock()
	defer r.inlet.mu.Unlock()
	return r.inlet.holds(r.cfg.Now())
}
