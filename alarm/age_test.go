// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

func TestAWrongClockAloneHoldsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		at, arrived, now time.Duration // from noon
		wrong            []time.Duration
		want             Hold
	}{
		"fresh":                                         {0, 0, time.Second, []time.Duration{0}, NotHeld},
		"a day after it came":                           {0, 0, day, []time.Duration{0}, HeldLate},
		"a moment before":                               {0, 0, day - 1, []time.Duration{0}, NotHeld},
		"it lay on a cut-off site for 3 days":           {0, 3 * day, 3 * day, []time.Duration{0}, HeldOld},
		"it lay there for an hour":                      {0, time.Hour, time.Hour, []time.Duration{0}, NotHeld},
		"it lay there, and its clock is fast":           {5 * day, 3 * day, 3 * day, []time.Duration{5 * day}, HeldOld},
		"it lay there, by a clock nobody has compared":  {0, 3 * day, 3 * day, nil, NotHeld},
		"it lay there by one estimate, not by another":  {0, 3 * day, 3 * day, []time.Duration{0, -3 * day}, NotHeld},
		"a clock that nobody has compared, a day after": {-9 * year, 0, day, nil, HeldLate},
		"our clock was set back by ten years":           {0, 0, -10 * year, []time.Duration{0}, NotHeld},
		"our clock was set back, it came long ago":      {-10*year - 2*day, 0, -10 * year, []time.Duration{0}, HeldLate},
	} {
		a := age{Moment: Moment{At: noon.Add(c.at), Arrived: noon.Add(c.arrived)}, wrong: c.wrong}
		if got := a.hold(noon.Add(c.now)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	for _, off := range []time.Duration{0, time.Second, time.Hour, day - time.Second, day, 2 * day, 89 * day, 90 * day, 91 * day, year, 10 * year} {
		for _, off := range []time.Duration{off, -off} {
			for known, wrong := range map[string][]time.Duration{"measured": {off}, "not compared": nil} {
				a := age{Moment: Moment{At: noon.Add(off), Arrived: noon}, wrong: wrong}
				for _, after := range []time.Duration{0, time.Minute, day - time.Second} {
					if got := a.hold(noon.Add(after)); got != NotHeld {
						t.Errorf("a clock that is %v off, %s, holds an alarm %v after it came: %q", off, known, after, got)
					}
				}
				if got := a.hold(noon.Add(day)); got != HeldLate {
					t.Errorf("a clock that is %v off, %s: got %q a day later", off, known, got)
				}
			}
		}
	}
}

func TestOurOwnWrongClockHoldsNothing(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, 2 * day, 91 * day, 10 * year, -time.Hour, -2 * day, -91 * day, -10 * year} {
		ours := func(site event.SiteID) (time.Duration, bool) {
			if site == "self" {
				return off, true
			}
			return 0, true
		}
		w := Watch{Self: "self", Clock: ours}
		a := &Alarm{Event: "f", start: Moment{Fact: "f", Site: "origin", At: noon, Arrived: noon.Add(off)}}
		if got := w.hold(a, noon.Add(off+time.Hour)); got != NotHeld {
			t.Errorf("our clock is off by %v: got %q", off, got)
		}
		old := &Alarm{Event: "f", start: Moment{Fact: "f", Site: "origin", At: noon.Add(-3 * day), Arrived: noon.Add(off)}}
		if got := w.hold(old, noon.Add(off)); got != HeldOld {
			t.Errorf("our clock is off by %v, and the alarm is old: got %q", off, got)
		}
	}
}

// TestHistoryIsNotCalledForAgain: a new site is given alarms of years, and the sites that raised them may be gone.
func TestHistoryIsNotCalledForAgain(t *testing.T) {
	known := func(site event.SiteID) (time.Duration, bool) { return 0, site == "two" }
	w := Watch{Self: "new", Clock: known}
	a := &Alarm{Event: "f", start: Moment{Fact: "f", Site: "gone", At: noon.Add(-3 * year), Arrived: noon}}
	a.callers.Sites = map[event.SiteID]Sign{"two": {Wall: noon.Add(-3 * year).UnixMilli()}, "gone": {Wall: noon.Add(-3 * year).UnixMilli()}}
	if got := w.hold(a, noon); got != HeldOld {
		t.Errorf("an alarm that a site with a right clock called for three years ago is %q", got)
	}
	delete(a.callers.Sites, "two")
	if got := w.hold(a, noon); got != NotHeld {
		t.Errorf("an alarm of which nobody with a known clock has said anything is %q", got)
	}
}

func TestTheTimelineReadsOldTimesByTheClockOfToday(t *testing.T) {
	for _, set := range []time.Duration{time.Minute, 3 * day, 10 * year, -time.Minute, -3 * day, -10 * year} {
		var l Timeline
		steady := noon
		for i := range 100 { // ten seconds
			l.note(noon.Add(time.Duration(i)*100*time.Millisecond), steady.Add(time.Duration(i)*100*time.Millisecond))
		}
		raised := noon.Add(4 * time.Second)
		if got := l.Today(raised); !got.Equal(raised) || l.sets() != 0 {
			t.Fatalf("before anything was set: %v, %d", got, l.sets())
		}
		after := 10 * time.Second
		l.note(noon.Add(after+set), steady.Add(after))
		l.note(noon.Add(after+set+time.Second), steady.Add(after+time.Second))
		if got, want := l.Today(raised), raised.Add(set); !got.Equal(want) || l.sets() != 1 {
			t.Errorf("set by %v: got %v, want %v", set, got, want)
		}
		if now := noon.Add(after + set); !l.Today(now).Equal(now) {
			t.Errorf("set by %v: the present is moved", set)
		}
		if now := noon.Add(after + set); l.earliest(now).After(now) || l.earliest(now).After(now.Add(-set)) {
			t.Errorf("set by %v: the earliest reading is %v", set, l.earliest(now))
		}
	}
	var none *Timeline
	none.note(noon, noon)
	if !none.Today(noon).Equal(noon) || !none.earliest(noon).Equal(noon) {
		t.Error("without a timeline times are not what they are")
	}
}

func TestALinkLastsAsLongAsItSaysWhateverTheClockSays(t *testing.T) {
	for _, off := range []time.Duration{0, 91 * day, 10 * year, -91 * day, -10 * year} {
		for known, clock := range map[string]func(event.SiteID) (time.Duration, bool){
			"measured": func(s event.SiteID) (time.Duration, bool) {
				if s == "origin" {
					return off, true
				}
				return 0, true
			}, "never met": nil,
		} {
			w := Watch{Self: "self", Clock: clock}
			a := &Alarm{Event: "f", Origin: "origin", RaisedAt: noon.Add(off), ArrivedAt: noon}
			l := Link{Expires: noon.Add(off + DefaultLinkValid)}
			if got := w.expires(a, l, noon.Add(time.Hour)); !got.Equal(noon.Add(DefaultLinkValid)) {
				t.Errorf("%v off, %s: it takes replies until %v", off, known, got)
			}
			l.Expires = noon.Add(50 * year)
			if got := w.expires(a, l, noon.Add(time.Hour)); got.After(noon.Add(MaxLinkValid)) {
				t.Errorf("%v off, %s: a link lives until %v", off, known, got)
			}
		}
	}
}
