// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

var gzips = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a constant of the package, so there is no error
	return z
}}

// Compress returns next with pages and JSON compressed for clients that take gzip. Live streams and what is compressed
// already pass untouched. Pages hold no secret beside what their reader typed, so compressing does not leak one.
func Compress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		if !acceptsGzip(r) {
			next.ServeHTTP(w, r)
			return
		}
		c := &compressed{ResponseWriter: w}
		defer c.finish()
		next.ServeHTTP(c, r)
	})
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.TrimSpace(q) != "q=0" {
			return true
		}
	}
	return false
}

// compressed decides with the first byte written, when the content type is known.
type compressed struct {
	http.ResponseWriter
	z       *gzip.Writer
	decided bool
}

// Unwrap lets http.ResponseController reach the real writer.
func (c *compressed) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *compressed) WriteHeader(status int) {
	c.decide(status)
	c.ResponseWriter.WriteHeader(status)
}

func (c *compressed) Write(b []byte) (int, error) {
	if !c.decided {
		c.WriteHeader(http.StatusOK)
	}
	if c.z != nil {
		return c.z.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

func (c *compressed) decide(status int) {
	if c.decided {
		return
	}
	c.decided = true
	h := c.Header()
	bodyless := status < 200 || status == http.StatusNoContent || status == http.StatusNotModified ||
		(status >= 300 && status < 400)
	if bodyless || h.Get("Content-Encoding") != "" || !compressible(h.Get("Content-Type")) {
		return
	}
	h.Set("Content-Encoding", "gzip")
	h.Del("Content-Length")
	c.z = gzips.Get().(*gzip.Writer)
	c.z.Reset(c.ResponseWriter)
}

func compressible(contentType string) bool {
	return strings.HasPrefix(contentType, "text/html") || strings.Contains(contentType, "json") ||
		strings.HasPrefix(contentType, "application/yaml")
}

func (c *compressed) finish() {
	if c.z == nil {
		return
	}
	_ = c.z.Close() // fails only if the client is gone
	gzips.Put(c.z)
}
