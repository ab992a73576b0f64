// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/demo/phones"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/e2e/net/router"
)

// scenario is one way in which the network, or a site, is bad.
type scenario struct {
	name string
	// before lies on the sites or lines before the alarm is raised; nil is nothing.
	before func(w *world) error
	// stroke falls when a share of the people has been called; nil is nothing.
	stroke func(w *world) error
	share  float64
	// lasts is when the lines become perfect after the stroke; 0 leaves that until everybody is called.
	lasts time.Duration
	// apart: meanwhile A can hear of nobody's calls and nobody of A's, though all call.
	apart bool
	// repair is what has to be done besides making all lines perfect, when everybody is called; nil is nothing.
	repair func(w *world) error
	short  bool // runs in the short form, too
}

// The lines.
var (
	slow   = router.Conditions{BitsPerSecond: 64_000, Delay: 30 * time.Millisecond}
	loses  = router.Conditions{Loss: 0.05, Delay: 15 * time.Millisecond}
	drops  = router.Conditions{Loss: 0.20, Delay: 15 * time.Millisecond}
	far    = router.Conditions{Delay: 300 * time.Millisecond}
	bad    = router.Conditions{Delay: 300 * time.Millisecond, Loss: 0.05}
	flaps  = router.Conditions{Delay: 15 * time.Millisecond, Flap: 5 * time.Second}
	cutOff = router.Conditions{Cut: true}
)

func everyLine(c router.Conditions) func(*world) error {
	return func(w *world) error { w.toEvery(c); return nil }
}

var scenarios = []scenario{
	{name: "good lines"},
	{name: "64 kbit/s", before: everyLine(slow), short: true},
	{name: "5 % loss", before: everyLine(loses)},
	{name: "20 % loss", before: everyLine(drops), short: true},
	{name: "300 ms each way", before: everyLine(far)},
	{name: "flapping every 5 s", before: everyLine(flaps)},
	{name: "A to B cut one way", before: cutAToB(false)},
	{name: "A and B in a black hole, C relays", before: cutAToB(true)},
	{
		name:   "A cut off one way for 9 s while it calls",
		before: farGateways, share: 0.1, stroke: cutOffA(false), lasts: 9 * time.Second, apart: true,
	},
	{
		name:   "A cut off both ways for 9 s while it calls",
		before: farGateways, share: 0.1, stroke: cutOffA(true), lasts: 9 * time.Second, apart: true, short: true,
	},
	{
		name:  "A cut off both ways for 5.5 s, calls all in it",
		share: 0.5, stroke: cutOffA(true), lasts: 5500 * time.Millisecond, apart: true,
	},
	{name: "A cut off both ways until all are called", share: 0.3, stroke: cutOffA(true), apart: true},
	{name: "A cut off for 12 s when all are called", share: 1, stroke: cutOffA(true), lasts: 12 * time.Second},
	{name: "A killed, 300 ms and 5 % loss", before: everyLine(bad), share: 0.3, stroke: killA, repair: restartA},
	{name: "D answers garbage", before: (*world).addRogue},
	{
		name:   "A's clock 2 days behind, A killed",
		before: clockOfA(-48 * time.Hour), share: 0.3, stroke: killA, repair: restartA,
	},
	{name: "A paused for 9 s", before: farGateways, share: 0.1, stroke: pauseA, short: true},
}

// cutAToB drops what goes from A to B and, both ways, what goes back.
func cutAToB(both bool) func(*world) error {
	return func(w *world) error {
		w.oneWay(w.sites[0], w.sites[1], cutOff)
		if both {
			w.oneWay(w.sites[1], w.sites[0], cutOff)
		}
		return nil
	}
}

func killA(w *world) error {
	w.sites[0].kill()
	return nil
}

// restartA starts A by a clock that goes right.
func restartA(w *world) error { return w.sites[0].turnClock(0) }

// clockOfA starts A, anew if it runs, by a clock that is ahead of this machine's by that much, and waits until it has
// what the others have.
func clockOfA(ahead time.Duration) func(*world) error {
	return func(w *world) error {
		if err := w.sites[0].turnClock(ahead); err != nil {
			return err
		}
		return eventually(patience, "A is back", w.sameState)
	}
}

// farGateways puts the gateways 50 ms away, so that calling takes a while and something can happen in the middle of it.
func farGateways(w *world) error {
	for _, s := range w.sites {
		w.router.Line(s.addr, gateways).Set(router.Conditions{Delay: 50 * time.Millisecond})
		w.router.Line(gateways, s.addr).Set(router.Conditions{Delay: 50 * time.Millisecond})
	}
	return nil
}

// cutOffA drops all that goes from A to the other sites and, both ways, all that comes.
func cutOffA(both bool) func(*world) error {
	return func(w *world) error {
		for _, o := range w.sites[1:] {
			w.oneWay(w.sites[0], o, cutOff)
			if both {
				w.oneWay(o, w.sites[0], cutOff)
			}
		}
		return nil
	}
}

// pauseA stops A where it stands, for longer than it takes another site to take over.
func pauseA(w *world) error {
	if err := w.sites[0].pause(true); err != nil {
		return err
	}
	pass(9 * time.Second)
	return w.sites[0].pause(false)
}

// pass lets time pass: how long a cut lasts is part of a scenario.
func pass(d time.Duration) { <-time.After(d) }

// people is how many are called; the short form calls fewer.
var people = flag.Int("people", allPeople, "how many people are called")

const shortPeople = 800

// TestNetworks calls everybody under each scenario.
func TestNetworks(t *testing.T) {
	people := *people
	if people < 1 || people > allPeople {
		t.Fatalf("-people: choose 1 to %d", allPeople)
	}
	if testing.Short() {
		people = min(people, shortPeople)
	}
	var table []result
	for i, s := range scenarios {
		if testing.Short() && !s.short {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			r := play(t, s, uint64(i+1), people)
			table = append(table, r)
			r.judge(t)
		})
	}
	printTable(table)
}

// How long is waited for what.
const (
	callPatience    = 8 * time.Minute // until everybody is called: on a slow line it is the line that decides
	asItIsPatience  = time.Minute
	healPatience    = 2 * time.Minute  // until all sites have one state
	quietFor        = 12 * time.Second // longer than the last ranked site waits before it takes over
	quietAfterwards = 5 * time.Second  // longer than hand-overs take that were queued when their receipts came
	quietAtMost     = time.Minute
)

// story is one playing of a scenario.
type story struct {
	*world
	scenario
	result  result
	alarm   api.RaisedAlarm
	raised  time.Time
	struck  time.Time
	mended  time.Time // since when A and the others can know of each other again
	told    time.Time
	carried int64
}

// play tells the story of a scenario and returns what was measured. What does not come about in time is part of the
// result.
func play(t *testing.T, sc scenario, seed uint64, people int) result {
	s := &story{world: newScenarioWorld(t, seed, people), scenario: sc, result: result{Name: sc.name}}
	if s.before != nil {
		s.must(s.before(s.world))
	}
	s.carried = s.world.carried()
	s.raised = time.Now()
	var err error
	s.alarm, err = s.raise(directory.Audience{Everyone: true})
	s.must(err)
	s.result.Expected = s.alarm.People - s.alarm.WithoutChannel
	if s.stroke != nil {
		s.note(s.await("the stroke falls", s.share))
		s.say("the stroke falls")
		s.struck = time.Now()
		s.must(s.stroke(s.world))
		s.last()
	}
	s.note(s.await("everybody is called", 1))
	s.result.All = s.count().Last.Sub(s.raised)
	if s.apart && s.lasts == 0 || !s.awaitStateAsItIs() {
		s.note(s.awaitQuiet(quietFor))
	}
	s.result.Carried = s.world.carried() - s.carried
	s.heal()
	s.measure()
	return s.result
}

// last mends the lines when the stroke has lasted long enough.
func (s *story) last() {
	if s.lasts == 0 {
		return
	}
	pass(s.lasts)
	before := s.crossed()
	s.toEvery(router.Conditions{})
	s.say("the lines are good again")
	s.note(eventually(patience, "the sites hear of each other again", func() error {
		for i, n := range s.crossed() {
			if n == before[i] {
				return errors.New("on one of the lines to or from A nothing has come yet")
			}
		}
		return nil
	}))
	s.mended = time.Now().Add(inFlight)
}

// inFlight is how long hand-overs go on that were begun when a site could not know better: to the gateways and back, and
// until a word that has come is understood.
const inFlight = 300 * time.Millisecond

// crossed returns how many packets each line to or from A has delivered.
func (s *story) crossed() (packets []int64) {
	for _, o := range s.sites[1:3] {
		packets = append(packets, s.router.Line(s.sites[0].addr, o.addr).Count().Delivered,
			s.router.Line(o.addr, s.sites[0].addr).Count().Delivered)
	}
	return packets
}

// note keeps what did not come about.
func (s *story) note(err error) {
	if err != nil {
		s.result.Faults = append(s.result.Faults, err.Error())
		s.say("%v", err)
	}
}

func (s *story) say(format string, args ...any) {
	c := s.count()
	fmt.Printf("%7.1f s  %-46s %5d of %d called, %d messages, %d of them double  %s\n",
		time.Since(s.raised).Seconds(), s.name, c.ByAlarm[string(s.alarm.ID)], s.result.Expected,
		c.Handovers, c.Duplicates, fmt.Sprintf(format, args...))
	s.told = time.Now()
}

// count asks the phones, and shows every few seconds that something goes on.
func (s *story) count() phones.Count { return s.phones.Count() }

func (s *story) watch() phones.Count {
	if time.Since(s.told) > 5*time.Second {
		s.say("")
	}
	return s.count()
}

// await waits until a share of those who can be reached has been called.
func (s *story) await(what string, share float64) error {
	return eventually(callPatience, what, func() error {
		if c := s.watch(); float64(c.ByAlarm[string(s.alarm.ID)]) < share*float64(s.result.Expected) {
			return fmt.Errorf("%d of %d are called", c.ByAlarm[string(s.alarm.ID)], s.result.Expected)
		}
		return nil
	})
}

// awaitQuiet waits until no gateway has been given anything for a while: whoever wrongly takes over does so within it.
func (s *story) awaitQuiet(long time.Duration) error {
	begin := time.Now()
	return eventually(quietAtMost, "nobody calls any more", func() error {
		last := s.watch().Last
		if begin.After(last) {
			last = begin
		}
		if quiet := time.Since(last); quiet < long {
			return fmt.Errorf("the last message came %.0f s ago", quiet.Seconds())
		}
		return nil
	})
}

// awaitStateAsItIs waits for some time for the sites to reach one state under the conditions of the scenario, and
// reports whether they have: then all know who is called, and nobody calls again. A slow line may take longer; then the
// wait shows who takes over wrongly because receipts are late.
func (s *story) awaitStateAsItIs() bool {
	err := eventually(asItIsPatience, "", func() error { s.watch(); return errors.Join(s.nothingDue(), s.sameState()) })
	if err == nil {
		s.result.AsItIs = time.Since(s.raised)
	}
	return err == nil
}

// heal makes all lines perfect and waits until all sites have one state and nobody calls any more.
func (s *story) heal() {
	mended := time.Now()
	if s.lasts == 0 {
		s.mended = mended
	}
	s.toEvery(router.Conditions{})
	if s.repair != nil {
		s.must(s.repair(s.world))
	}
	s.say("everything is mended")
	err := eventually(healPatience, "all sites have the same state", func() error { s.watch(); return s.sameState() })
	s.note(err)
	s.result.Healed = time.Since(mended)
	s.note(s.awaitQuiet(quietAfterwards))
	s.note(eventually(healPatience, "nothing is due and all sites have the same state", func() error {
		s.watch()
		return errors.Join(s.nothingDue(), s.sameState())
	}))
}

func (s *story) nothingDue() error {
	for _, at := range s.sites[:3] {
		if at.proc == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
		due, err := at.stillDue(ctx, s.alarm.ID)
		cancel()
		if err != nil || due > 0 {
			return fmt.Errorf("%s: %d messages are due: %w", at.label, due, err)
		}
	}
	return nil
}

// measure asks the phones and a board for the figures.
func (s *story) measure() {
	c, r := s.count(), &s.result
	r.Unreached = r.Expected - c.ByAlarm[string(s.alarm.ID)]
	r.Messages, r.Doubled = c.Handovers, c.Duplicates
	if s.apart {
		r.Apart = doubledApart(s.phones.Handovers(), s.sites[0].label, s.struck, s.mended)
	}
	r.First = c.First.Sub(s.raised)
	r.Starts = starts(s.phones.Handovers())
	r.Pairs = pairs(s.phones.Handovers(), s.raised)
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	b, err := s.sites[1].client.Board(ctx, authority, s.alarm.ID)
	s.note(err)
	r.Takeovers = len(b.Takeovers)
	s.say("done")
}
