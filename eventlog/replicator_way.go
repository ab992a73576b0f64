// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// way is one of the ways on which pages come from a peer. Each has a loop of its own, so that none waits until another has
// come; they share the line, and what may be under way on it, see pacer. What is urgent has a connection of its own too.
type way int

const (
	// urgentWay is for urgent logs: alarms. Their pages are few.
	urgentWay way = iota
	// operationsWay is for the federation and for what belongs to alarms: replies and receipts. There may be many.
	operationsWay
	// bulkWay is for everything else: directories, journals, records. It goes when the line has room.
	bulkWay
	ways
)

// wayOf returns the way on which a branch is fetched.
func wayOf(b Branch) way {
	switch {
	case b.isUrgent() && b.Class == event.Operations:
		return urgentWay
	case rank(b) <= rankOperations:
		return operationsWay
	}
	return bulkWay
}

func (r *Replicator) link(w way) Link {
	if w != urgentWay && r.cfg.Bulk != nil {
		return r.cfg.Bulk
	}
	return r.cfg.Link
}

// paces returns the pacers of both directions of the line to a peer.
func (r *Replicator) paces(peer event.SiteID) (down, up *pacer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	return s.down, s.up
}

// request sends one request with a short answer, and waits for it as long as the line may need: see pacer.patience.
func (r *Replicator) request(ctx context.Context, peer event.SiteID, verb string, body []byte) ([]byte, error) {
	down, up := r.paces(peer)
	return r.requestOn(ctx, r.cfg.Link, peer, verb, body, max(down.patience(minAnswerBytes), up.patience(len(body))))
}

// requestOn sends one request and waits for its answer, at most so long: a black hole costs seconds, not minutes.
func (r *Replicator) requestOn(ctx context.Context, link Link, peer event.SiteID, verb string, body []byte, patience time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return link.Request(ctx, peer, verb, body)
}

// heard notes that an answer of the peer has come in and could be read; sent is when it was sent, by the steady clock, at the
// earliest: an answer is not older than its question. What was under way for longer than heardLately says only that the peer was
// there by then: it may have been sent before a silence that has not ended.
func (r *Replicator) heard(peer event.SiteID, sent time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, at := r.peer(peer), sent.Add(heardLately)
	if now := r.steady(); at.After(now) {
		at = now
	}
	s.lastHeard = r.cfg.Now()
	r.noteWord(peer, s, at)
}

// wasAsked notes that a request of the peer came in at that time, by the steady clock, and could be read.
func (r *Replicator) wasAsked(peer event.SiteID, came time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	if !came.Before(s.heard) {
		s.lastHeard = r.cfg.Now().Add(came.Sub(r.steady()))
	}
	r.noteWord(peer, s, came)
}

// Paced runs ask as soon as the line to the peer has room for another answer, with how many bytes the answer may have and a
// ctx that ends when it is late; ask returns how many came. What is urgent does not wait for room. It is for what others than
// the replicator fetch over the same line: the sizes adapt to what the line carries, and all bulk together leaves room for
// what is urgent. It returns ask's error, or ctx's if that ends first.
func (r *Replicator) Paced(ctx context.Context, peer event.SiteID, urgent bool, ask func(ctx context.Context, size int) (bytes int, err error)) error {
	down, _ := r.paces(peer)
	w := bulkWay
	if urgent {
		w = urgentWay
	}
	a, err := down.take(ctx, w)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, down.patience(a.size))
	defer cancel()
	asked := r.steady()
	n, err := ask(ctx, a.size)
	down.done(a, n, err)
	if err == nil {
		r.heard(peer, asked)
	}
	return err
}
