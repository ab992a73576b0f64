// SPDX-License-Identifier: EUPL-1.2

// Package packed makes what travels over slow lines shorter, by DEFLATE (RFC 1951): pages of receipts that differ in a few
// numbers, and keys whose bytes stand in JSON as letters. On good lines nothing is packed: there, the processor would be what
// is waited for. Whoever unpacks says how much there may be, since a few packed bytes can stand for any number.
package packed

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"
)

var writers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant of the package itself
	}
	return w
}}

// Deflate returns the bytes packed, which may be longer than they are. It is safe for concurrent use.
func Deflate(b []byte) []byte {
	w := writers.Get().(*flate.Writer)
	defer writers.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	_, _ = w.Write(b) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// Inflate returns what Deflate has packed, and an error if the bytes do not hold that, or hold more than so many bytes: then it
// stops there. It is safe for concurrent use.
func Inflate(b []byte, most int) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), int64(most)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("unpack: %w", err)
	case len(out) > most:
		return nil, fmt.Errorf("unpack: more than %d bytes", most)
	}
	return out, nil
}
