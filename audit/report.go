// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"fmt"
	"io"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// Report is what Verify has found in an export.
type Report struct {
	Authority event.AuthorityID `json:"authority"`
	// By and Made are which site wrote the file and when; nobody has signed these two.
	By    event.SiteID `json:"by"`
	Made  time.Time    `json:"made"`
	Sites []SiteReport `json:"sites"`
	Forks []Fork       `json:"forks,omitempty"`
	// Problems are what is wrong with the file, maxProblems at most; none means that it is sound.
	Problems []Problem `json:"problems,omitempty"`
	Pages    int       `json:"pages"`
	Lines    int       `json:"lines"`
}

// SiteReport is what an export holds of one site.
type SiteReport struct {
	Site     event.SiteID   `json:"site"`
	Pages    int            `json:"pages"`
	Lines    int            `json:"lines"`
	Branches []BranchReport `json:"branches"`
}

// BranchReport says how far a branch goes in the export: that is what to compare with the export of another site.
type BranchReport struct {
	Branch eventlog.Branch `json:"branch"`
	Pages  int             `json:"pages"`
	Lines  int             `json:"lines"`
	// EndPage and EndHash name the last page. Where a log ends earlier than in another site's export, the rest had not
	// arrived when this one was made, or somebody has cut it off.
	EndPage uint64        `json:"end_page"`
	EndHash eventlog.Hash `json:"end_hash"`
	// First and Last are when the first and the last page were written, by the origin's wall clock.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Succeeds is the head of the log that this one goes on from, if its first page names one.
	Succeeds *eventlog.Head `json:"succeeds,omitempty"`
}

// Fork is one page number for which a site has signed different pages. It is no problem of the file, but of the site.
type Fork struct {
	Log    eventlog.LogID  `json:"log"`
	Page   uint64          `json:"page"`
	Hashes []eventlog.Hash `json:"hashes"`
}

// Problem is one thing that is wrong with an export.
type Problem struct {
	// Row is the row of the file, counted from 1.
	Row int `json:"row"`
	// Branch is the branch whose pages stand there, "" outside of one; Page is the number of the page if it is known.
	Branch string `json:"branch,omitempty"`
	Page   uint64 `json:"page,omitempty"`
	Text   string `json:"text"`
}

// String returns the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "row %d", p.Row)
	if p.Branch != "" {
		fmt.Fprintf(&b, ", %s", p.Branch)
	}
	if p.Page > 0 {
		fmt.Fprintf(&b, ", page %d", p.Page)
	}
	return b.String() + ": " + p.Text
}

// Print writes the report as text: what holds, where each log ends, forks and problems. It returns w's error.
func (r Report) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "audit of %s, exported by site %s at %s: %d lines on %d pages\n", r.Authority, r.By.Short(), r.Made.UTC().Format(time.RFC3339), r.Lines, r.Pages)
	for _, s := range r.Sites {
		fmt.Fprintf(&b, "site %s: %d lines on %d pages, every page signed by it\n", s.Site, s.Lines, s.Pages)
		for _, br := range s.Branches {
			fmt.Fprintf(&b, "  %s ends at page %d, hash %s (%s to %s)\n", br.Branch, br.EndPage, br.EndHash, br.First.Format(time.RFC3339), br.Last.Format(time.RFC3339))
			if br.Succeeds != nil {
				fmt.Fprintf(&b, "    goes on from %s, page %d, hash %s\n", br.Succeeds.Branch, br.Succeeds.Page, br.Succeeds.Hash)
			}
		}
	}
	for _, f := range r.Forks {
		fmt.Fprintf(&b, "FORK: %s has signed %d different pages %d: %v\n", f.Log, len(f.Hashes), f.Page, f.Hashes)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "PROBLEM: %s\n", p)
	}
	if len(r.Problems) == 0 {
		b.WriteString("sound: signatures, chain of hashes and numbering hold. Compare where the logs end with the export of another site.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
