// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"encoding/json"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
)

// verdict is what one peer says about the tails of our own logs.
type verdict int

const (
	silent    verdict = iota // no answer
	confirmed                // it has nothing of ours that we do not have
	denied                   // it has pages of ours that we do not have
)

// Settle decides at start whether we may go on with our logs: it asks all peers for what they hold of them, for at most
// two seconds. If one has more than we do, or something else, or if nobody answers although there are others, our logs
// go on in a new incarnation. Appends wait meanwhile. It returns whether the incarnation was kept.
//
// One confirming peer is enough: if another one that is cut off holds more, the fork is found when it is back.
func (r *Replicator) Settle(ctx context.Context) (kept bool) {
	log := r.cfg.Log
	log.Hold()
	defer log.Release()
	peers := r.others()
	if log.Incarnation() == "" || len(peers) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	verdicts := make(chan verdict, len(peers))
	for _, peer := range peers {
		go func() { verdicts <- r.askTails(ctx, peer) }()
	}
	seen := make(map[verdict]int)
	for range peers {
		seen[<-verdicts]++
	}
	switch {
	case seen[denied] > 0:
		log.Reincarnate("another site has more of our logs than we do")
	case seen[confirmed] == 0:
		log.Reincarnate("no other site could confirm our logs")
	default:
		return true
	}
	return false
}

// askTails asks one peer for the heads of our own logs, and compares those of the present incarnation. A peer that does not
// tell all of them in time has not confirmed anything.
func (r *Replicator) askTails(ctx context.Context, peer event.SiteID) verdict {
	question := headsMessage{Origin: r.cfg.Self, Incarnation: r.cfg.Log.Incarnation()}
	down, _ := r.paces(peer)
	for {
		part := down.small()
		question.Most = max(part.size/headBytes, minHeadsPerPart)
		m, size, err := r.askTailsPart(ctx, peer, question)
		down.done(part, size, err)
		if err != nil {
			return silent
		}
		for _, h := range m.Heads {
			if h.Branch.Site != r.cfg.Self || !isOf(h.Branch.Incarnation, question.Incarnation) {
				continue
			}
			_, held, err := r.cfg.Log.Holds(ctx, h.Branch.LogID, h.Page, h.Hash)
			if err != nil || !held {
				return denied
			}
		}
		// An older version does not say that it is complete, and leaves out what is beyond a full part.
		if m.Complete || !m.More && len(m.Heads) < maxHeadsPerPart {
			return confirmed
		}
		if len(m.Heads) == 0 || !m.More {
			return silent
		}
		last := m.Heads[len(m.Heads)-1].Branch
		if question.After != nil && compareBranches(last, *question.After) <= 0 {
			return silent // it goes round in circles
		}
		question.After = &last
	}
}

func (r *Replicator) askTailsPart(ctx context.Context, peer event.SiteID, question headsMessage) (m headsMessage, size int, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return m, 0, err
	}
	answer, err := r.cfg.Link.Request(ctx, peer, VerbHeads, body)
	if err != nil {
		return m, 0, err
	}
	return m, len(answer), json.Unmarshal(answer, &m)
}

// headsOf answers what a starting site asks about its own logs, by parts. Here it is the disk that counts, not the keys.
func (r *Replicator) headsOf(peer event.SiteID, q headsMessage) ([]byte, error) {
	if q.Incarnation != "" && !plainHex(q.Incarnation, 16) {
		return nil, errRequest.Because("an incarnation")
	}
	most := maxHeadsPerPart
	if q.Most > 0 {
		most = min(q.Most, maxHeadsPerPart)
	}
	m := headsMessage{Session: r.session, Wall: r.cfg.Now().UnixMilli(), Complete: true}
	heads := r.cfg.Log.Heads()
	slices.SortFunc(heads, func(a, b Head) int { return compareBranches(a.Branch, b.Branch) })
	for _, h := range heads {
		switch b := h.Branch; {
		case b.Site != q.Origin || !r.mayKnow(peer, b.Authority):
		case q.Incarnation != "" && !isOf(b.Incarnation, q.Incarnation):
		case q.After != nil && compareBranches(b, *q.After) <= 0:
		case len(m.Heads) == most:
			m.Complete, m.More = false, true
			return json.Marshal(m)
		default:
			m.Heads = append(m.Heads, announced{Head: h})
		}
	}
	return json.Marshal(m)
}
