// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/synced"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// Bounds of an entry. Larger things belong into files or logs.
const (
	MaxNameBytes  = 512
	MaxValueBytes = 1 << 20
)

// sweepEvery is how often writing also removes what has expired; reading never returns it anyway.
const sweepEvery = time.Minute

// The refusals of the store.
var (
	ErrNotFound = fault.New(fault.NotFound, "local.not_found", "there is no such entry, or it has expired",
		"start again from where the entry was made")
	ErrExists = fault.New(fault.Conflict, "local.exists", "there is already such an entry", "look at the entry that is there")
	ErrTooBig = fault.New(fault.TooLarge, "local.too_large",
		fmt.Sprintf("an entry of the local store has at most %d bytes of name and %d of value", MaxNameBytes, MaxValueBytes),
		"store less")
)

// Store is a small durable map of buckets. It is safe for concurrent use; every method blocks until its work is on the
// disk or ctx ends.
type Store struct {
	db    *sql.DB
	now   func() time.Time
	lock  *lock // nil: values lie in the clear
	watch watch

	mu    sync.Mutex
	swept time.Time
}

const schema = `
CREATE TABLE IF NOT EXISTS entry (
	bucket  TEXT NOT NULL,
	key     TEXT NOT NULL,
	value   BLOB NOT NULL,
	expires INTEGER NOT NULL, -- milliseconds since 1970, 0: never
	sum     INTEGER,          -- see sumOf; NULL: written by a version that knew no sums
	PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_expires ON entry (expires) WHERE expires > 0;`

// Open opens or creates the database file at path, readable by this user only. The path ":memory:" keeps everything in
// memory, for simulations. The directory must exist. Close it when done. It returns ErrStoreSealed for a file whose values are
// sealed. A damaged file is set aside and what can be read of it goes on in a fresh one, see TakeRepair.
func Open(path string, now func() time.Time) (*Store, error) {
	return open(path, now, nil)
}

// OpenSealed is Open for a file whose values only the holder of key can read; names of buckets and keys stay readable. Nonces
// are drawn from random. A file that was not sealed so far is sealed now, in one transaction, and the plain values are
// overwritten. It returns ErrStoreKey for a file that was sealed under another key.
func OpenSealed(path string, now func() time.Time, key seal.Key, random io.Reader) (*Store, error) {
	return open(path, now, &lock{key, random})
}

func open(path string, now func() time.Time, l *lock) (*Store, error) {
	repaired, err := repair(path, now())
	if err != nil {
		return nil, fmt.Errorf("check the local store %s: %w", path, err)
	}
	dsn, err := create(path)
	if err != nil {
		return nil, fmt.Errorf("open the local store: %w", err)
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open the local store: %w", err)
	}
	// One connection: writes are few and small, and an in-memory database lives in its connection.
	db.SetMaxOpenConns(1)
	if err := makeTables(db); err != nil {
		return nil, errors.Join(fmt.Errorf("open the local store %s: %w", path, err), db.Close())
	}
	s := &Store{db: db, now: now, lock: l}
	s.watch.begin(path, now)
	_, err = s.Sweep(context.Background())
	if err == nil {
		err = s.engage(context.Background(), repaired != nil)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.keepLayout()
	return s, nil
}

// create creates the file with narrow rights before SQLite does, makes its name durable, and returns the data source.
func create(path string) (string, error) {
	const pragmas = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(ON)&_txlock=immediate"
	if path == ":memory:" {
		return "file::memory:?" + pragmas, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close(), (synced.Disk{}).Folder(filepath.Dir(abs))); err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: abs, RawQuery: pragmas}).String(), nil
}

// Close releases the database. What was acknowledged stays.
func (s *Store) Close() error { return s.db.Close() }

// Put stores value under the key, replacing what was there. A zero expires means never. It returns ErrTooBig if a bound
// is exceeded.
func (s *Store) Put(ctx context.Context, bucket, key string, value []byte, expires time.Time) error {
	value, err := s.prepare(bucket, key, value)
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, `INSERT INTO entry (bucket, key, value, expires, sum) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires, sum = excluded.sum`,
		bucket, key, value, millis(expires), sumOf(bucket, key, value, millis(expires)))
	if err != nil {
		return fmt.Errorf("store an entry of %s: %w", bucket, err)
	}
	return s.sweepSometimes(ctx)
}

// PutNew is Put for a key that must not be in use: it returns ErrExists if there is an entry that has not expired.
func (s *Store) PutNew(ctx context.Context, bucket, key string, value []byte, expires time.Time) error {
	value, err := s.prepare(bucket, key, value)
	if err != nil {
		return err
	}
	res, err := s.db.ExecContext(ctx, `INSERT INTO entry (bucket, key, value, expires, sum) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires, sum = excluded.sum
		WHERE entry.expires > 0 AND entry.expires <= ?`,
		bucket, key, value, millis(expires), sumOf(bucket, key, value, millis(expires)), s.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("store a new entry of %s: %w", bucket, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(ErrExists, err)
	}
	return s.sweepSometimes(ctx)
}

// Get returns the value under the key, or ErrNotFound.
func (s *Store) Get(ctx context.Context, bucket, key string) ([]byte, error) {
	row := s.db.QueryRowContext(ctx, `SELECT value, expires, sum FROM entry
		WHERE bucket = ? AND key = ? AND (expires = 0 OR expires > ?)`,
		bucket, key, s.now().UnixMilli())
	return s.scanValue(row, "read", bucket, key)
}

// Take returns the value under the key and removes it, in one step: of several callers one gets it, the others get
// ErrNotFound.
func (s *Store) Take(ctx context.Context, bucket, key string) ([]byte, error) {
	row := s.db.QueryRowContext(ctx, `DELETE FROM entry
		WHERE bucket = ? AND key = ? AND (expires = 0 OR expires > ?) RETURNING value, expires, sum`,
		bucket, key, s.now().UnixMilli())
	return s.scanValue(row, "take", bucket, key)
}

// Delete removes the entry. An entry that is not there is no error.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM entry WHERE bucket = ? AND key = ?`, bucket, key); err != nil {
		return fmt.Errorf("delete an entry of %s: %w", bucket, err)
	}
	return nil
}

// Each calls fn for every entry of the bucket in the order of keys until fn returns an error, which it returns. fn may
// use the store; entries that appear meanwhile may or may not be seen.
func (s *Store) Each(ctx context.Context, bucket string, fn func(key string, value []byte) error) error {
	after, first := "", true
	for {
		batch, err := s.batch(ctx, bucket, after, first)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, e := range batch {
			value, err := s.valueOf(e)
			if errors.Is(err, ErrNotFound) {
				continue // it is damaged
			}
			if err == nil {
				err = fn(e.key, value)
			}
			if err != nil {
				return err
			}
		}
		after, first = batch[len(batch)-1].key, false
	}
}

type entry struct {
	bucket, key string
	value       []byte
	expires     int64
	sum         sql.NullInt64
}

func (s *Store) batch(ctx context.Context, bucket, after string, first bool) (batch []entry, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT key, value, expires, sum FROM entry
		WHERE bucket = ? AND (key > ? OR ?) AND (expires = 0 OR expires > ?) ORDER BY key LIMIT 256`,
		bucket, after, first, s.now().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list entries of %s: %w", bucket, err)
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		e := entry{bucket: bucket}
		if err := rows.Scan(&e.key, &e.value, &e.expires, &e.sum); err != nil {
			return nil, fmt.Errorf("list entries of %s: %w", bucket, err)
		}
		batch = append(batch, e)
	}
	return batch, nil
}

// Sweep removes what has expired and returns how much that was. Writing does it now and then by itself.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	now := s.now()
	res, err := s.db.ExecContext(ctx, `DELETE FROM entry WHERE expires > 0 AND expires <= ?`, now.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("sweep the local store: %w", err)
	}
	n, err := res.RowsAffected()
	s.mu.Lock()
	s.swept = now
	s.mu.Unlock()
	return int(n), err
}

func (s *Store) sweepSometimes(ctx context.Context) error {
	s.mu.Lock()
	due := s.now().Sub(s.swept) >= sweepEvery
	s.mu.Unlock()
	if !due {
		return nil
	}
	_, err := s.Sweep(ctx)
	return err
}

func (s *Store) scanValue(row *sql.Row, deed, bucket, key string) ([]byte, error) {
	e := entry{bucket: bucket, key: key}
	switch err := row.Scan(&e.value, &e.expires, &e.sum); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, ErrNotFound
	case err != nil:
		return nil, s.watch.note(fmt.Errorf("%s an entry of %s: %w", deed, bucket, err))
	}
	return s.valueOf(e)
}

// prepare checks the bounds and returns the value as it is stored: sealed or not, and never SQL's NULL.
func (s *Store) prepare(bucket, key string, value []byte) ([]byte, error) {
	if len(bucket) > MaxNameBytes || len(key) > MaxNameBytes || len(value) > MaxValueBytes {
		return nil, ErrTooBig
	}
	if value == nil {
		value = []byte{}
	}
	return s.lock.seal(bucket, key, value)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
