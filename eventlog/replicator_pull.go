// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// pull fetches what a peer is known to have and we lack, with at most workers requests under way.
func (r *Replicator) pull(ctx context.Context, peer event.SiteID, workers int) (pulled int, err error) {
	wanted := r.claim(r.wants(peer))
	defer r.unclaim(wanted)
	results := make([]pullResult, len(wanted))
	work := make(chan int)
	var wg sync.WaitGroup
	pullOne := func(i int) { results[i].pulled, results[i].err = r.pullLog(ctx, peer, wanted[i]) }
	if workers <= 1 { // in the caller's goroutine, so that a simulation stays in order
		for i := range wanted {
			pullOne(i)
		}
	} else {
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
	}
	close(work)
	wg.Wait()
	for i, res := range results {
		pulled += res.pulled
		r.noteResult(peer, wanted[i], res.err)
		if err == nil && res.err != nil {
			err = fmt.Errorf("pull %s from %s: %w", wanted[i].Branch.LogID, peer.Short(), res.err)
		}
	}
	r.fetchKeys(ctx, peer)
	r.refresh(ctx)
	r.relate(ctx, peer)
	return pulled, err
}

type pullResult struct {
	pulled int
	err    error
}

// wants returns the peer's heads that we lack and may hold, at most 64: what others depend on first, troublesome ones
// last.
func (r *Replicator) wants(peer event.SiteID) []Head {
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
		if h.Page > 0 && h.relation == lackedHead && r.mayTake(h.Branch.LogID) {
			out = append(out, h.Head)
		}
	}
	slices.SortFunc(out, func(a, b Head) int {
		return cmp.Or(cmp.Compare(s.failures[a.Branch].count, s.failures[b.Branch].count),
			cmp.Compare(rank(a.Branch), rank(b.Branch)), compareBranches(a.Branch, b.Branch))
	})
	return out[:min(len(out), maxLogsAtOnce)]
}

// rank puts membership before everything and registers before what refers to them.
func rank(b Branch) int {
	switch {
	case b.Authority == event.Federation:
		return 0
	case b.Class == event.Register:
		return 1
	case b.Class == event.Operations:
		return 2
	}
	return 3
}

// claim takes the logs that nobody is pulling right now, so that two peers do not send us the same pages at once.
func (r *Replicator) claim(heads []Head) []Head {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Head
	for _, h := range heads {
		if !r.busy[h.Branch.LogID] {
			r.busy[h.Branch.LogID] = true
			out = append(out, h)
		}
	}
	return out
}

func (r *Replicator) unclaim(heads []Head) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range heads {
		delete(r.busy, h.Branch.LogID)
	}
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
	s.failures[h.Branch] = f
	s.boundFailures()
}

// pullFailure is what went wrong with one log of a peer. Its count puts the log behind others.
type pullFailure struct {
	count int
	until time.Time
	text  string
}

const maxFailures = 5

// pullLog fetches the pages on the way to one head of a peer, in bounded rounds.
func (r *Replicator) pullLog(ctx context.Context, peer event.SiteID, target Head) (pulled int, err error) {
	// If these are pages of our own that we do not have, we were restored or cloned, and Accept gives the incarnation up. A
	// head alone does not: it is only a claim, and each would cost a new log of every authority.
	after := r.firstGuess(target)
	for range maxRoundsPerLog {
		if r.mustWait(target) {
			return pulled, nil // the logs before it have taken the room
		}
		answer, raw, err := r.requestPages(ctx, peer, target, after)
		if err == nil && answer.Diverged {
			if after, err = r.lastCommon(ctx, peer, target); err == nil {
				answer, raw, err = r.requestPages(ctx, peer, target, after)
			}
		}
		if err != nil || len(raw) == 0 {
			return pulled, err // nothing there any more: it will be announced anew
		}
		n, err := r.cfg.Log.Accept(ctx, raw)
		pulled += n
		if (errors.Is(err, ErrTooManyLogs) || errors.Is(err, ErrShare)) && r.mustWait(target) {
			return pulled, nil // another pull was quicker; Waiting tells of it
		}
		if err != nil {
			return pulled, err
		}
		after = spot{after.Page + uint64(len(raw)), sha256.Sum256(raw[len(raw)-1])}
		if after.Page >= target.Page {
			break
		}
	}
	return pulled, nil
}

// firstGuess returns our longest branch's head that may be on the way to the target. If it is not, the answer says so.
func (r *Replicator) firstGuess(target Head) spot {
	var best spot
	for _, o := range r.branchesOf(target.Branch.LogID) {
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
	for _, o := range r.branchesOf(target.Branch.LogID) {
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

func (r *Replicator) requestPages(ctx context.Context, peer event.SiteID, target Head, after spot) (pagesAnswer, [][]byte, error) {
	body, err := json.Marshal(pagesRequest{
		Log: target.Branch.LogID, After: after, Target: spot{target.Page, target.Hash}, MaxBytes: maxAnswerBytes,
	})
	if err != nil {
		return pagesAnswer{}, nil, err
	}
	answer, err := r.request(ctx, peer, VerbPages, body)
	if err != nil {
		return pagesAnswer{}, nil, err
	}
	return decodePages(answer)
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
