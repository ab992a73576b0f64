// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// ClockState is what subject alarm/<id>/clock says: whose clock was wrong when the alarm was raised, closed or ordered.
type ClockState struct {
	// Notes are in their order, the first of each site about each fact, at most notesPerSite of each site.
	Notes []ClockNote `json:"notes,omitempty"`
}

// notesPerSite is enough for a raising, a closing and some orders, and keeps one site from filling the list of all.
const notesPerSite = 8

// ClockNote is what one site has found about the clock of the site that wrote a fact.
type ClockNote struct {
	Fact        event.ID     `json:"fact"`
	Site        event.SiteID `json:"site"`
	AheadMillis int64        `json:"aheadMillis"`
	By          event.SiteID `json:"by"`
}

func (n ClockNote) ahead() time.Duration { return time.Duration(n.AheadMillis) * time.Millisecond }

// of returns the notes about a fact.
func (c *ClockState) of(fact event.ID) (notes []ClockNote) {
	if c == nil || fact == "" {
		return nil
	}
	for _, n := range c.Notes {
		if n.Fact == fact {
			notes = append(notes, n)
		}
	}
	return notes
}

// applyClock takes a note. A site speaks for itself only: By is who signed it.
func (s State) applyClock(e readmodel.Entry) (State, error) {
	var f ClockDiffered
	if err := e.Decode(&f); err != nil {
		return s, err
	}
	if s.Clocks == nil {
		s.Clocks = &ClockState{}
	}
	n := ClockNote{Fact: f.Fact, Site: f.Site, AheadMillis: f.AheadMillis, By: e.Place.Site}
	known, byThatSite := false, 0
	for _, o := range s.Clocks.Notes {
		if o.By == n.By {
			byThatSite++
			known = known || o.Fact == n.Fact
		}
	}
	if f.By == n.By && !known && byThatSite < notesPerSite {
		s.Clocks.Notes = append(s.Clocks.Notes, n)
	}
	return s, nil
}

// warning returns the note about the clock by which the alarm was raised: our own if we made one, else the first. Nil: nobody has
// found anything wrong.
func (c *ClockState) warning(raised event.ID, self event.SiteID) *ClockNote {
	notes := c.of(raised)
	if len(notes) == 0 {
		return nil
	}
	if i := slices.IndexFunc(notes, func(n ClockNote) bool { return n.By == self }); i >= 0 {
		return &notes[i]
	}
	return &notes[0]
}

// lookEvery is how often a Caller looks whether the clocks of new alarms are right, and lookBack how far back it begins after a start;
// lookAtOnce bounds one look.
const (
	lookEvery  = time.Second
	lookBack   = 10 * time.Minute
	lookAtOnce = 100
)

// noteClocks writes down whose clock was wrong when alarms were raised, closed or ordered that have come since the last look. It does so
// while the error can be measured: the clock may be set right tomorrow, and the alarm keeps its wrong time.
func (c *Caller) noteClocks(ctx context.Context, now, wall time.Time) error {
	if !c.looked.IsZero() && now.Sub(c.looked) < lookEvery {
		return nil
	}
	first := c.looked.IsZero()
	c.looked = now
	if n := c.cfg.Watch.Timeline.sets(); n != c.sets {
		c.sets, c.came = n, c.cfg.Watch.Timeline.earliest(wall.Add(-OpenFor))
	} else if first {
		c.came = wall.Add(-lookBack)
	}
	list, err := c.cfg.Work.Came(ctx, c.came, lookAtOnce)
	if err != nil {
		return fmt.Errorf("look for new alarms: %w", err)
	}
	var errs []error
	waits := false
	for _, a := range list {
		done, err := c.noteClocksOf(ctx, &a)
		errs = append(errs, err)
		// One that has to wait is looked at again, with all that came after it: who is noted already is not noted again.
		if waits = waits || !done; !waits {
			c.came = a.start.Arrived
		}
	}
	return errors.Join(errs...)
}

// noteClocksOf writes the notes about one alarm, and reports whether that is done.
func (c *Caller) noteClocksOf(ctx context.Context, a *Alarm) (done bool, err error) {
	if _, stale := c.cfg.Replication.StaleSince(a.Authority); stale {
		return false, nil // the notes of others may be on their way
	}
	for _, m := range slices.Compact([]Moment{a.raising(), a.start}) {
		if err := c.noteClock(ctx, a, m); err != nil {
			return false, err
		}
	}
	return true, nil
}

// noteClock writes the note about one fact, if it is needed: its clock was wrong, and nobody has said so.
func (c *Caller) noteClock(ctx context.Context, a *Alarm, m Moment) error {
	ahead, known := c.cfg.Watch.wrong(m)
	if !known || ahead.Abs() <= clockTolerance {
		return nil
	}
	for _, n := range a.clocks.of(m.Fact) {
		if n.By == c.cfg.Self || (n.ahead()-ahead).Abs() <= clockTolerance {
			return nil
		}
	}
	c.cfg.Logger.Warn("an alarm was written by a wrong clock; it is called for all the same", "authority", a.Authority, "alarm", a.ID,
		"site", m.Site.Short(), "ahead", ahead.Round(time.Second))
	_, err := c.cfg.Log.Append(ctx, a.Authority, event.Operations, event.Draft{
		Subject: clockSubject(a.ID), Kind: KindClockDiffered, Actor: siteActor(c.cfg.Self), Mode: a.Raised.Mode,
		Data: ClockDiffered{Fact: m.Fact, Site: m.Site, AheadMillis: ahead.Milliseconds(), By: c.cfg.Self},
	})
	if err != nil {
		return fmt.Errorf("note a wrong clock: %w", err)
	}
	return nil
}

// wrong returns how far the clock was ahead by which a moment was written, as far as it can be measured now.
func (w Watch) wrong(m Moment) (ahead time.Duration, known bool) {
	ahead, known = w.clock(m.Site)
	if m.Site != w.Self {
		return ahead, known
	}
	set := m.At.Sub(w.Timeline.Today(m.At)) // our clock may have been set since
	return ahead + set, known || set != 0
}
