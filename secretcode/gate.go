// SPDX-License-Identifier: EUPL-1.2

package secretcode

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrBusy is returned by a Gate behind which too many wait. Services tell people in their own words.
var ErrBusy = errors.New("too many wait for a hash")

// maxWaiting bounds who waits at a Gate: some seconds' worth.
const maxWaiting = 64

// Gate lets so many through at once, and a bounded number wait. It is safe for concurrent use.
type Gate struct {
	slots   chan struct{}
	waiting atomic.Int32
	entered atomic.Int64
}

// NewGate returns a Gate with as many slots.
func NewGate(slots int) *Gate { return &Gate{slots: make(chan struct{}, slots)} }

// Enter waits for a turn. It returns ErrBusy at once if too many wait, or ctx's error. Call Leave after nil.
func (g *Gate) Enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		g.entered.Add(1)
		return nil
	default:
	}
	if g.waiting.Add(1) > maxWaiting {
		g.waiting.Add(-1)
		return ErrBusy
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
		g.entered.Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Leave gives the turn back.
func (g *Gate) Leave() { <-g.slots }

// Entered returns how many turns were had: what tests and benchmarks count hashes by.
func (g *Gate) Entered() int64 { return g.entered.Load() }

// maxCounts bounds the keys that a Throttle remembers.
const maxCounts = 10_000

// Throttle counts attempts by key in windows of time. It is bounded and safe for concurrent use.
type Throttle struct {
	most   int
	window time.Duration
	mu     sync.Mutex
	counts map[string]count
}

type count struct {
	n     int
	until time.Time
}

// NewThrottle allows each key so many attempts in each window.
func NewThrottle(most int, window time.Duration) *Throttle {
	return &Throttle{most: most, window: window, counts: make(map[string]count)}
}

// Allow counts an attempt and reports whether it is within the bound.
func (t *Throttle) Allow(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, known := t.counts[key]
	if !known {
		t.makeRoom(now)
	}
	if !now.Before(c.until) {
		c = count{until: now.Add(t.window)}
	}
	c.n++
	t.counts[key] = c
	return c.n <= t.most
}

// Forget takes a key's attempts back, after a success.
func (t *Throttle) Forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.counts, key)
}

func (t *Throttle) makeRoom(now time.Time) {
	if len(t.counts) < maxCounts {
		return
	}
	for k, c := range t.counts {
		if !now.Before(c.until) {
			delete(t.counts, k)
		}
	}
	// Any will do. A tenth at a time, so that not every newcomer has to look at all.
	for k := range t.counts {
		if len(t.counts) < maxCounts*9/10 {
			return
		}
		delete(t.counts, k)
	}
}
