// SPDX-License-Identifier: EUPL-1.2

// Package health gathers what is wrong with a site's own stores, in one place: a damaged file, a full disk, a read model that
// does not get on. Status, troubles, the overview, the metrics, /readyz and the operator's log all tell it from here, so they
// never disagree.
//
// # Terms
//
//   - A Store is a part of the data folder: the logs, the keyring, the local store, the read model, the disk itself.
//   - A Condition is one thing that is wrong with a store: its cause, since when, what the site does about it by itself, and what
//     is left for a person to do. (store, cause, detail) name it.
//   - A condition is open until it is mended. A mended one is shown for a day, so that nobody misses that a disk loses bits only
//     because the site has repaired itself within a second.
//   - A condition that blocks makes requests fail that need its store: then /readyz says 503.
//
// # Invariants
//
//   - A condition is logged once when it opens and once when it is mended, however often it is told.
//   - At most MaxConditions are kept. What is beyond is counted and told as one more.
package health

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Store names a part of the data folder.
type Store string

// The stores.
const (
	Log     Store = "log"      // the logs, folder log/
	Keyring Store = "keyring"  // keyring.db
	Local   Store = "local"    // local.db
	Model   Store = "model"    // read.db, or the read model in memory
	Key     Store = "site_key" // site.key
	Config  Store = "config"   // config.yaml
	Disk    Store = "disk"     // the file system that all of them are on
)

// Cause says what is wrong with a store.
type Cause string

// The causes.
const (
	Damaged    Cause = "damaged"    // bytes are not what was written
	Incomplete Cause = "incomplete" // it was damaged, and something of it has not been found again
	SetAside   Cause = "set_aside"  // a damaged file is kept beside the new one
	Full       Cause = "full"       // there is no room to write
	Failing    Cause = "failing"    // the disk refuses to read or write, or the store does not get on
	Apart      Cause = "apart"      // something is kept and not counted, a person decides
)

// Condition is one thing that is wrong with a store. Store and Cause are required.
type Condition struct {
	Store Store `json:"store"`
	Cause Cause `json:"cause"`
	// Detail says what exactly is concerned: a log and its page, a file. It holds no data of people.
	Detail string `json:"detail,omitempty"`
	// Message is one sentence in plain English.
	Message string `json:"message"`
	// Doing is what the site does about it by itself, WayOut what is left for the operator; either may be empty.
	Doing  string `json:"doing,omitempty"`
	WayOut string `json:"wayOut,omitempty"`
	// Blocks is set if requests that need the store fail.
	Blocks bool `json:"blocks,omitempty"`
	// Since is when it was first told; Mended when it was over, zero while it is open.
	Since  time.Time `json:"since"`
	Mended time.Time `json:"mended,omitzero"`
}

// Open reports whether the condition still holds.
func (c Condition) Open() bool { return c.Mended.IsZero() }

// Bounds of a Board.
const (
	MaxConditions = 200
	// ShownMended is for how long a mended condition is listed.
	ShownMended = 24 * time.Hour
)

// Board holds the conditions of a site. It is safe for concurrent use.
type Board struct {
	now    func() time.Time
	logger *slog.Logger

	mu     sync.Mutex
	all    map[name]*Condition
	totals map[kind]int
	more   int // how many were not taken in because there are too many
}

type kind struct {
	store Store
	cause Cause
}

type name struct {
	kind
	detail string
}

func nameOf(c Condition) name { return name{kind{c.Store, c.Cause}, c.Detail} }

// NewBoard returns an empty board.
func NewBoard(now func() time.Time, logger *slog.Logger) *Board {
	return &Board{now: now, logger: logger, all: make(map[name]*Condition), totals: make(map[kind]int)}
}

// Tell opens a condition, or brings one that is open up to date; Since and Mended are the board's.
func (b *Board) Tell(c Condition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell(c)
}

func (b *Board) tell(c Condition) {
	n := nameOf(c)
	known := b.all[n]
	c.Since, c.Mended = b.now(), time.Time{}
	if known != nil && known.Open() {
		c.Since = known.Since
		*known = c
		return
	}
	b.totals[n.kind]++
	if b.forget(); known == nil && len(b.all) >= MaxConditions {
		b.more++
		return
	}
	b.all[n] = &c
	b.log(slog.LevelError, "something is wrong with a store of this site", c)
}

// Mend says that a condition is over. One that is not open stays as it is.
func (b *Board) Mend(store Store, cause Cause, detail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mend(name{kind{store, cause}, detail})
}

func (b *Board) mend(n name) {
	c := b.all[n]
	if c == nil || !c.Open() {
		return
	}
	c.Mended, c.Blocks = b.now(), false
	b.log(slog.LevelInfo, "a store of this site is in order again", *c)
}

// Replace makes the list all that is wrong with a store by a cause: what is missing from it is mended.
func (b *Board) Replace(store Store, cause Cause, list []Condition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	there := make(map[name]bool, len(list))
	for _, c := range list {
		c.Store, c.Cause = store, cause
		there[nameOf(c)] = true
		b.tell(c)
	}
	b.more = 0
	for n := range b.all {
		if n.kind == (kind{store, cause}) && !there[n] {
			b.mend(n)
		}
	}
}

// Set is Tell if the condition holds and Mend if it does not.
func (b *Board) Set(holds bool, c Condition) {
	if holds {
		b.Tell(c)
		return
	}
	b.Mend(c.Store, c.Cause, c.Detail)
}

// List returns the open conditions, those that block first, and then the mended ones of the last day, the newest first.
func (b *Board) List() []Condition {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget()
	list := make([]Condition, 0, len(b.all))
	for _, c := range b.all {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(x, y Condition) int {
		return cmp.Or(-compareBool(x.Open(), y.Open()), -compareBool(x.Blocks, y.Blocks), y.Mended.Compare(x.Mended),
			x.Since.Compare(y.Since), cmp.Compare(x.Store, y.Store), cmp.Compare(x.Cause, y.Cause), cmp.Compare(x.Detail, y.Detail))
	})
	if b.more > 0 {
		list = append(list, Condition{Store: Disk, Cause: Damaged, Detail: "more", Since: b.now(),
			Message: fmt.Sprintf("%d more conditions are not listed", b.more), WayOut: "mend what is listed first"})
	}
	return list
}

// Blocking returns the conditions for which requests fail now, the oldest first.
func (b *Board) Blocking() []Condition {
	return slices.DeleteFunc(b.List(), func(c Condition) bool { return !c.Open() || !c.Blocks })
}

// Count is how many conditions of a store and cause are open, and how many there were since the start.
type Count struct {
	Store       Store
	Cause       Cause
	Open, Total int
}

// Counts returns the counts of every store and cause that was ever told, in order.
func (b *Board) Counts() []Count {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := make(map[kind]*Count, len(b.totals))
	for k, total := range b.totals {
		counts[k] = &Count{Store: k.store, Cause: k.cause, Total: total}
	}
	for n, c := range b.all {
		if c.Open() {
			counts[n.kind].Open++
		}
	}
	list := make([]Count, 0, len(counts))
	for _, k := range slices.SortedFunc(maps.Keys(counts), func(x, y kind) int {
		return cmp.Or(cmp.Compare(x.store, y.store), cmp.Compare(x.cause, y.cause))
	}) {
		list = append(list, *counts[k])
	}
	return list
}

// forget drops what was mended more than a day ago. The caller holds mu.
func (b *Board) forget() {
	for n, c := range b.all {
		if !c.Open() && b.now().Sub(c.Mended) > ShownMended {
			delete(b.all, n)
		}
	}
}

func (b *Board) log(level slog.Level, message string, c Condition) {
	b.logger.Log(context.Background(), level, message, "store", c.Store, "cause", c.Cause, "detail", c.Detail, "what", c.Message,
		"doing", c.Doing, "wayOut", c.WayOut)
}

func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}
