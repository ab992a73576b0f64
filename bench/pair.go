// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
)

const (
	lagInterval = 10 * time.Millisecond
	cutEvents   = 200 // at each site while the line is cut
)

// Replication measures two sites of this process that copy each other's logs over TLS on loopback: how long after the
// acknowledgement the other one has the page on its disk, and how long after the end of a cut both have everything.
func Replication(ctx context.Context, o Options, report func(Metric)) error {
	o = o.withDefaults()
	p, err := newPair(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(p.measure(ctx, o, report), p.close())
}

// pair is two replicating sites with a line between them that can be cut.
type pair struct {
	a, b  *node
	lines []*line
	links []*jetstream.Links
	stop  context.CancelFunc
	runs  sync.WaitGroup
}

func newPair(ctx context.Context, o Options) (*pair, error) {
	p := &pair{}
	var err error
	if p.a, err = newNode(ctx, o.Dir, "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if p.b, err = newNode(ctx, o.Dir, "127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, p.close())
	}
	ctx, p.stop = context.WithCancel(ctx)
	if err := errors.Join(p.join(ctx, p.a, p.b), p.join(ctx, p.b, p.a)); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// join makes n replicate with the other site through a line of their own.
func (p *pair) join(ctx context.Context, n, other *node) error {
	l, err := newLine(other.server.Addr())
	if err != nil {
		return err
	}
	var replicator atomic.Pointer[eventlog.Replicator]
	links := jetstream.NewLinks(jetstream.LinksConfig{
		Identity: n.id, Addresses: func(event.SiteID) []string { return []string{l.addr()} }, Now: time.Now, Logger: quiet,
		OnUp: func(peer event.SiteID) {
			if r := replicator.Load(); r != nil {
				r.Meet(peer)
			}
		},
	})
	p.lines, p.links = append(p.lines, l), append(p.links, links)
	r, err := eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: n.log, Link: links, Policy: everybody{}, Self: n.id.Site(),
		Peers: func() []event.SiteID { return []event.SiteID{other.id.Site()} }, Now: time.Now, Logger: quiet,
	})
	if err != nil {
		return err
	}
	replicator.Store(r)
	for _, verb := range eventlog.Verbs() {
		if err := n.server.Handle(verb, r.Serve(verb)); err != nil {
			return err
		}
	}
	p.runs.Go(func() { r.Run(ctx) })
	return nil
}

func (p *pair) close() error {
	if p.stop != nil {
		p.stop()
	}
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	p.runs.Wait()
	for _, l := range p.lines {
		errs = append(errs, l.close())
	}
	for _, n := range []*node{p.a, p.b} {
		if n != nil {
			errs = append(errs, n.close())
		}
	}
	return errors.Join(errs...)
}

func (p *pair) measure(ctx context.Context, o Options, report func(Metric)) error {
	write, err := p.a.writer(1, o.Bytes)
	if err != nil {
		return err
	}
	for range 5 { // the first ones find the peer
		if _, err := lag(ctx, write, p.b); err != nil {
			return err
		}
	}
	t, err := p.lags(ctx, o.Duration, write)
	if err != nil {
		return err
	}
	report(Metric{Name: "replication_lag_p50", Value: millis(t.quantile(.5)), Unit: "ms"})
	report(Metric{Name: "replication_lag_p99", Value: millis(t.quantile(.99)), Unit: "ms"})
	healed, err := p.heal(ctx, o)
	if err != nil {
		return err
	}
	report(Metric{Name: "replication_heal", Value: millis(healed), Unit: "ms"})
	return nil
}

// lags writes one event every ten milliseconds, as people do when many reply, and waits for each at the other site.
func (p *pair) lags(ctx context.Context, d time.Duration, write func(context.Context) (eventlog.Receipt, error)) (tally, error) {
	var t tally
	tick := time.NewTicker(lagInterval)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		took, err := lag(ctx, write, p.b)
		if err != nil {
			return t, err
		}
		t.took = append(t.took, took)
	}
	return t, nil
}

func lag(ctx context.Context, write func(context.Context) (eventlog.Receipt, error), at *node) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	changed, unsubscribe := at.log.Subscribe()
	defer unsubscribe()
	r, err := write(ctx)
	if err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	begin := time.Now()
	err = arrive(ctx, at, changed, r)
	return time.Since(begin), err
}

// arrive waits until the site has the receipt's page.
func arrive(ctx context.Context, at *node, changed <-chan struct{}, r eventlog.Receipt) error {
	for {
		if h, ok := at.log.Head(eventlog.Branch{LogID: r.Log}); ok && h.Page >= r.Last.Page {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("page %d has not arrived: %w", r.Last.Page, ctx.Err())
		case <-changed:
		}
	}
}

// heal cuts the line, writes at both sites, mends the line and waits until both have everything.
func (p *pair) heal(ctx context.Context, o Options) (time.Duration, error) {
	for _, l := range p.lines {
		l.cut()
	}
	var last [2]eventlog.Receipt
	for i, n := range []*node{p.a, p.b} {
		write, err := n.writer(2, o.Bytes)
		if err != nil {
			return 0, err
		}
		for range cutEvents {
			if last[i], err = write(ctx); err != nil {
				return 0, err
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	atA, doneA := p.a.log.Subscribe()
	defer doneA()
	atB, doneB := p.b.log.Subscribe()
	defer doneB()
	begin := time.Now()
	for _, l := range p.lines {
		l.mend()
	}
	if err := arrive(ctx, p.b, atB, last[0]); err != nil {
		return 0, err
	}
	if err := arrive(ctx, p.a, atA, last[1]); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// line passes bytes on to a site, until it is cut.
type line struct {
	to       string
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	isCut  bool
	closed bool
	conns  map[net.Conn]bool
}

func newLine(to string) (*line, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay a line: %w", err)
	}
	l := &line{to: to, listener: listener, conns: make(map[net.Conn]bool)}
	l.work.Go(l.accept)
	return l, nil
}

func (l *line) addr() string { return l.listener.Addr().String() }

func (l *line) accept() {
	for {
		in, err := l.listener.Accept()
		if err != nil {
			return
		}
		if !l.keep(in) {
			continue
		}
		out, err := net.Dial("tcp", l.to)
		if err != nil {
			l.drop(in)
			continue
		}
		if !l.keep(out) {
			l.drop(in)
			continue
		}
		l.work.Go(func() { l.pass(in, out) })
		l.work.Go(func() { l.pass(out, in) })
	}
}

// keep remembers a connection; a cut line closes it at once.
func (l *line) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut || l.closed {
		_ = c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *line) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	_ = c.Close()
}

func (l *line) pass(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	l.drop(from)
	l.drop(to)
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	for c := range l.conns {
		_ = c.Close()
	}
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = false
}

func (l *line) close() error {
	err := l.listener.Close()
	l.cut()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.work.Wait()
	return err
}
