// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"time"
)

// bornHere is within what time an alarm must have been stored at the site that raised it to count as raised by this very
// process: one that comes back from another site after a restore has been on its way for longer.
const bornHere = 5 * time.Second

// steady reads the clock that nobody sets.
func (c *Caller) steady() time.Time {
	if c.cfg.Steady != nil {
		return c.cfg.Steady()
	}
	return c.cfg.Now()
}

// current reports whether this site knows what others have done for the alarm.
// An alarm that was raised here after the last silence began does not wait: nobody else can have called for it before.
func (c *Caller) current(o Ongoing) bool {
	began, stale := c.cfg.Replication.StaleSince(o.Authority)
	return !stale || o.Wave == Call && o.Origin == c.cfg.Self && o.ArrivedAt.Sub(o.RaisedAt).Abs() < bornHere &&
		c.born(o).After(began)
}

// born returns when the alarm came to this site, by the steady clock.
func (c *Caller) born(o Ongoing) time.Time {
	return c.steady().Add(-c.cfg.Now().Round(0).Sub(c.cfg.Watch.Timeline.Today(o.ArrivedAt)))
}

// ready reports whether the alarm may be looked at for calling. What was queued before a silence is dropped: the queue is
// read anew from what has been folded since.
func (c *Caller) ready(v *vigil, now time.Time) bool {
	if !c.current(v.ongoing) {
		if !v.waits {
			c.drop(v)
		}
		v.waits = true
		return false
	}
	if v.waits {
		v.waits = false
		c.excuse(v, now)
	}
	v.fresh = now
	return true
}

// excuse takes the time since the alarm was last fresh from the time within which the gateways have taken nothing: they were not tried.
// What they took nothing in before that still counts, and once they have been excused for as long as a takeover takes they are not
// again before they take something. Else a site whose lines come and go, or whose clock is set again and again, would begin
// anew each time, give signs of calling for ever, and nobody would take over from it.
func (c *Caller) excuse(v *vigil, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.excused >= v.Delay {
		return
	}
	waited := now.Sub(v.fresh)
	v.excused += waited
	if v.progress = v.progress.Add(waited); v.progress.After(now) {
		v.progress = now // a hand-over that was under way has ended meanwhile
	}
}

// tookSomething notes that a gateway has taken or refused something. The caller holds c.mu.
func (v *vigil) tookSomething(now time.Time) { v.progress, v.excused = now, 0 }

// askedFirst reports whether a site that is about to take over has asked the others once more, and knows what they answered.
// What it does next may take seconds, so it says so first.
func (c *Caller) askedFirst(ctx context.Context, v *vigil) bool {
	if v.Rank(v.Self) == 0 {
		return true
	}
	if !v.asked {
		v.asked = true
		c.cfg.Replication.Refresh(v.ongoing.Authority)
		if !c.ready(v, c.steady()) {
			c.announce(ctx, v)
			return false
		}
	}
	return c.ready(v, c.steady())
}

// stillOurs looks once more, right before a hand-over: the task may have been queued before a pause, and another site's
// receipt may have been folded since. A read model that cannot tell does not hold the hand-over up.
func (c *Caller) stillOurs(ctx context.Context, t *task, o Ongoing) bool {
	if !c.current(o) {
		return false
	}
	due, err := c.cfg.Work.StillDue(ctx, o.Authority, o.ID, t.wave, t.person, t.kind)
	return due || err != nil
}

// putBack takes a task from its worker without having tried it. The next pass over the alarm queues it again, if it is due.
func (c *Caller) putBack(t *task, v *vigil) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended(t)
	if v.dropped {
		delete(c.tasks, t.taskKey)
	}
}
