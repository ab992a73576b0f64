// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// troublesShown bounds SetAside's answer.
const troublesShown = 1000

// Trouble is something that was set aside so that the rest could go on: a subject whose fold failed, a branch that cannot be
// read, or what one site has said in a subject beyond the bound of its fold.
type Trouble struct {
	Ref
	// Branch is set, and Subject empty, when a branch of a log cannot be read, or when its last pages are kept apart. It has no
	// incarnation when whole logs of a site are kept apart, because the site has begun more than are taken at once.
	Branch eventlog.Branch
	// Apart is set when the branch goes on behind the end of its closed log: these pages are not folded. They will be if the
	// site that wrote them is allowed again. It is also set for whole logs that are kept apart. With a Subject it says that the fold
	// leaves out what Site has said there beyond a bound, for good.
	Apart bool
	// Site is set with Apart and Subject: whose events are left out.
	Site event.SiteID
	// Kind and EventID name the event that Apply refused; both are empty when it was Save that failed.
	Kind    event.Kind
	EventID event.ID
	// Reason is the error's text, for the operator; a fold's error may quote what a person has written.
	Reason string
	// Since is when it was set aside, by Config.Now; zero without one.
	Since time.Time
}

// SetAside returns what is set aside now: branches first, those with pages kept apart behind the others, then logs that wait,
// then at most a thousand subjects, then at most a thousand pairs of a subject and a site that has said more in it than its fold
// takes. Nothing is lost by it: the events are kept, and a subject that is set aside is tried again with its next event (if Save had
// failed), at the next start, and by Rebuild.
func (m *Model) SetAside(ctx context.Context) ([]Trouble, error) {
	m.mu.Lock()
	found := slices.SortedFunc(maps.Values(m.damaged), func(a, b Trouble) int {
		return compare(a.Branch.String(), b.Branch.String())
	})
	m.mu.Unlock()
	found = append(append(found, m.apart()...), m.waiting()...)
	err := m.View(ctx, func(q Query) error {
		err := each(ctx, q, func(rows *sql.Rows) error {
			var t Trouble
			var since int64
			err := rows.Scan(&t.Authority, &t.Subject, &t.Kind, &t.EventID, &t.Reason, &since)
			t.Since = fromMillis(since)
			found = append(found, t)
			return err
		}, `SELECT s.authority, s.subject, t.kind, t.event, t.reason, t.since FROM rm_trouble t JOIN rm_subject s ON s.no = t.subject
			ORDER BY s.authority, s.subject LIMIT ?`, troublesShown)
		if err != nil {
			return err
		}
		return each(ctx, q, func(rows *sql.Rows) error {
			t := Trouble{Apart: true}
			var since int64
			err := rows.Scan(&t.Authority, &t.Subject, &t.Site, &t.Reason, &since)
			t.Since = fromMillis(since)
			found = append(found, t)
			return err
		}, `SELECT s.authority, s.subject, a.site, a.reason, a.since FROM rm_apart a JOIN rm_subject s ON s.no = a.subject
			ORDER BY s.authority, s.subject, a.site LIMIT ?`, troublesShown)
	})
	return found, err
}

// apart returns the branches with pages that do not count because their log was closed before them.
func (m *Model) apart() (found []Trouble) {
	s, ok := m.cfg.Source.(interface{ Apart() []eventlog.Head })
	if !ok {
		return nil
	}
	for _, h := range s.Apart() {
		found = append(found, Trouble{Ref: Ref{Authority: h.Branch.Authority}, Branch: h.Branch, Apart: true, Reason: fmt.Sprintf(
			"what site %s wrote after it was forbidden or removed, up to page %d, is kept apart", h.Branch.Site.Short(), h.Page)})
	}
	return found
}

// waiting returns which logs of other sites are not taken yet, one entry for each site, authority and class.
func (m *Model) waiting() (found []Trouble) {
	s, ok := m.cfg.Source.(interface{ Waiting() []eventlog.Waiting })
	if !ok {
		return nil
	}
	for _, w := range s.Waiting() {
		id := eventlog.LogID{Authority: w.Authority, Class: w.Class, Site: w.Site}
		found = append(found, Trouble{Ref: Ref{Authority: w.Authority}, Branch: eventlog.Branch{LogID: id}, Apart: true, Since: w.Since,
			Reason: whyWaiting(w)})
	}
	return found
}

func whyWaiting(w eventlog.Waiting) string {
	if w.Space {
		return fmt.Sprintf("space on the disk is scarce: what site %s, which takes %d MiB of it, writes in bulk waits in %d logs; make room",
			w.Site.Short(), w.Bytes>>20, w.Logs)
	}
	return fmt.Sprintf("site %s has begun more logs than are taken at once: %d are here, %d wait and are taken one by one; "+
		"see whether it starts again and again, and remove it if it is hostile", w.Site.Short(), w.Here, w.Logs)
}

// tryAsideAgain folds every set-aside subject from nothing; the program may be a better one than when it failed.
func (e *engine) tryAsideAgain(ctx context.Context) error {
	refs, err := e.refs(ctx, `SELECT s.authority, s.subject FROM rm_trouble t JOIN rm_subject s ON s.no = t.subject
		ORDER BY s.no`)
	if err != nil {
		return err
	}
	return e.again(ctx, refs, func(b *batch, s *subject) { s.refold = true })
}

// refresh saves again the subjects that need one of the keys.
func (e *engine) refresh(ctx context.Context, keys []KeyRef) error {
	seen := make(map[Ref]bool)
	var refs []Ref
	for _, k := range keys {
		found, err := e.refs(ctx, `SELECT s.authority, s.subject FROM rm_key k JOIN rm_subject s ON s.no = k.subject
			WHERE k.authority = ? AND k.key = ? ORDER BY s.no`, string(k.Authority), string(k.KeyID))
		if err != nil {
			return err
		}
		for _, ref := range found {
			if !seen[ref] {
				seen[ref] = true
				refs = append(refs, ref)
			}
		}
	}
	return e.again(ctx, refs, func(b *batch, _ *subject) { b.refreshing = true })
}

// again takes up subjects without new events, a batch at a time.
func (e *engine) again(ctx context.Context, refs []Ref, prepare func(*batch, *subject)) error {
	for part := range slices.Chunk(refs, batchEvents) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_, err := e.transact(ctx, func(b *batch) error {
			for _, ref := range part {
				s, err := b.subject(ref)
				if err != nil {
					return err
				}
				prepare(b, s)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) refs(ctx context.Context, query string, args ...any) ([]Ref, error) {
	var refs []Ref
	err := each(ctx, e.writer, func(rows *sql.Rows) error {
		var r Ref
		err := rows.Scan(&r.Authority, &r.Subject)
		refs = append(refs, r)
		return err
	}, query, args...)
	return refs, err
}

// nowMillis returns the time of day, or 0 without a clock.
func (e *engine) nowMillis() int64 {
	if e.cfg.Now == nil {
		return 0
	}
	return e.cfg.Now().UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
