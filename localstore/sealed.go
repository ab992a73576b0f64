// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

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

// engage compares the file with what was asked for, and seals a file that was not sealed so far. Of a file that was repaired, now or
// at an opening that did not come this far, the proof may be lost; then any entry that opens is one.
func (s *Store) engage(ctx context.Context, repaired bool) error {
	proof := entry{bucket: sealBucket, key: sealKey}
	err := s.db.QueryRowContext(ctx, `SELECT value, expires, sum FROM entry WHERE bucket = ? AND key = ?`, sealBucket, sealKey).
		Scan(&proof.value, &proof.expires, &proof.sum)
	missing := errors.Is(err, sql.ErrNoRows)
	switch {
	case missing && s.lock == nil:
		return nil
	case missing && !repaired:
		return s.sealAll(ctx)
	case err != nil && !missing:
		return fmt.Errorf("open the local store: %w", err)
	case s.lock == nil:
		return ErrStoreSealed
	case missing || !proof.whole():
		return s.proveAgain(ctx, missing)
	}
	_, err = s.lock.open(sealBucket, sealKey, proof.value)
	return err
}

// proveAgain writes a proof that was lost, if the key opens what is there. A file of which an entry cannot be sealed never had a
// proof: it is sealed now. One that has a damaged proof is sealed.
func (s *Store) proveAgain(ctx context.Context, missing bool) error {
	opens, others, plain := false, false, false
	err := s.eachStored(ctx, func(context.Context) error { return nil }, func(e entry) {
		if e.bucket == sealBucket || !e.whole() {
			return
		}
		others, plain = true, plain || !seal.Sealed(e.value)
		_, err := s.lock.open(e.bucket, e.key, e.value)
		opens = opens || err == nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("open the local store: %w", err)
	case opens || !others:
		return s.Put(ctx, sealBucket, sealKey, []byte(sealProof), time.Time{})
	case missing && plain:
		return s.sealAll(ctx)
	}
	return ErrStoreKey.Because("its proof is damaged, and nothing in it opens")
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
	all := []entry{{bucket: sealBucket, key: sealKey, value: []byte(sealProof)}}
	rows, err := tx.QueryContext(ctx, `SELECT bucket, key, value, expires, sum FROM entry`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.bucket, &e.key, &e.value, &e.expires, &e.sum); err != nil {
			return errors.Join(err, rows.Close())
		}
		all = append(all, e)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, e := range all {
		if err := s.sealRow(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// sealRow leaves out a damaged entry: sealed, it would pass for one that is in order.
func (s *Store) sealRow(ctx context.Context, tx *sql.Tx, e entry) error {
	if !e.whole() {
		_, err := tx.ExecContext(ctx, `DELETE FROM entry WHERE bucket = ? AND key = ?`, e.bucket, e.key)
		return err
	}
	sealed, err := s.lock.seal(e.bucket, e.key, e.value)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO entry (bucket, key, value, expires, sum) VALUES (?, ?, ?, 0, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, sum = excluded.sum`, e.bucket, e.key, sealed,
		sumOf(e.bucket, e.key, sealed, e.expires))
	return err
}
