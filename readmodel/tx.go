// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Opener finds keys: a keyring.Ring. Its errors (erased, missing) reach Save and View unchanged.
type Opener interface {
	Key(ctx context.Context, authority event.AuthorityID, id event.KeyID) (seal.Key, error)
}

// errNoKeys is what Open returns in a model without an Opener.
var errNoKeys = fault.New(fault.Internal, "readmodel.no_keys", "this read model was opened without a keyring",
	"this is a mistake in the program")

// errKeysFail hides the keyring's own errors, so that they are not taken for errors of the model's database.
var errKeysFail = fault.New(fault.Unavailable, "readmodel.keys_fail", "the keyring of this site cannot be read",
	"the operator runs 'holdfast status', which names the cause")

// Tx is what Save writes with: the batch's transaction. It is valid until Save returns and not safe for concurrent use.
// Rows must be closed before the same query runs again.
type Tx struct {
	b      *batch
	s      *subject
	opened []KeyRef
}

// Exec runs one statement. Its text is prepared once and kept, so data belongs into args.
func (t *Tx) Exec(query string, args ...any) (sql.Result, error) {
	r, err := t.b.exec(query, args...)
	return r, t.note(err)
}

// Query runs one query. The caller closes the rows.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	s, err := t.b.stmt(query)
	if err != nil {
		return nil, t.note(err)
	}
	rows, err := s.Query(args...)
	return rows, t.note(err)
}

// QueryRow runs a query of at most one row; errors come from its Scan.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row { return t.b.queryRow(query, args...) }

// Context returns the context of the batch, for functions that want one. It is never cancelled.
func (t *Tx) Context() context.Context { return t.b.ctx }

// Refreshing reports whether Save is called because a key has arrived or was erased; old and new are then equal.
func (t *Tx) Refreshing() bool { return t.b.refreshing }

// First reports whether nothing was saved of this subject before; old is then nil.
func (t *Tx) First() bool { return len(t.s.shown) == 0 }

// Arrived returns when this site got the youngest arrival among the subject's events. It differs from site to site: it
// may go into views, never into states.
func (t *Tx) Arrived() time.Time { return time.UnixMilli(t.s.arrived).UTC() }

// ArrivedAt returns when this site got one event of the subject, zero if there is none of that id. Like Arrived it may go into views only.
func (t *Tx) ArrivedAt(id event.ID) (time.Time, error) {
	var at sql.NullInt64
	err := t.QueryRow(`SELECT min(arrived) FROM rm_event WHERE subject = ? AND id = ?`, t.s.no, string(id)).Scan(&at)
	if err != nil || !at.Valid {
		return time.Time{}, t.note(err)
	}
	return time.UnixMilli(at.Int64).UTC(), nil
}

// Open opens what was sealed with a key of the authority for the given context string. The errors of the keyring (erased,
// missing) and seal.ErrOpen come through: Save then writes the row as erased or not yet readable and returns nil. Whatever
// the outcome, the subject will be saved again when the key arrives or is erased.
func (t *Tx) Open(authority event.AuthorityID, id event.KeyID, context string, sealed []byte) ([]byte, error) {
	ref := KeyRef{authority, id}
	t.opened = append(t.opened, ref)
	if err := t.recordKey(ref); err != nil {
		return nil, t.note(err)
	}
	return openSealed(t.b.ctx, t.b.cfg.Keys, ref, context, sealed)
}

func openSealed(ctx context.Context, keys Opener, ref KeyRef, context string, sealed []byte) ([]byte, error) {
	if keys == nil {
		return nil, errNoKeys
	}
	key, err := keys.Key(ctx, ref.Authority, ref.KeyID)
	if err != nil && ours(err) {
		// It is the keyring's database, and not ours, that is in trouble: the fold goes on without the key.
		return nil, errKeysFail.Because("%v", err)
	}
	if err != nil {
		return nil, err
	}
	return key.Open(context, sealed)
}

// KeepApart tells what the fold leaves out of this subject, as a reason for the operator by the site that said it, because that
// is more than one site may say. It replaces what was told of the subject before; SetAside lists it. It is for the bounds of
// folds: what is left out must follow from the set of the subject's events alone.
func (t *Tx) KeepApart(reasons map[event.SiteID]string) error {
	before, err := t.apart()
	if err != nil {
		return t.note(err)
	}
	for _, site := range before {
		if _, still := reasons[site]; still {
			continue
		}
		if _, err := t.Exec(`DELETE FROM rm_apart WHERE subject = ? AND site = ?`, t.s.no, string(site)); err != nil {
			return err
		}
	}
	for _, site := range slices.Sorted(maps.Keys(reasons)) {
		if !slices.Contains(before, site) {
			t.b.cfg.Logger.Warn("what a site says beyond a fold's bound is kept apart", "fold", t.s.owner.Name(), "site", site)
		}
		_, err := t.Exec(`INSERT INTO rm_apart VALUES (?, ?, ?, ?) ON CONFLICT (subject, site) DO UPDATE SET reason = excluded.reason`,
			t.s.no, string(site), reasons[site], t.b.nowMillis())
		if err != nil {
			return err
		}
	}
	return nil
}

// apart returns the sites of which something is kept apart in this subject.
func (t *Tx) apart() (sites []event.SiteID, err error) {
	rows, err := t.Query(`SELECT site FROM rm_apart WHERE subject = ?`, t.s.no)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var site event.SiteID
		if err := rows.Scan(&site); err != nil {
			return nil, err
		}
		sites = append(sites, site)
	}
	return sites, nil
}

func (t *Tx) recordKey(k KeyRef) error {
	_, err := t.b.exec(`INSERT INTO rm_key VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
		string(k.Authority), string(k.KeyID), t.s.no)
	return err
}

func (t *Tx) recordKeys() error {
	for _, k := range t.opened {
		if err := t.recordKey(k); err != nil {
			return err
		}
	}
	return nil
}

// note remembers the database's own troubles, so that a full disk does not set subjects aside.
func (t *Tx) note(err error) error {
	if err != nil && ours(err) {
		t.b.broken = err
	}
	return err
}

func (t *Tx) save() (err error) {
	defer recovered(&err)
	if err := t.s.owner.Save(t, t.s.ref, t.s.shown, t.s.state); err != nil {
		return t.note(err)
	}
	return nil
}

// Query is what View reads with: one consistent moment of the database. It is valid until View's function returns. It may
// not be used by several goroutines at once.
type Query struct {
	conn *sql.Conn
	keys Opener
	ctx  context.Context
}

// QueryContext runs a query that returns rows. The caller closes them.
func (q Query) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return q.conn.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a query of at most one row; errors come from its Scan.
func (q Query) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return q.conn.QueryRowContext(ctx, query, args...)
}

// State reads the subject's state, as JSON into a pointer, or unchanged if into is a *[]byte. It reports whether there is
// one. Personal fields are sealed in it.
func (q Query) State(ctx context.Context, authority event.AuthorityID, subject event.Subject, into any) (found bool, err error) {
	return readState(ctx, q.conn, authority, subject, into)
}

// Open opens what was sealed with a key of the authority, like Tx.Open, but without remembering the subject.
func (q Query) Open(authority event.AuthorityID, id event.KeyID, context string, sealed []byte) ([]byte, error) {
	return openSealed(q.ctx, q.keys, KeyRef{authority, id}, context, sealed)
}

type rowQuerier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func readState(ctx context.Context, q rowQuerier, authority event.AuthorityID, subject event.Subject, into any) (bool, error) {
	var state []byte
	err := q.QueryRowContext(ctx, `SELECT state FROM rm_subject WHERE authority = ? AND subject = ?`,
		string(authority), string(subject)).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(state) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the state of %s: %w", subject, err)
	}
	if raw, ok := into.(*[]byte); ok {
		*raw = state
		return true, nil
	}
	if err := json.Unmarshal(state, into); err != nil {
		return true, fmt.Errorf("read the state of %s: %w", subject, err)
	}
	return true, nil
}

// logOf returns the log of a cursor number, of this batch or of an earlier one.
func (b *batch) logOf(no int64) eventlog.LogID {
	if id, ok := b.logs[no]; ok {
		return id
	}
	for branch, c := range b.moved {
		if c.no == no {
			return branch.LogID
		}
	}
	return eventlog.LogID{}
}

// Chains tells which pages of a log are in one chain.
func (tx *Tx) Chains() *Chains { return tx.b.chains }
