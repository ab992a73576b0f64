// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
)

// StateHash returns the SHA-256, in hexadecimal, over (authority, subject, state) of every subject that has a state,
// ordered by authority and subject. States hold personal fields sealed, so the hash is the same at every site that has
// the same logs and the same program, whichever keys it holds.
func (m *Model) StateHash(ctx context.Context) (string, error) { return m.StateHashOf(ctx) }

// StateHashOf is StateHash over some authorities only, for two sites that do not hold the same ones. None means all.
func (m *Model) StateHashOf(ctx context.Context, authorities ...event.AuthorityID) (string, error) {
	h := sha256.New()
	err := m.View(ctx, func(q Query) error {
		if len(authorities) == 0 {
			return hashRows(ctx, h, q, `SELECT authority, subject, state FROM rm_subject
				WHERE state IS NOT NULL ORDER BY authority, subject`)
		}
		for _, a := range slices.Compact(slices.Sorted(slices.Values(authorities))) {
			err := hashRows(ctx, h, q, `SELECT authority, subject, state FROM rm_subject
				WHERE state IS NOT NULL AND authority = ? ORDER BY authority, subject`, string(a))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("hash the states: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashRows writes each column with its length before it, so that no two different tables give the same bytes.
func hashRows(ctx context.Context, h hash.Hash, q Query, query string, args ...any) error {
	var size [8]byte
	return each(ctx, q, func(rows *sql.Rows) error {
		var cols [3]sql.RawBytes
		if err := rows.Scan(&cols[0], &cols[1], &cols[2]); err != nil {
			return err
		}
		for _, c := range cols {
			binary.BigEndian.PutUint64(size[:], uint64(len(c)))
			h.Write(size[:])
			h.Write(c)
		}
		return nil
	}, query, args...)
}
