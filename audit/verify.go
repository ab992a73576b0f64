// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"errors"
	"io"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// Report is what Verify has found in an export.
type Report struct {
	Authority event.AuthorityID `json:"authority"`
	// Made is when the file says it was made; nobody has signed that.
	Made  time.Time    `json:"made"`
	Sites []SiteReport `json:"sites"`
	Forks []Fork       `json:"forks,omitempty"`
	// Problems are everything that is wrong with the file; none means that it is sound.
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
	// EndPage and EndHash are the last page; a log that ends earlier here than elsewhere was cut off or had not arrived.
	EndPage uint64        `json:"end_page"`
	EndHash eventlog.Hash `json:"end_hash"`
	First   time.Time     `json:"first,omitzero"`
	Last    time.Time     `json:"last,omitzero"`
	// Succeeds is the head of the log that this one goes on from, if its first page names one.
	Succeeds *eventlog.Head `json:"succeeds,omitempty"`
}

// Fork is one page number for which a site has signed two different pages.
type Fork struct {
	Log    eventlog.LogID  `json:"log"`
	Page   uint64          `json:"page"`
	Hashes []eventlog.Hash `json:"hashes"`
}

// Problem is one thing that is wrong with an export.
type Problem struct {
	// Row is the line of the file, counted from 1.
	Row    int             `json:"row"`
	Branch eventlog.Branch `json:"branch,omitzero"`
	Page   uint64          `json:"page,omitempty"`
	Text   string          `json:"text"`
}

// Verify checks an export.
func Verify(r io.Reader) (Report, error) { return Report{}, errors.ErrUnsupported }
