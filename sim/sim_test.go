// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	seed  = flag.Uint64("seed", 0, "run this one world and print its trace")
	seeds = flag.Uint64("seeds", 25, "how many worlds to run")
	first = flag.Uint64("first", 1, "the seed of the first world")
)

// realEvery is how many worlds there are for one with real JetStream stores.
const realEvery = 30

func options(t *testing.T, s uint64) Options {
	return Options{Seed: s, Dir: t.TempDir(), JetStream: s%realEvery == 0}
}

// TestSeeds runs worlds and wants every promise kept. A failure prints the seed and the trace.
func TestSeeds(t *testing.T) {
	if *seed != 0 {
		o := options(t, *seed)
		o.Verbose = io.Writer(os.Stdout)
		runOne(t, o)
		return
	}
	var sum Report
	worlds := 0
	for r := range runMany(t) {
		if worlds++; worlds%25 == 0 {
			fmt.Printf("%d of %d worlds\n", worlds, *seeds)
		}
		sum.Facts += r.Facts
		sum.Acknowledged += r.Acknowledged
		sum.Secured += r.Secured
		sum.Pages += r.Pages
		sum.Forks += r.Forks
		sum.Alarms += r.Alarms
		sum.Called += r.Called
		sum.Twice += r.Twice
		sum.Left += r.Left
		sum.Apart += r.Apart
		sum.Held += r.Held
		sum.Duels += r.Duels
		sum.Doubled += r.Doubled
		sum.Changes += r.Changes
		sum.Forged += r.Forged
		sum.Planted += r.Planted
		sum.Sessions += r.Sessions
		sum.Verified += r.Verified
		sum.Refused += r.Refused
		sum.Used += r.Used
		sum.Loose += r.Loose
		sum.Judged += r.Judged
		sum.Granted += r.Granted
		sum.Approved += r.Approved
		sum.Lines += r.Lines
		sum.Rounds = max(sum.Rounds, r.Rounds)
	}
	t.Logf("%d worlds: %d facts, %d acknowledged, %d secured, %d copies of pages, %d forks, %d alarms, %d hand-overs, %d of them twice, %d forbidden sites left, %d logs with pages apart; at most %d rounds to settle",
		*seeds, sum.Facts, sum.Acknowledged, sum.Secured, sum.Pages, sum.Forks, sum.Alarms, sum.Called, sum.Twice, sum.Left, sum.Apart, sum.Rounds)
	t.Logf("people: %d sessions, %d tokens shown, %d of them refused, %d secrets accepted twice (of which %d tokens are left), %d rights judged, %d grants, %d deeds of two people, %d lines of the audit",
		sum.Sessions, sum.Verified, sum.Refused, sum.Used, sum.Loose, sum.Judged, sum.Granted, sum.Approved, sum.Lines)
	t.Logf("hard conditions: %d alarms through an interruption, %d hand-overs doubled after it at %d changes of caller; %d alarms held in the end; rogues forged %d events and planted %d keys",
		sum.Duels, sum.Doubled, sum.Changes, sum.Held, sum.Forged, sum.Planted)
	if *seeds >= 25 && (sum.Used == 0 || sum.Approved == 0 || sum.Verified == sum.Refused || sum.Secured == 0 || sum.Forks == 0 || sum.Left == 0 || sum.Apart == 0) {
		t.Error("too little happened in these worlds for them to mean anything")
	}
}

// runMany runs worlds on all processors; each is single-threaded.
func runMany(t *testing.T) iter.Seq[Report] {
	next, done := make(chan uint64), make(chan Report)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for s := range next {
				done <- runOne(t, options(t, s))
			}
		})
	}
	go func() {
		for s := *first; s < *first+*seeds; s++ {
			next <- s
		}
		close(next)
		workers.Wait()
		close(done)
	}()
	return func(yield func(Report) bool) {
		for r := range done {
			yield(r)
		}
	}
}

func runOne(t *testing.T, o Options) Report {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Errorf("%v\n%v", err, r)
	} else if len(r.Violations) > 0 {
		t.Error(r)
	}
	return r
}

// TestAWorldFollowsFromItsSeed runs worlds twice: a failure can be looked at again only if they are the same.
func TestAWorldFollowsFromItsSeed(t *testing.T) {
	for s := uint64(1002); s <= 1005; s++ { // 1005 has recovery codes
		one := runOne(t, Options{Seed: s})
		two := runOne(t, Options{Seed: s})
		if diff := cmp.Diff(one.Trace, two.Trace); diff != "" {
			t.Errorf("seed %d runs differently the second time:\n%.3000s", s, diff)
		}
	}
}
