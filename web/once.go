// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
)

// OnceStore is what Once needs of the local store. PutNew returns a fault of kind Conflict if the key is there.
type OnceStore interface {
	PutNew(ctx context.Context, bucket, key string, value []byte, expires time.Time) error
	Put(ctx context.Context, bucket, key string, value []byte, expires time.Time) error
	Get(ctx context.Context, bucket, key string) ([]byte, error)
	Delete(ctx context.Context, bucket, key string) error
}

const bucketOnce = "web.once"

// onceLife is how long a repeated request is recognised.
const onceLife = 24 * time.Hour

// Once makes a request that is sent twice (a double tap, a browser's "send again", a client that lost the answer) happen
// once at this site. Fill all fields.
type Once struct {
	Store OnceStore
	Rand  io.Reader
	Now   func() time.Time
}

// ErrUnderWay is returned for a repeated request whose first one has not been answered, or was cut off.
var ErrUnderWay = fault.New(fault.Conflict, "web.under_way", "the same request is being handled already, or was interrupted",
	"look at the list whether it was done; if it was not, begin anew")

// ErrOnceKey is returned for a key that is none.
var ErrOnceKey = fault.New(fault.Invalid, "web.once_key", "the request lacks a proper key against sending it twice",
	"open the form anew; programs send a random Idempotency-Key of 16 to 100 characters")

// NewKey returns a random key for a form.
func (o *Once) NewKey() (string, error) {
	var b [18]byte
	if _, err := io.ReadFull(o.Rand, b[:]); err != nil {
		return "", fmt.Errorf("draw a form's key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// Do runs do for the first request with the key, and remembers the short result that do returns. A repeated one gets the
// same result without do. If do fails the key may be used again. Keys of different scopes (who asks, what for) are
// different keys, so nobody can use up another's.
func (o *Once) Do(ctx context.Context, scope, key string, do func() (string, error)) (string, error) {
	if len(key) < 16 || len(key) > 100 {
		return "", ErrOnceKey
	}
	key = scope + "\x00" + key
	expires := o.Now().Add(onceLife)
	err := o.Store.PutNew(ctx, bucketOnce, digest(key), nil, expires)
	if fault.KindOf(err) == fault.Conflict {
		return o.earlier(ctx, key)
	}
	if err != nil {
		return "", fmt.Errorf("note a request: %w", err)
	}
	result, err := do()
	if err != nil {
		// Whoever has gone away must still be able to try again, hence the context without its cancellation.
		if err2 := o.Store.Delete(context.WithoutCancel(ctx), bucketOnce, digest(key)); err2 != nil {
			return "", fmt.Errorf("forget a failed request: %w", err2)
		}
		return "", err
	}
	if err := o.Store.Put(context.WithoutCancel(ctx), bucketOnce, digest(key), []byte(result), expires); err != nil {
		return "", fmt.Errorf("remember a request: %w", err)
	}
	return result, nil
}

func (o *Once) earlier(ctx context.Context, key string) (string, error) {
	value, err := o.Store.Get(ctx, bucketOnce, digest(key))
	if err != nil || len(value) == 0 {
		return "", ErrUnderWay
	}
	return string(value), nil
}
