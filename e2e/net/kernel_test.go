// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/e2e/net/router"
)

// The router against the kernel's own TCP and UDP. Exact figures are tested in virtual time, in package router; here a
// figure may be better in one of several tries, since other programs use this machine, too.

// pair is two hosts with a router between them.
type pair struct {
	*router.Router
	a, b *router.Host
}

func newPair(t *testing.T) pair {
	t.Helper()
	p := pair{Router: router.New(1)}
	for i, h := range []**router.Host{&p.a, &p.b} {
		var err error
		if *h, err = router.NewHost(netip.AddrFrom4([4]byte{10, 77, byte(i + 1), 2})); err != nil {
			t.Fatal(err)
		}
		if err := (*h).Join(p.Router); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), p.a.Close(), p.b.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p pair) forth() *router.Line { return p.Line(p.a.Addr, p.b.Addr) }
func (p pair) back() *router.Line  { return p.Line(p.b.Addr, p.a.Addr) }

// listen opens a TCP listener in host b.
func (p pair) listen(t *testing.T) (l net.Listener) {
	t.Helper()
	err := p.b.Do(func() (err error) {
		l, err = net.Listen("tcp4", p.b.Addr.String()+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial connects from host a.
func (p pair) dial(address string) (c net.Conn, err error) {
	err = p.a.Do(func() (err error) {
		c, err = net.DialTimeout("tcp4", address, 3*time.Second)
		return err
	})
	return c, err
}

// sockets opens a UDP socket in each host.
func (p pair) sockets(t *testing.T) (a, b *net.UDPConn) {
	t.Helper()
	open := func(h *router.Host) (c *net.UDPConn) {
		err := h.Do(func() (err error) {
			c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: h.Addr.AsSlice()})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	return open(p.a), open(p.b)
}

// within tries a measurement a few times, until it is near enough.
func within(t *testing.T, what string, want, share float64, measure func() float64) {
	t.Helper()
	var got []float64
	for range 6 {
		m := measure()
		if got = append(got, m); math.Abs(m-want) <= share*want {
			t.Logf("%s: %.4g, wanted %.4g", what, m, want)
			return
		}
	}
	t.Errorf("%s: measured %.4g, wanted %.4g within %.0f %%", what, got, want, 100*share)
}

// ipHeaders are the bytes of IPv4 and UDP before what is sent.
const ipHeaders = 28

func TestRateOfUDPThroughTheKernel(t *testing.T) {
	p := newPair(t)
	a, b := p.sockets(t)
	for _, rate := range []int{64_000, 1_000_000} {
		p.forth().Set(router.Conditions{BitsPerSecond: rate})
		within(t, fmt.Sprintf("bit/s of a line of %d", rate), float64(rate), 0.05, func() float64 {
			return udpRate(t, a, b, rate)
		})
	}
}

// udpRate offers 1.5 times the rate for two seconds, and returns the rate between the first packet that arrives and the
// last.
func udpRate(t *testing.T, a, b *net.UDPConn, rate int) float64 {
	t.Helper()
	const size = 500
	count := rate * 3 / 8 / (size + ipHeaders)
	ended := make(chan float64, 1)
	go func() { ended <- arriving(b) }()
	pace := time.NewTicker(2 * time.Second / time.Duration(count))
	defer pace.Stop()
	for range count {
		if _, err := a.WriteTo(make([]byte, size), b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		<-pace.C
	}
	return <-ended
}

// arriving reads until half a second of silence, and returns the bits per second on the line.
func arriving(c *net.UDPConn) float64 {
	var first, last time.Time
	bytes := 0
	buffer := make([]byte, 2048)
	for patience := 3 * time.Second; ; patience = time.Second / 2 {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		n, err := c.Read(buffer)
		if err != nil {
			return float64(bytes*8) / last.Sub(first).Seconds()
		}
		if last = time.Now(); first.IsZero() {
			first = last
			continue // the first one begins the time, and does not count
		}
		bytes += n + ipHeaders
	}
}

func TestRateOfTCPThroughTheKernel(t *testing.T) {
	p := newPair(t)
	const rate = 2_000_000
	p.forth().Set(router.Conditions{BitsPerSecond: rate, Delay: 10 * time.Millisecond})
	p.back().Set(router.Conditions{Delay: 10 * time.Millisecond})
	l := p.listen(t)
	// 1,448 of 1,500 bytes of a packet are the sender's; the rest is IPv4 and TCP with time stamps.
	// A busy machine makes TCP slower than the line; nothing makes it faster.
	const most = rate * 1448 / 1500 * 1.05
	within(t, "bit/s of a TCP connection", most*0.7, 0.3/0.7, func() float64 { return tcpRate(t, p, l) })
}

// tcpRate sends for two seconds, and returns what the other end has received from half a second on.
func tcpRate(t *testing.T, p pair, l net.Listener) float64 {
	t.Helper()
	var received atomic.Int64
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buffer := make([]byte, 32<<10)
		for {
			n, err := c.Read(buffer)
			received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	c, err := p.dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	begin := time.Now()
	var from time.Time
	var before int64
	for time.Since(begin) < 2500*time.Millisecond {
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = c.Write(make([]byte, 8<<10))
		if from.IsZero() && time.Since(begin) > 500*time.Millisecond {
			from, before = time.Now(), received.Load()
		}
	}
	return float64((received.Load()-before)*8) / time.Since(from).Seconds()
}

func TestDelayThroughTheKernel(t *testing.T) {
	p := newPair(t)
	a, b := p.sockets(t)
	go func() {
		buffer := make([]byte, 100)
		for {
			n, from, err := b.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = b.WriteTo(buffer[:n], from)
		}
	}()
	for _, delay := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond} {
		p.forth().Set(router.Conditions{Delay: delay})
		p.back().Set(router.Conditions{Delay: delay})
		what := fmt.Sprintf("seconds there and back with a delay of %v each way", delay)
		within(t, what, 2*delay.Seconds(), 0.1, func() float64 {
			begin := time.Now()
			_, _ = a.WriteTo([]byte("?"), b.LocalAddr())
			_ = a.SetReadDeadline(begin.Add(3 * time.Second))
			if _, err := a.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			took := time.Since(begin).Seconds()
			if took < 2*delay.Seconds() {
				t.Errorf("a packet was back after %.3f s", took)
			}
			return took
		})
	}
}

func TestLossThroughTheKernel(t *testing.T) {
	p := newPair(t)
	a, b := p.sockets(t)
	p.forth().Set(router.Conditions{Loss: 0.2})
	const count = 4000
	got := make(chan int, 1)
	go func() {
		n := 0
		for buffer := make([]byte, 100); ; n++ {
			_ = b.SetReadDeadline(time.Now().Add(2 * time.Second))
			if _, err := b.Read(buffer); err != nil {
				got <- n
				return
			}
		}
	}()
	for i := range count {
		if _, err := a.WriteTo(binary.BigEndian.AppendUint32(nil, uint32(i)), b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 { // the kernel's queues before the router are bounded, too
			awaitOffered(t, p.forth(), int64(i+1))
		}
	}
	c, n := p.forth().Count(), <-got
	if share := float64(c.Lost) / count; share < 0.18 || share > 0.22 {
		t.Errorf("%.3f of the packets were lost", share)
	}
	if n != count-int(c.Lost) {
		t.Errorf("%d packets arrived, %+v", n, c)
	}
}

func awaitOffered(t *testing.T, l *router.Line, n int64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); l.Count().Offered < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v, wanted %d offered", l.Count(), n)
		}
	}
}

func TestOneWayCutThroughTheKernel(t *testing.T) {
	p := newPair(t)
	l := p.listen(t)
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	near, err := p.dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far := <-accepted
	defer far.Close()
	p.forth().Set(router.Conditions{Cut: true})
	if _, err := far.Write([]byte("still comes")); err != nil {
		t.Fatal(err)
	}
	read := func(c net.Conn, patience time.Duration) (string, error) {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, 100)
		n, err := c.Read(b)
		return string(b[:n]), err
	}
	if s, err := read(near, 5*time.Second); s != "still comes" {
		t.Errorf("the other way: %q %v", s, err)
	}
	if _, err := near.Write([]byte("does not come")); err != nil {
		t.Fatal(err)
	}
	if s, err := read(far, 600*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("through the cut came %q %v: not even a reset may", s, err)
	}
	p.forth().Set(router.Conditions{})
	if s, err := read(far, 20*time.Second); s != "does not come" {
		t.Errorf("after mending: %q %v", s, err)
	}
}

func TestHostsHaveNoOtherWayOut(t *testing.T) {
	p := newPair(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := p.dial(l.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("a host reaches this machine's loopback")
	}
	listener := p.listen(t)
	p.forth().Set(router.Conditions{Cut: true})
	if c, err := p.dial(listener.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("a host reaches another one past the router")
	}
}

// TestTheQueueFillsAndHoldsNoMore fills the queue of a slow line with TCP, as a download does, and looks how long a
// packet then takes: as long as the queue, and no longer.
func TestTheQueueFillsAndHoldsNoMore(t *testing.T) {
	p := newPair(t)
	l := p.listen(t)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(io.Discard, c)
	}()
	c, err := p.dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { _, _ = c.Write(make([]byte, 2<<20)) }()
	p.forth().Set(router.Conditions{BitsPerSecond: 1_000_000, QueueBytes: 50_000}) // 0.4 s
	for end := time.Now().Add(10 * time.Second); p.forth().Count().Overflowed == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the queue did not fill: %+v", p.forth().Count())
		}
	}
	a, b := p.sockets(t)
	within(t, "seconds through a full queue of 0.4 s", 0.3, 0.5, func() float64 {
		begin := time.Now()
		_, _ = a.WriteTo([]byte("!"), b.LocalAddr())
		_ = b.SetReadDeadline(begin.Add(2 * time.Second))
		if _, err := b.Read(make([]byte, 10)); err != nil {
			return math.NaN() // dropped: the queue was full
		}
		return time.Since(begin).Seconds()
	})
}
