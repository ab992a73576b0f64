// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"sync"
	"time"
)

// inlet is what comes in over the lines from all peers, which may well be one line: the site's own way to the world. Each
// pacer adapts to what its line carries, but none asks for less than minWindow, and where that is a second of the line,
// two peers are two seconds and five are five. So of the peers whose pacers are at the least, each may have one answer
// under way, and a second one only where all together have no more than the best of their lines carries in fillTime; and
// while something urgent comes in over a slow line, nothing that can wait is begun, for half of the time at most. Its mutex guards the pacers too. It is
// safe for concurrent use.
type inlet struct {
	mu     sync.Mutex
	pacers map[*pacer]bool
	freed  chan struct{} // closed and replaced when something has become free
	held   int           // how many hold what can wait back
	began  time.Time     // when the hold began that they share
	until  time.Time     // until when it lasts if nothing urgent gets on
	most   time.Time     // until when it lasts at most
	again  time.Time     // when the next one may begin
}

// holdFor bounds how long something urgent may hold the rest back without getting on: its peer may be gone. holdMost bounds
// it in all: its peer may only seem to get on.
const (
	holdFor  = 5 * time.Second
	holdMost = 20 * time.Second
)

func newInlet() *inlet {
	return &inlet{pacers: make(map[*pacer]bool), freed: make(chan struct{})}
}

// hold holds back what can wait until the returned function is called. All that are urgent at the same time share one hold,
// whose peers they come from: else two members with logs that never end would take turns at holding the rest back. After it
// the rest has as long as it has lasted; what is urgent comes then too, beside the rest.
func (in *inlet) hold(now func() time.Time) (release func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held++
	in.getsOn(now())
	return func() { in.release(now()) }
}

// getsOn makes the hold last, or begins the next one if the rest is over: what is urgent may have begun while it was not. The
// caller holds in.mu.
func (in *inlet) getsOn(at time.Time) {
	switch {
	case in.held == 0:
	case at.Before(in.most):
		in.until = at.Add(holdFor)
	case !at.Before(in.again):
		in.began, in.until, in.most = at, at.Add(holdFor), at.Add(holdMost)
		in.again = in.most.Add(holdMost)
	}
}

// release ends what one of those who hold has begun, and the hold with the last of them.
func (in *inlet) release(now time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.held--; in.held == 0 && now.Before(in.most) {
		in.most, in.again = now, now.Add(now.Sub(in.began))
	}
	in.free()
}

// free lets everybody look who waits. The caller holds in.mu.
func (in *inlet) free() {
	close(in.freed)
	in.freed = make(chan struct{})
}

// holds reports whether something urgent holds back what can wait. The caller holds in.mu.
func (in *inlet) holds(now time.Time) bool {
	return in.held > 0 && now.Before(in.until) && now.Before(in.most)
}

// crowded reports whether a pacer at its least must wait because of what those like it have under way. Its first question
// never waits: they may never be answered. The caller holds in.mu.
func (in *inlet) crowded(p *pacer, size int) bool {
	if p.flying == 0 {
		return false
	}
	best, flying := 0.0, 0
	for o := range in.pacers {
		if o.crawls() {
			best = max(best, o.rate)
			flying += o.flying
		}
	}
	return float64(flying+size) > max(best*fillTime.Seconds(), float64(2*size))
}

// drop forgets the pacer of a peer that is gone.
func (in *inlet) drop(p *pacer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.pacers, p)
}
