// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"sync"
)

// gate lets many readers in, or one who needs the place for itself. Readers go first: a reader inside may enter again
// without waiting for somebody who waits outside, so nested reading cannot lock itself out. The zero gate is open.
type gate struct {
	mu      sync.Mutex
	inside  int
	shut    bool
	changed chan struct{}
}

// enter waits until the gate is open. It returns ctx's error if that ends first; else the caller must leave.
func (g *gate) enter(ctx context.Context) error {
	return g.until(ctx, func() bool {
		if !g.shut {
			g.inside++
		}
		return !g.shut
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
	return g.until(ctx, func() bool {
		if g.inside > 0 || g.shut {
			return false
		}
		g.shut = true
		return true
	})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
	g.announce()
}

func (g *gate) until(ctx context.Context, try func() bool) error {
	for {
		g.mu.Lock()
		if try() {
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
