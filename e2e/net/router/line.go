// SPDX-License-Identifier: EUPL-1.2

package router

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Conditions are what a Line does to the packets that are offered from now on. The zero value is a perfect line.
type Conditions struct {
	// Delay is how long a packet is under way after the bottleneck; Jitter is added to it, evenly spread from 0 up to
	// itself.
	Delay, Jitter time.Duration
	// Loss, Duplicate and Reorder are shares of the packets, from 0 to 1. A reordered packet has no delay, and so
	// overtakes.
	Loss, Duplicate, Reorder float64
	// BitsPerSecond is the rate of the bottleneck, counted in bytes of IP packets; 0 means that there is none.
	BitsPerSecond int
	// QueueBytes bounds what waits for the bottleneck, the packet that it is sending included; what does not fit is
	// dropped. 0 means 200 ms of the rate, but ten full packets at least.
	QueueBytes int
	// Cut drops everything.
	Cut bool
	// Flap drops everything in every second period of that length; the first one, from Set on, is good. 0 never does.
	Flap time.Duration
}

// fullPacket is the largest packet that a Host sends.
const fullPacket = 1500

// maxUnderWay bounds the bytes that a Line has accepted and not delivered, for lines with delay and without a
// bottleneck.
const maxUnderWay = 16 << 20

func (c Conditions) queue() int {
	if c.QueueBytes > 0 {
		return c.QueueBytes
	}
	return max(10*fullPacket, c.BitsPerSecond/8/5)
}

// Count is what a Line was given and what became of it, in packets where nothing else is said, since the Line was made.
type Count struct {
	Offered, OfferedBytes     int64
	Delivered, DeliveredBytes int64 // a duplicate counts again
	Cut                       int64 // dropped by Cut or Flap
	Overflowed                int64 // dropped because the queue, or the way, was full
	Lost                      int64
	Duplicated, Reordered     int64
}

// Line is one direction of a way between hosts. Use NewLine; it is safe for concurrent use.
type Line struct {
	mu       sync.Mutex
	rng      *rand.Rand
	c        Conditions
	since    time.Time // when c was set
	free     time.Time // when the bottleneck will have sent all that waits
	last     time.Time // when the latest packet that keeps the order arrives
	underWay int       // bytes
	count    Count
}

// NewLine returns a perfect line whose accidents are drawn from seed.
func NewLine(seed uint64) *Line {
	return &Line{rng: rand.New(rand.NewPCG(seed, 0x6c696e65))}
}

// Set gives the line other conditions from now on. What it has accepted arrives when it would have, and what follows
// does not overtake it.
func (l *Line) Set(c Conditions) { l.setAt(c, time.Now()) }

func (l *Line) setAt(c Conditions, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiting := l.waiting(now); waiting > 0 {
		l.free = now.Add(c.sending(waiting))
	}
	l.c, l.since = c, now
}

// Conditions returns what was set last.
func (l *Line) Conditions() Conditions {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.c
}

// Count returns what has become of the packets so far.
func (l *Line) Count() Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// sending returns how long the bottleneck takes for so many bytes.
func (c Conditions) sending(bytes int) time.Duration {
	if c.BitsPerSecond <= 0 {
		return 0
	}
	return time.Duration(float64(bytes) * 8 / float64(c.BitsPerSecond) * float64(time.Second))
}

// waiting returns the bytes before the bottleneck. The lock is held.
func (l *Line) waiting(now time.Time) int {
	if l.c.BitsPerSecond <= 0 || !l.free.After(now) {
		return 0
	}
	return int(l.free.Sub(now).Seconds() * float64(l.c.BitsPerSecond) / 8)
}

// dice are the accidents of one packet. They are thrown for every packet, so that what happens to one does not depend
// on which conditions the ones before it met.
type dice struct{ loss, duplicate, reorder, jitter float64 }

// plan decides when the copies of a packet of that size arrive which is offered now: none, one or two.
func (l *Line) plan(size int, now time.Time) (arrivals []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := dice{l.rng.Float64(), l.rng.Float64(), l.rng.Float64(), l.rng.Float64()}
	l.count.Offered++
	l.count.OfferedBytes += int64(size)
	switch {
	case l.cut(now):
		l.count.Cut++
		return nil
	case l.c.BitsPerSecond > 0 && l.waiting(now)+size > l.c.queue(), l.underWay+size > maxUnderWay:
		l.count.Overflowed++
		return nil
	}
	sent := now
	if l.c.BitsPerSecond > 0 {
		if l.free.After(now) {
			sent = l.free
		}
		sent = sent.Add(l.c.sending(size))
		l.free = sent
	}
	if d.loss < l.c.Loss {
		l.count.Lost++
		return nil
	}
	at := l.arrival(sent, d)
	arrivals = append(arrivals, at)
	if d.duplicate < l.c.Duplicate {
		l.count.Duplicated++
		arrivals = append(arrivals, at)
	}
	l.underWay += size * len(arrivals)
	return arrivals
}

// cut reports whether everything is dropped now. The lock is held.
func (l *Line) cut(now time.Time) bool {
	return l.c.Cut || l.c.Flap > 0 && now.Sub(l.since)/l.c.Flap%2 == 1
}

// arrival returns when a packet arrives that has left the bottleneck. The lock is held.
func (l *Line) arrival(sent time.Time, d dice) time.Time {
	if d.reorder < l.c.Reorder {
		l.count.Reordered++
		return sent
	}
	at := sent.Add(l.c.Delay + time.Duration(d.jitter*float64(l.c.Jitter)))
	if at.Before(l.last) {
		at = l.last
	}
	l.last = at
	return at
}

// delivered notes that a packet has left the line.
func (l *Line) delivered(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay -= size
	l.count.Delivered++
	l.count.DeliveredBytes += int64(size)
}
