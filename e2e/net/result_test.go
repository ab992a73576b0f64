// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/demo/phones"
)

// result is what was measured in one scenario.
type result struct {
	Name                string
	Expected, Unreached int // people with a channel
	Messages, Doubled   int
	Apart               int           // of those doubled, handed over while both callers could not know of each other
	Takeovers           int           // facts
	Starts              int           // how often a site began to call, as the phones saw it
	First, All          time.Duration // from the alarm to the first hand-over, and to the last before mending
	AsItIs              time.Duration // from the alarm to one state, before mending; 0 if it was not reached
	Healed              time.Duration // from mending to one state
	Carried             int64         // bytes between the sites from the alarm to mending
	Pairs               []string      // who doubled whose messages, in words
	Faults              []string
}

// starts counts how often a site began to hand over, after it had not done so for a while.
func starts(list []phones.Handover) (n int) {
	last := make(map[string]time.Time)
	for _, h := range list {
		if at, ok := last[h.From]; !ok || h.At.Sub(at) > startAfter {
			n++
		}
		last[h.From] = h.At
	}
	return n
}

// startAfter is less than the shortest wait before another site takes over.
const startAfter = 4 * time.Second

// doubledApart counts the second hand-overs of a message which one site made between begin and end after another one
// had made the first in that time, where one of the two was the given site: they were cut off from each other, and a
// double alarm beats none.
func doubledApart(list []phones.Handover, site string, begin, end time.Time) (n int) {
	first := make(map[string]phones.Handover)
	for _, h := range list {
		f, double := first[h.Key]
		if !double {
			first[h.Key] = h
			continue
		}
		if !f.At.Before(begin) && h.At.Before(end) && (f.From == site) != (h.From == site) {
			n++
		}
	}
	return n
}

// pairs tells who doubled whose messages, and when: "a then b: 132 from 9.8 s to 11.2 s, first handed over from 4.9 s on".
func pairs(list []phones.Handover, raised time.Time) (out []string) {
	type pair struct {
		n                    int
		first, double, until time.Time
	}
	first, found := make(map[string]phones.Handover), make(map[string]*pair)
	for _, h := range list {
		f, double := first[h.Key]
		if !double {
			first[h.Key] = h
			continue
		}
		name := f.From + " then " + h.From
		p := found[name]
		if p == nil {
			p = &pair{first: f.At, double: h.At}
			found[name] = p
		}
		if f.At.Before(p.first) {
			p.first = f.At
		}
		p.n, p.until = p.n+1, h.At
	}
	for name, p := range found {
		out = append(out, fmt.Sprintf("%s: %d from %.1f s to %.1f s, first handed over from %.1f s on", name, p.n,
			p.double.Sub(raised).Seconds(), p.until.Sub(raised).Seconds(), p.first.Sub(raised).Seconds()))
	}
	slices.Sort(out)
	return out
}

// changes is how often another site began to call.
func (r result) changes() int { return r.Takeovers }

func (r result) judge(t *testing.T) {
	t.Helper()
	for _, f := range r.Faults {
		t.Error(f)
	}
	if r.Unreached != 0 {
		t.Errorf("%d of %d people were not reached", r.Unreached, r.Expected)
	}
	if most := alarm.DefaultWindow * r.changes(); r.Doubled-r.Apart > most {
		t.Errorf("%d messages were double, %d of them unavoidably; %d changes of caller excuse %d",
			r.Doubled, r.Apart, r.changes(), most)
		t.Logf("%s", strings.Join(r.Pairs, "\n"))
	}
}

// orDash writes seconds, or a dash for what did not come about.
func orDash(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", d.Seconds())
}

func printTable(list []result) {
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "scenario\tpeople\tunreached\tfirst call s\tall called s\tone state s\thealed s\t"+
		"messages\tdouble\tunavoidable\ttakeovers\tstarts\tkB between sites\t")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.2f\t%.1f\t%s\t%.2f\t", r.Name, r.Expected, r.Unreached,
			r.First.Seconds(), r.All.Seconds(), orDash(r.AsItIs), r.Healed.Seconds())
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%s\n", r.Messages, r.Doubled, r.Apart, r.Takeovers, r.Starts,
			r.Carried/1000, strings.Join(r.Faults, "; "))
	}
	_ = t.Flush()
	fmt.Println()
}
