// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"codeberg.org/holdfast/holdfast/event"
)

// laneKey names a lane.
type laneKey struct {
	authority event.AuthorityID
	class     event.Class
	urgent    bool // see event.Draft
}

// lane is where the writers of one authority and class meet, so that they share a page and its sync. There is no
// goroutine behind it: the first writer who comes leads, writes one page for all who wait, answers them, and hands over to
// the first of those who came meanwhile. Lanes do not wait for each other.
type lane struct {
	laneKey
	unsure []*Page // pages of uncertain fate; only the leader touches it

	mu      sync.Mutex
	waiting []*batch
	events  int
	bytes   int
	led     bool
	lately  int // how many writers the last page carried or left waiting
}

// batch is what one writer wants in one page.
type batch struct {
	events []prepared
	size   int
	first  uint32 // index of its first event in the page
	lead   chan struct{}
	done   chan outcome

	appointed, taken bool // guarded by lane.mu
}

type outcome struct {
	page *Page
	err  error
}

func newBatch(n int) *batch {
	return &batch{events: make([]prepared, 0, n), lead: make(chan struct{}, 1), done: make(chan outcome, 1)}
}

func (l *Log) lane(k laneKey) *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes[k] == nil {
		l.lanes[k] = &lane{laneKey: k}
	}
	return l.lanes[k]
}

// submit puts the batch into a page together with those of other writers and returns when the page is stored.
func (l *Log) submit(ctx context.Context, lane *lane, b *batch) (Receipt, error) {
	leads, err := lane.join(b)
	if err != nil {
		return Receipt{}, err
	}
	if leads {
		l.leadOnce(ctx, lane)
		return b.receipt(<-b.done)
	}
	select {
	case o := <-b.done:
		return b.receipt(o)
	case <-b.lead:
		l.leadOnce(ctx, lane)
		return b.receipt(<-b.done)
	case <-ctx.Done():
	}
	if lane.withdraw(b) {
		return Receipt{}, fmt.Errorf("wait for a page: %w", ctx.Err())
	}
	return b.receipt(<-b.done) // it is being written, which is bounded
}

// leadOnce writes one page with what waits, answers, and hands over.
func (l *Log) leadOnce(ctx context.Context, lane *lane) {
	lane.gather()
	batches := lane.take()
	p, err := l.writePage(ctx, lane, batches)
	for _, b := range batches {
		b.done <- outcome{p, err}
	}
	lane.handOver(len(batches))
	if err == nil {
		l.wake()
	}
}

func (b *batch) receipt(o outcome) (Receipt, error) {
	if o.err != nil {
		return Receipt{}, o.err
	}
	end := b.first + uint32(len(b.events))
	return Receipt{
		Log: o.page.Log, Last: Position{o.page.Number, end - 1},
		Events: slices.Clone(o.page.Events[b.first:end]),
	}, nil
}

// join queues the batch. It reports whether the caller leads, and returns a fault of kind Exhausted if the queue is full.
func (lane *lane) join(b *batch) (leads bool, err error) {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	if lane.events+len(b.events) > maxWaitingEvents || lane.bytes+b.size > maxWaitingBytes {
		return false, errBusy
	}
	lane.waiting = append(lane.waiting, b)
	lane.events += len(b.events)
	lane.bytes += b.size
	leads = !lane.led
	lane.led = true
	return leads, nil
}

// take removes from the front of the queue what fits into one page. The leader's own batch is the first.
func (lane *lane) take() []*batch {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	n, events, bytes := 0, 0, 0
	for _, b := range lane.waiting {
		if n > 0 && (bytes+b.size > roomForEvents || events+len(b.events) > MaxPageEvents) {
			break
		}
		n, events, bytes = n+1, events+len(b.events), bytes+b.size
		b.taken = true
	}
	taken := slices.Clone(lane.waiting[:n])
	lane.waiting = slices.Delete(lane.waiting, 0, n)
	lane.events -= events
	lane.bytes -= bytes
	return taken
}

// gather lets the writers who were just answered come back before the next page is begun. Without it they miss that page
// and wait for the one after it, so that every page carries every other writer only. It yields a bounded number of times,
// as long as somebody comes, and does not sleep.
func (lane *lane) gather() {
	for before, idle := 0, 0; idle < maxIdleYields; idle++ {
		here, all := lane.present()
		if all {
			return
		}
		if here > before {
			before, idle = here, 0
		}
		runtime.Gosched()
	}
}

// maxIdleYields is about the time in which a writer encodes an event.
const maxIdleYields = 200

// present returns how many writers wait, and whether these are all who were there lately, or enough for a page.
func (lane *lane) present() (here int, all bool) {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	return len(lane.waiting), len(lane.waiting) >= lane.lately || lane.bytes >= roomForEvents
}

// handOver appoints the first of those who wait, or leaves the lane without a leader.
func (lane *lane) handOver(answered int) {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	lane.lately = answered + len(lane.waiting)
	lane.appoint()
}

func (lane *lane) appoint() {
	if len(lane.waiting) == 0 {
		lane.led = false
		return
	}
	b := lane.waiting[0]
	b.appointed = true
	b.lead <- struct{}{}
}

// withdraw takes the batch out of the queue unless it is in a page already, and reports whether it did. Whoever was
// appointed to lead and withdraws appoints the next.
func (lane *lane) withdraw(b *batch) bool {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	if b.taken {
		return false
	}
	i := slices.Index(lane.waiting, b)
	lane.waiting = slices.Delete(lane.waiting, i, i+1)
	lane.events -= len(b.events)
	lane.bytes -= b.size
	if b.appointed {
		lane.appoint()
	}
	return true
}
