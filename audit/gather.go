// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// maxAuthorities bounds the authorities of which lines are gathered. Whoever makes up more of them is gathered in the
// federation's log.
const maxAuthorities = 256

// gatherer counts what can be repeated by anybody. Its memory is bounded by maxAuthorities × 2 × (MaxRows + 1) rows a minute
// and, while the disk refuses lines, by that once more.
type gatherer struct {
	mu     sync.Mutex
	minute time.Time // the minute that runs
	open   map[event.AuthorityID]*bucket
	// over are the minutes that have ended and are not written yet.
	over map[event.AuthorityID]*bucket
	// flushing lets one flush at a time write.
	flushing sync.Mutex
	// day is the day that runs, and refusals how many lines of refusals began in it.
	day      time.Time
	refusals map[event.AuthorityID]*int
}

// today returns how many lines of an authority's refusals began today. The caller holds mu.
func (g *gatherer) today(authority event.AuthorityID, now time.Time) *int {
	if day := now.UTC().Truncate(24 * time.Hour); g.refusals == nil || !g.day.Equal(day) {
		g.day, g.refusals = day, make(map[event.AuthorityID]*int)
	}
	if g.refusals[authority] == nil && len(g.refusals) >= maxAuthorities {
		authority = event.Federation
	}
	if g.refusals[authority] == nil {
		g.refusals[authority] = new(int)
	}
	return g.refusals[authority]
}

// kind is what makes two deeds the same line.
type kind struct {
	deed, actor, from string
	outcome           Outcome
	// object is left out for refusals: who is refused can ask for anything.
	object string
	code   string
}

// bucket holds the rows of one authority. What is done or seen and what is refused have room of their own, so that a flood of
// refusals hides nothing of what was read.
type bucket struct{ done, refused table }

// table holds rows, and what has no row as one count.
type table struct {
	rows   map[kind]*entry
	others entry
}

// add counts an entry and reports whether a line of refusals began with it, which happens only where there is room.
func (b *bucket) add(e entry, room bool) (began bool) {
	if e.Outcome != Refused {
		b.done.add(kind{e.Deed, e.Actor, e.From, e.Outcome, e.Object, e.Code}, e, true)
		return false
	}
	before := len(b.refused.rows)
	b.refused.add(kind{deed: e.Deed, actor: e.Actor, from: e.From, code: e.Code}, e, room)
	return len(b.refused.rows) > before
}

// add counts an entry; where there is no room for another row it is one of the others.
func (t *table) add(k kind, e entry, room bool) {
	row, ok := t.rows[k]
	switch {
	case e.Deed == DeedOthers:
		t.addOther(e)
	case ok:
		row.Count += e.Count
		if e.since.Before(row.since) {
			row.since = e.since
		}
	case room && len(t.rows) < MaxRows:
		if t.rows == nil {
			t.rows = make(map[kind]*entry)
		}
		t.rows[k] = &e
	default:
		t.addOther(e)
	}
}

func (t *table) addOther(e entry) {
	if t.others.Count == 0 || e.since.Before(t.others.since) {
		t.others.since = e.since
	}
	t.others.Entry = Entry{Deed: DeedOthers, Outcome: e.Outcome, Count: t.others.Count + e.Count}
}

// entries returns the rows in the order in which they began, the others last.
func (b *bucket) entries() []entry { return append(b.done.entries(), b.refused.entries()...) }

func (t *table) entries() []entry {
	var list []entry
	for _, e := range t.rows {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(a.since.Compare(b.since), strings.Compare(a.From, b.From), strings.Compare(a.Deed, b.Deed),
			strings.Compare(a.Actor, b.Actor), strings.Compare(a.Object, b.Object), strings.Compare(a.Code, b.Code), cmp.Compare(a.Outcome, b.Outcome))
	})
	if t.others.Count > 0 {
		list = append(list, t.others)
	}
	return list
}

// bucketOf returns the authority's bucket, that of the federation where there are too many already.
func bucketOf(m map[event.AuthorityID]*bucket, authority event.AuthorityID) *bucket {
	if _, ok := m[authority]; !ok && len(m) >= maxAuthorities {
		authority = event.Federation
	}
	b, ok := m[authority]
	if !ok {
		b = new(bucket)
		m[authority] = b
	}
	return b
}

// turn moves the rows of a minute that has ended to those that wait to be written. The caller holds mu.
func (g *gatherer) turn(minute time.Time) {
	if g.over == nil {
		g.over = make(map[event.AuthorityID]*bucket)
	}
	if g.open == nil || !g.minute.Equal(minute) {
		g.keep(g.open)
		g.open, g.minute = make(map[event.AuthorityID]*bucket), minute
	}
}

// keep adds rows to those that wait.
func (g *gatherer) keep(rows map[event.AuthorityID]*bucket) {
	for a, b := range rows {
		into := bucketOf(g.over, a)
		for _, e := range b.entries() {
			into.add(e, true)
		}
	}
}

// Gather counts an entry and returns at once; it never waits for a disk. Entries that are the same in deed, actor, source,
// outcome and code make one line a minute; what was done is also told apart by its object. The line keeps way, grant and (of
// refusals) object of the first of them. The source of an IPv6 address is its network of 64 bits. Beyond MaxRows distinct
// refusals of an authority in a minute, and as many distinct deeds, all others are one line; so are refusals beyond
// MaxRefusalsADay.
func (s *Service) Gather(authority event.AuthorityID, e Entry) {
	if authority == "" || !authority.Valid() {
		authority = event.Federation
	}
	now := s.cfg.Now()
	e = e.bounded()
	e.From = sourceOf(e.From)
	g := &s.gather
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn(now.Truncate(time.Minute))
	today := g.today(authority, now)
	if bucketOf(g.open, authority).add(entry{e, now}, *today < MaxRefusalsADay) {
		*today++
	}
}

// Step writes the lines of the minutes that are over. It returns the log's errors; the lines are kept and tried again.
func (s *Service) Step(ctx context.Context) error { return s.flush(ctx, false) }

// Flush writes all that is gathered, also of the minute that runs: for a stop, or for a test.
func (s *Service) Flush(ctx context.Context) error { return s.flush(ctx, true) }

func (s *Service) flush(ctx context.Context, all bool) error {
	s.gather.flushing.Lock()
	defer s.gather.flushing.Unlock()
	taken := s.gather.take(s.cfg.Now().Truncate(time.Minute), all)
	var errs []error
	for _, a := range sortedKeys(taken) {
		if err := s.writeBucket(ctx, a, taken[a]); err != nil {
			errs = append(errs, err)
			s.gather.giveBack(a, taken[a])
		}
	}
	return errors.Join(errs...)
}

// writeBucket writes the rows of an authority in one Append. Where this site may not write for the authority (it is not
// allowed, or somebody has made the name up) they go to the federation's log.
func (s *Service) writeBucket(ctx context.Context, authority event.AuthorityID, b *bucket) error {
	err := s.write(ctx, authority, b.entries())
	if notOurs(err) && authority != event.Federation {
		err = s.write(ctx, event.Federation, b.entries())
	}
	return err
}

func (g *gatherer) take(minute time.Time, all bool) map[event.AuthorityID]*bucket {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn(minute)
	if all {
		g.keep(g.open)
		g.open = make(map[event.AuthorityID]*bucket)
	}
	taken := g.over
	g.over = make(map[event.AuthorityID]*bucket)
	return taken
}

func (g *gatherer) giveBack(authority event.AuthorityID, b *bucket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keep(map[event.AuthorityID]*bucket{authority: b})
}

func sortedKeys(m map[event.AuthorityID]*bucket) []event.AuthorityID {
	var list []event.AuthorityID
	for a := range m {
		list = append(list, a)
	}
	slices.Sort(list)
	return list
}

// notOurs reports whether the log refuses the authority as such, which trying again does not mend.
func notOurs(err error) bool { return errors.Is(err, eventlog.ErrSiteNotAllowed) }
