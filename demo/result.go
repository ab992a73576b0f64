// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Result is what was measured, and what --json prints.
type Result struct {
	Scenario string `json:"scenario"`
	Seed     uint64 `json:"seed"`
	// People is how many persons the two authorities have together; WithoutChannel of them have none at all.
	People         int `json:"people"`
	WithoutChannel int `json:"without_channel"`
	// Called are persons whom the gateways' own count shows; Unreached had a channel, but no gateway accepted anything.
	Called    int `json:"called"`
	Unreached int `json:"unreached"`
	// Handovers are messages that gateways accepted; Duplicates are those with the same person, channel and wave as
	// an earlier one.
	Handovers         int     `json:"handovers"`
	Duplicates        int     `json:"duplicates"`
	DuplicatesPercent float64 `json:"duplicates_percent"`
	// Replies were taken by a site with a 2xx; RepliesLost are absent at any site after healing. Unanswered people wanted to
	// reply, and no link of their message led to a site that took it, however often they tried.
	Replies     int `json:"replies"`
	RepliesLost int `json:"replies_lost"`
	Unanswered  int `json:"unanswered"`
	// CalledBeforeKill is how many persons had been called at the moment of the kill, and the same in per cent of Called.
	CalledBeforeKill        int     `json:"called_before_kill"`
	CalledBeforeKillPercent float64 `json:"called_before_kill_percent"`
	// Times in seconds: from the trigger to the first and the last hand-over; from the kill to the first hand-over by another
	// site; from mending to equal state at all sites.
	FirstCallSeconds float64 `json:"first_call_seconds"`
	AllCalledSeconds float64 `json:"all_called_seconds"`
	TakeoverSeconds  float64 `json:"takeover_seconds"`
	HealSeconds      float64 `json:"heal_seconds"`
	// MergedEvents came in at some site after a cut, summed over the sites.
	MergedEvents int `json:"merged_events"`
	// Converged: every site computes the same hash over its stored rows and has every page the others have.
	Converged   bool              `json:"converged"`
	StateHashes map[string]string `json:"state_hashes"`
}

// Good reports whether the story ended as it must, and if not, why.
func (r Result) Good() error {
	hashes := make([]string, 0, len(r.StateHashes))
	for _, h := range r.StateHashes {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	switch {
	case r.Unreached != 0:
		return fmt.Errorf("%d people with a channel were not called", r.Unreached)
	case r.RepliesLost != 0:
		return fmt.Errorf("%d replies were lost", r.RepliesLost)
	case !r.Converged || len(slices.Compact(hashes)) != 1:
		return fmt.Errorf("the sites did not reach the same state: %v", r.StateHashes)
	}
	return nil
}

func (r Result) writeJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

func (r Result) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	row := func(label, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", label, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(t)
	row("people", "%d, %d of them without any channel", r.People, r.WithoutChannel)
	row("called", "%d (unreached %d)", r.Called, r.Unreached)
	row("messages handed over", "%d, %d of them double (%.2f %%)", r.Handovers, r.Duplicates, r.DuplicatesPercent)
	row("first call", "%.2f s after the trigger", r.FirstCallSeconds)
	row("all called", "%.2f s after the trigger", r.AllCalledSeconds)
	if r.Scenario == scenarioProviderLoss {
		row("called before the kill", "%d (%.0f %%)", r.CalledBeforeKill, r.CalledBeforeKillPercent)
		row("taken over", "%.2f s after the kill", r.TakeoverSeconds)
	}
	row("replies", "%d, lost %d, taken by no site %d", r.Replies, r.RepliesLost, r.Unanswered)
	if r.Scenario != scenarioNone {
		row("healed", "%.2f s after mending; %d events merged", r.HealSeconds, r.MergedEvents)
	}
	for _, site := range sortedKeys(r.StateHashes) {
		row("state at "+site, "%.16s…", r.StateHashes[site])
	}
	row("converged", "%v", r.Converged)
	fmt.Fprintln(t)
	return t.Flush()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
