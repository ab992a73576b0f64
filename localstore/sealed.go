// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// The refusals of a sealed store.
var (
	ErrStoreSealed = fault.New(fault.Forbidden, "local.sealed", "the local store is sealed, and no secret was given to open it",
		"name the file with the secret under which it was sealed")
	ErrStoreKey = fault.New(fault.Forbidden, "local.wrong_key", "the local store does not open with this secret, or an entry is damaged",
		"name the file with the secret under which it was sealed; if that is the one: put the file back from its backup")
)

// The entry by which a sealed store is known. Nobody else's bucket is empty.
const (
	sealBucket = ""
	sealKey    = "sealed"
	sealProof  = "holdfast local store"
)

// lock seals values on their way to the disk. A nil lock leaves them as they are.
type lock struct {
	key    seal.Key
	random io.Reader
}

// contextOf binds a sealed value to its place.
func contextOf(bucket, key string) string {
	return fmt.Sprintf("local/%d/%s/%s", len(bucket), bucket, key)
}

func (l *lock) seal(bucket, key string, value []byte) ([]byte, error) {
	if l == nil {
		return value, nil
	}
	return l.key.Seal(l.random, contextOf(bucket, key), value)
}

func (l *lock) open(bucket, key string, value []byte) ([]byte, error) {
	if l == nil {
		return value, nil
	}
	plain, err := l.key.Open(contextOf(bucket, key), value)
	if err != nil {
		return nil, ErrStoreKey.Because("bucket %q", bucket)
	}
	if plain == nil {
		plain = []byte{}
	}
	return plain, nil
}

// engage compares the file with what was asked for, and seals a file that was not sealed so far.
func (s *Store) engage(ctx context.Context) (err error) {
	var proof []byte
	err = s.db.QueryRowContext(ctx, `SELECT value FROM entry WHERE bucket = ? AND key = ?`, sealBucket, sealKey).Scan(&proof)
	switch {
	case errors.Is(err, sql.ErrNoRows) && s.lock == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return s.sealAll(ctx)
	case err != nil:
		return fmt.Errorf("open the local store: %w", err)
	case s.lock == nil:
		return ErrStoreSealed
	}
	_, err = s.lock.open(sealBucket, sealKey, proof)
	return err
}

// sealAll seals every value in one transaction. Then it moves the write-ahead log into the file and cuts it off, so that no
// plain value stays in either (secure_delete overwrites what is replaced).
func (s *Store) sealAll(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("seal the local store: %w", err)
	}
	if err := s.sealRows(ctx, tx); err != nil {
		return errors.Join(fmt.Errorf("seal the local store: %w", err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("seal the local store: %w", err)
	}
	if _, err := s.db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return fmt.Errorf("seal the local store: %w", err)
	}
	return nil
}

func (s *Store) sealRows(ctx context.Context, tx *sql.Tx) error {
	type row struct {
		bucket, key string
		value       []byte
	}
	all := []row{{sealBucket, sealKey, []byte(sealProof)}}
	rows, err := tx.QueryContext(ctx, `SELECT bucket, key, value FROM entry`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.bucket, &r.key, &r.value); err != nil {
			return errors.Join(err, rows.Close())
		}
		all = append(all, r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, r := range all {
		sealed, err := s.lock.seal(r.bucket, r.key, r.value)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO entry (bucket, key, value, expires) VALUES (?, ?, ?, 0)
			ON CONFLICT DO UPDATE SET value = excluded.value`, r.bucket, r.key, sealed); err != nil {
			return err
		}
	}
	return nil
}
