// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"sync"
	"time"
)

// politeness is how long a reader lets somebody go first who needs the place for himself.
const politeness = 50 * time.Millisecond

// gate lets many readers in, or one who needs the place for himself. Readers make room for him, but only for a moment: a
// reader inside who enters again is delayed by that, but cannot lock himself out. The zero gate is open.
type gate struct {
	mu      sync.Mutex
	inside  int
	waiting int // those who want it for themselves
	shut    bool
	changed chan struct{}
}

// enter waits until the gate is open. It returns ctx's error if that ends first; else the caller must leave.
func (g *gate) enter(ctx context.Context) error {
	var alarm <-chan time.Time
	return g.until(ctx, func(rang bool) (bool, <-chan time.Time) {
		if g.shut {
			return false, alarm
		}
		if g.waiting > 0 && g.inside > 0 && !rang {
			if alarm == nil {
				alarm = time.After(politeness)
			}
			return false, alarm
		}
		g.inside++
		return true, nil
	})
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.announce()
}

// close waits until nobody is inside, and keeps everybody out until open is called.
func (g *gate) close(ctx context.Context) error {
	g.want(1)
	defer g.want(-1)
	return g.until(ctx, func(bool) (bool, <-chan time.Time) {
		if g.inside > 0 || g.shut {
			return false, nil
		}
		g.shut = true
		return true, nil
	})
}

func (g *gate) want(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting += n
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
	g.announce()
}

// until calls try, with the mutex held, at every change and when its alarm goes off, until it succeeds. try is told
// whether the alarm has gone off yet.
func (g *gate) until(ctx context.Context, try func(rang bool) (bool, <-chan time.Time)) error {
	rang := false
	for {
		g.mu.Lock()
		done, alarm := try(rang)
		if done {
			g.mu.Unlock()
			return nil
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-alarm:
			rang = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gate) announce() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}
