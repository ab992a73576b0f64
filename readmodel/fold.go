// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"encoding/json"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// Entry is an event together with where it came from. Log and StoredAt say how and when this site got it; they differ
// from site to site and must never find their way into a state. Everything else is the same everywhere.
type Entry struct {
	event.Event
	Authority event.AuthorityID
	Class     event.Class
	Log       eventlog.LogID
	// Place is where the event sorts: its own carried place, or that of its page. It hides Event.Place.
	Place    event.Place
	StoredAt time.Time
	// Chains tells which pages of the entry's log are in one chain with each other. What it says of two pages is the
	// same at every site that has both.
	Chains *Chains
}

// Ref names a subject of an authority.
type Ref struct {
	Authority event.AuthorityID
	Subject   event.Subject
}

// Fold is a domain's part of the read model. A Fold must be safe for concurrent use, because a rebuild runs beside the
// running model; having no fields that change is the simple way.
type Fold interface {
	// Name is the domain's name, unique among the folds: "directory".
	Name() string
	// Roots are the first segments of the subjects that this fold owns ("person", "unit"). Each root has one owner.
	Roots() []string
	// Kinds are the kinds that Apply knows. Events of other kinds under the fold's roots are kept, not folded.
	Kinds() []event.Kind
	// Schema is the SQL that makes the domain's own tables (CREATE TABLE IF NOT EXISTS ...). A change of a single byte
	// rebuilds the read model at the next start: touch a comment in it when Apply or Save changes its meaning. Tables
	// named rm_* belong to this package. Deleted rows are overwritten on the disk (secure_delete); an FTS5 table keeps
	// deleted words in its index unless it is told otherwise: INSERT INTO t(t, rank) VALUES ('secure-delete', 1).
	Schema() string
	// Apply returns the subject's state after e. It is pure: the same input gives the same bytes at every site. A nil
	// state means that nothing was folded yet. It must not change the bytes of state. An error or a panic sets the
	// subject aside.
	Apply(state []byte, e Entry) ([]byte, error)
	// Save writes the domain's own tables after a state has changed from old (what Save last wrote; nil: nothing yet) to
	// new (never nil). Totals move by the difference between old and new, because a late event may have changed any part
	// of the state. Several events may lie between the two. It is also called with old equal to new when a key has arrived
	// or was erased (tx.Refreshing): then it rewrites its rows, so it must be idempotent. An error or a panic undoes what
	// this call has written and sets the subject aside.
	Save(tx *Tx, ref Ref, old, new []byte) error
}

// Typed is a Fold whose state is the JSON of S. S must survive the round trip through JSON unchanged: what JSON leaves
// out is lost between two batches. The zero S stands for "nothing yet". ApplyFunc may change the S it is given in place.
type Typed[S any] struct {
	Label      string
	OwnedRoots []string
	KnownKinds []event.Kind
	SQL        string
	ApplyFunc  func(S, Entry) (S, error)
	// SaveFunc may be nil for a domain without tables of its own. tx.First tells whether old is "nothing yet".
	SaveFunc func(tx *Tx, ref Ref, old, new S) error
	// AnyOrder says that ApplyFunc comes to the same S in whatever order it is told a set of entries, and however often. Then
	// a late event costs what any other costs: the subject is not folded again from nothing. In return ApplyFunc is told every
	// entry, also those that have the id of another one of their site, and has to say which of them counts. For subjects that
	// one hostile site can make long.
	AnyOrder bool
}

// Name returns the label.
func (t Typed[S]) Name() string { return t.Label }

// Roots returns the owned roots.
func (t Typed[S]) Roots() []string { return t.OwnedRoots }

// Kinds returns the known kinds.
func (t Typed[S]) Kinds() []event.Kind { return t.KnownKinds }

// Schema returns the SQL.
func (t Typed[S]) Schema() string { return t.SQL }

// Apply decodes the state, calls ApplyFunc and encodes what it returns.
func (t Typed[S]) Apply(state []byte, e Entry) ([]byte, error) {
	next, _, err := t.applyAll(state, []Entry{e})
	return next, err
}

// Save decodes both states and calls SaveFunc.
func (t Typed[S]) Save(tx *Tx, ref Ref, old, new []byte) error {
	if t.SaveFunc == nil {
		return nil
	}
	was, err := t.decode(old)
	if err != nil {
		return err
	}
	is, err := t.decode(new)
	if err != nil {
		return err
	}
	return t.SaveFunc(tx, ref, was, is)
}

// anyOrder reports whether the order of the entries makes no difference, see AnyOrder.
func (t Typed[S]) anyOrder() bool { return t.AnyOrder }

// applyAll decodes and encodes once for a whole run of events. On an error it returns how many events were applied
// before it, and no state, because ApplyFunc may have left S half changed.
func (t Typed[S]) applyAll(state []byte, entries []Entry) (next []byte, done int, err error) {
	s, err := t.decode(state)
	if err != nil {
		return nil, 0, err
	}
	for i := range entries {
		if s, err = t.applyOne(s, entries[i]); err != nil {
			return nil, i, err
		}
	}
	next, err = json.Marshal(s)
	if err != nil {
		return nil, len(entries) - 1, fmt.Errorf("encode the state of %s: %w", t.Label, err)
	}
	return next, len(entries), nil
}

func (t Typed[S]) applyOne(s S, e Entry) (next S, err error) {
	defer recovered(&err)
	return t.ApplyFunc(s, e)
}

func (t Typed[S]) decode(b []byte) (s S, err error) {
	if b == nil {
		return s, nil
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read a state of %s: %w", t.Label, err)
	}
	return s, nil
}

// recovered turns a panic of a domain's code into an error; a broken fold must not take the site down.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the fold panicked: %v", p)
	}
}
