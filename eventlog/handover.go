// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"encoding/json"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
)

// heldRequest asks whether the other site has branches up to these heads.
type heldRequest struct {
	Heads []wantedHead `json:"heads"`
}

// wantedHead is a page that must be there, with those before it; with Keys, all their keys or marks must be there, too.
type wantedHead struct {
	Head
	Keys bool `json:"keys,omitempty"`
}

// heldAnswer says so, in the order of the question.
type heldAnswer struct {
	Held []bool `json:"held"`
}

// serveHeld answers whoever names a page: who knows its hash has had it, so nothing is told that is new to him.
func (r *Replicator) serveHeld(ctx context.Context, _ event.SiteID, body []byte) ([]byte, error) {
	var q heldRequest
	if err := json.Unmarshal(body, &q); err != nil || len(q.Heads) > maxHeadsPerPart {
		return nil, errRequest.Because("held: %v", err)
	}
	durable := make(map[Branch]uint64)
	for _, h := range r.cfg.Log.Durable(ctx) {
		durable[h.Branch] = h.Page
	}
	a := heldAnswer{Held: make([]bool, len(q.Heads))}
	for i, h := range q.Heads {
		if h.Branch.Check() != nil || !r.cfg.Policy.Allowed(r.cfg.Self, h.Branch.Authority) {
			continue
		}
		in, held, err := r.cfg.Log.Holds(ctx, h.Branch.LogID, h.Page, h.Hash)
		a.Held[i] = err == nil && held && (!h.Keys || durable[in] >= h.Page)
	}
	return json.Marshal(a)
}

// HandedOver reports whether this site may delete what it holds of an authority that no longer allows it: sites of two
// operators that the authority allows say now that they have every page that is here, and the keys as far as they are here;
// if it allows sites of one operator only, that one suffices. What others have told before does not count. It blocks for the
// links; a site that does not answer has nothing. The error is that of the last site that could not be asked.
func (r *Replicator) HandedOver(ctx context.Context, authority event.AuthorityID) (bool, error) {
	heads := r.handover(ctx, authority)
	if len(heads) == 0 {
		return true, nil
	}
	var last error
	all, have := make(map[string]bool), make(map[string]bool)
	for _, peer := range r.others() {
		if !r.mayKnow(peer, authority) {
			continue
		}
		operator := r.cfg.Policy.Operator(peer)
		all[operator] = true
		if have[operator] {
			continue
		}
		held, err := r.askHeld(ctx, peer, heads)
		if err != nil {
			last = fmt.Errorf("ask %s what it holds of %s: %w", peer.Short(), authority, err)
		}
		if held {
			have[operator] = true
		}
	}
	return len(have) > 0 && len(have) >= min(2, len(all)), last
}

// handover returns what others must have of an authority before it may go from here. A page whose key is lost, because the
// site that made it is, must not keep everything here for ever.
func (r *Replicator) handover(ctx context.Context, authority event.AuthorityID) (heads []wantedHead) {
	for _, h := range r.cfg.Log.Durable(ctx) {
		if h.Branch.Authority == authority {
			heads = append(heads, wantedHead{h, true})
		}
	}
	for _, h := range r.cfg.Log.Heads() {
		if h.Branch.Authority == authority {
			heads = append(heads, wantedHead{h, false})
		}
	}
	return heads
}

// askHeld reports whether a peer has all these heads.
func (r *Replicator) askHeld(ctx context.Context, peer event.SiteID, heads []wantedHead) (bool, error) {
	_, up := r.paces(peer)
	for len(heads) > 0 {
		part := up.small()
		n := min(len(heads), max(part.size/headBytes, minHeadsPerPart), maxHeadsPerPart)
		body, err := json.Marshal(heldRequest{heads[:n]})
		if err != nil {
			return false, err
		}
		raw, err := r.request(ctx, peer, VerbHeld, body)
		up.done(part, len(body), err)
		if err != nil {
			return false, err
		}
		var a heldAnswer
		if err := json.Unmarshal(raw, &a); err != nil || len(a.Held) != n {
			return false, errAnswer.Because("held")
		}
		for _, held := range a.Held {
			if !held {
				return false, nil
			}
		}
		heads = heads[n:]
	}
	return true, nil
}

// MissingKeys returns the keys of the authority that pages on this site's disk wait for, as far as it has looked: those of
// the first pages of each branch that are not durable.
func (l *Log) MissingKeys(ctx context.Context, authority event.AuthorityID) ([]event.KeyID, error) {
	return l.missingKeys(ctx, authority, func(Branch) bool { return true })
}

// UrgentKeys is MissingKeys for alarms and what belongs to them only: those keys are asked for by name, since they would
// wait behind all others otherwise.
func (l *Log) UrgentKeys(ctx context.Context, authority event.AuthorityID) ([]event.KeyID, error) {
	return l.missingKeys(ctx, authority, func(b Branch) bool { return wayOf(b) != bulkWay })
}

func (l *Log) missingKeys(ctx context.Context, authority event.AuthorityID, of func(Branch) bool) ([]event.KeyID, error) {
	var ids []event.KeyID
	l.mu.Lock()
	for _, b := range l.sorted() {
		if b.id.Authority != authority || !b.ready.blocked || !of(b.id) {
			continue
		}
		for _, n := range b.ready.next {
			ids = append(ids, n.keys...)
		}
	}
	l.mu.Unlock()
	if len(ids) == 0 || l.cfg.Keys == nil {
		return nil, nil
	}
	return l.cfg.Keys.Missing(ctx, authority, ids)
}
