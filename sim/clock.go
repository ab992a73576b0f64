// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"time"
)

// farthest is how wrong a clock may be, both ways.
const farthest = 10 * 365 * 24 * time.Hour

// turnClock makes a site's clock right, or wrong by up to two minutes, five hours, or ten years.
func (w *World) turnClock(ctx context.Context) error {
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	switch w.rnd.IntN(5) {
	case 0:
		n.skew = 0
	case 1:
		n.skew = time.Duration(w.rnd.IntN(10)-5) * time.Hour
	case 2:
		if w.wild {
			n.skew = w.far()
			w.logf("the clock of %v is off by %v", n, n.skew)
			return w.raiseSoon(ctx, n)
		}
		fallthrough
	default:
		n.skew = time.Duration(w.rnd.IntN(240)-120) * time.Second
	}
	w.logf("the clock of %v is off by %v", n, n.skew)
	return nil
}

// raiseSoon raises an alarm at a site, if it is up and may hold the data of anybody.
func (w *World) raiseSoon(ctx context.Context, n *node) error {
	held := n.mayHold()
	if !n.up || len(held) == 0 {
		return nil
	}
	return w.raise(ctx, n, held[w.rnd.IntN(len(held))])
}

// far draws how wrong a clock is: seconds are as likely as minutes, days and years.
func (w *World) far() time.Duration {
	d := min(time.Second<<w.rnd.IntN(29)+time.Duration(w.rnd.IntN(1000))*time.Millisecond, farthest)
	if w.rnd.IntN(2) == 0 {
		return -d
	}
	return d
}

// mendClocks sets the clocks right to a minute. In half of the worlds whose clocks are very wrong they stay so.
func (w *World) mendClocks() {
	for _, n := range w.nodes {
		if !w.wrong {
			n.skew = max(-time.Minute, min(n.skew, time.Minute))
		}
	}
}
