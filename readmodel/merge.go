// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"database/sql"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// Bounds of what is called one merge.
const (
	defaultMergeAfter = 5 * time.Second
	mergeSession      = 60 * time.Second
	maxMerges         = 10_000 // older ones are forgotten
	mergesShown       = 1000
)

// Merge tells people that facts of another site came in late, all at once: after a cut, or when this site joined. Pages
// that arrived more than Config.MergeAfter behind their origin's wall clock, within a minute of each other, make one. A
// clock that is wrong by more than that shows as merges too.
type Merge struct {
	Authority event.AuthorityID
	From      event.SiteID // the origin, whichever site handed the pages over
	// FirstWall and LastWall bound, by the origin's wall clock, when the pages were written.
	FirstWall, LastWall time.Time
	// ArrivedAt and Until bound, by our clock, when they were stored here.
	ArrivedAt, Until time.Time
	// Events counts those that were new here, Late those of them that sorted before something folded already. Late is an
	// upper bound where the read model was lost and made again.
	Events, Late int
	// FirstCopy: the pages were written before this site held a single page of the authority. It is the history that a
	// site is given when it joins, and nobody here could have missed it.
	FirstCopy bool
}

// mergeKey sorts late pages before they are put together.
type mergeKey struct {
	authority event.AuthorityID
	site      event.SiteID
	firstCopy bool
}

// session is a merge as it is stored: milliseconds.
type session struct {
	firstWall, lastWall, arrived, until int64
	events, late                        int
}

func (s *session) join(o session) {
	s.firstWall, s.lastWall = min(s.firstWall, o.firstWall), max(s.lastWall, o.lastWall)
	s.arrived, s.until = min(s.arrived, o.arrived), max(s.until, o.until)
	s.events, s.late = s.events+o.events, s.late+o.late
}

func (s *session) near(o session) bool {
	gap := mergeSession.Milliseconds()
	return o.arrived <= s.until+gap && o.until >= s.arrived-gap
}

// merges gathers the late pages of one batch.
type merges struct {
	order    []mergeKey
	sessions map[mergeKey][]*session
	newest   int64
}

func newMerges() *merges { return &merges{sessions: make(map[mergeKey][]*session)} }

// noteFirst remembers since when this site has held pages of the authority, its own among them.
func (b *batch) noteFirst(p sourced) {
	if p.StoredAt.IsZero() {
		return
	}
	at, authority := p.StoredAt.UnixMilli(), p.Log.Authority
	known, ok := b.stored[authority]
	if !ok {
		known, ok = b.firsts[authority]
	}
	if !ok || at < known {
		b.stored[authority] = at
	}
}

// noteMerge puts a page that came late to the others of its merge.
func (b *batch) noteMerge(p sourced, events, late int) {
	at := p.StoredAt.UnixMilli()
	b.merges.newest = max(b.merges.newest, at)
	if b.silent || p.Log.Site == b.cfg.Self || p.StoredAt.IsZero() || at <= b.notedUntil ||
		at-p.Wall <= b.cfg.MergeAfter.Milliseconds() {
		return
	}
	first, ok := b.stored[p.Log.Authority]
	if !ok {
		first = b.firsts[p.Log.Authority]
	}
	b.merges.add(mergeKey{p.Log.Authority, p.Log.Site, p.Wall < first},
		session{p.Wall, p.Wall, at, at, events, late})
}

func (m *merges) add(key mergeKey, s session) {
	known := m.sessions[key]
	if n := len(known); n > 0 && known[n-1].near(s) {
		known[n-1].join(s)
		return
	}
	if known == nil {
		m.order = append(m.order, key)
	}
	m.sessions[key] = append(known, &s)
}

// writeMerges adds the batch's merges to those stored before that they belong to.
func (b *batch) writeMerges() error {
	if b.merges.newest > 0 {
		_, err := b.exec(`INSERT INTO rm_meta VALUES ('newest', ?) ON CONFLICT (name) DO UPDATE
			SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))`, b.merges.newest)
		if err != nil {
			return err
		}
	}
	for _, key := range b.merges.order {
		for _, s := range b.merges.sessions[key] {
			if err := b.writeMerge(key, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) writeMerge(key mergeKey, s *session) error {
	var old session
	var no int64
	gap := mergeSession.Milliseconds()
	err := b.queryRow(`SELECT no, first_wall, last_wall, arrived, until, events, late FROM rm_merge
		WHERE authority = ? AND site = ? AND first_copy = ? AND arrived <= ? AND until >= ? ORDER BY no DESC LIMIT 1`,
		string(key.authority), string(key.site), key.firstCopy, s.until+gap, s.arrived-gap).
		Scan(&no, &old.firstWall, &old.lastWall, &old.arrived, &old.until, &old.events, &old.late)
	var row any // NULL: the next number
	switch err {
	case nil:
		s.join(old)
		row = no
	case sql.ErrNoRows:
	default:
		return err
	}
	_, err = b.exec(`INSERT OR REPLACE INTO rm_merge VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, row, string(key.authority),
		string(key.site), key.firstCopy, s.firstWall, s.lastWall, s.arrived, s.until, s.events, s.late)
	if err != nil || row != nil {
		return err
	}
	_, err = b.exec(`DELETE FROM rm_merge WHERE no <= (SELECT max(no) FROM rm_merge) - ?`, maxMerges)
	return err
}

// Merges returns the last merges, the newest first, at most a thousand. They are this site's observations and no part of
// the state hash.
func (m *Model) Merges(ctx context.Context) ([]Merge, error) {
	var found []Merge
	err := m.View(ctx, func(q Query) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var g Merge
			var s session
			err := rows.Scan(&g.Authority, &g.From, &g.FirstCopy, &s.firstWall, &s.lastWall, &s.arrived, &s.until,
				&g.Events, &g.Late)
			g.FirstWall, g.LastWall = time.UnixMilli(s.firstWall).UTC(), time.UnixMilli(s.lastWall).UTC()
			g.ArrivedAt, g.Until = time.UnixMilli(s.arrived).UTC(), time.UnixMilli(s.until).UTC()
			found = append(found, g)
			return err
		}, `SELECT authority, site, first_copy, first_wall, last_wall, arrived, until, events, late
			FROM rm_merge ORDER BY until DESC, no DESC LIMIT ?`, mergesShown)
	})
	return found, err
}

// observed is what only this site knows and no log can tell again; it is carried over when the database is made anew.
type observed struct {
	merges [][]any
	firsts map[string]int64
	until  int64
}

// observations reads them from a database that is about to be thrown away. A database that cannot be read has none.
func (e *engine) observations(ctx context.Context) observed {
	o := observed{firsts: make(map[string]int64)}
	if e.writer == nil {
		return o
	}
	err := each(ctx, e.writer, func(rows *sql.Rows) error {
		row := make([]any, 10)
		targets := make([]any, len(row))
		for i := range row {
			targets[i] = &row[i]
		}
		err := rows.Scan(targets...)
		o.merges = append(o.merges, row)
		return err
	}, `SELECT no, authority, site, first_copy, first_wall, last_wall, arrived, until, events, late FROM rm_merge ORDER BY no`)
	if err != nil {
		return observed{}
	}
	err = each(ctx, e.writer, func(rows *sql.Rows) error {
		var authority string
		var stored int64
		err := rows.Scan(&authority, &stored)
		o.firsts[authority] = stored
		return err
	}, `SELECT authority, stored FROM rm_first`)
	if err == nil {
		err = e.writer.QueryRowContext(ctx, `SELECT value FROM rm_meta WHERE name = 'newest'`).Scan(&o.until)
	}
	if err != nil {
		return observed{}
	}
	return o
}

// keep writes observations into a new database.
func (e *engine) keep(ctx context.Context, o observed) error {
	if o.until == 0 {
		return nil
	}
	_, err := e.transact(ctx, func(b *batch) error {
		if _, err := b.exec(`DELETE FROM rm_merge`); err != nil {
			return err
		}
		for _, row := range o.merges {
			if _, err := b.exec(`INSERT INTO rm_merge VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, row...); err != nil {
				return err
			}
		}
		for authority, stored := range o.firsts {
			b.stored[event.AuthorityID(authority)] = stored
		}
		_, err := b.exec(`INSERT OR REPLACE INTO rm_meta VALUES ('noted_until', ?)`, o.until)
		return err
	})
	if err == nil {
		e.notedUntil = o.until
	}
	return err
}
