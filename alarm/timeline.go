// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"sync"
	"time"
)

// Timeline remembers how this site's wall clock was set while the process ran, so that a time read before can be compared
// with one read after. A box without a battery starts in 1970 and is set right when it meets a time server: an alarm that
// was raised meanwhile is minutes old, not decades. Whoever steps a Caller feeds it. It is safe for concurrent use; nil is
// a clock that was never set.
//
// It forgets at the end of the process. What was raised before a restart and before the clock was set is then judged by the
// wrong time, and held for somebody to look at rather than dropped.
type Timeline struct {
	mu    sync.Mutex
	spans []span // in order, at most maxSpans
	count int    // how often the clock was set
}

// span is a time without a jump.
type span struct {
	from, to time.Time // readings of the wall clock
	steady   time.Time // when the last one was taken
	jump     time.Duration
}

const (
	maxSpans = 64
	// minJump is how far the wall clock must leave the steady one between two notes to count as set.
	minJump = 2 * time.Second
	// firstReach is how far before the process's start its first clock is believed to have run the same way.
	firstReach = 7 * 24 * time.Hour
)

// note takes a reading of both clocks. A suspended machine shows as a clock that was set forward.
func (t *Timeline) note(wall, steady time.Time) {
	if t == nil {
		return
	}
	wall = wall.Round(0) // without the monotonic reading, which would hide what we look for
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.spans) > 0 {
		last := &t.spans[len(t.spans)-1]
		jump := wall.Sub(last.to) - steady.Sub(last.steady)
		if jump.Abs() < minJump {
			last.to, last.steady = wall, steady
			return
		}
		last.jump = jump
		t.count++
	}
	t.spans = append(t.spans, span{from: wall, to: wall, steady: steady})
	t.spans = t.spans[max(0, len(t.spans)-maxSpans):]
}

// Today returns what the present clock would have shown when this site's clock showed at.
func (t *Timeline) Today(at time.Time) time.Time {
	if t == nil {
		return at
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var moved time.Duration
	for i := len(t.spans) - 1; i >= 0; i-- {
		s := t.spans[i]
		moved += s.jump
		from := s.from.Add(-minJump)
		if i == 0 {
			from = from.Add(-firstReach)
		}
		if !at.Before(from) && !at.After(s.to.Add(minJump)) {
			return at.Add(moved)
		}
	}
	return at
}

// earliest returns the earliest reading of this site's clock that may be as young as the given time of the present clock.
func (t *Timeline) earliest(at time.Time) time.Time {
	if t == nil {
		return at
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	first := at
	var moved time.Duration
	for i := len(t.spans) - 1; i >= 0; i-- {
		moved += t.spans[i].jump
		if then := at.Add(-moved); then.Before(first) {
			first = then
		}
	}
	return first
}

// sets returns how often the clock was set.
func (t *Timeline) sets() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
