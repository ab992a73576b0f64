// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/event"
)

// callWindow is the window of the callers of a world: small, since its alarms are small. A change of caller may double as many
// hand-overs.
const callWindow = 2

// interruption is what comes between two sites that call.
type interruption int

const (
	cutBothWays interruption = iota
	cutThere                 // the first one's requests do not arrive
	cutBack                  // the second one's do not
	paused                   // the first one stands still
	interruptions
)

func (i interruption) String() string {
	return [...]string{"a cut", "a cut one way", "a cut the other way", "a pause"}[i]
}

// duel is two sites of different operators, an alarm that both may call for, and what has come between them.
type duel struct {
	a, b  *node
	alarm *raised
	now   interruption
	on    bool
}

// callThroughCut raises an alarm, interrupts two sites that may call for it, and lets both go on afterwards in small steps, in any
// order. Whom one has called the other may call again only as far as the window goes, for each change of caller.
func (w *World) callThroughCut(ctx context.Context) error {
	d, err := w.newDuel(ctx)
	if err != nil || d == nil {
		return err
	}
	w.duels++
	defer func() { w.calm = false }()
	w.calm = true
	if err := d.run(ctx, time.Duration(w.rnd.IntN(6))*time.Second); err != nil {
		return err
	}
	d.begin(interruption(w.rnd.IntN(int(interruptions))))
	if err := d.run(ctx, time.Duration(4+w.rnd.IntN(10))*time.Second); err != nil {
		return err
	}
	d.end()
	before := len(w.alarms.log)
	if err := d.run(ctx, 40*time.Second); err != nil {
		return err
	}
	w.checkDoubled(d, before)
	if d.now == paused { // it looks for pauses from now on, and here everything is one
		d.a.stop(false)
		return d.a.restart(ctx)
	}
	return nil
}

// newDuel finds two sites, lets them hear everything of each other and of nobody else from then on, and raises an alarm at one of
// them. It returns nil if there are none, or the alarm cannot be raised.
func (w *World) newDuel(ctx context.Context) (*duel, error) {
	a, id := w.someHeld()
	if a == nil {
		return nil, nil
	}
	b, ok := pick(w, w.others(a, id))
	if !ok || b.operator == a.operator || a.twin != nil || b.twin != nil || a.isRogue() || b.isRogue() {
		return nil, nil
	}
	w.net.Lose(0)
	for _, n := range []*node{a, b} {
		n.disk.mend()
		for _, o := range w.nodes {
			if o != n {
				w.net.Cut(n.site, o.site)
			}
		}
	}
	w.join(a, b)
	for range 2 {
		if err := w.tell(ctx, a, b); err != nil {
			return nil, err
		}
		if err := w.tell(ctx, b, a); err != nil {
			return nil, err
		}
	}
	before := len(w.alarms.raised)
	first := []event.SiteID{a.site, b.site}
	if w.rnd.IntN(2) == 0 {
		slices.Reverse(first)
	}
	if err := w.raiseFor(ctx, a, id, time.Second, first...); err != nil || len(w.alarms.raised) == before {
		return nil, err
	}
	w.logf("%v and %v see nobody else", a, b)
	return &duel{a: a, b: b, alarm: w.alarms.raised[before]}, w.tell(ctx, b, a)
}

// join makes the line between two sites well and fast.
func (w *World) join(a, b *node) {
	w.net.Heal(a.site, b.site)
	w.net.SetRate(a.site, b.site, 0)
	w.net.SetRate(b.site, a.site, 0)
}

func (d *duel) begin(i interruption) {
	d.now, d.on = i, true
	if i == paused {
		d.a.rep.Beat()
	}
	net := d.a.w.net
	switch i {
	case cutBothWays:
		net.Cut(d.a.site, d.b.site)
	case cutThere:
		net.CutOneWay(d.a.site, d.b.site)
	case cutBack:
		net.CutOneWay(d.b.site, d.a.site)
	case paused:
		d.a.port.SetDown(true)
	}
	d.a.w.logf("%v comes between %v and %v", i, d.a, d.b)
}

func (d *duel) end() {
	d.on = false
	d.a.w.join(d.a, d.b)
	d.a.port.SetDown(false)
	d.a.w.logf("%v and %v see each other again", d.a, d.b)
}

// run lets both sites step for that long, one of them every half second: so the calling takes longer than the interruption.
func (d *duel) run(ctx context.Context, long time.Duration) error {
	w := d.a.w
	heard := map[*node]time.Time{d.a: w.now, d.b: w.now}
	for until := w.now.Add(long); w.now.Before(until); {
		w.now = w.now.Add(500 * time.Millisecond)
		n, o := d.a, d.b
		if w.rnd.IntN(2) == 0 {
			n, o = o, n
		}
		if d.now == paused && !d.on {
			d.a.rep.Beat()
		}
		if d.on && d.now == paused && n == d.a {
			continue
		}
		// A real site asks the others every second, whatever it calls; it need not wait for longer than it would for a dead one.
		if w.rnd.IntN(3) > 0 || w.now.Sub(heard[n]) > 2*time.Second {
			heard[n] = w.now
			w.step(ctx, n, o)
			continue
		}
		if _, err := n.domainStep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkDoubled counts, among the hand-overs from the given one on, those that another site had made before, and the changes of
// caller.
func (w *World) checkDoubled(d *duel, from int) {
	by := make(map[handover]map[*node]bool)
	var last *node
	doubled, changes := 0, 0
	for i, t := range w.alarms.log {
		if i == from && w.tookOver(d, from) {
			changes++ // who took over during the interruption may not have heard yet: its window goes on
		}
		if t.authority != d.alarm.authority || t.id != d.alarm.id {
			continue
		}
		if i >= from {
			if others := len(by[t.handover]); others > 1 || others == 1 && !by[t.handover][t.by] {
				doubled++
			}
			if last != nil && last != t.by {
				changes++
			}
		}
		if by[t.handover] == nil {
			by[t.handover] = make(map[*node]bool)
		}
		by[t.handover][t.by], last = true, t.by
	}
	w.doubled, w.changes = w.doubled+doubled, w.changes+changes
	if most := callWindow * changes; doubled > most {
		w.violate("after %v between %v and %v, %d hand-overs of alarm %s were doubled with %d changes of caller, want at most %d",
			d.now, d.a, d.b, doubled, d.alarm.id, changes, most)
	}
}

// tookOver reports whether the calling had changed to the last caller before the given hand-over.
func (w *World) tookOver(d *duel, before int) bool {
	var first *node
	for _, t := range w.alarms.log[:before] {
		if t.authority != d.alarm.authority || t.id != d.alarm.id {
			continue
		}
		if first != nil && t.by != first {
			return true
		}
		first = t.by
	}
	return false
}

// taken is a message that a gateway took.
type taken struct {
	handover
	by *node
}

// neighbours is how the real program tells a caller of the other sites.
func (n *node) neighbours() alarm.Replication {
	return alarm.Neighbours{Replicator: n.rep, Policy: n.fed, Self: n.site, Now: n.clock}
}
