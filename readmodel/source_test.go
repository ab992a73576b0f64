// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/seal"
)

// fakeSource is a Source of plain maps.
type fakeSource struct {
	pages   map[eventlog.Branch][]*eventlog.Page
	visible map[eventlog.Branch]int // how many pages have arrived; absent: all
	damaged map[eventlog.Branch]uint64
}

func newSource() *fakeSource {
	return &fakeSource{
		pages:   make(map[eventlog.Branch][]*eventlog.Page),
		visible: make(map[eventlog.Branch]int),
		damaged: make(map[eventlog.Branch]uint64),
	}
}

func (s *fakeSource) arrived(b eventlog.Branch) []*eventlog.Page {
	if n, ok := s.visible[b]; ok {
		return s.pages[b][:n]
	}
	return s.pages[b]
}

func (s *fakeSource) Heads() []eventlog.Head {
	var heads []eventlog.Head
	for b := range s.pages {
		if ps := s.arrived(b); len(ps) > 0 {
			last := ps[len(ps)-1]
			heads = append(heads, eventlog.Head{Branch: b, Page: last.Number, Hash: last.Hash})
		}
	}
	return heads
}

func (s *fakeSource) Read(_ context.Context, b eventlog.Branch, after uint64, _ int) ([]*eventlog.Page, error) {
	var found []*eventlog.Page
	for _, p := range s.arrived(b) {
		if p.Number <= after || len(found) == 3 {
			continue
		}
		if s.damaged[b] == p.Number {
			if len(found) == 0 {
				return nil, eventlog.ErrDamaged
			}
			break
		}
		found = append(found, p)
	}
	return found, nil
}

const (
	town  event.AuthorityID = "lk-nordtal"
	other event.AuthorityID = "st-suedheim"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func branchOf(site event.SiteID) eventlog.Branch {
	return eventlog.Branch{LogID: eventlog.LogID{
		Authority: town, Class: event.Operations, Site: site, Incarnation: "0123456789abcdef"}}
}

// write adds a page with the events to the branch, stored half a second after it was written.
func (s *fakeSource) write(b eventlog.Branch, at time.Time, events ...event.Event) *eventlog.Page {
	return s.writeStored(b, at, at.Add(500*time.Millisecond), events...)
}

func (s *fakeSource) writeStored(b eventlog.Branch, at, stored time.Time, events ...event.Event) *eventlog.Page {
	p := &eventlog.Page{Header: eventlog.Header{Log: b.LogID, Number: 1, Wall: at.UnixMilli()}, Events: events, StoredAt: stored}
	if known := s.pages[b]; len(known) > 0 {
		last := known[len(known)-1]
		p.Number, p.Prev = last.Number+1, last.Hash
	}
	p.Hash = sha256.Sum256(fmt.Appendf(nil, "%s %d %x", b, p.Number, p.Prev))
	s.pages[b] = append(s.pages[b], p)
	return p
}

// happened makes an event; its id follows from what it is, so that two are different unless they are the same.
func happened(subject event.Subject, kind event.Kind, at time.Time, data any) event.Event {
	raw, _ := json.Marshal(data)
	id := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %s", subject, kind, at.UnixNano(), raw))
	return event.Event{
		ID: event.ID(fmt.Sprintf("%x", id[:8])), Subject: subject, Kind: kind,
		Stamp: event.StampAt(at), Wall: at.UnixMilli(), Actor: "operator", Data: raw,
	}
}

// The domain of these tests: a list has words, and a table counts them over all lists.
type list struct {
	Words  []string    `json:"words"`
	Sealed []byte      `json:"sealed,omitempty"`
	Key    event.KeyID `json:"key,omitempty"`
}

const (
	added   event.Kind = "list.Added"
	cleared event.Kind = "list.Cleared"
	secret  event.Kind = "list.Sealed"
)

const listSchema = `
CREATE TABLE IF NOT EXISTS list (authority TEXT, subject TEXT, words TEXT, plain TEXT, PRIMARY KEY (authority, subject)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS list_total (authority TEXT PRIMARY KEY, lists INTEGER NOT NULL, words INTEGER NOT NULL) WITHOUT ROWID;`

var errRefused = errors.New("this word is refused")

func applyList(s list, e Entry) (list, error) {
	switch e.Kind {
	case added:
		var word string
		if err := e.Decode(&word); err != nil {
			return s, err
		}
		switch word {
		case "panic":
			panic("a broken fold")
		case "refuse":
			s.Words = append(s.Words, "half done")
			return s, errRefused
		case "mend":
			s.Words = append(s.Words, "mended")
		default:
			s.Words = append(s.Words, word)
		}
	case cleared:
		s.Words = nil
	case secret:
		var in list
		if err := e.Decode(&in); err != nil {
			return s, err
		}
		s.Sealed, s.Key = in.Sealed, in.Key
	}
	return s, nil
}

func saveList(tx *Tx, ref Ref, old, new list) error {
	plain := ""
	if new.Key != "" {
		b, err := tx.Open(ref.Authority, new.Key, "list", new.Sealed)
		switch {
		case err != nil:
			plain = "(" + err.Error() + ")"
		default:
			plain = string(b)
		}
	}
	_, err := tx.Exec(`INSERT OR REPLACE INTO list VALUES (?, ?, ?, ?)`, string(ref.Authority), string(ref.Subject),
		fmt.Sprint(new.Words), plain)
	if err != nil {
		return err
	}
	lists := 0
	if tx.First() {
		lists = 1
	}
	_, err = tx.Exec(`INSERT INTO list_total VALUES (?1, ?2, ?3) ON CONFLICT (authority) DO UPDATE
		SET lists = lists + ?2, words = words + ?3`, string(ref.Authority), lists, len(new.Words)-len(old.Words))
	if slices.Contains(new.Words, "unsavable") {
		return errors.New("this cannot be saved")
	}
	return err
}

func listFold(kinds ...event.Kind) Typed[list] {
	if kinds == nil {
		kinds = []event.Kind{added, cleared, secret}
	}
	return Typed[list]{Label: "list", OwnedRoots: []string{"list"}, KnownKinds: kinds, SQL: listSchema,
		ApplyFunc: applyList, SaveFunc: saveList}
}

type fakeKeys map[KeyRef]any // a seal.Key or an error

func (k fakeKeys) Key(_ context.Context, authority event.AuthorityID, id event.KeyID) (seal.Key, error) {
	switch v := k[KeyRef{authority, id}].(type) {
	case seal.Key:
		return v, nil
	case error:
		return seal.Key{}, v
	}
	return seal.Key{}, errors.New("missing")
}

func open(t testing.TB, c Config) *Model {
	t.Helper()
	if c.Path == "" {
		c.Path = ":memory:"
	}
	if c.Folds == nil {
		c.Folds = []Fold{listFold()}
	}
	m, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func catchUp(t testing.TB, m *Model) int {
	t.Helper()
	n, err := m.CatchUp(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stateHash(t testing.TB, m *Model) string {
	t.Helper()
	h, err := m.StateHash(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// shown returns the domain's own tables as text.
func shown(t testing.TB, m *Model) string {
	t.Helper()
	var text []string
	ctx := context.Background()
	err := m.View(ctx, func(q Query) error {
		read := func(rows *sql.Rows) error {
			var a, b, c, d string
			err := rows.Scan(&a, &b, &c, &d)
			text = append(text, a+" "+b+" "+c+" "+d)
			return err
		}
		if err := each(ctx, q, read, `SELECT authority, subject, words, plain FROM list ORDER BY 1, 2`); err != nil {
			return err
		}
		return each(ctx, q, read, `SELECT authority, 'total', lists, words FROM list_total ORDER BY 1`)
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(text)
}

func words(t testing.TB, m *Model, subject event.Subject) []string {
	t.Helper()
	var s list
	if _, err := m.State(context.Background(), town, subject, &s); err != nil {
		t.Fatal(err)
	}
	return s.Words
}

// randomSource draws a history of several sites from draw, a source of numbers below n.
func randomSource(draw func(n int) int, failing bool) *fakeSource {
	s := newSource()
	at := epoch
	for range 4 + draw(24) {
		b := branchOf(event.SiteID("site-" + strconv.Itoa(draw(3))))
		if draw(4) == 0 {
			b.Authority = other
		}
		var events []event.Event
		for range 1 + draw(4) {
			at = at.Add(time.Duration(draw(3)) * time.Millisecond)
			events = append(events, randomEvent(draw, s, at, failing))
		}
		s.write(b, at, events...)
	}
	return s
}

func randomEvent(draw func(n int) int, s *fakeSource, at time.Time, failing bool) event.Event {
	subject := event.Subject("list/" + strconv.Itoa(draw(4)))
	jitter := at.Add(time.Duration(draw(20)-10) * time.Millisecond) // clocks differ: places are not in order of pages
	switch draw(12) {
	case 0:
		return happened(subject, cleared, jitter, nil)
	case 1:
		return happened(subject, "list.Unheard", jitter, 7)
	case 2:
		return happened("nobody/"+event.Subject(strconv.Itoa(draw(2))), "nobody.Knows", jitter, 1)
	case 3:
		return copied(draw, s, happened(subject, added, jitter, "first"))
	case 4:
		if failing {
			return happened(subject, added, jitter, []string{"refuse", "panic", "unsavable"}[draw(3)])
		}
	}
	return happened(subject, added, jitter, "w"+strconv.Itoa(draw(100)))
}

// copied returns an event that some page has already, as a second site might write it, or fresh if there is none.
func copied(draw func(n int) int, s *fakeSource, fresh event.Event) event.Event {
	branches := branchesOf(s)
	if len(branches) == 0 {
		return fresh
	}
	pages := s.pages[branches[draw(len(branches))]]
	events := pages[draw(len(pages))].Events
	e := events[draw(len(events))]
	e.Stamp += event.Stamp(draw(3)<<16) - 1<<16
	return e
}

// branchesOf returns the branches by name.
func branchesOf(s *fakeSource) []eventlog.Branch {
	return slices.SortedFunc(maps.Keys(s.pages), func(a, b eventlog.Branch) int { return compare(a.String(), b.String()) })
}
