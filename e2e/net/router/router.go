// SPDX-License-Identifier: EUPL-1.2

package router

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"sync"
	"time"
)

// Router carries IPv4 packets between devices. Use New; it is safe for concurrent use.
type Router struct {
	seed uint64

	mu     sync.Mutex
	ports  map[netip.Addr]io.ReadWriteCloser
	lines  map[way]*Line
	queue  queue
	seq    uint64
	strays int64
	closed bool

	wake chan struct{} // the queue has a new first
	stop chan struct{}
	work sync.WaitGroup
}

type way struct{ from, to netip.Addr }

// New returns a router without any host. The accidents of its lines are drawn from seed. The caller closes it.
func New(seed uint64) *Router {
	r := &Router{
		seed: seed, ports: make(map[netip.Addr]io.ReadWriteCloser), lines: make(map[way]*Line),
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	r.work.Go(r.deliver)
	return r
}

// Attach begins to carry the packets of the device that stands at that address: one packet for each Read and Write. The
// router closes the device when it is closed itself.
func (r *Router) Attach(at netip.Addr, device io.ReadWriteCloser) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("the router is closed")
	}
	if !at.Is4() || r.ports[at] != nil {
		return fmt.Errorf("%s is not an IPv4 address that is free", at)
	}
	r.ports[at] = device
	r.work.Go(func() { r.read(at, device) })
	return nil
}

// Line returns the line that carries what goes from one address to another: a perfect one of their own until Share has
// given them another.
func (r *Router) Line(from, to netip.Addr) *Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.line(from, to)
}

// line is Line with the lock held.
func (r *Router) line(from, to netip.Addr) *Line {
	w := way{from, to}
	l := r.lines[w]
	if l == nil {
		l = NewLine(r.seedOf(w))
		r.lines[w] = l
	}
	return l
}

// seedOf makes a line's accidents depend on its ends and not on the order in which lines are first used.
func (r *Router) seedOf(w way) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, r.seed)
	_, _ = h.Write(w.from.AsSlice())
	_, _ = h.Write(w.to.AsSlice())
	return h.Sum64()
}

// Share has the line carry what goes from one address to another, besides whatever it carries already.
func (r *Router) Share(l *Line, from, to netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines[way{from, to}] = l
}

// Strays returns how many packets were for nobody or no IPv4 packets: they were dropped.
func (r *Router) Strays() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.strays
}

// Close closes all devices and waits until nothing is carried any more. What is under way is dropped.
func (r *Router) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	close(r.stop)
	var errs []error
	for _, d := range r.ports {
		errs = append(errs, d.Close())
	}
	r.mu.Unlock()
	r.work.Wait()
	return errors.Join(errs...)
}

// read takes packets from a device until it is closed.
func (r *Router) read(from netip.Addr, device io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := device.Read(buffer)
		if err != nil {
			return
		}
		r.take(from, buffer[:n])
	}
}

// take has a line decide about a packet. It does not keep the bytes.
func (r *Router) take(from netip.Addr, packet []byte) {
	to, ok := destination(packet)
	r.mu.Lock()
	device := r.ports[to]
	if !ok || device == nil || r.closed {
		r.strays++
		r.mu.Unlock()
		return
	}
	line := r.line(from, to)
	r.mu.Unlock()

	now := time.Now()
	arrivals := line.plan(len(packet), now)
	if len(arrivals) == 0 {
		return
	}
	bytes := append([]byte(nil), packet...)
	r.mu.Lock()
	defer r.mu.Unlock()
	first := len(r.queue) == 0 || arrivals[0].Before(r.queue[0].at)
	for _, at := range arrivals {
		r.seq++
		heap.Push(&r.queue, parcel{at, r.seq, bytes, device, line})
	}
	if first {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// destination returns where an IPv4 packet goes.
func destination(packet []byte) (netip.Addr, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(packet[16:20])), true
}

// deliver writes packets when they are due, until the router is closed.
func (r *Router) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, wait := r.due(time.Now())
		for _, p := range due {
			_, _ = p.device.Write(p.bytes) // a device that takes no packet drops it, as a real one does
			p.line.delivered(len(p.bytes))
		}
		if len(due) > 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-r.stop:
			return
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// due takes what has arrived, at most so much that others get their turn, and returns how long the next one takes.
func (r *Router) due(now time.Time) (out []parcel, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 && len(out) < 64 {
		if wait = r.queue[0].at.Sub(now); wait > 0 {
			return out, wait
		}
		out = append(out, heap.Pop(&r.queue).(parcel))
	}
	return out, time.Hour
}

// parcel is one packet under way.
type parcel struct {
	at     time.Time
	seq    uint64 // of two that arrive together, the one offered first
	bytes  []byte
	device io.Writer
	line   *Line
}

// queue is a heap of what is under way: what arrives first comes first.
type queue []parcel

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].seq < q[j].seq
	}
	return q[i].at.Before(q[j].at)
}

// Push implements heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(parcel)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = parcel{}
	*q = old[:len(old)-1]
	return last
}
