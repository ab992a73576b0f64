// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"errors"
)

// Accept stub.
func (l *Log) Accept(ctx context.Context, raw [][]byte) (int, error) {
	return 0, errors.New("not yet")
}

// Forks stub.
func (l *Log) Forks() []Fork { return nil }

// Scrub stub.
func (l *Log) Scrub(ctx context.Context) ([]Damage, error) { return nil, nil }
