// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"
	"net"
	"sync"
	"time"
)

// On a slow line it is the beginnings of connections that fill it: a handshake is three kilobytes each way, which is two
// seconds of 16 kbit/s, and after a cut there is one for each connection of each side. Made all at once none of them ends
// in time, and all of them begin anew, for ever. So a site makes one at a time, and that for bulk after the other one.

const (
	// handshakeTurn is how long others wait for a handshake to end before they begin theirs.
	handshakeTurn = 4 * time.Second
	// mainFirst is how long bulk waits for the other connection to the site.
	mainFirst = 2 * time.Second
	lookEvery = 20 * time.Millisecond
)

// turns lets one handshake at a time begin. It is safe for concurrent use; nil lets everybody.
type turns chan struct{}

func newTurns() turns { return make(turns, 1) }

// take waits for the turn, at most handshakeTurn or until done is closed, and returns what gives it on; that may be called
// more than once, and happens by itself after handshakeTurn.
func (t turns) take(done <-chan struct{}) (give func()) {
	if t == nil {
		return func() {}
	}
	patience := time.NewTimer(handshakeTurn)
	defer patience.Stop()
	select {
	case t <- struct{}{}:
	case <-patience.C:
		return func() {}
	case <-done:
		return func() {}
	}
	give = sync.OnceFunc(func() { <-t })
	time.AfterFunc(handshakeTurn, give)
	return give
}

// dialer connects for NATS, which makes the handshake right after.
type dialer struct {
	net.Dialer
	turns turns
	// ready reports whether it is time to connect; nil: always.
	ready func() bool
	// shaking is told what ends the turn when the handshake begins; whoever learns that the connection works calls it.
	shaking func(*shakingConn)
	last    func()          // ends the turn of the handshake before; NATS makes one at a time
	done    <-chan struct{} // closed when nobody wants the connection any more
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	if d.last != nil {
		d.last() // NATS leaves a connection open whose handshake it has given up
	}
	if err := d.awaitMain(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-d.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.last = d.turns.take(d.done)
	c := &shakingConn{conn, d.last}
	d.shaking(c)
	return c, nil
}

// awaitMain waits until it is time to connect.
func (d *dialer) awaitMain() error {
	patience := time.NewTimer(mainFirst)
	defer patience.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for d.ready != nil && !d.ready() {
		select {
		case <-look.C:
		case <-patience.C:
			return errMainFirst
		case <-d.done:
			return errCut
		}
	}
	return nil
}

// shakingConn gives the turn on when the handshake ends before its time: when the connection is closed, or fails.
type shakingConn struct {
	net.Conn
	give func()
}

func (c *shakingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.give()
	}
	return n, err
}

func (c *shakingConn) Close() error {
	c.give()
	return c.Conn.Close()
}
