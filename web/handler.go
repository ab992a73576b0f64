// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"strings"

	"codeberg.org/holdfast/holdfast/fault"
)

// MaxBody bounds the body of an ordinary request; MaxImport that of an uploaded directory (100,000 people in LDIF).
const (
	MaxBody   = 1 << 20
	MaxImport = 128 << 20
)

// ContentSecurityPolicy is what every page of ours needs, and nothing more. The design system's icons are data: images.
const ContentSecurityPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; " +
	"font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// HandlerConfig assembles what stands around all routes.
type HandlerConfig struct {
	Errors *Errors
	// BehindTLS is true if a proxy in front speaks TLS.
	BehindTLS bool
	// Strict reports whether browsers may be told to reach the host through TLS only (RFC 6797): true for the federation's names,
	// never for a box's own address, where people must get in when the certificate has expired. May be nil: never.
	Strict func(host string) bool
	// ClientHeader is the header in which the proxy in front names who sent a request ("X-Forwarded-For"): its last value counts, which
	// is the one that the proxy has written. "" where people reach this port themselves.
	ClientHeader string
	// LargeBody reports whether a request may carry MaxImport instead of MaxBody. May be nil.
	LargeBody func(*http.Request) bool
}

// Handler returns next behind what every request passes: recovery, headers, the bound of the body, protection against
// requests forged by other sites' pages, the language, compression.
func Handler(c HandlerConfig, next http.Handler) http.Handler {
	csrf := http.NewCrossOriginProtection()
	csrf.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Errors.Write(w, r, ErrCrossOrigin)
	}))
	h := csrf.Handler(Compress(next))
	h = withLanguage(c.BehindTLS, h)
	h = c.bound(h)
	return c.sender(c.headers(c.recover(h)))
}

// sender puts the address that the proxy in front names into the place where the bounds and the audit look for it.
func (c HandlerConfig) sender(next http.Handler) http.Handler {
	if c.ClientHeader == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values := strings.Split(strings.Join(r.Header.Values(c.ClientHeader), ","), ",")
		if ip := net.ParseIP(strings.TrimSpace(values[len(values)-1])); ip != nil {
			r.RemoteAddr = net.JoinHostPort(ip.String(), "0")
		}
		next.ServeHTTP(w, r)
	})
}

// ErrCrossOrigin is returned for a changing request that another site's page sent.
var ErrCrossOrigin = fault.New(fault.Forbidden, "web.cross_origin", "the request came from another website and was refused",
	"open this site's own page and try again there")

// ErrTooLarge is returned for a body over the bound.
var ErrTooLarge = fault.New(fault.TooLarge, "web.too_large", "what was sent is larger than this page takes",
	"send less at a time; directories are imported with: holdfast directory import")

func (c HandlerConfig) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", ContentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), publickey-credentials-create=(self), publickey-credentials-get=(self)")
		h.Set("Cache-Control", "no-store")
		if (c.BehindTLS || r.TLS != nil) && c.Strict != nil && c.Strict(hostOf(r)) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf returns the host that the browser asked for, without a port.
func hostOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}

// recover answers a panic of a handler as an internal error; one bad request must not end the others.
func (c HandlerConfig) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			c.Errors.Logger.ErrorContext(r.Context(), "handler panicked", "panic", p, "stack", string(debug.Stack()))
			c.Errors.Write(w, r, errors.New("a handler panicked"))
		}()
		next.ServeHTTP(w, r)
	})
}

func (c HandlerConfig) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := int64(MaxBody)
		if c.LargeBody != nil && c.LargeBody(r) {
			limit = MaxImport
		}
		if r.ContentLength > limit {
			c.Errors.Write(w, r, ErrTooLarge)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		next.ServeHTTP(w, r)
	})
}

// BodyError turns what reading a body returned into a fault: too large, or not readable.
func BodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return ErrTooLarge
	}
	return fault.New(fault.Invalid, "web.body", "what was sent cannot be read", "check its form and send it again").With(err)
}
