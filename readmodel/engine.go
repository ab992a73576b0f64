// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	"modernc.org/sqlite" // also registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

//go:embed schema.sql
var schema string

const (
	memoryPath  = ":memory:"
	readers     = 8    // connections for View; each is a few hundred KiB
	maxPrepared = 2000 // statements; a fold that builds SQL text from data must not grow the cache for ever
)

// memories numbers the in-memory databases of this process, so that two models do not share one.
var memories atomic.Int64

// engine is one database and the folding into it. It has one writer: whoever holds the model's write lock.
type engine struct {
	cfg   *Config
	folds *registry
	path  string

	writerDB *sql.DB
	writer   *sql.Conn
	readerDB *sql.DB
	prepared map[string]*sql.Stmt

	lastSubject int64
	cursors     map[eventlog.Branch]cursor
	logs        map[int64]eventlog.LogID // by cursor number
	firsts      map[event.AuthorityID]int64
	damaged     map[eventlog.Branch]Trouble
	// retry makes the next catch-up try the set-aside subjects again: the program may have been mended since.
	retry bool
	// silent is set while a rebuild reads what the running model has read before: then no merge is noted.
	silent bool
	// notedUntil is up to when pages were stored whose merges have been taken over from the database before this one.
	notedUntil int64
	// exclusive brackets each write transaction of an in-memory database, which cannot be read meanwhile.
	exclusive *gate
	// committed is called after each commit with the names of the subjects saved in it.
	committed func(saved []Ref)
	// summed is how far the sums know the write-ahead log.
	summed round
}

// cursor is how far a branch has been folded.
type cursor struct {
	no   int64
	page uint64
	hash eventlog.Hash
}

// openEngine opens the database at path, or makes it anew if it is missing, damaged, or of another version.
func openEngine(ctx context.Context, cfg *Config, folds *registry, path string, g *gate) (*engine, error) {
	e := &engine{cfg: cfg, folds: folds, path: path, committed: func([]Ref) {}, retry: true}
	if path == memoryPath {
		e.exclusive = g
	}
	err := e.resume(ctx)
	if err == nil {
		return e, nil
	}
	if !errors.Is(err, errStale) {
		tellDamaged(cfg.Health, err)
	}
	kept := e.observations(ctx)
	if err := e.startAnew(ctx); err != nil {
		e.close()
		return nil, fmt.Errorf("make a new read model: %w", err)
	}
	return e, e.keep(ctx, kept)
}

// errStale is the answer of resume for a database that is in order and cannot be gone on with: it is new, of another version, or
// the logs have lost what was folded.
var errStale = errors.New("the read model is of no use any more")

// resume connects to the database and takes up what it has. It returns errStale, or another error for one that is damaged.
func (e *engine) resume(ctx context.Context) error {
	version, err := e.connectAndAsk(ctx)
	switch {
	case damaged(err):
		return err
	case err != nil || version != e.folds.version:
		return errors.Join(errStale, err)
	}
	if e.path != memoryPath {
		if err := checkAll(e.path); err != nil {
			return err
		}
	}
	if err := e.load(ctx); err != nil {
		return err
	}
	if e.outlived(ctx) {
		return errStale
	}
	return nil
}

// outlived reports whether something was folded that is not in the logs any more: they were put back from a backup and the
// model was not, or they were deleted and the process ended before the model was made anew. What it says would stay for ever.
// A page that cannot be read proves nothing.
func (e *engine) outlived(ctx context.Context) bool {
	heads := make(map[eventlog.Branch]eventlog.Head)
	for _, h := range e.cfg.Source.Heads() {
		heads[h.Branch] = h
	}
	for b, at := range e.cursors {
		h, there := heads[b]
		gone := !there || h.Page < at.page || h.Page == at.page && h.Hash != at.hash
		if !gone && h.Page > at.page {
			pages, err := e.cfg.Source.Read(ctx, b, at.page-1, 1)
			gone = err == nil && len(pages) > 0 && (pages[0].Number != at.page || pages[0].Hash != at.hash)
		}
		if gone {
			e.cfg.Logger.Warn("the logs have lost pages that were folded; the read model is folded anew", "branch", b.String(), "page", at.page)
			return true
		}
	}
	return false
}

func (e *engine) connectAndAsk(ctx context.Context) (version string, err error) {
	if err := e.connect(ctx); err != nil {
		return "", err
	}
	err = e.writer.QueryRowContext(ctx, `SELECT value FROM rm_meta WHERE name = 'version'`).Scan(&version)
	return version, err
}

func (e *engine) startAnew(ctx context.Context) error {
	e.close()
	if err := removeDatabase(e.path); err != nil {
		return err
	}
	if err := e.connect(ctx); err != nil {
		return err
	}
	if err := e.create(ctx); err != nil {
		return err
	}
	return e.load(ctx)
}

func (e *engine) create(ctx context.Context) error {
	if _, err := e.writer.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("create the tables: %w", err)
	}
	for _, o := range e.folds.owners {
		if o.Schema() == "" {
			continue
		}
		if _, err := e.writer.ExecContext(ctx, o.Schema()); err != nil {
			return fmt.Errorf("create the tables of %s: %w", o.Name(), err)
		}
	}
	// The version is written last: a database whose making was interrupted has none, and is made again.
	_, err := e.writer.ExecContext(ctx, `INSERT INTO rm_meta VALUES ('version', ?)`, e.folds.version)
	return err
}

// connect opens one connection to write and a pool to read.
//
// The database is in WAL mode, so that reading never waits for writing, with synchronous=NORMAL: a power cut may lose
// the last transactions, and since the cursors were in them they are simply folded again; it never leaves a damaged file
// or a cursor that is ahead of its states. OFF would save a few syncs per checkpoint and cost that.
//
// secure_delete overwrites what is deleted, because the views hold the plaintext of people whose key may be erased.
func (e *engine) connect(ctx context.Context) error {
	dsn, err := e.dsn()
	if err != nil {
		return err
	}
	// No connection makes checkpoints by itself, see sums.go.
	common := dsn + "&_pragma=busy_timeout(5000)&_pragma=temp_store(memory)&_pragma=foreign_keys(0)&_pragma=wal_autocheckpoint(0)"
	e.prepared = make(map[string]*sql.Stmt)
	if e.writerDB, err = sql.Open("sqlite", common+"&_pragma=journal_mode(wal)&_pragma=synchronous(normal)"+
		"&_pragma=secure_delete(1)&_pragma=cache_size(-32768)&_pragma=journal_size_limit(67108864)"); err != nil {
		return err
	}
	e.writerDB.SetMaxOpenConns(1)
	if e.writer, err = e.writerDB.Conn(ctx); err != nil {
		return err
	}
	if e.readerDB, err = sql.Open("sqlite", common+"&_pragma=query_only(1)"); err != nil {
		return err
	}
	e.readerDB.SetMaxOpenConns(readers)
	e.readerDB.SetMaxIdleConns(readers)
	return nil
}

func (e *engine) dsn() (string, error) {
	if e.path == memoryPath {
		return fmt.Sprintf("file:/holdfast-readmodel-%d?vfs=memdb", memories.Add(1)), nil
	}
	abs, err := filepath.Abs(e.path)
	if err != nil {
		return "", err
	}
	// The views hold plaintext of people: the file is for this user alone; SQLite gives -wal and -shm the same mode.
	f, err := os.OpenFile(abs, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: abs, RawQuery: "mode=rw"}).String(), nil
}

// load reads into memory what every batch needs.
func (e *engine) load(ctx context.Context) error {
	e.cursors, e.logs = make(map[eventlog.Branch]cursor), make(map[int64]eventlog.LogID)
	e.firsts, e.damaged = make(map[event.AuthorityID]int64), make(map[eventlog.Branch]Trouble)
	if err := e.writer.QueryRowContext(ctx, `SELECT coalesce(max(no), 0) FROM rm_subject`).Scan(&e.lastSubject); err != nil {
		return err
	}
	err := e.writer.QueryRowContext(ctx, `SELECT value FROM rm_meta WHERE name = 'noted_until'`).Scan(&e.notedUntil)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err := e.loadCursors(ctx); err != nil {
		return err
	}
	return each(ctx, e.writer, func(rows *sql.Rows) error {
		var authority event.AuthorityID
		var stored int64
		err := rows.Scan(&authority, &stored)
		e.firsts[authority] = stored
		return err
	}, `SELECT authority, stored FROM rm_first`)
}

func (e *engine) loadCursors(ctx context.Context) error {
	return each(ctx, e.writer, func(rows *sql.Rows) error {
		var b eventlog.Branch
		var c cursor
		var hash []byte
		err := rows.Scan(&c.no, &b.Authority, &b.Class, &b.Site, &b.Incarnation, &b.Fork, &c.page, &hash)
		copy(c.hash[:], hash)
		e.cursors[b], e.logs[c.no] = c, b.LogID
		return err
	}, `SELECT no, authority, class, site, incarnation, fork, page, hash FROM rm_cursor`)
}

// stmt returns the prepared statement of a query, preparing it at its first use.
func (e *engine) stmt(query string) (*sql.Stmt, error) {
	if s := e.prepared[query]; s != nil {
		return s, nil
	}
	if len(e.prepared) >= maxPrepared {
		for q, s := range e.prepared {
			_ = s.Close()
			delete(e.prepared, q)
		}
	}
	// The writer's statements run without a cancellable context: the driver would start a goroutine for each of them.
	s, err := e.writer.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	e.prepared[query] = s
	return s, nil
}

func (e *engine) exec(query string, args ...any) (sql.Result, error) {
	s, err := e.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

func (e *engine) queryRow(query string, args ...any) *sql.Row {
	s, err := e.stmt(query)
	if err != nil {
		// The row carries the error of preparing it again, this time unprepared.
		return e.writer.QueryRowContext(context.Background(), query, args...)
	}
	return s.QueryRow(args...)
}

// close releases the database. Rows that are being read stay readable until they are closed.
func (e *engine) close() {
	if e.writer != nil {
		if _, err := e.checkpoint(context.Background()); err != nil {
			e.cfg.Logger.Warn("the read model is closed without its sums; it is folded anew at the next start", "error", err)
		}
	}
	for _, s := range e.prepared {
		_ = s.Close()
	}
	if e.readerDB != nil {
		_ = e.readerDB.Close()
	}
	if e.writer != nil {
		_ = e.writer.Close()
	}
	if e.writerDB != nil {
		_ = e.writerDB.Close()
	}
	e.prepared, e.readerDB, e.writer, e.writerDB = nil, nil, nil, nil
}

func removeDatabase(path string) error {
	if path == memoryPath {
		return nil
	}
	for _, suffix := range []string{"", walSuffix, "-shm", sumsSuffix} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls f for every row of a query.
func each(ctx context.Context, q querier, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ours reports whether err is the database's trouble (no room, a bad disk) and not that of the statement.
func ours(err error) bool {
	s, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch s.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
		sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

// corrupt reports whether err says that the database file is damaged.
func corrupt(err error) bool {
	s, ok := errors.AsType[*sqlite.Error](err)
	return ok && (s.Code()&0xff == sqlite3.SQLITE_CORRUPT || s.Code()&0xff == sqlite3.SQLITE_NOTADB)
}
