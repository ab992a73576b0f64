// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// Hold says why an alarm with something due is not called for by itself, "" if it is. A held alarm is shown wherever alarms
// are shown; somebody who may raise alarms orders the calling (CallingOrdered).
type Hold string

// The reasons.
const (
	NotHeld Hold = ""
	// HeldOld: it was older than OpenFor when it reached this site, by clocks that were compared: it lay on a site that was
	// cut off, and whoever it calls to may do harm by coming now.
	HeldOld Hold = "old"
	// HeldLate: OpenFor has passed since it reached this site, and some people could not be called in that time.
	HeldLate Hold = "late"
)

// Reason says in English why, "" if it is not held.
func (h Hold) Reason() string {
	switch h {
	case HeldOld:
		return "it was older than a day when it came to this site"
	case HeldLate:
		return "they could not be called within a day"
	}
	return ""
}

// clockTolerance is how far a clock may be wrong before an alarm carries a warning.
const clockTolerance = time.Minute

// Moment is when something was done that makes sites call: a raising, a closing, or an order to call.
type Moment struct {
	Fact event.ID
	Site event.SiteID // which did it
	// At is by that site's clock, Arrived by ours, when it was stored here.
	At, Arrived time.Time
}

// age is what a site knows of a moment for judging how long ago it was. Arrived and now are readings of one clock, ours.
type age struct {
	Moment
	// wrong are estimates of how far the clock that At was read from was ahead of ours; none if it was never compared.
	wrong []time.Duration
}

// when returns the latest time, by our clock, at which the moment may have been: as far as clocks were compared, else when it
// arrived. It is never after the arrival, nor in the future, whatever clocks show.
func (a age) when(now time.Time) time.Time {
	arrived := a.Arrived
	if arrived.After(now) {
		arrived = now // our clock was set back since
	}
	if len(a.wrong) == 0 {
		return arrived
	}
	latest := a.At.Add(-a.wrong[0])
	for _, w := range a.wrong[1:] {
		if t := a.At.Add(-w); t.After(latest) {
			latest = t
		}
	}
	if latest.After(arrived) {
		return arrived
	}
	return latest
}

// hold judges whether what was done then is called for now. A wrong clock alone never holds anything: where estimates
// differ, the one that makes it young counts, and where there is none the arrival counts, because a double alarm beats no alarm.
func (a age) hold(now time.Time) Hold {
	arrived := a.Arrived
	if arrived.After(now) {
		arrived = a.when(now)
	}
	switch {
	case now.Sub(arrived) >= OpenFor:
		return HeldLate
	case arrived.Sub(a.when(now)) >= OpenFor:
		return HeldOld
	}
	return NotHeld
}

// Watch is what a site knows of clocks. The zero value knows nothing: then arrivals count.
type Watch struct {
	Self event.SiteID
	// Clock returns how far a site's wall clock is ahead of what most sites show (eventlog.Replicator.Clock), and false if it was
	// never measured. It answers from memory. Nil: none was.
	Clock func(event.SiteID) (ahead time.Duration, known bool)
	// Timeline is shared by the Caller and the Service of a site.
	Timeline *Timeline
}

func (w Watch) clock(site event.SiteID) (time.Duration, bool) {
	if w.Clock == nil {
		return 0, false
	}
	return w.Clock(site)
}

// age gathers what is known of a moment of the alarm.
func (w Watch) age(a *Alarm, m Moment) age {
	out := age{Moment: m}
	out.Arrived = w.Timeline.Today(m.Arrived)
	if m.Site == w.Self {
		out.At, out.wrong = w.Timeline.Today(m.At), []time.Duration{0}
		return out
	}
	ours, _ := w.clock(w.Self)
	if ahead, known := w.clock(m.Site); known {
		out.wrong = append(out.wrong, ahead-ours)
	}
	for _, n := range a.clocks.of(m.Fact) {
		out.wrong = append(out.wrong, n.ahead()-ours)
	}
	if len(out.wrong) == 0 {
		out.wrong = w.witnessed(a, out, ours)
	}
	return out
}

// witnessed estimates a clock that nobody has compared: a site whose clock is known has said long before the arrival that it
// calls for the alarm. So the history that a new site is given is not called for again, though its origin is long gone.
func (w Watch) witnessed(a *Alarm, of age, ours time.Duration) []time.Duration {
	for site, sign := range a.callers.Sites {
		ahead, known := w.clock(site)
		if !known {
			continue
		}
		if called := wallTime(sign.Wall).Add(ours - ahead); of.Arrived.Sub(called) >= OpenFor {
			return []time.Duration{of.At.Sub(called)}
		}
	}
	return nil
}

// hold judges the alarm's present wave.
func (w Watch) hold(a *Alarm, now time.Time) Hold { return w.age(a, a.start).hold(now) }

// MaxLinkValid bounds how long a link takes replies, whatever the site says that made it.
const MaxLinkValid = 366 * 24 * time.Hour

// expires returns until when, by our clock, a link of the alarm takes replies. What the link says is by the clock of the site that
// raised the alarm, so only how long after the raising counts.
func (w Watch) expires(a *Alarm, l Link, now time.Time) time.Time {
	valid := min(max(0, l.Expires.Sub(a.RaisedAt)), MaxLinkValid)
	return w.age(a, a.raising()).when(now).Add(valid)
}

// raising returns when the alarm was raised.
func (a *Alarm) raising() Moment {
	return Moment{Fact: a.Event, Site: a.Origin, At: a.RaisedAt, Arrived: a.ArrivedAt}
}

// judge fills in what this site makes of the alarm's times.
func (w Watch) judge(a *Alarm, now time.Time) {
	a.Clock = a.clocks.warning(a.Event, w.Self)
	if a.Due > 0 {
		a.Held = w.hold(a, now)
	}
}
