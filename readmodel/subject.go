// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// Why a subject is set aside.
const (
	asideNot   = 0
	asideApply = 1 // Apply refused an event: the state is that before this event
	asideSave  = 2 // Save failed: the state is right, the domain's tables show an older one
)

// subject is a subject in a batch.
type subject struct {
	ref   Ref
	owner *owner // nil: nobody folds this root
	no    int64
	isNew bool

	state   []byte // what Apply returned last
	shown   []byte // what Save wrote last
	last    []byte // the highest place seen before this batch
	top     []byte // the highest place seen
	arrived int64
	aside   int
	failing []byte // the place of the event that Apply refused

	fresh  []placed // the batch's new events that sort behind last; with anyOrder all new ones
	refold bool     // something sorts before what was folded: begin from nothing
}

// placed is an event with the key of its place.
type placed struct {
	key   []byte
	entry Entry
}

// take adds a new event. It reports whether the event is late.
func (s *subject) take(p placed, arrived int64) (late bool) {
	s.arrived = max(s.arrived, arrived)
	if bytes.Compare(p.key, s.top) > 0 {
		s.top = p.key
	}
	late = bytes.Compare(p.key, s.last) <= 0
	if late && !s.anyOrder() {
		s.refold = true
		return true
	}
	s.fresh = append(s.fresh, p)
	return late
}

func (s *subject) anyOrder() bool { return s.owner != nil && s.owner.anyOrder }

// subject returns the subject as the batch has it, reading it from the database at first.
func (b *batch) subject(ref Ref) (*subject, error) {
	if s := b.subjects[ref]; s != nil {
		return s, nil
	}
	s := &subject{ref: ref, owner: b.folds.byRoot[ref.Subject.Root()]}
	err := b.queryRow(`SELECT no, state, last, arrived, aside FROM rm_subject WHERE authority = ? AND subject = ?`,
		string(ref.Authority), string(ref.Subject)).Scan(&s.no, &s.state, &s.last, &s.arrived, &s.aside)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		b.lastNo++
		s.no, s.isNew = b.lastNo, true
	case err != nil:
		return nil, err
	}
	s.top, s.shown = s.last, s.state
	if s.aside != asideNot {
		err := b.queryRow(`SELECT place, shown FROM rm_trouble WHERE subject = ?`, s.no).Scan(&s.failing, &s.shown)
		if err != nil {
			return nil, err
		}
	}
	b.subjects[ref] = s
	b.order = append(b.order, s)
	return s, nil
}

// foldSubject applies what is new, saves what has changed, and writes the subject's row.
func (b *batch) foldSubject(s *subject) error {
	var trouble *Trouble
	if s.owner != nil {
		var err error
		if trouble, err = b.applyFresh(s); err != nil {
			return err
		}
		failed, err := b.saveChanged(s)
		if err != nil {
			return err
		}
		if trouble == nil {
			trouble = failed
		}
	}
	if err := b.writeTrouble(s, trouble); err != nil {
		return err
	}
	return b.writeSubject(s)
}

// applyFresh moves the subject's state. It returns the trouble if Apply refused an event, now or before.
func (b *batch) applyFresh(s *subject) (*Trouble, error) {
	slices.SortFunc(s.fresh, func(x, y placed) int { return bytes.Compare(x.key, y.key) })
	if s.aside == asideApply && !s.refold && (len(s.fresh) == 0 || bytes.Compare(s.fresh[0].key, s.failing) > 0) {
		// Everything new sorts behind the event that was refused: nothing can have changed.
		return &Trouble{}, nil
	}
	events, state := s.fresh, s.state
	if s.refold || s.aside == asideApply {
		var err error
		if events, err = b.loadEvents(s); err != nil {
			return nil, err
		}
		state = nil
	}
	entries, keys := s.known(events)
	next, done, err := s.owner.apply(state, entries)
	if err != nil && s.anyOrder() && state != nil {
		// The state is to be the one before the refused event in order, whatever had been applied already.
		s.refold = true
		return b.applyFresh(s)
	}
	s.state, s.failing = next, nil
	if err == nil {
		return nil, nil
	}
	s.failing = keys[done]
	refused := entries[done]
	b.cfg.Logger.Error("a subject is set aside: its fold refused an event",
		"fold", s.owner.Name(), "kind", refused.Kind, "event", refused.ID)
	return &Trouble{Ref: s.ref, Kind: refused.Kind, EventID: refused.ID, Reason: err.Error()}, nil
}

// known leaves out the kinds that the fold does not know.
func (s *subject) known(events []placed) (entries []Entry, keys [][]byte) {
	entries, keys = make([]Entry, 0, len(events)), make([][]byte, 0, len(events))
	for _, p := range events {
		if s.owner.kinds[p.entry.Kind] {
			entries, keys = append(entries, p.entry), append(keys, p.key)
		}
	}
	return entries, keys
}

// saveChanged calls the fold's Save if the state differs from what was saved last. It returns the trouble if Save failed,
// and an error if the batch cannot go on.
func (b *batch) saveChanged(s *subject) (*Trouble, error) {
	if len(s.state) == 0 || !b.refreshing && bytes.Equal(s.state, s.shown) {
		return nil, nil
	}
	err := b.save(s)
	if b.broken != nil {
		return nil, b.broken
	}
	if err == nil {
		s.shown = s.state
		b.saved = append(b.saved, s.ref)
		return nil, nil
	}
	if !b.careful {
		return nil, errSave
	}
	b.cfg.Logger.Error("a subject is set aside: its fold could not save it", "fold", s.owner.Name())
	return &Trouble{Ref: s.ref, Reason: err.Error()}, nil
}

func (b *batch) save(s *subject) error {
	tx := &Tx{b: b, s: s}
	if !b.careful {
		return tx.save()
	}
	if _, err := b.exec(`SAVEPOINT save_one`); err != nil {
		b.broken = err
		return err
	}
	failed := tx.save()
	if failed != nil {
		if _, err := b.exec(`ROLLBACK TO save_one`); err != nil {
			b.broken = err
		}
	}
	if _, err := b.exec(`RELEASE save_one`); err != nil {
		b.broken = err
	}
	if failed != nil && b.broken == nil {
		// Which keys it needs is known all the same: with the key it may succeed.
		b.broken = tx.recordKeys()
	}
	return failed
}

// writeTrouble keeps the trouble row in step. An empty trouble means: as before.
func (b *batch) writeTrouble(s *subject, t *Trouble) error {
	was := s.aside
	s.aside = asideNot
	switch {
	case t == nil && was == asideNot:
		return nil
	case t == nil:
		_, err := b.exec(`DELETE FROM rm_trouble WHERE subject = ?`, s.no)
		return err
	case s.failing != nil:
		s.aside = asideApply
	default:
		s.aside = asideSave
	}
	if t.Reason == "" {
		_, err := b.exec(`UPDATE rm_trouble SET shown = ? WHERE subject = ?`, s.shown, s.no)
		return err
	}
	_, err := b.exec(`INSERT INTO rm_trouble VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (subject) DO UPDATE SET
		place = excluded.place, kind = excluded.kind, event = excluded.event, reason = excluded.reason, shown = excluded.shown`,
		s.no, s.failing, string(t.Kind), string(t.EventID), t.Reason, b.nowMillis(), s.shown)
	return err
}

func (b *batch) writeSubject(s *subject) error {
	var err error
	if s.isNew {
		_, err = b.exec(`INSERT INTO rm_subject VALUES (?, ?, ?, ?, ?, ?, ?)`,
			s.no, string(s.ref.Authority), string(s.ref.Subject), s.state, s.top, s.arrived, s.aside)
	} else {
		_, err = b.exec(`UPDATE rm_subject SET state = ?, last = ?, arrived = ?, aside = ? WHERE no = ?`,
			s.state, s.top, s.arrived, s.aside, s.no)
	}
	return err
}

// loadEvents returns all events of a subject in order, those of this batch among them.
func (b *batch) loadEvents(s *subject) ([]placed, error) {
	st, err := b.stmt(`SELECT id, place, branch, arrived, fact, data FROM rm_event WHERE subject = ?`)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(context.Background(), s.no)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []placed
	for rows.Next() {
		p, err := b.scanEvent(s, rows)
		if err != nil {
			return nil, err
		}
		events = append(events, p)
	}
	slices.SortFunc(events, func(x, y placed) int { return bytes.Compare(x.key, y.key) })
	return events, rows.Err()
}

func (b *batch) scanEvent(s *subject, rows *sql.Rows) (placed, error) {
	var p placed
	var id string
	var branch, arrived int64
	var row, data []byte
	if err := rows.Scan(&id, &p.key, &branch, &arrived, &row, &data); err != nil {
		return p, err
	}
	var f fact
	if err := json.Unmarshal(row, &f); err != nil {
		return p, fmt.Errorf("read a kept event: %w", err)
	}
	place, err := parsePlace(p.key)
	if err != nil {
		return p, err
	}
	if s.anyOrder() {
		id = id[:len(id)-copyMarkBytes]
	}
	log := b.logOf(branch)
	p.entry = Entry{
		Event: event.Event{
			ID: event.ID(id), Subject: s.ref.Subject, Kind: f.Kind, Stamp: f.Stamp, Wall: f.Wall,
			Actor: f.Actor, Grant: f.Grant, Mode: f.Mode, Keys: f.Keys, Data: data,
		},
		Authority: s.ref.Authority, Class: log.Class, Log: log, Place: place, StoredAt: time.UnixMilli(arrived).UTC(),
		Chains: b.chains,
	}
	return p, nil
}

// parsePlace reads the bytes of event.Place.Key.
func parsePlace(key []byte) (event.Place, error) {
	var p event.Place
	bad := errors.New("the key of a place is malformed")
	if len(key) < 8 {
		return p, bad
	}
	p.Stamp = event.Stamp(binary.BigEndian.Uint64(key))
	site, rest, ok := bytes.Cut(key[8:], []byte{0})
	if !ok {
		return p, bad
	}
	incarnation, rest, ok := bytes.Cut(rest, []byte{0})
	if !ok || len(rest) != 8+32+4 {
		return p, bad
	}
	p.Site, p.Incarnation = event.SiteID(site), string(incarnation)
	p.Page = binary.BigEndian.Uint64(rest)
	copy(p.Hash[:], rest[8:40])
	p.Index = binary.BigEndian.Uint32(rest[40:])
	return p, nil
}
