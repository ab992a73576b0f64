// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"cmp"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// allowance is how many things may arrive: burst at once, and one more each time that every has passed. What has
// arrived so far is one time, the one at which all of the burst is free again; the zero time is nothing.
type allowance struct {
	burst int
	every time.Duration
}

// The allowances for logs of one other site (ADR 0021). An honest site begins a log of every authority and class that
// it writes to whenever it starts and no other site can confirm what it wrote before.
var (
	logsOfLane   = allowance{64, 3 * time.Hour}          // of one authority and class
	logsOfOrigin = allowance{4096, 24 * time.Hour / 512} // of all of them, without the first log of each
	presentWords = allowance{8, time.Hour}               // incarnations that the site itself calls its present one
)

// The most branches that this site keeps, whoever else has them. Only what leaves makes room again.
const (
	maxLaneBranches   = 1024
	maxOriginBranches = 16384
)

// take returns freeAt after n more arrivals at t. More than the burst is never owed, so that a clock which was wrong,
// or many arrivals that had to be taken, do not close the door for longer than the burst takes to come back.
func (a allowance) take(freeAt, t time.Time, n int) time.Time {
	next := t
	if freeAt.After(t) {
		next = freeAt
	}
	next = next.Add(time.Duration(n) * a.every)
	if full := t.Add(a.full()); next.After(full) {
		return full
	}
	return next
}

// room reports whether one more may arrive at now.
func (a allowance) room(freeAt, now time.Time) bool {
	return !freeAt.Add(a.every).After(now.Add(a.full()))
}

// capped returns freeAt as it counts at now, also when the clock has been set back meanwhile.
func (a allowance) capped(freeAt, now time.Time) time.Time {
	if full := now.Add(a.full()); freeAt.After(full) {
		return full
	}
	return freeAt
}

func (a allowance) full() time.Duration { return time.Duration(a.burst) * a.every }

// originKey names the logs of one site in one authority and class.
type originKey struct {
	authority event.AuthorityID
	class     event.Class
	site      event.SiteID
}

func originKeyOf(id LogID) originKey { return originKey{id.Authority, id.Class, id.Site} }

// intake is what another site has made this one keep. It follows from the branches that are here and when they began
// here, so a restart forgets nothing but the present word. Guarded by Log.mu.
type intake struct {
	branches int
	waiting  int   // logs noted as waiting, in all lanes
	bytes    int64 // of its pages
	freeAt   time.Time
	lanes    map[originKey]*laneIntake
	stale    bool // a branch is gone: the above is made again
	// present is the incarnation that the site calls its own over its own line, and presentFreeAt what it has used of
	// presentWords.
	present       string
	presentFreeAt time.Time
	// urgentFreeAt is what it has used of urgentWhenScarce.
	urgentFreeAt time.Time
}

type laneIntake struct {
	branches int
	freeAt   time.Time
	waiting  map[LogID]bool // logs that are known and not taken yet, at most maxWaitingLogs of them
	since    time.Time      // of the oldest refusal that still counts
	last     time.Time      // of the latest one
	space    bool           // it was for want of space
}

// refuse notes that a log must wait, and reports whether it is the first one of its lane that does.
func (in *intake) refuse(lane *laneIntake, id LogID, now time.Time) (first bool) {
	first = lane.since.IsZero() || now.Sub(lane.last) > waitingShown
	if first {
		in.waiting -= len(lane.waiting)
		clear(lane.waiting)
		lane.since, lane.space = now, false
	}
	lane.last = now
	if !lane.waiting[id] && (in.waiting < maxWaitingLogs || len(lane.waiting) == 0) {
		lane.waiting[id] = true
		in.waiting++
	}
	return first
}

// taken notes that a log waits no longer.
func (in *intake) taken(lane *laneIntake, id LogID) {
	if lane.waiting[id] {
		delete(lane.waiting, id)
		in.waiting--
	}
}

// maxWaitingLogs bounds how many waiting logs of one site are told apart, besides one in each lane; more are not
// counted.
const maxWaitingLogs = 8192

// waitingShown is how long after its last refusal a log counts as waiting: longer than the minute after which
// everything is asked for again.
const waitingShown = 5 * time.Minute

// ErrTooManyLogs is returned by Room and Accept when a site has begun more logs of an authority than this one takes
// at once. They are kept apart: not stored, but reported by Waiting, and taken over one by one as time passes.
var ErrTooManyLogs = fault.New(fault.Forbidden, "log.too_many_logs",
	"the site has begun more logs than another one takes at once; they are taken over one by one as time passes",
	"see whether that site starts again and again, or was copied; if it is hostile, remove it")

// intakeOf returns what is known of an origin, made of its branches at the first question. The caller holds mu.
func (l *Log) intakeOf(site event.SiteID) *intake {
	if in := l.intakes[site]; in != nil && !in.stale {
		return in
	}
	in := &intake{lanes: make(map[originKey]*laneIntake)}
	in.inherit(l.intakes[site])
	l.intakes[site] = in
	var begun []*branch
	for _, b := range l.sorted() {
		if b.id.Site == site {
			begun = append(begun, b)
		}
	}
	slices.SortStableFunc(begun, func(a, b *branch) int { return a.stat.Born.Compare(b.stat.Born) })
	for _, b := range begun {
		in.add(b.id.LogID, earlier(b.stat.Born, l.cfg.Now()))
		in.bytes += b.stat.Bytes
	}
	return in
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// inherit takes over what does not follow from the branches.
func (in *intake) inherit(old *intake) {
	if old == nil {
		return
	}
	in.waiting = old.waiting
	in.present, in.presentFreeAt, in.urgentFreeAt = old.present, old.presentFreeAt, old.urgentFreeAt
	for k, lane := range old.lanes {
		in.lanes[k] = &laneIntake{waiting: lane.waiting, since: lane.since, last: lane.last, space: lane.space}
	}
}

// lane returns what is known of one authority and class.
func (in *intake) lane(k originKey) *laneIntake {
	lane := in.lanes[k]
	if lane == nil {
		lane = &laneIntake{waiting: make(map[LogID]bool)}
		in.lanes[k] = lane
	}
	return lane
}

// add notes a branch that began here at t.
func (in *intake) add(id LogID, t time.Time) {
	lane := in.lane(originKeyOf(id))
	if lane.branches > 0 {
		in.freeAt = logsOfOrigin.take(in.freeAt, t, 1)
	}
	in.branches++
	lane.branches++
	lane.freeAt = logsOfLane.take(lane.freeAt, t, 1)
	in.taken(lane, id)
}

// hasRoom is the rule for one more branch. The first log of an authority and class is always taken: so a site is
// heard however many authorities there are. What a site of another operator holds has passed this rule there, and is
// taken without delay: all sites come to the same as soon as one has it, and a site that joins gets everything at
// once. Each site thus adds what it takes from the origin itself, and no more.
func (in *intake) hasRoom(id LogID, why reason, now time.Time) bool {
	lane := in.lane(originKeyOf(id))
	switch {
	case lane.branches == 0:
		return true
	case lane.branches >= maxLaneBranches || in.branches >= maxOriginBranches:
		return false
	case why != ordinary:
		return true
	}
	lane.freeAt, in.freeAt = logsOfLane.capped(lane.freeAt, now), logsOfOrigin.capped(in.freeAt, now)
	return logsOfLane.room(lane.freeAt, now) && logsOfOrigin.room(in.freeAt, now)
}

// Room returns ErrTooManyLogs if the log is another site's, is not here, and must wait until more time has passed;
// ErrShare if its pages must wait for space; nil if its next page would be taken now. vouched says that a site of
// another operator than the origin's holds the log. It does not block.
func (l *Log) Room(id LogID, vouched bool) error {
	pressure := l.pressure()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.spaceFor(id, pressure); err != nil {
		return err
	}
	if r := l.records[id]; r != nil && len(r.branches) > 0 {
		return nil
	}
	why := ordinary
	if vouched || isOf(id.Incarnation, l.intakeOf(id.Site).present) {
		why = known
	}
	return l.roomFor(id, why)
}

// reason is why a branch should be taken.
type reason bool

const (
	ordinary reason = false // its origin has begun it
	known    reason = true  // a site of another operator holds its log, or it is the origin's present one
)

// roomFor judges one more branch of the log and notes a refusal. The caller holds mu.
func (l *Log) roomFor(id LogID, why reason) error {
	if id.Site == l.self {
		return nil
	}
	now, in := l.cfg.Now(), l.intakeOf(id.Site)
	if in.hasRoom(id, why, now) {
		return nil
	}
	lane := in.lane(originKeyOf(id))
	if in.refuse(lane, id, now) {
		l.cfg.Logger.Warn("a site has begun more logs than are taken at once; they wait", "site", id.Site.Short(),
			"authority", string(id.Authority), "class", string(id.Class), "here", lane.branches)
	}
	return ErrTooManyLogs
}

// vouched asks who else holds the log. No lock is held.
func (l *Log) vouched(id LogID) bool { return l.cfg.Vouched != nil && l.cfg.Vouched(id) }

// Present notes the incarnation that a site calls its present one, over its own line. Its logs are taken before the
// others that wait, because what the site says now is in them: 8 such words at once and one more each hour. It does
// not block.
func (l *Log) Present(site event.SiteID, incarnation string) {
	if site == l.self || !plainHex(incarnation, 16) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	in, now := l.intakeOf(site), l.cfg.Now()
	in.presentFreeAt = presentWords.capped(in.presentFreeAt, now)
	if in.present == incarnation || !presentWords.room(in.presentFreeAt, now) {
		return
	}
	in.present, in.presentFreeAt = incarnation, presentWords.take(in.presentFreeAt, now, 1)
}

// Waiting is logs of one site, in one authority and class, that are known here and kept apart until there is room for
// them.
type Waiting struct {
	Site      event.SiteID
	Authority event.AuthorityID
	Class     event.Class
	// Logs is how many wait, of one site at most 8,192 are counted; Here how many are here.
	Logs, Here int
	// Space is set when they wait for space on this site's disk; Bytes is what all pages of the site take here.
	Space bool
	Bytes int64
	Since time.Time
}

// Waiting returns which logs of other sites wait, in order of site, authority and class. It does not block.
func (l *Log) Waiting() []Waiting {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Waiting
	for _, in := range l.intakes {
		for k, lane := range in.lanes {
			if len(lane.waiting) > 0 && l.cfg.Now().Sub(lane.last) <= waitingShown {
				out = append(out, Waiting{Site: k.site, Authority: k.authority, Class: k.class, Logs: len(lane.waiting),
					Here: lane.branches, Space: lane.space, Bytes: in.bytes, Since: lane.since})
			}
		}
	}
	slices.SortFunc(out, func(a, b Waiting) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Authority, b.Authority), cmp.Compare(a.Class, b.Class))
	})
	return out
}

// grow notes that a branch has become longer. The caller holds mu.
func (l *Log) grow(b *branch, bytes int) {
	b.stat.Bytes += int64(bytes)
	l.bytes += int64(bytes)
	if in := l.intakes[b.id.Site]; in != nil {
		in.bytes += int64(bytes)
	}
}

// shrink makes what is known of an origin follow from its branches again at the next question, since this one goes;
// nil is none. The caller holds mu.
func (l *Log) shrink(b *branch) {
	if b == nil {
		return
	}
	l.bytes -= b.stat.Bytes
	if in := l.intakes[b.id.Site]; in != nil {
		in.stale = true
	}
	delete(l.apartCount, b.id.Site)
}
