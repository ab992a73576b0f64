// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// peerLoop is what looks after one peer, so that a silent one never delays the others: a goroutine that exchanges heads, and
// one for each way that fetches, so that neither heads nor alarms wait until bulk has come.
type peerLoop struct {
	push  chan struct{}       // our heads have changed
	hurry chan struct{}       // one of a log that does not go the bulk way has changed
	pull  [ways]chan struct{} // the peer's heads have changed; by way
	stop  context.CancelFunc

	hurried uint64 // up to which change of ours hurry was told; guarded by Replicator.mu
}

func newPeerLoop(stop context.CancelFunc) *peerLoop {
	l := &peerLoop{push: make(chan struct{}, 1), hurry: make(chan struct{}, 1), stop: stop}
	for w := range l.pull {
		l.pull[w] = make(chan struct{}, 1)
	}
	return l
}

// wake makes all ways fetch.
func (l *peerLoop) wake() {
	for _, c := range l.pull {
		signal(c)
	}
}

// Run exchanges with all peers until ctx ends: at once when heads have changed here or there, and every second; on a line on
// which that takes long every few seconds. It waits for its goroutines before it returns.
func (r *Replicator) Run(ctx context.Context) {
	changes, unsubscribe := r.cfg.Log.Subscribe()
	defer unsubscribe()
	tick := time.NewTicker(pushInterval)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.keepBeating(ctx) })
	for {
		r.tend(ctx, &wg)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-changes:
			r.refresh(ctx)
			r.pushAll()
		}
	}
}

// tend starts a loop for each new peer and ends those of peers that are gone.
func (r *Replicator) tend(ctx context.Context, wg *sync.WaitGroup) {
	present := make(map[event.SiteID]bool)
	for _, peer := range r.others() {
		present[peer] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for peer, loop := range r.loops {
		if !present[peer] || ctx.Err() != nil {
			loop.stop()
			delete(r.loops, peer)
			r.forget(peer)
		}
	}
	for peer := range present {
		if r.loops[peer] != nil || ctx.Err() != nil {
			continue
		}
		loopCtx, stop := context.WithCancel(ctx)
		loop := newPeerLoop(stop)
		r.loops[peer] = loop
		wg.Go(func() { r.talk(loopCtx, peer, loop) })
		for w := range ways {
			wg.Go(func() { r.fetchAll(loopCtx, peer, loop.pull[w], w) })
		}
	}
}

// forget drops what we know of a peer that is no member any more. The caller holds r.mu.
func (r *Replicator) forget(peer event.SiteID) {
	if s := r.peers[peer]; s != nil {
		r.inlet.drop(s.down)
	}
	delete(r.peers, peer)
	for k := range r.granted {
		if k.peer == peer {
			delete(r.granted, k)
		}
	}
}

// talk exchanges heads with a peer: when ours have changed, and when it has been quiet for a while.
func (r *Replicator) talk(ctx context.Context, peer event.SiteID, l *peerLoop) {
	defer l.stop()
	for again := false; ; {
		began := r.cfg.Now()
		more, err := r.exchange(ctx, peer)
		if err != nil {
			r.logger.Debug("a peer cannot be reached", "peer", peer.Short(), "error", err)
		} else if !again && r.unmeasured(peer) {
			again = true // the line has just come up, and while it is empty its delay can be seen
			continue
		} else {
			l.wake()
		}
		again = false
		if more {
			continue
		}
		if err != nil {
			if !wait(ctx, pushInterval, l.push) {
				return
			}
			continue
		}
		took := r.cfg.Now().Sub(began)
		gap, quiet := pauses(took)
		if most := unheardMost(took); !r.rest(ctx, peer, gap, most, l.hurry) || !r.rest(ctx, peer, quiet-gap, most, l.push) {
			return
		}
	}
}

func (r *Replicator) unmeasured(peer event.SiteID) bool {
	down, _ := r.paces(peer)
	return !down.knowsDelay()
}

// Pauses between two exchanges of heads. A peer that was not heard for heardLately counts as gone, so nobody rests when
// nothing was heard for about maxQuiet; with other messages heads may be rarer.
const (
	maxQuiet     = heardLately - time.Second
	maxPause     = 8 * time.Second
	slowExchange = 500 * time.Millisecond
)

// pauses returns for how long, after an exchange that took so long, only changes of urgent logs are told, and after which time
// to exchange even if nothing has changed. On a line on which an exchange takes long the heads take a fifth of the time at
// most, as long as anything else is heard.
func pauses(took time.Duration) (gap, quiet time.Duration) {
	gap = min(max(0, took), pushInterval)
	if took >= slowExchange {
		gap = min(4*took, maxPause)
	}
	return gap, min(max(pushInterval, 4*took), maxPause)
}

// unheardMost returns for how long a peer may be unheard before heads are exchanged, which take so long: both sites may begin at
// the same time, and hear each other only half of that later.
func unheardMost(took time.Duration) time.Duration { return max(pushInterval, maxQuiet-took/2) }

// rest waits so long, or until early has a value or the peer has been unheard for most. It returns false if ctx has ended.
func (r *Replicator) rest(ctx context.Context, peer event.SiteID, d, most time.Duration, early <-chan struct{}) bool {
	for d > 0 && ctx.Err() == nil {
		step := min(d, most-r.unheard(peer))
		if step <= 0 {
			break
		}
		if d -= step; woken(ctx, step, early) {
			break
		}
	}
	return ctx.Err() == nil
}

// wait waits so long, or until early has a value. It returns false if ctx has ended.
func wait(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	woken(ctx, d, early)
	return ctx.Err() == nil
}

// woken waits so long, and reports whether early has ended that.
func woken(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-early:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// fetchAll fetches what a peer has and we lack and goes this way, whenever there is news and as long as there is more.
func (r *Replicator) fetchAll(ctx context.Context, peer event.SiteID, news chan struct{}, w way) {
	for wait(ctx, pushInterval, news) {
		if !r.inTouch(peer) {
			continue // an exchange that succeeds wakes us
		}
		moved, err := r.fetchOnce(ctx, peer, w)
		if err != nil && ctx.Err() == nil {
			r.failed(peer, err)
			r.logger.Warn("pages could not be fetched", "peer", peer.Short(), "error", err)
		}
		if moved > 0 && err == nil {
			signal(news)
		}
	}
}

// fetchOnce fetches once what goes this way, and the keys for it. What can wait is held back until an alarm is here.
func (r *Replicator) fetchOnce(ctx context.Context, peer event.SiteID, w way) (moved int, err error) {
	down, _ := r.paces(peer)
	workers := 1
	if down.fast() {
		workers = pullsUnderWay
	}
	if w == urgentWay && r.urgentComes(peer) {
		defer r.inlet.hold(r.cfg.Now)()
	}
	moved, err = r.pull(ctx, peer, w, workers)
	if w != bulkWay || down.fast() {
		r.fetchKeys(ctx, peer)
	}
	return moved, err
}

// urgentComes reports whether pages of an urgent log are to be fetched for which the rest is held back: not those that this
// peer keeps failing to give, and not those of authorities that it may not know.
func (r *Replicator) urgentComes(peer event.SiteID) bool {
	wanted := r.wants(peer, urgentWay, true)
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	return slices.ContainsFunc(wanted, func(h Head) bool {
		return s.failures[h.Branch].count < maxFailures && r.mayKnow(peer, h.Branch.Authority)
	})
}

// inTouch reports whether the last exchange with the peer was good.
func (r *Replicator) inTouch(peer event.SiteID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	return s.session != "" && s.lastError == ""
}

func (r *Replicator) pushAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.loops {
		signal(l.push)
		if r.urgent > l.hurried {
			l.hurried = r.urgent
			signal(l.hurry)
		}
	}
}

// wakePull makes the peer's loop fetch, if Run is running.
func (r *Replicator) wakePull(peer event.SiteID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.loops[peer]; l != nil {
		l.wake()
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
