// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/demo/phones"
	"codeberg.org/holdfast/holdfast/fault"
)

// The scenarios.
const (
	scenarioProviderLoss = "provider-loss"
	scenarioPartition    = "partition"
	scenarioNone         = "none"
)

// Options are the flags of the demonstration.
type Options struct {
	People   int    // both authorities together
	Scenario string // provider-loss, partition or none
	Seed     uint64
	Exit     bool // end after the table instead of staying up
	JSON     bool // print one object instead of a table
}

// Run tells the story: it blocks until the story is over and, without Exit, until ctx ends. The result goes to out, what
// is going on to progress. It returns an error if the story did not end as it must.
func Run(ctx context.Context, o Options, out, progress io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-orphaned(ctx):
			cancel(errOrphaned)
		case <-ctx.Done():
		}
	}()
	w, err := newWorld(newTeller(progress))
	if err != nil {
		return err
	}
	defer w.close()
	r, err := w.tellStory(ctx, o)
	if err != nil {
		return endOf(ctx, err)
	}
	if err := r.write(out, o.JSON); err != nil {
		return err
	}
	if !o.Exit {
		if err := w.stayUp(ctx, o.JSON, out); err != nil {
			return err
		}
	}
	return r.Good()
}

func (o Options) check() error {
	if o.People < 20 || o.People > 100_000 {
		return fault.New(fault.Invalid, "demo.people", "the number of people is out of bounds", "choose 20 to 100000").At(0, "--people")
	}
	switch o.Scenario {
	case scenarioProviderLoss, scenarioPartition, scenarioNone:
		return nil
	}
	return fault.New(fault.Invalid, "demo.scenario", fmt.Sprintf("there is no scenario %q", o.Scenario),
		"choose provider-loss, partition or none").At(0, "--scenario")
}

func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Canceled
	}
	return err
}

func (r Result) write(out io.Writer, asJSON bool) error {
	if asJSON {
		return r.writeJSON(out)
	}
	return r.writeTable(out)
}

// story is one telling: what was raised, and what was measured on the way.
type story struct {
	*world
	Options
	result   Result
	alarms   []raised
	expected int // people with a channel, over all alarms
	trigger  time.Time
}

// raised is one alarm of the story.
type raised struct {
	authority authority
	id        alarm.ID
}

func (w *world) tellStory(ctx context.Context, o Options) (Result, error) {
	s := &story{world: w, Options: o, result: Result{Scenario: o.Scenario, Seed: o.Seed}}
	steps := []func(context.Context) error{
		func(ctx context.Context) error { return w.startPhones(ctx, o.Seed) },
		w.startSites,
		func(ctx context.Context) error { return w.settle(ctx, o.People, o.Seed) },
		s.play,
		s.awaitReplies,
		s.measure,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return s.result, err
		}
	}
	return s.result, nil
}

func (s *story) play(ctx context.Context) error {
	switch s.Scenario {
	case scenarioProviderLoss:
		return s.providerLoss(ctx)
	case scenarioPartition:
		return s.partition(ctx)
	}
	return s.undisturbed(ctx)
}

func (s *story) undisturbed(ctx context.Context) error {
	for _, a := range authorities {
		if err := s.raise(ctx, s.sites[0], a); err != nil {
			return err
		}
	}
	return s.awaitCalled(ctx)
}

// providerLoss kills the calling site with SIGKILL when a seeded share has been called, and starts it again when the
// others have called the rest.
func (s *story) providerLoss(ctx context.Context) error {
	for _, a := range authorities {
		if err := s.raise(ctx, s.sites[0], a); err != nil {
			return err
		}
	}
	share := 0.30 + 0.25*rand.New(rand.NewPCG(s.Seed, 7)).Float64()
	if _, err := s.watch(ctx, "calling", func(c phones.Count) bool { return float64(c.People) >= share*float64(s.expected) }); err != nil {
		return err
	}
	victim := s.sites[0]
	victim.proc.kill()
	killed := time.Now()
	before, err := s.count(ctx)
	if err != nil {
		return err
	}
	s.result.CalledBeforeKill = before.People
	s.tell.say("%s is dead (kill -9): %d of %d people had been called", victim.name, before.People, s.expected)
	if err := s.awaitTakeover(ctx, before, killed); err != nil {
		return err
	}
	if err := s.awaitCalled(ctx); err != nil {
		return err
	}
	s.tell.say("everybody is called; %s returns", victim.name)
	mended := time.Now()
	if err := victim.start(ctx); err != nil {
		return err
	}
	return s.heal(ctx, mended)
}

func (s *story) awaitTakeover(ctx context.Context, before phones.Count, killed time.Time) error {
	victim := s.sites[0].label
	others := func(c phones.Count) int { return c.Handovers - c.BySender[victim] }
	c, err := s.watch(ctx, "waiting for another", func(c phones.Count) bool { return others(c) > others(before) })
	if err != nil {
		return err
	}
	s.result.TakeoverSeconds = time.Since(killed).Seconds()
	for label, n := range c.BySender {
		if label != victim && n > before.BySender[label] {
			s.tell.say("%s has taken over after %.1f s", label, s.result.TakeoverSeconds)
		}
	}
	return nil
}

// partition cuts the box off; one authority raises its alarm there, the other outside; replies come in on both sides.
func (s *story) partition(ctx context.Context) error {
	box := s.sites[len(s.sites)-1]
	s.cut(box, true)
	s.tell.say("%s is cut off from the other sites", box.name)
	if err := s.raise(ctx, box, authorities[0]); err != nil {
		return err
	}
	if err := s.raise(ctx, s.sites[0], authorities[1]); err != nil {
		return err
	}
	if err := s.awaitCalled(ctx); err != nil {
		return err
	}
	if err := s.awaitReplies(ctx); err != nil {
		return err
	}
	s.tell.say("both halves have called everybody and taken replies; the line is mended")
	mended := time.Now()
	s.cut(box, false)
	return s.heal(ctx, mended)
}

func (s *story) heal(ctx context.Context, mended time.Time) error {
	if err := s.converge(ctx, time.Minute); err != nil {
		return err
	}
	s.result.HealSeconds = time.Since(mended).Seconds()
	s.tell.say("healed after %.2f s", s.result.HealSeconds)
	return nil
}

func (s *story) raise(ctx context.Context, at *station, a authority) error {
	ranking := []*station{at}
	for _, o := range s.sites {
		if o != at {
			ranking = append(ranking, o)
		}
	}
	if s.trigger.IsZero() {
		s.trigger = time.Now()
	}
	r, err := at.remote.raise(ctx, a, ranking)
	if err != nil {
		return fmt.Errorf("raise the alarm of %s: %w", a.nameDE, err)
	}
	s.alarms = append(s.alarms, raised{a, r.ID})
	s.expected += r.People - r.WithoutChannel
	s.result.People += r.People
	s.result.WithoutChannel += r.WithoutChannel
	s.tell.say("%s raises an exercise alarm at %s: %d people, %d without any channel", a.nameDE, at.name, r.People, r.WithoutChannel)
	return nil
}

// watch draws the bar until enough is true, and returns the count that made it so.
func (s *story) watch(ctx context.Context, label string, enough func(phones.Count) bool) (phones.Count, error) {
	var last phones.Count
	err := eventually(ctx, 3*time.Minute, label, func() (err error) {
		if last, err = s.count(ctx); err != nil {
			return err
		}
		if last.Handovers > 0 && s.result.FirstCallSeconds == 0 {
			s.result.FirstCallSeconds = last.First.Sub(s.trigger).Seconds()
		}
		s.tell.bar(label, last.People, s.expected, fmt.Sprintf("%d messages, %d replies", last.Handovers, last.Replies))
		if !enough(last) {
			return errors.New("not yet")
		}
		return nil
	})
	return last, err
}

// awaitCalled waits until everybody with a channel is called on every channel the sites have.
func (s *story) awaitCalled(ctx context.Context) error {
	if _, err := s.watch(ctx, "called", func(c phones.Count) bool { return c.People >= s.expected }); err != nil {
		return err
	}
	for _, r := range s.alarms {
		err := eventually(ctx, time.Minute, "nothing is left to hand over", func() error {
			for _, at := range s.sites[1:] {
				if pending, err := at.remote.pending(ctx, r); err == nil && pending == 0 {
					return nil
				}
			}
			return errors.New("some messages are still due")
		})
		if err != nil {
			return err
		}
	}
	c, err := s.count(ctx)
	s.result.AllCalledSeconds = c.Last.Sub(s.trigger).Seconds()
	return err
}

func (s *story) awaitReplies(ctx context.Context) error {
	_, err := s.watch(ctx, "replies", func(c phones.Count) bool { return c.Replying == 0 })
	return err
}

func (s *story) measure(ctx context.Context) error {
	if err := s.converge(ctx, time.Minute); err == nil {
		s.result.Converged = true
	}
	var err error
	if s.result.StateHashes, err = s.hashes(ctx); err != nil {
		return err
	}
	c, err := s.count(ctx)
	if err != nil {
		return err
	}
	s.tell.closeBar()
	r := &s.result
	r.Called, r.Handovers, r.Duplicates, r.Replies, r.Unanswered = c.People, c.Handovers, c.Duplicates, c.Replies, c.Unanswered
	r.Unreached = max(0, s.expected-c.People)
	r.DuplicatesPercent = 100 * float64(c.Duplicates) / float64(max(1, c.Handovers))
	r.CalledBeforeKillPercent = 100 * float64(r.CalledBeforeKill) / float64(max(1, r.Called))
	if r.RepliesLost, err = s.lostReplies(ctx); err != nil {
		return err
	}
	for _, at := range s.sites {
		n, err := at.remote.merged(ctx)
		if err != nil {
			return err
		}
		r.MergedEvents += n
	}
	return nil
}

// lostReplies counts the replies that a phone got a 2xx for and that any site does not have.
func (s *story) lostReplies(ctx context.Context) (int, error) {
	var taken []phones.Reply
	if err := s.askPhones(ctx, "/replies", &taken); err != nil {
		return 0, err
	}
	lost := make(map[phones.Reply]bool)
	for _, at := range s.sites {
		have := make(map[string]string)
		for _, r := range s.alarms {
			if err := at.remote.replies(ctx, r, have); err != nil {
				return 0, fmt.Errorf("ask %s for its replies: %w", at.name, err)
			}
		}
		for _, t := range taken {
			if have[t.Alarm+"/"+t.Person] != t.Kind {
				lost[t] = true
			}
		}
	}
	return len(lost), nil
}

// Up tells a program where the sites of a demonstration are that stays up: with --json it is the second line, after the Result.
type Up struct {
	Sites  []UpSite `json:"sites"`
	Staff  []Staff  `json:"staff"`
	Phones string   `json:"phones"` // URL that answers /count, /replies, /handovers and /messages
}

// UpSite is one site that stays up.
type UpSite struct {
	Label  string `json:"label"`
	Name   string `json:"name"`
	URL    string `json:"url"`
	Data   string `json:"data"`   // the site's folder, for commands with --data
	SignIn string `json:"signIn"` // a link, good once
}

// invite says how to come in. Every link is good once; the sessions that they begin are good at all three sites.
func (t *teller) invite(up Up) {
	t.say("The sites stay up until Ctrl-C. Open a link, good once; whoever is signed in is so at all sites of their authority:")
	for _, s := range up.Staff {
		if s.SignIn != "" {
			t.say("  %-12s sign in as %s, %s: %s", s.Authority, s.Name, rolesInWords(s.Roles), s.SignIn)
		} else {
			t.say("  %-12s enrol as %s, with a passkey: %s", s.Authority, s.Name, s.Invite)
		}
	}
	for _, s := range up.Sites {
		t.say("  %-28s %s  (as its operator: %s)", s.Name, s.URL, s.SignIn)
	}
}

func rolesInWords(roles []access.Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = strings.ReplaceAll(string(r), "-", " ")
	}
	return strings.Join(words, ", ")
}

// stayUp prints where the portals are and waits for the end.
func (w *world) stayUp(ctx context.Context, asJSON bool, out io.Writer) error {
	up := Up{Phones: w.ask.Ask}
	for _, s := range w.sites {
		at := UpSite{Label: s.label, Name: s.name, URL: s.url(), Data: s.data}
		link, err := s.remote.signIn(ctx)
		if err != nil {
			link = at.URL
		}
		at.SignIn = link
		up.Sites = append(up.Sites, at)
	}
	staff, err := w.links(ctx)
	if err != nil {
		return err
	}
	up.Staff = staff
	w.tell.invite(up)
	if asJSON {
		if err := json.NewEncoder(out).Encode(up); err != nil {
			return err
		}
	}
	<-ctx.Done()
	w.tell.say("bye")
	return nil
}
