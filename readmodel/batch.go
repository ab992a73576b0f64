// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// errSave is how a fold's failed Save ends a batch that runs without savepoints.
var errSave = errors.New("a fold could not save")

// catchUp folds every page that the source had when it was called, and our own newer ones, in several transactions. It
// returns how many events were new. An error is the database's or ctx's; what was committed before it stays.
func (e *engine) catchUp(ctx context.Context) (int, error) {
	total := 0
	if e.retry {
		if err := e.tryAsideAgain(ctx); err != nil {
			return 0, err
		}
		e.retry = false
	}
	rs := e.behind()
	for {
		pages, err := e.gather(ctx, rs)
		if err != nil || len(pages) == 0 {
			return total, err
		}
		n, err := e.transact(ctx, func(b *batch) error { return b.addPages(pages) })
		total += n
		if err != nil {
			return total, fmt.Errorf("fold %d pages: %w", len(pages), err)
		}
		rs = e.turn(rs)
	}
}

// batch is one transaction.
type batch struct {
	*engine
	ctx context.Context
	// careful wraps each Save in a savepoint. It costs two statements a subject, so a batch runs without first.
	careful bool
	// refreshing makes every subject of the batch be saved, whether or not its state changes.
	refreshing bool

	chains   *Chains
	subjects map[Ref]*subject
	order    []*subject
	moved    map[eventlog.Branch]cursor
	stored   map[event.AuthorityID]int64 // oldest StoredAt by authority
	merges   *merges
	lastNo   int64
	lastLog  int64
	events   int
	saved    []Ref
	// broken is the database's trouble met within a Save, whatever the fold made of it.
	broken error
}

// transact runs fill and folds what it has added, in one transaction. If a fold fails to save, everything is done again
// carefully, so that only that fold's subject is set aside.
func (e *engine) transact(ctx context.Context, fill func(*batch) error) (events int, err error) {
	b, err := e.attemptTwice(ctx, fill)
	if err != nil {
		return 0, err
	}
	e.committed(b.saved)
	return b.events, e.checkpointLong(ctx)
}

func (e *engine) attemptTwice(ctx context.Context, fill func(*batch) error) (*batch, error) {
	if e.exclusive != nil {
		if err := e.exclusive.close(ctx); err != nil {
			return nil, err
		}
		defer e.exclusive.open()
	}
	b, err := e.attempt(ctx, fill, false)
	if errors.Is(err, errSave) {
		b, err = e.attempt(ctx, fill, true)
	}
	return b, err
}

func (e *engine) attempt(ctx context.Context, fill func(*batch) error, careful bool) (*batch, error) {
	b := &batch{
		engine: e, ctx: context.WithoutCancel(ctx), careful: careful,
		chains:   newChains(context.WithoutCancel(ctx), e.cfg.Source),
		subjects: make(map[Ref]*subject), moved: make(map[eventlog.Branch]cursor),
		stored: make(map[event.AuthorityID]int64), merges: newMerges(),
		lastNo: e.lastSubject, lastLog: int64(len(e.logs)),
	}
	if _, err := e.exec(`BEGIN IMMEDIATE`); err != nil {
		return nil, err
	}
	err := fill(b)
	if err == nil {
		err = b.fold()
	}
	if err == nil {
		err = b.finish()
	}
	if err == nil {
		_, err = e.exec(`COMMIT`)
	}
	if err != nil {
		_, _ = e.exec(`ROLLBACK`) // fails only if SQLite has rolled back by itself
		return nil, err
	}
	b.remember()
	return b, nil
}

// remember takes over what is now committed.
func (b *batch) remember() {
	b.lastSubject = b.lastNo
	for branch, c := range b.moved {
		b.cursors[branch], b.logs[c.no] = c, branch.LogID
	}
	maps.Copy(b.firsts, b.stored)
}

func (b *batch) addPages(pages []sourced) error {
	for _, p := range pages {
		b.noteFirst(p)
	}
	for _, p := range pages {
		if err := b.addPage(p); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) addPage(p sourced) error {
	no := b.cursorNo(p.branch)
	b.moved[p.branch] = cursor{no: no, page: p.Number, hash: p.Hash}
	arrived := p.StoredAt.UnixMilli()
	added, late := 0, 0
	for i := range p.Events {
		entry := Entry{
			Event: p.Events[i], Authority: p.Log.Authority, Class: p.Log.Class, Log: p.Log,
			Place: placeOf(p.Page, i), StoredAt: p.StoredAt, Chains: b.chains,
		}
		isNew, isLate, err := b.addEvent(entry, no, arrived)
		if err != nil {
			return err
		}
		added += count(isNew)
		late += count(isLate)
	}
	b.events += added
	b.noteMerge(p, added, late)
	return nil
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// placeOf returns where an event sorts. A carried place counts only in a log of the same site: only the origin succeeds
// its own log, and nobody may put his event in another's place. In the federation's logs none counts: who belongs goes by where
// in its log a site has said something, and a carried place would let it say that it had said so before.
func placeOf(p *eventlog.Page, i int) event.Place {
	if c := p.Events[i].Place; c != nil &&
		(p.Log.Authority == event.Federation || c.Site != p.Log.Site || !incarnation(c.Incarnation)) {
		return event.Place{
			Stamp: p.Events[i].Stamp, Site: p.Log.Site, Incarnation: p.Log.Incarnation,
			Page: p.Number, Hash: p.Hash, Index: uint32(i),
		}
	}
	return p.PlaceOf(i)
}

func incarnation(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 8
}

func (b *batch) cursorNo(branch eventlog.Branch) int64 {
	if c, ok := b.moved[branch]; ok {
		return c.no
	}
	if c, ok := b.cursors[branch]; ok {
		return c.no
	}
	b.lastLog++
	return b.lastLog
}

// fact is an event as its row keeps it, without what the row has in columns of its own.
type fact struct {
	Kind  event.Kind    `json:"kind"`
	Stamp event.Stamp   `json:"stamp"`
	Wall  int64         `json:"wall"`
	Actor string        `json:"actor,omitempty"`
	Grant string        `json:"grant,omitempty"`
	Mode  event.Mode    `json:"mode,omitempty"`
	Keys  []event.KeyID `json:"keys,omitempty"`
}

// addEvent stores the event under its subject. It is new if no event of its id and site was there; it is late if it sorts
// before one that has been folded.
func (b *batch) addEvent(entry Entry, log, arrived int64) (isNew, isLate bool, err error) {
	s, err := b.subject(Ref{entry.Authority, entry.Subject})
	if err != nil {
		return false, false, err
	}
	ev := entry.Event
	row, err := json.Marshal(fact{ev.Kind, ev.Stamp, ev.Wall, ev.Actor, ev.Grant, ev.Mode, ev.Keys})
	if err != nil {
		return false, false, fmt.Errorf("keep %s of %s: %w", ev.Kind, ev.Subject, err)
	}
	key := entry.Place.Key()
	id := string(ev.ID)
	if s.anyOrder() {
		id += copyMark(key, row, ev.Data)
	}
	done, err := b.exec(`INSERT INTO rm_event VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		s.no, id, string(entry.Log.Site), key, log, arrived, row, []byte(ev.Data))
	if err != nil {
		return false, false, err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 && !s.anyOrder() {
		return false, false, errors.Join(err, b.addAgain(s, entry, key, log, arrived, row))
	} else if n == 0 {
		return false, false, nil
	}
	return true, s.take(placed{key, entry}, arrived), nil
}

// copyMark tells apart events of one id where each counts, see Typed.AnyOrder: by where they are and what they say.
func copyMark(key, row, data []byte) string {
	h := sha256.New()
	for _, part := range [][]byte{key, row, data} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return "@" + hex.EncodeToString(h.Sum(nil)[:16])
}

const copyMarkBytes = 1 + 2*16

// addAgain meets an event whose id its subject already has from that site: a carried-over copy, or the same in another branch. The lower
// place wins, of equal places the lower content, so that every site keeps the same one.
func (b *batch) addAgain(s *subject, entry Entry, key []byte, log, arrived int64, row []byte) error {
	done, err := b.exec(`UPDATE rm_event SET place = ?4, branch = ?5, arrived = ?6, fact = ?7, data = ?8
		WHERE subject = ?1 AND id = ?2 AND site = ?3 AND (place, fact, ifnull(data, x'')) > (?4, ?7, ifnull(?8, x''))`,
		s.no, string(entry.ID), string(entry.Log.Site), key, log, arrived, row, []byte(entry.Data))
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	s.refold = true
	return nil
}

// fold brings every subject of the batch up to date, in the order in which the batch met them.
func (b *batch) fold() error {
	for _, s := range b.order {
		if err := b.foldSubject(s); err != nil {
			return err
		}
	}
	return nil
}

// finish writes what belongs to the batch as a whole.
func (b *batch) finish() error {
	for branch, c := range b.moved {
		_, err := b.exec(`INSERT INTO rm_cursor VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (no) DO UPDATE SET page = excluded.page, hash = excluded.hash`,
			c.no, string(branch.Authority), string(branch.Class), string(branch.Site), branch.Incarnation, branch.Fork,
			int64(c.page), c.hash[:])
		if err != nil {
			return err
		}
	}
	for authority, stored := range b.stored {
		if _, err := b.exec(`INSERT OR REPLACE INTO rm_first VALUES (?, ?)`, string(authority), stored); err != nil {
			return err
		}
	}
	return b.writeMerges()
}
