// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"

	"codeberg.org/holdfast/holdfast/event"
)

// durability is how far a branch is on the disk together with the keys that its events need.
type durability struct {
	page    uint64 // up to here, all keys or their marks are there
	hash    Hash
	next    []needs // pages that follow it, in order, as far as they are in memory
	blocked bool    // the first of them lacks a key; see Recheck
	trouble string  // why nobody can tell, as it was logged last
}

// needs is what a page needs to be durable.
type needs struct {
	page uint64
	hash Hash
	keys []event.KeyID
}

// maxNeeds bounds what is remembered of one branch; beyond it the pages are read from the store again.
const maxNeeds = 64

// durableStepBytes bounds what one call of Durable reads of the store, after a start or a long gap.
const durableStepBytes = 16 << 20

// push notes a page that was just stored.
func (d *durability) push(p *Page, noKeys bool) {
	n := needs{page: p.Number, hash: p.Hash}
	if !noKeys {
		n.keys = p.Keys()
	}
	last := d.page
	if len(d.next) > 0 {
		last = d.next[len(d.next)-1].page
	}
	switch {
	case n.page != last+1 || len(d.next) >= maxNeeds:
	case len(d.next) == 0 && len(n.keys) == 0:
		d.page, d.hash = n.page, n.hash
	default:
		d.next = append(d.next, n)
	}
}

// pop moves past the first page in memory.
func (d *durability) pop() {
	d.page, d.hash, d.trouble = d.next[0].page, d.next[0].hash, ""
	d.next = d.next[1:]
}

// Durable returns how far every branch is on this site's disk together with the keys its events need, or their erasure
// marks; branches of which that is no page are left out. That is what a site tells its peers. It asks Config.Keys and,
// after a start, reads the store: at most 16 MiB a call, and then it wakes the subscribers so that they call again.
func (l *Log) Durable(ctx context.Context) []Head {
	l.durableMu.Lock()
	defer l.durableMu.Unlock()
	return l.durable(ctx)
}

// durable does it. The caller holds durableMu.
func (l *Log) durable(ctx context.Context) []Head {
	l.mu.Lock()
	branches := append([]*branch(nil), l.sorted()...)
	l.mu.Unlock()
	budget := durableStepBytes
	for _, b := range branches {
		if err := l.advance(ctx, b, &budget); err != nil {
			l.tellBlocked(b, err)
		}
	}
	if budget <= 0 {
		l.wake()
	}
	var heads []Head
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range branches {
		if b.ready.page >= b.first {
			heads = append(heads, Head{b.id, b.ready.page, b.ready.hash})
		}
	}
	return heads
}

// tellBlocked logs once why it cannot be told how far a branch is durable; it is asked several times a second.
func (l *Log) tellBlocked(b *branch, err error) {
	l.mu.Lock()
	again := b.ready.trouble == err.Error()
	b.ready.trouble = err.Error()
	l.mu.Unlock()
	if !again {
		l.cfg.Logger.Warn("cannot tell how far a log is durable", "log", b.id.String(), "error", err)
	}
}

// Recheck looks again at the pages that lacked a key, and wakes the subscribers if more has become durable. It is to be
// called after keys or marks arrived.
func (l *Log) Recheck(ctx context.Context) {
	// From here on, so that a Durable that has just asked for keys does not block the branch after we have unblocked it.
	l.durableMu.Lock()
	defer l.durableMu.Unlock()
	l.mu.Lock()
	before := make(map[*branch]uint64)
	for _, b := range l.sorted() {
		b.ready.blocked = false
		before[b] = b.ready.page
	}
	l.mu.Unlock()
	l.durable(ctx)
	l.mu.Lock()
	more := false
	for b, page := range before {
		more = more || b.ready.page > page
	}
	l.mu.Unlock()
	if more {
		l.wake()
	}
}

// advance moves the branch's durability as far as the keys allow and the budget lasts.
func (l *Log) advance(ctx context.Context, b *branch, budget *int) error {
	for {
		n, more := l.nextNeeds(b)
		if !more || *budget <= 0 {
			return nil
		}
		if n == nil {
			if err := l.loadNeeds(ctx, b, budget); err != nil {
				return err
			}
			continue
		}
		ok, err := l.satisfied(ctx, b, n)
		if err != nil {
			return err
		}
		l.mu.Lock()
		if ok {
			b.ready.pop()
		} else {
			b.ready.blocked = true
		}
		l.mu.Unlock()
	}
}

// nextNeeds returns what the next page needs, nil if it must be read first, and whether there is anything to do.
func (l *Log) nextNeeds(b *branch) (*needs, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.ready.blocked || b.ready.page >= b.head.Page {
		return nil, false
	}
	if len(b.ready.next) == 0 {
		return nil, true
	}
	return &b.ready.next[0], true
}

// loadNeeds reads the next pages from the store.
func (l *Log) loadNeeds(ctx context.Context, b *branch, budget *int) error {
	l.mu.Lock()
	after := b.ready.page
	l.mu.Unlock()
	pages, err := l.Read(ctx, b.id, after, min(*budget, 2<<20))
	if err != nil {
		return err
	}
	if len(pages) == 0 {
		return ErrDamaged.Because("page %d is gone", after+1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range pages {
		*budget -= len(p.Raw())
		b.ready.push(p, l.cfg.Keys == nil)
	}
	return nil
}

// satisfied reports whether all keys that a page needs are here. Behind the end of a closed log no fact counts that could bear
// out that a key is to be destroyed, so there the word of the site that wrote the page is enough: it had the key, and if it has
// destroyed it the key comes from nowhere, and the site would wait for ever before it deletes what it may not hold any more.
func (l *Log) satisfied(ctx context.Context, b *branch, n *needs) (bool, error) {
	if len(n.keys) == 0 {
		return true, nil
	}
	missing, err := l.cfg.Keys.Missing(ctx, b.id.Authority, n.keys)
	demands, tells := l.cfg.Keys.(Demands)
	if err != nil || len(missing) == 0 || !tells {
		return len(missing) == 0, err
	}
	if last, closed := l.closing(b.id.LogID); !closed || !beyond(Head{Page: n.page, Hash: n.hash}, last) {
		return false, nil
	}
	missing, err = demands.Unmarked(ctx, b.id.Authority, b.id.Site, missing)
	return len(missing) == 0, err
}
