// SPDX-License-Identifier: EUPL-1.2

package logtest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// packetBytes is what a line carries at once, as a line of 1,500 bytes does after the headers of TCP/IP.
const packetBytes = 1400

// maxLate is how much of its time a line makes good; it is also the longest burst.
const maxLate = 30 * time.Millisecond

// LineConfig says what a Line carries. The zero value is a line without bounds.
type LineConfig struct {
	// BytesPerSecond is what each direction carries; 0 is no bound.
	BytesPerSecond int
	// Delay is how long each packet is under way besides.
	Delay time.Duration
	// QueuePackets is how many packets of 1,400 bytes wait in front of the line in each direction before a sender is held
	// back; 0 is 32.
	QueuePackets int
}

// Line is a slow line between two places, for tests and measurements with real connections: a TCP proxy through which all
// connections, whichever side makes them, share one bounded queue, one rate and one delay for each direction, by the wall
// clock. It is safe for concurrent use.
type Line struct {
	cfg   LineConfig
	forth *direction
	back  *direction
	ctx   context.Context
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	doors []net.Listener
	conns map[net.Conn]bool
}

// direction is one direction of a line.
type direction struct {
	queue  chan packet
	flying chan packet
	rate   atomic.Int64
	bytes  atomic.Int64
}

type packet struct {
	to   net.Conn
	body []byte
	at   time.Time // when it arrives
}

// NewLine lays a line. The caller closes it.
func NewLine(cfg LineConfig) *Line {
	if cfg.QueuePackets == 0 {
		cfg.QueuePackets = 32
	}
	l := &Line{cfg: cfg, forth: newDirection(cfg), back: newDirection(cfg), conns: make(map[net.Conn]bool)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	for _, d := range []*direction{l.forth, l.back} {
		l.work.Go(func() { d.carry(l.ctx, cfg.Delay) })
		l.work.Go(func() { d.deliver(l.ctx) })
	}
	return l
}

// Forth returns the address at this end under which a site at the far end, "host:port", is reached.
func (l *Line) Forth(to string) (addr string, err error) { return l.door(to, l.forth, l.back) }

// Back returns the address at the far end under which a site at this end is reached: what is sent to it goes back.
func (l *Line) Back(to string) (addr string, err error) { return l.door(to, l.back, l.forth) }

func (l *Line) door(to string, there, answers *direction) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("lay a line: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doors = append(l.doors, listener)
	l.work.Go(func() { l.accept(listener, to, there, answers) })
	return listener.Addr().String(), nil
}

func newDirection(cfg LineConfig) *direction {
	d := &direction{queue: make(chan packet, cfg.QueuePackets), flying: make(chan packet, 1<<14)}
	d.rate.Store(int64(cfg.BytesPerSecond))
	return d
}

// SetRate changes what each direction carries, in bytes per second; 0 is no bound.
func (l *Line) SetRate(bytesPerSecond int) {
	l.forth.rate.Store(int64(bytesPerSecond))
	l.back.rate.Store(int64(bytesPerSecond))
}

// Carried returns how many bytes have come through in each direction since the line was laid.
func (l *Line) Carried() (forth, back int64) { return l.forth.bytes.Load(), l.back.bytes.Load() }

// Cut ends all connections and refuses new ones until Mend.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		_ = c.Close()
	}
}

// Mend ends a Cut.
func (l *Line) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// Close takes the line away and waits for its goroutines. Closing twice does nothing.
func (l *Line) Close() {
	l.stop()
	l.Cut()
	l.mu.Lock()
	for _, d := range l.doors {
		_ = d.Close()
	}
	l.mu.Unlock()
	l.work.Wait()
}

func (l *Line) accept(listener net.Listener, to string, there, answers *direction) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		if !l.keep(in) {
			continue
		}
		out, err := net.Dial("tcp", to)
		if err != nil || !l.keep(out) {
			l.drop(in)
			continue
		}
		l.work.Go(func() { l.pass(in, out, there) })
		l.work.Go(func() { l.pass(out, in, answers) })
	}
}

// keep remembers a connection; a cut line closes it at once.
func (l *Line) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.ctx.Err() != nil {
		_ = c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *Line) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	_ = c.Close()
}

// pass puts what a connection sends into the queue, and waits while that is full.
func (l *Line) pass(from, to net.Conn, d *direction) {
	defer l.drop(from)
	defer l.drop(to)
	for {
		body := make([]byte, packetBytes)
		n, err := from.Read(body)
		if err != nil {
			return
		}
		select {
		case d.queue <- packet{to: to, body: body[:n]}:
		case <-l.ctx.Done():
			return
		}
	}
}

// carry takes packets out of the queue at the line's rate.
func (d *direction) carry(ctx context.Context, delay time.Duration) {
	free := time.Now()
	for {
		var p packet
		select {
		case p = <-d.queue:
		case <-ctx.Done():
			return
		}
		// What a late timer has lost is made good, or a busy machine would be a slower line.
		if late := time.Now().Add(-maxLate); free.Before(late) {
			free = late
		}
		if rate := d.rate.Load(); rate > 0 {
			free = free.Add(time.Duration(float64(len(p.body)) / float64(rate) * float64(time.Second)))
		}
		if !sleepUntil(ctx, free) {
			return
		}
		p.at = free.Add(delay)
		select {
		case d.flying <- p:
		case <-ctx.Done():
			return
		}
	}
}

// deliver hands packets over when their delay is over.
func (d *direction) deliver(ctx context.Context) {
	for {
		select {
		case p := <-d.flying:
			if !sleepUntil(ctx, p.at) {
				return
			}
			_, _ = p.to.Write(p.body) // a connection that is closed loses it
			d.bytes.Add(int64(len(p.body)))
		case <-ctx.Done():
			return
		}
	}
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
