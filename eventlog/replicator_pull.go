// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// pull fetches what a peer is known to have and we lack and that goes this way, with at most workers logs at a time. It
// returns how many logs have moved on: by pages, or by a part of one.
func (r *Replicator) pull(ctx context.Context, peer event.SiteID, w way, workers int) (moved int, err error) {
	wanted := r.wants(peer, w, workers > 0)
	results := make([]pullResult, len(wanted))
	pullOne := func(i int) { results[i] = r.pullTurn(ctx, peer, wanted[i], w, workers > 0, len(wanted) > 1) }
	// In the caller's goroutine: so a simulation stays in order, and an alarm does not wait for what was wanted before it.
	if workers < 1 || w == urgentWay && workers == 1 {
		for i := range wanted {
			if pullOne(i); workers > 0 && results[i].moved > 0 {
				break // what is the most urgent now may have come up meanwhile
			}
		}
	} else {
		var wg sync.WaitGroup
		work := make(chan int)
		for range min(workers, len(wanted)) {
			wg.Go(func() {
				for i := range work {
					pullOne(i)
				}
			})
		}
		for i := range wanted {
			work <- i
		}
		close(work)
		wg.Wait()
	}
	for i, res := range results {
		moved += res.moved
		if err == nil && res.err != nil {
			err = fmt.Errorf("pull %s from %s: %w", wanted[i].Branch.LogID, peer.Short(), res.err)
		}
	}
	if len(wanted) > 0 {
		r.refresh(ctx)
		r.relate(ctx, peer)
	}
	return moved, err
}

type pullResult struct {
	moved int
	err   error
}

// pullTurn gives one log its turn: some answers, unless another peer is to give us the log right now. In a loop several may be
// under way at once. others says that it is not the only one that is wanted.
func (r *Replicator) pullTurn(ctx context.Context, peer event.SiteID, target Head, w way, loop, others bool) pullResult {
	if !r.claim(peer, target.Branch.LogID, w) {
		return pullResult{}
	}
	down, _ := r.paces(peer)
	f := &fetch{peer: peer, target: target, way: w, deep: loop && !down.fast(), brief: others && w == urgentWay}
	defer r.noteServed(peer, target.Branch.Site)
	pulled, err := r.pullLog(ctx, f)
	r.noteResult(peer, target, err)
	r.unclaim(peer, target.Branch.LogID, w, pulled > 0)
	if pulled == 0 && f.moved {
		pulled = 1
	}
	return pullResult{pulled, err}
}

// wants returns the peer's heads that we lack, may hold and fetch this way, at most 64: the most urgent first, troublesome
// ones last. In a loop no origin can fill the list: see share.
func (r *Replicator) wants(peer event.SiteID, w way, loop bool) []Head {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	now := r.cfg.Now()
	var out []Head
	for _, h := range s.heads {
		// A clock that was turned back must not keep a log waiting for long.
		if wait := s.failures[h.Branch].until.Sub(now); wait > 0 && wait <= maxFailures*time.Second {
			continue
		}
		if h.Page > 0 && h.relation == lackedHead && wayOf(h.Branch) == w && r.mayTake(h.Branch.LogID) {
			out = append(out, h.Head)
		}
	}
	slices.SortFunc(out, func(a, b Head) int {
		return cmp.Or(cmp.Compare(s.failures[a.Branch].count, s.failures[b.Branch].count), cmp.Compare(rank(a.Branch), rank(b.Branch)),
			cmp.Compare(s.served[a.Branch.Site], s.served[b.Branch.Site]), compareBranches(a.Branch, b.Branch))
	})
	s.stopWaiting(w, out)
	out, later := r.share(out, w)
	if !loop {
		out = append(out, later...)
	}
	return out[:min(len(out), maxLogsAtOnce)]
}

// share tells a few logs of each origin, as many as come in one round on that way, from those that come in the next one: a site
// that has begun many, of however many authorities, would have an alarm of another one wait for all of them. What somebody
// else is giving is no part of it. The caller holds r.mu.
func (r *Replicator) share(wanted []Head, w way) (first, later []Head) {
	if w == bulkWay {
		return wanted, nil
	}
	most := 1
	if w == operationsWay {
		most = operationsAtOnce
	}
	taken := make(map[event.SiteID]int)
	for _, h := range wanted {
		if len(r.busy[h.Branch.LogID]) > 0 {
			first = append(first, h)
			continue
		}
		if taken[h.Branch.Site]++; taken[h.Branch.Site] > most {
			later = append(later, h)
		} else {
			first = append(first, h)
		}
	}
	return first, later
}

// operationsAtOnce is how many logs of operations of one origin come in one round.
const operationsAtOnce = 4

// noteServed notes that a log of the origin has had a turn at the peer: the others are next.
func (r *Replicator) noteServed(peer, origin event.SiteID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	if s.served == nil || len(s.served) > maxServed {
		s.served = make(map[event.SiteID]uint64)
	}
	s.turns++
	s.served[origin] = s.turns
}

// maxServed bounds of how many origins is known when they were served.
const maxServed = 1024

// The ranks of logs.
const (
	rankFederation = iota
	rankOperations
	rankRegister
	rankOther
)

// rank puts membership before everything, alarms before what can wait, and registers before what refers to them.
func rank(b Branch) int {
	switch {
	case b.Authority == event.Federation:
		return rankFederation
	case b.Class == event.Operations:
		return rankOperations
	case b.Class == event.Register:
		return rankRegister
	}
	return rankOther
}

// noteResult keeps a log that makes trouble from being fetched again and again: what was refused waits until its head
// changes or a minute has passed, what our disk did not take waits some seconds, what the link lost is tried at once.
func (r *Replicator) noteResult(peer event.SiteID, h Head, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	if err == nil {
		delete(s.failures, h.Branch)
		return
	}
	s.lastError = err.Error()
	f := s.failures[h.Branch]
	f.count, f.text = min(f.count+1, maxFailures), err.Error()
	switch fault.KindOf(err) {
	case fault.Unavailable:
	case fault.Forbidden, fault.Invalid:
		if now := s.heads[h.Branch]; now != nil && now.Head == h {
			now.relation = refusedHead
		}
	default:
		f.until = r.cfg.Now().Add(time.Duration(f.count) * time.Second)
	}
	if errors.Is(err, ErrDamaged) {
		f.damaged = r.steady()
	}
	s.failures[h.Branch] = f
	s.boundFailures()
}

// pullFailure is what went wrong with one log of a peer. Its count puts the log behind others.
type pullFailure struct {
	count   int
	until   time.Time
	text    string
	damaged time.Time // when a page on the way was last damaged, by the steady clock
}

const maxFailures = 5

// firstGuess returns our longest branch's head that may be on the way to the target. If it is not, the answer says so.
func (r *Replicator) firstGuess(target Head) spot {
	var best spot
	for _, o := range r.cfg.Log.Branches(target.Branch.LogID) {
		if o.Page < target.Page && o.Page > best.Page {
			best = spot{o.Page, o.Hash}
		}
	}
	return best
}

// lastCommon finds the last page on the way to the target that we have too. Pages are chained, so having one means having
// all before it, and a search by halves (here: seventeenths) finds it.
func (r *Replicator) lastCommon(ctx context.Context, peer event.SiteID, target Head) (spot, error) {
	var low, high uint64 // low is common, high is not
	for _, o := range r.cfg.Log.Branches(target.Branch.LogID) {
		high = max(high, o.Page+1)
	}
	high = min(high, target.Page)
	for high-low > 1 {
		common, err := r.probe(ctx, peer, target, between(low, high))
		if err != nil {
			return spot{}, err
		}
		for _, n := range between(low, high) {
			if n > common {
				high = min(high, n)
			}
		}
		low = max(low, common)
	}
	if low == 0 {
		return spot{}, nil
	}
	hashes, err := r.requestHashes(ctx, peer, target, []uint64{low})
	if err != nil {
		return spot{}, err
	}
	return spot{low, hashes[0]}, nil
}

// between returns up to maxProbes numbers strictly between low and high, evenly spaced.
func between(low, high uint64) []uint64 {
	var out []uint64
	step := max(1, (high-low)/(maxProbes+1))
	for n := low + step; n < high && len(out) < maxProbes; n += step {
		out = append(out, n)
	}
	return out
}

// probe returns the highest of the given pages that the peer's way to the target and our branches have in common, 0 if
// none.
func (r *Replicator) probe(ctx context.Context, peer event.SiteID, target Head, pages []uint64) (uint64, error) {
	hashes, err := r.requestHashes(ctx, peer, target, pages)
	if err != nil {
		return 0, err
	}
	for i := len(pages) - 1; i >= 0; i-- {
		_, held, err := r.cfg.Log.Holds(ctx, target.Branch.LogID, pages[i], hashes[i])
		if err != nil {
			return 0, err
		}
		if held {
			return pages[i], nil
		}
	}
	return 0, nil
}

func (r *Replicator) requestHashes(ctx context.Context, peer event.SiteID, target Head, pages []uint64) ([]Hash, error) {
	body, err := json.Marshal(hashRequest{Log: target.Branch.LogID, Target: spot{target.Page, target.Hash}, Pages: pages})
	if err != nil {
		return nil, err
	}
	answer, err := r.request(ctx, peer, VerbHash, body)
	if err != nil {
		return nil, err
	}
	var a hashAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, errAnswer.With(err)
	}
	if a.Gone || len(a.Hashes) != len(pages) {
		return nil, errAnswer.Because("the head it announced is gone")
	}
	return a.Hashes, nil
}

// fetchKeys asks the peer for keys if pages wait for theirs, and looks again what has become durable.
func (r *Replicator) fetchKeys(ctx context.Context, peer event.SiteID) {
	if r.cfg.NeedKeys == nil || !r.lacksKeys(ctx) {
		return
	}
	if err := r.cfg.NeedKeys(ctx, peer); err != nil {
		r.logger.Debug("keys could not be fetched", "peer", peer.Short(), "error", err)
	}
	r.cfg.Log.Recheck(ctx)
}

// lacksKeys reports whether some branch goes further on the disk than it is durable.
func (r *Replicator) lacksKeys(ctx context.Context) bool {
	durable := make(map[Branch]uint64)
	for _, h := range r.cfg.Log.Durable(ctx) {
		durable[h.Branch] = h.Page
	}
	for _, h := range r.cfg.Log.Heads() {
		if durable[h.Branch] < h.Page {
			return true
		}
	}
	return false
}
