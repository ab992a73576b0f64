// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
)

// tick is how often Run looks for pages when nobody has woken it.
const tick = time.Second

// Config is what a Model needs. Path, Folds and Source are required.
type Config struct {
	// Path is the database file, made if it is missing, or ":memory:". Beside it lie Path-wal, Path-shm and, while a
	// rebuild runs, Path.rebuild.
	Path   string
	Folds  []Fold
	Source Source
	// Keys opens personal fields for Save and View; without it every Open fails.
	Keys Opener
	// Self is this site: its logs are folded first, and never count as merges.
	Self event.SiteID
	// MergeAfter is how late a page must come to be shown as merged; zero means five seconds.
	MergeAfter time.Duration
	// Now only dates what is set aside; every other time is taken from the pages. It may be nil.
	Now func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
	// Health is told what is wrong with the database. It may be nil.
	Health *health.Board

	longWAL int64 // see defaultLongWAL, which 0 means; for this package's tests
}

// The refusals of a model.
var (
	// ErrBehind is returned by Wait when it can tell that waiting is in vain.
	ErrBehind = fault.New(fault.Unavailable, "readmodel.behind", "this site does not show the newest facts yet",
		"what was written is safe; load the page again in a moment")
	// ErrClosed is returned by everything after Close, and while a failed rebuild has left no database.
	ErrClosed = fault.New(fault.Unavailable, "readmodel.closed", "the read model is closed",
		"the site is stopping or starting; try again in a moment")
)

// Model is the read model of a site. It is safe for concurrent use.
type Model struct {
	cfg   Config
	folds *registry

	write    chan struct{} // the write lock, a channel so that waiting for it can be given up
	building chan struct{} // held while a rebuild runs
	gate     gate          // readers inside; closed to swap the database, or to write to one in memory
	cur      *engine       // changed only with the write lock held and the gate closed; nil: closed

	watchers watchers
	wake     chan struct{}
	running  atomic.Int32
	// suspected is set when a reader has found the database damaged; Run then checks it.
	suspected atomic.Bool

	mu       sync.Mutex
	folded   map[eventlog.Branch]uint64
	damaged  map[eventlog.Branch]Trouble
	advanced chan struct{} // closed and replaced after each commit
	// changedKeys collects KeysChanged for the rebuild that runs, nil if none does.
	changedKeys []KeyRef
	rebuilding  bool
}

// Open opens the read model. It is empty, and everything is folded by the first CatchUp, if the file is missing, damaged,
// or was written by folds of another version. It returns an error if two folds claim the same name or root, if a schema
// is not valid SQL, or if the file cannot be made.
func Open(ctx context.Context, c Config) (*Model, error) {
	if c.Source == nil || c.Path == "" {
		return nil, errors.New("open the read model: it needs a path and a source")
	}
	if c.MergeAfter == 0 {
		c.MergeAfter = defaultMergeAfter
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.longWAL == 0 {
		c.longWAL = defaultLongWAL
	}
	if c.Health == nil {
		c.Health = health.NewBoard(func() time.Time { return time.Time{} }, c.Logger)
	}
	folds, err := newRegistry(c.Folds)
	if err != nil {
		return nil, fmt.Errorf("open the read model: %w", err)
	}
	m := &Model{
		cfg: c, folds: folds, write: make(chan struct{}, 1), building: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), advanced: make(chan struct{}),
	}
	if c.Path != memoryPath {
		if err := removeDatabase(c.Path + rebuildSuffix); err != nil {
			return nil, fmt.Errorf("open the read model: %w", err)
		}
	}
	e, err := openEngine(ctx, &m.cfg, folds, c.Path, &m.gate)
	if err != nil {
		return nil, fmt.Errorf("open the read model: %w", err)
	}
	m.adopt(e)
	return m, nil
}

// adopt makes e the current database.
func (m *Model) adopt(e *engine) {
	e.committed = func(saved []Ref) { m.publish(e, saved) }
	m.cur = e
	m.publish(e, nil)
}

// publish tells what a commit has changed. It is called with the write lock held.
func (m *Model) publish(e *engine, saved []Ref) {
	m.note(e)
	names := make([]Name, len(saved))
	for i, ref := range saved {
		names[i] = Name{Ref: ref}
	}
	m.watchers.announce(names)
}

func (m *Model) note(e *engine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.folded = make(map[eventlog.Branch]uint64, len(e.cursors))
	for b, c := range e.cursors {
		m.folded[b] = c.page
	}
	m.damaged = make(map[eventlog.Branch]Trouble, len(e.damaged))
	for b, t := range e.damaged {
		m.damaged[b] = t
	}
	m.broadcast()
}

// lock takes the write lock. The caller unlocks unless it gets ctx's error.
func (m *Model) lock(ctx context.Context) error { return take(ctx, m.write) }

func (m *Model) unlock() { <-m.write }

func take(ctx context.Context, lock chan struct{}) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close waits for the transaction that runs and for readers, and releases the database. Closing twice is no error.
func (m *Model) Close() error {
	ctx := context.Background()
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if m.cur == nil {
		return nil
	}
	if err := m.gate.close(ctx); err != nil {
		return err
	}
	defer m.gate.open()
	m.cur.close()
	m.cur = nil
	return nil
}

// CatchUp folds every page that the source has now, and returns how many events were new. It starts no goroutine: the
// branches go in the order of their names, our own first, their pages in order, so the same source gives the same run.
// It blocks until that is done; what is committed stays if ctx ends before. A branch that cannot be read and a subject
// that cannot be folded are no errors, see SetAside. Do not call it from within a View.
//
// If a log was closed before a page that has been folded, it folds everything anew, see Rebuild.
func (m *Model) CatchUp(ctx context.Context) (int, error) {
	n, overshot, err := m.catchUp(ctx)
	if err != nil || !overshot {
		return n, err
	}
	m.cfg.Logger.Info("a log was closed before what has been folded of it; the read model is folded anew")
	return n, m.rebuildIf(ctx, (*engine).overshot)
}

func (m *Model) catchUp(ctx context.Context) (n int, overshot bool, err error) {
	if err := m.lock(ctx); err != nil {
		return 0, false, err
	}
	defer m.unlock()
	if m.cur == nil {
		return 0, false, ErrClosed
	}
	n, err = m.cur.catchUp(ctx)
	m.note(m.cur)
	return n, m.cur.overshot(), err
}

// Run catches up whenever the source or Wake says that there is something, and every second, until ctx ends. An error is
// told to Config.Health and tried again; a database that is damaged is rebuilt.
func (m *Model) Run(ctx context.Context) {
	m.running.Add(1)
	defer m.stopped()
	var changed <-chan struct{}
	if s, ok := m.cfg.Source.(interface {
		Subscribe() (<-chan struct{}, func())
	}); ok {
		c, cancel := s.Subscribe()
		defer cancel()
		changed = c
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for ctx.Err() == nil {
		wake, pages := m.wake, changed
		if !m.runOnce(ctx) {
			wake, pages = nil, nil // after an error only the clock wakes us: no busy loop
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-pages:
		case <-ticker.C:
		}
	}
}

// stopped wakes those who wait, so that they see that they must catch up themselves.
func (m *Model) stopped() {
	m.running.Add(-1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broadcast()
}

// broadcast is called with mu held.
func (m *Model) broadcast() {
	close(m.advanced)
	m.advanced = make(chan struct{})
}

// runOnce reports whether all went well. What is wrong is told to Config.Health, once.
func (m *Model) runOnce(ctx context.Context) bool {
	_, err := m.CatchUp(ctx)
	if err == nil {
		err = m.look(ctx)
	} else if damaged(err) {
		err = m.mend(ctx, err)
	}
	if ctx.Err() != nil {
		return true
	}
	m.tell(err)
	return err == nil
}

// Wake makes Run look at once. It does not block.
func (m *Model) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Wait returns when everything of the log up to the position is folded and committed, so that who has written sees it. If
// no Run is under way it catches up itself. It returns ctx's error if that ends first, and ErrBehind if the branch cannot
// be read, or if nobody runs and the source does not have the page.
func (m *Model) Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error {
	for {
		reached, damaged, advanced := m.progress(eventlog.Branch{LogID: log}, pos.Page)
		switch {
		case reached:
			return nil
		case damaged:
			return ErrBehind.Because("a page of %s/%s is damaged", log.Authority, log.Class)
		}
		if m.running.Load() == 0 {
			if err := m.waitAlone(ctx, log, pos); err != nil {
				return err
			}
			continue
		}
		m.Wake()
		select {
		case <-advanced:
		case <-ctx.Done():
			return fmt.Errorf("wait for the read model: %w", ctx.Err())
		}
	}
}

func (m *Model) waitAlone(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error {
	if _, err := m.CatchUp(ctx); err != nil {
		return fmt.Errorf("wait for the read model: %w", err)
	}
	if reached, _, _ := m.progress(eventlog.Branch{LogID: log}, pos.Page); !reached && m.running.Load() == 0 {
		return ErrBehind
	}
	return nil
}

func (m *Model) progress(b eventlog.Branch, page uint64) (reached, damaged bool, advanced <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, damaged = m.damaged[b]
	return m.folded[b] >= page, damaged, m.advanced
}

// Behind returns how many pages the source has that are not folded yet.
func (m *Model) Behind() uint64 {
	heads := m.cfg.Source.Heads()
	m.mu.Lock()
	defer m.mu.Unlock()
	var pages uint64
	for _, h := range heads {
		if done := m.folded[h.Branch]; done < h.Page {
			pages += h.Page - done
		}
	}
	return pages
}

// Folded returns up to which page the branch is folded and committed, 0 for one that is not known. It does not block.
func (m *Model) Folded(b eventlog.Branch) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.folded[b]
}

// View calls read with one consistent moment of the database and returns its error. It does not wait for writers (in
// memory: for one transaction). Do not write, wait, catch up or keep q or rows beyond it; keep it short, because a
// rebuild waits for it before it swaps. One View may not hold another open: there are eight connections.
func (m *Model) View(ctx context.Context, read func(q Query) error) error {
	return m.read(ctx, func(e *engine) error {
		conn, err := e.readerDB.Conn(ctx)
		if err != nil {
			return fmt.Errorf("view: %w", err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(ctx, `BEGIN`); err != nil {
			return fmt.Errorf("view: %w", err)
		}
		// It ends even where ctx has ended: the connection goes back to the pool.
		defer conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`)
		return read(Query{conn: conn, keys: m.cfg.Keys, ctx: ctx})
	})
}

// read holds the current database for the time of f. Its troubles become faults.
func (m *Model) read(ctx context.Context, f func(e *engine) error) error {
	return m.judge(m.readRaw(ctx, f))
}

func (m *Model) readRaw(ctx context.Context, f func(e *engine) error) error {
	if err := m.gate.enter(ctx); err != nil {
		return err
	}
	defer m.gate.leave()
	if m.cur == nil {
		return ErrClosed
	}
	return f(m.cur)
}

// State reads one subject's state outside of a View, see Query.State.
func (m *Model) State(ctx context.Context, authority event.AuthorityID, subject event.Subject, into any) (found bool, err error) {
	err = m.read(ctx, func(e *engine) error {
		found, err = readState(ctx, e.readerDB, authority, subject, into)
		return err
	})
	return found, err
}

// LastStamp returns the stamp of the last event of the subject in order, of unknown kinds too, for Draft.After. It is
// zero for a subject that is not known.
func (m *Model) LastStamp(ctx context.Context, authority event.AuthorityID, subject event.Subject) (event.Stamp, error) {
	last, _, err := m.ends(ctx, authority, subject)
	if err != nil || len(last) < 8 {
		return 0, err
	}
	return event.Stamp(binary.BigEndian.Uint64(last)), nil
}

// Arrived returns when this site stored the subject's youngest arrival: what "have I heard of it lately" goes by, because
// the clocks of others may be wrong. It is zero for a subject that is not known.
func (m *Model) Arrived(ctx context.Context, authority event.AuthorityID, subject event.Subject) (time.Time, error) {
	last, arrived, err := m.ends(ctx, authority, subject)
	if err != nil || last == nil {
		return time.Time{}, err
	}
	return time.UnixMilli(arrived).UTC(), nil
}

func (m *Model) ends(ctx context.Context, authority event.AuthorityID, subject event.Subject) (last []byte, arrived int64, err error) {
	err = m.read(ctx, func(e *engine) error {
		err := e.readerDB.QueryRowContext(ctx, `SELECT last, arrived FROM rm_subject WHERE authority = ? AND subject = ?`,
			string(authority), string(subject)).Scan(&last, &arrived)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the end of %s: %w", subject, err)
	}
	return last, arrived, nil
}
