// SPDX-License-Identifier: EUPL-1.2

package logtest

import (
	"context"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// DefaultPatience is how long a request waits for its answer, in the network's time, if its context has no deadline.
const DefaultPatience = 5 * time.Second

// lines are how much the network carries per second, by direction, and who is told of the time that this takes.
type lines struct {
	rates map[pair]int
	pass  func(time.Duration)
}

// SetRate makes the line from one site to another carry that many bytes a second; the other direction has a rate of its own. 0
// means that messages take no time. A request whose messages take longer than it waits fails as if the site could not be
// reached, after that time; if its answer was too slow, it was handled nevertheless. It waits until its context's deadline, in
// whole seconds, so that a world follows from its seed; DefaultPatience without one.
func (n *Network) SetRate(from, to event.SiteID, bytesPerSecond int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lines.rates == nil {
		n.lines.rates = make(map[pair]int)
	}
	n.lines.rates[pair{from, to}] = bytesPerSecond
}

// Rate returns what SetRate has set.
func (n *Network) Rate(from, to event.SiteID) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lines.rates[pair{from, to}]
}

// Elapse makes the network call pass with the time that each message takes on a slow line: a virtual clock is moved by it. pass
// runs in the goroutine of the request, without any lock held.
func (n *Network) Elapse(pass func(time.Duration)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines.pass = pass
}

// carry lets a message of that size take its time, at most patience. It returns what is left of the patience, and whether the
// message has arrived.
func (n *Network) carry(p pair, size int, patience time.Duration) (left time.Duration, arrived bool) {
	n.mu.Lock()
	rate, pass := n.lines.rates[p], n.lines.pass
	n.mu.Unlock()
	if rate <= 0 {
		return patience, true
	}
	takes := time.Duration(size) * time.Second / time.Duration(rate)
	if pass != nil {
		pass(min(takes, patience))
	}
	return patience - takes, takes < patience
}

// patienceOf returns how long a request with the context waits, in whole seconds: what the machine needs between the setting of
// a deadline and here must not decide anything.
func patienceOf(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return DefaultPatience
	}
	return (time.Until(deadline) + time.Second - 1).Truncate(time.Second)
}
