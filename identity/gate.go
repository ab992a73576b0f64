// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// maxWaiting bounds who waits for a turn at argon2: some seconds' worth.
const maxWaiting = 64

// gate lets so many through at once and so many wait.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int32
	// entered counts the turns that were had.
	entered atomic.Int64
	most    int32
}

func newGate(slots, waiting int) *gate {
	return &gate{slots: make(chan struct{}, slots), most: int32(waiting)}
}

// enter waits for a turn. It returns ErrBusy at once if too many wait, or ctx's error. Call leave after nil.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		g.entered.Add(1)
		return nil
	default:
	}
	if g.waiting.Add(1) > g.most {
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

func (g *gate) leave() { <-g.slots }

// The bounds of attempts. Of ways in only attempts that somebody without the secret cannot make by guessing are counted: those with a
// right tag, and those with a right code. So nobody can lock somebody else out.
const (
	codeTries = 5
	totpTries = 5
	// wrongDigits is after how many wrong one-time passwords a code is used up.
	wrongDigits = 5
	// maxVouchings bounds how often one person may vouch at a site within VouchingLife.
	maxVouchings = 30
	maxCounts    = 10_000
)

// throttle counts attempts by key in windows of time. It is bounded and safe for concurrent use.
type throttle struct {
	most   int
	window time.Duration
	mu     sync.Mutex
	counts map[string]count
}

type count struct {
	n     int
	until time.Time
}

func newThrottle(most int, window time.Duration) *throttle {
	return &throttle{most: most, window: window, counts: make(map[string]count)}
}

// allow counts an attempt and reports whether it is within the bound.
func (t *throttle) allow(key string, now time.Time) bool {
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

// forget takes a key's attempts back, after a success.
func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.counts, key)
}

func (t *throttle) makeRoom(now time.Time) {
	if len(t.counts) < maxCounts {
		return
	}
	for k, c := range t.counts {
		if !now.Before(c.until) {
			delete(t.counts, k)
		}
	}
	for k := range t.counts {
		if len(t.counts) < maxCounts {
			return
		}
		delete(t.counts, k)
	}
}
