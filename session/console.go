// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/localstore"
)

// The buckets of this package in the local store.
const (
	bucketEnded = "session.ended"
	bucketEpoch = "session"
	keyConsole  = "console"
)

// maxConsole bounds the console's ended sessions that are kept in memory.
const maxConsole = 1024

// console knows which sessions of the console are over. It is a matter of this machine only.
type console struct {
	local Local // nil: epoch and ended live as long as the process
	rand  io.Reader

	mu    sync.Mutex
	epoch string
	ended map[string]time.Time // until when it matters; without a local store only
}

func newConsole(local Local, rand io.Reader) *console {
	return &console{local: local, rand: rand, ended: make(map[string]time.Time)}
}

// current returns the epoch of the console's sessions that begin now.
func (c *console) current(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load(ctx)
}

// load returns the epoch, drawing the first one. The caller holds mu.
func (c *console) load(ctx context.Context) (string, error) {
	if c.epoch != "" {
		return c.epoch, nil
	}
	if c.local != nil {
		b, err := c.local.Get(ctx, bucketEpoch, keyConsole)
		if err == nil {
			c.epoch = string(b)
			return c.epoch, nil
		}
		if !errors.Is(err, localstore.ErrNotFound) {
			return "", fmt.Errorf("look up the console's sessions: %w", err)
		}
	}
	err := c.next(ctx)
	return c.epoch, err
}

// next begins a new epoch, on the disk first. The caller holds mu.
func (c *console) next(ctx context.Context) error {
	epoch, err := NewID(c.rand)
	if err != nil {
		return err
	}
	if c.local != nil {
		if err := c.local.Put(ctx, bucketEpoch, keyConsole, []byte(epoch), time.Time{}); err != nil {
			return err
		}
	}
	c.epoch = epoch
	clear(c.ended)
	return nil
}

func (c *console) endAll(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next(ctx)
}

// end remembers that the session is over until it would have expired anyway.
func (c *console) end(ctx context.Context, session string, until, now time.Time) error {
	if c.local != nil {
		return c.local.Put(ctx, bucketEnded, session, nil, until)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, t := range c.ended {
		if !now.Before(t) {
			delete(c.ended, id)
		}
	}
	if len(c.ended) >= maxConsole {
		return c.next(ctx)
	}
	c.ended[session] = until
	return nil
}

func (c *console) stands(ctx context.Context, session, epoch string, now time.Time) error {
	c.mu.Lock()
	current, err := c.load(ctx)
	until, ended := c.ended[session]
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if epoch != current || ended && now.Before(until) {
		return ErrEnded
	}
	if c.local == nil {
		return nil
	}
	switch _, err := c.local.Get(ctx, bucketEnded, session); {
	case err == nil:
		return ErrEnded
	case errors.Is(err, localstore.ErrNotFound):
		return nil
	default:
		return fmt.Errorf("look up a session of the console: %w", err)
	}
}
