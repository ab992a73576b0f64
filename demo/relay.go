// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// relay stands in front of a site's peer port so that the demonstration can cut the wire between two sites: open
// connections break, new ones fail. It knows who dials by the loopback address a site dials from.
type relay struct {
	listener net.Listener
	target   atomic.Pointer[string]
	mu       sync.Mutex
	barred   map[string]bool // source hosts that do not get through
	open     map[*wire]bool
}

// wire is one relayed connection.
type wire struct {
	from      string
	near, far net.Conn
}

func newRelay(host string) (*relay, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen on %s (a Linux machine answers on all of 127.0.0.0/8): %w", host, err)
	}
	r := &relay{listener: l, barred: make(map[string]bool), open: make(map[*wire]bool)}
	go r.accept()
	return r, nil
}

func (r *relay) addr() string          { return r.listener.Addr().String() }
func (r *relay) forward(target string) { r.target.Store(&target) }

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.carry(c)
	}
}

func (r *relay) carry(near net.Conn) {
	defer near.Close()
	from, _, _ := net.SplitHostPort(near.RemoteAddr().String())
	target := r.target.Load()
	if target == nil || r.isBarred(from) {
		return
	}
	far, err := net.Dial("tcp", *target)
	if err != nil {
		return
	}
	defer far.Close()
	w := &wire{from: from, near: near, far: far}
	r.mu.Lock()
	r.open[w] = true
	r.mu.Unlock()
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(far, near); done <- struct{}{} }()
	go func() { _, _ = io.Copy(near, far); done <- struct{}{} }()
	<-done
	r.mu.Lock()
	delete(r.open, w)
	r.mu.Unlock()
}

func (r *relay) isBarred(from string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.barred[from]
}

// bar cuts or mends the wire from one source host to this relay's site.
func (r *relay) bar(from string, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.barred[from] = cut
	if !cut {
		return
	}
	for w := range r.open {
		if w.from == from {
			_ = w.near.Close()
			_ = w.far.Close()
		}
	}
}

func (r *relay) close() { _ = r.listener.Close() }
