// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"net"
	"net/http"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
)

// ErrTooOften is returned to an address that tries too often.
var ErrTooOften = fault.New(fault.Unavailable, "web.too_often", "too many attempts came from your address",
	"wait a minute and try again")

// Attempts bounds how often one address may try something. The zero value is not usable; see NewAttempts.
type Attempts struct {
	now   func() time.Time
	burst float64
	every time.Duration
	max   int

	mu   sync.Mutex
	seen map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// NewAttempts allows each address burst attempts at once and one more each period. It remembers at most maxAddresses; when
// they are used up those that are rested are forgotten, and if none is, newcomers share one bucket.
func NewAttempts(now func() time.Time, burst int, every time.Duration, maxAddresses int) *Attempts {
	return &Attempts{now: now, burst: float64(burst), every: every, max: maxAddresses, seen: map[string]bucket{}}
}

// Allow counts one attempt by the request's sender and returns ErrTooOften if it was one too many.
func (a *Attempts) Allow(r *http.Request) error {
	key := senderOf(r)
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	b, known := a.seen[key]
	if !known {
		if len(a.seen) >= a.max {
			a.forget(now)
		}
		if len(a.seen) >= a.max {
			key = "*"
			b, known = a.seen[key]
		}
		if !known {
			b = bucket{tokens: a.burst, at: now}
		}
	}
	b.tokens = min(a.burst, b.tokens+float64(now.Sub(b.at))/float64(a.every))
	b.at = now
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	a.seen[key] = b
	if !ok {
		return ErrTooOften
	}
	return nil
}

func (a *Attempts) forget(now time.Time) {
	for key, b := range a.seen {
		if b.tokens+float64(now.Sub(b.at))/float64(a.every) >= a.burst {
			delete(a.seen, key)
		}
	}
}

// senderOf groups an IPv6 sender by its /64, which one household or one attacker has whole.
func senderOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if host == "@" {
		return "" // the operator's socket
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
