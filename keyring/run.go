// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// peerLoop is what looks after one peer: a goroutine that pulls, and one that tells it that something is new here, which
// must not wait until everything has been pulled.
type peerLoop struct {
	pull, tell chan struct{}
	stop       context.CancelFunc
}

// Run exchanges keys with every peer that peers returns: at once when it tells that it has something new, and every
// interval. It tells the peers when something is new here. Each peer has its own pace, so that one that hangs or has a slow
// line delays no other. It returns when ctx ends, after its last exchange.
func (s *Syncer) Run(ctx context.Context, peers func() []event.SiteID, interval time.Duration) {
	grown, cancel := s.Ring.subs.addWake()
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		s.tend(ctx, &wg, peers(), interval)
		select {
		case <-ctx.Done():
			s.tend(ctx, &wg, nil, interval)
			return
		case <-tick.C:
		case <-grown:
			s.tellAll()
		}
	}
}

// tend starts loops for new peers and ends those of peers that are gone.
func (s *Syncer) tend(ctx context.Context, wg *sync.WaitGroup, peers []event.SiteID, interval time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loops == nil {
		s.loops = make(map[event.SiteID]*peerLoop)
	}
	present := make(map[event.SiteID]bool, len(peers))
	for _, peer := range peers {
		present[peer] = true
		if s.loops[peer] != nil {
			continue
		}
		loopCtx, stop := context.WithCancel(ctx)
		l := &peerLoop{pull: make(chan struct{}, 1), tell: make(chan struct{}, 1), stop: stop}
		s.loops[peer] = l
		wg.Go(func() { s.pullAll(loopCtx, peer, l.pull, interval) })
		wg.Go(func() { s.tellNews(loopCtx, peer, l.tell) })
	}
	for peer, l := range s.loops {
		if !present[peer] {
			l.stop()
			delete(s.loops, peer)
		}
	}
}

func (s *Syncer) pullAll(ctx context.Context, peer event.SiteID, news <-chan struct{}, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if _, err := s.Step(ctx, peer); err != nil {
			s.Ring.cfg.Logger.DebugContext(ctx, "keys were not exchanged", "peer", peer.Short(), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-tick.C:
		}
	}
}

func (s *Syncer) tellNews(ctx context.Context, peer event.SiteID, news <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
		if err := s.hint(ctx, peer); err != nil {
			s.Ring.cfg.Logger.DebugContext(ctx, "a site was not told of new keys", "peer", peer.Short(), "error", err)
		}
	}
}

// hint tells a peer that something is new here. If it does not hear it, it looks itself within its interval.
func (s *Syncer) hint(ctx context.Context, peer event.SiteID) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := json.Marshal(request{Hint: true})
	if err != nil {
		return err
	}
	_, err = s.Link.Request(ctx, peer, Verb, body)
	return err
}

func (s *Syncer) tellAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.loops {
		signal(l.tell)
	}
}

// wake makes the peer's loop pull, if Run is running.
func (s *Syncer) wake(peer event.SiteID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.loops[peer]; l != nil {
		signal(l.pull)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake already
	}
}
