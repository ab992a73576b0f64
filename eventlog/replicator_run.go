// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// peerLoop is the goroutine that looks after one peer, so that a silent one never delays the others.
type peerLoop struct {
	push chan struct{} // our heads have changed
	pull chan struct{} // the peer's heads have changed
	stop context.CancelFunc
}

// Run exchanges with all peers until ctx ends: at once when heads have changed here or there, and every second. It waits
// for its goroutines before it returns.
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
		loop := &peerLoop{push: make(chan struct{}, 1), pull: make(chan struct{}, 1), stop: stop}
		r.loops[peer] = loop
		wg.Go(func() { r.loop(loopCtx, peer, loop) })
	}
}

// forget drops what we know of a peer that is no member any more. The caller holds r.mu.
func (r *Replicator) forget(peer event.SiteID) {
	delete(r.peers, peer)
	for k := range r.granted {
		if k.peer == peer {
			delete(r.granted, k)
		}
	}
}

func (r *Replicator) loop(ctx context.Context, peer event.SiteID, l *peerLoop) {
	defer l.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		exchange := true
		select {
		case <-ctx.Done():
			return
		case <-l.push:
		case <-timer.C:
		case <-l.pull:
			exchange = false // the peer has just told us; only fetch
		}
		if r.round(ctx, peer, exchange) {
			signal(l.pull)
		}
		timer.Reset(pushInterval)
	}
}

// round is one step of a loop. It reports whether there may be more to fetch at once.
func (r *Replicator) round(ctx context.Context, peer event.SiteID, exchange bool) (more bool) {
	if exchange {
		if err := r.exchange(ctx, peer); err != nil {
			r.logger.Debug("a peer cannot be reached", "peer", peer.Short(), "error", err)
			return false
		}
	}
	pulled, err := r.pull(ctx, peer, pullsUnderWay)
	if err != nil && ctx.Err() == nil {
		r.failed(peer, err)
		r.logger.Warn("pages could not be fetched", "peer", peer.Short(), "error", err)
	}
	return pulled > 0 && err == nil
}

func (r *Replicator) pushAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.loops {
		signal(l.push)
	}
}

// wakePull makes the peer's loop fetch, if Run is running.
func (r *Replicator) wakePull(peer event.SiteID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.loops[peer]; l != nil {
		signal(l.pull)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
