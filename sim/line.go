// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// slowest is the rate of the slowest line in bytes a second: 16 kbit/s.
const slowest = 2 << 10

// elapse moves the world's time by what a message needs on a slow line. A starting site asks all others at the same time, in
// goroutines: then time stands still, and only the patience of who asks counts.
func (w *World) elapse(d time.Duration) {
	if !w.parallel {
		w.now = w.now.Add(d)
	}
}

// slowLine gives a line another rate, of 2 to 128 KiB a second or any: often in both directions.
func (w *World) slowLine(context.Context) error {
	a, b := w.pair()
	rate := 0
	if w.rnd.IntN(4) > 0 {
		rate = slowest << w.rnd.IntN(7)
	}
	w.net.SetRate(a.site, b.site, rate)
	if w.rnd.IntN(3) > 0 {
		w.net.SetRate(b.site, a.site, rate)
	}
	w.logf("the line from %v to %v carries %d bytes/s, and %d back", a, b, rate, w.net.Rate(b.site, a.site))
	return nil
}

// mendLines makes all lines fast again, unless this is a world in which they stay as they are: there all must become equal
// nevertheless, however slow the lines.
func (w *World) mendLines() {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if a != b && !w.slow {
				w.net.SetRate(a.site, b.site, 0)
			}
		}
	}
}

// mostBulk bounds how often a world writes much: every check reads all of it.
const mostBulk = 2

// writeBulk writes a few hundred KiB at a site: more than a slow line carries in the time that a request waits.
func (w *World) writeBulk(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil || w.bulk >= mostBulk {
		return nil
	}
	w.bulk++
	w.bulkAt(ctx, n, id)
	return nil
}

// bulkAt writes 120 to 240 KiB to the register of an authority, in pages of about 48.
func (w *World) bulkAt(ctx context.Context, n *node, id event.AuthorityID) {
	pad := logtest.Dense(48<<10, w.bulk)
	for range 3 + w.rnd.IntN(3) {
		f := w.ledger.add(id, n)
		r, err := n.log.Append(ctx, id, event.Register, event.Draft{
			Subject: event.Subject(fmt.Sprintf("note/n%d", w.rnd.IntN(5))), Kind: noteKind, Actor: "operator", Mode: event.Test,
			Data: note{Token: f.token, Pad: pad},
		})
		w.logf("%v writes much, %d, to %s: %s", n, f.token, id, outcome(err))
		if err == nil {
			f.fate, f.log, f.at = mustBe, r.Log, eventlog.Position{Page: r.Last.Page}
		}
	}
}
