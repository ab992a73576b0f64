// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"database/sql"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// Opener finds keys: a keyring.Ring. Its errors (erased, missing) reach Save and View unchanged.
type Opener interface {
	Key(ctx context.Context, authority event.AuthorityID, id event.KeyID) (seal.Key, error)
}

// Tx is what Save writes with.
type Tx struct{}

func (t *Tx) Context() context.Context                           { return nil }
func (t *Tx) Exec(query string, args ...any) (sql.Result, error) { return nil, nil }
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) { return nil, nil }
func (t *Tx) QueryRow(query string, args ...any) *sql.Row        { return nil }
func (t *Tx) Refreshing() bool                                   { return false }
func (t *Tx) First() bool                                        { return false }
func (t *Tx) Arrived() time.Time                                 { return time.Time{} }
func (t *Tx) Open(authority event.AuthorityID, id event.KeyID, context string, sealed []byte) ([]byte, error) {
	return nil, nil
}

// Query is what View reads with.
type Query struct{}

func (q Query) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return nil, nil
}
func (q Query) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row { return nil }
func (q Query) State(ctx context.Context, authority event.AuthorityID, subject event.Subject, into any) (bool, error) {
	return false, nil
}
func (q Query) Open(authority event.AuthorityID, id event.KeyID, context string, sealed []byte) ([]byte, error) {
	return nil, nil
}
