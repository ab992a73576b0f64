// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// lineRates are the lines that are measured, in kbit/s each way.
var lineRates = []int{16, 64, 256, 512}

const (
	lineDelay = 30 * time.Millisecond
	// backlogBytes lie before the alarm: a directory of 3,000 people, or the receipts of an alarm to thousands.
	backlogBytes = 3 << 20
	// alarmPatience is how long the alarm is waited for.
	alarmPatience = 2 * time.Minute
	// shareWindow is for how long the bulk's share of the line is measured.
	shareWindow = 40 * time.Second
)

// Lines measures slow lines: how long an alarm to one person takes to a site that has a backlog to fetch, of another log and
// of the alarm's own, and how much of the line the bulk uses. It takes some minutes.
func Lines(ctx context.Context, o Options, report func(Metric)) error {
	o = o.withDefaults()
	for _, kbit := range lineRates {
		for _, class := range []event.Class{event.Register, event.Operations} {
			took, limit, err := alarmUnder(ctx, o, kbit, class)
			if err != nil {
				return fmt.Errorf("an alarm at %d kbit/s under %s: %w", kbit, class, err)
			}
			report(Metric{Name: fmt.Sprintf("lines_%d_alarm_under_%s", kbit, class), Value: millis(took), Unit: "ms",
				Against: "what the line needs for the alarm's bytes alone", Ratio: float64(took) / float64(limit)})
		}
		share, err := bulkShare(ctx, o, kbit)
		if err != nil {
			return fmt.Errorf("bulk at %d kbit/s: %w", kbit, err)
		}
		report(Metric{Name: fmt.Sprintf("lines_%d_bulk_share", kbit), Value: 100 * share, Unit: "%"})
	}
	return nil
}

// slow is a site with a backlog and another one behind a slow line.
type slow struct {
	from, to *node
	line     *logtest.Line
	links    []*jetstream.Links
	stop     context.CancelFunc
	runs     sync.WaitGroup
}

func newSlow(ctx context.Context, o Options) (s *slow, err error) {
	s = &slow{}
	if s.from, err = newNode(ctx, o.Dir, "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if s.to, err = newNode(ctx, o.Dir, "127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// connect lays the line and lets both sites replicate over it.
func (s *slow) connect(ctx context.Context, kbit int) error {
	s.line = logtest.NewLine(logtest.LineConfig{BytesPerSecond: kbit * 125, Delay: lineDelay})
	ctx, s.stop = context.WithCancel(ctx)
	there, err := s.line.Forth(s.to.server.Addr())
	if err != nil {
		return err
	}
	back, err := s.line.Back(s.from.server.Addr())
	if err != nil {
		return err
	}
	return errors.Join(s.join(ctx, s.from, s.to, there), s.join(ctx, s.to, s.from, back))
}

func (s *slow) join(ctx context.Context, n, other *node, addr string) error {
	var replicator atomic.Pointer[eventlog.Replicator]
	links := jetstream.NewLinks(jetstream.LinksConfig{
		Identity: n.id, Addresses: func(event.SiteID) []string { return []string{addr} }, Now: time.Now, Logger: quiet,
		OnUp: func(peer event.SiteID) {
			if r := replicator.Load(); r != nil {
				r.Meet(peer)
			}
		},
	})
	s.links = append(s.links, links)
	r, err := eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: n.log, Link: links, Bulk: links.Bulk(), Policy: everybody{}, Self: n.id.Site(),
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
	s.runs.Go(func() { r.Run(ctx) })
	return nil
}

func (s *slow) close() error {
	if s.stop != nil {
		s.stop()
	}
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	s.runs.Wait()
	if s.line != nil {
		s.line.Close()
	}
	for _, n := range []*node{s.from, s.to} {
		if n != nil {
			errs = append(errs, n.close())
		}
	}
	return errors.Join(errs...)
}

// fill writes a backlog at the site that has it, in pages of about so many bytes.
func (s *slow) fill(ctx context.Context, class event.Class, bytes, pageBytes int) error {
	const each = 1000
	for done := 0; done < bytes; done += pageBytes {
		drafts := make([]event.Draft, max(1, pageBytes/(each+200)))
		for i := range drafts {
			drafts[i] = event.Draft{Subject: event.Subject(fmt.Sprintf("note/%d", done+i)), Kind: "bench.Noted", Mode: event.Test, Data: logtest.Dense(each, done+i)}
		}
		if _, err := s.from.log.Append(ctx, authority, class, drafts...); err != nil {
			return err
		}
	}
	return nil
}

// alarmUnder raises an alarm when the backlog is under way and returns how long it takes to the other site, and what the
// line needs for it at least.
func alarmUnder(ctx context.Context, o Options, kbit int, class event.Class) (took, limit time.Duration, err error) {
	s, err := newSlow(ctx, o)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.fill(ctx, class, backlogBytes, 400<<10); err != nil {
		return 0, 0, err
	}
	if err := s.connect(ctx, kbit); err != nil {
		return 0, 0, err
	}
	if err := s.underWay(ctx, kbit*125*4); err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, alarmPatience)
	defer cancel()
	changed, unsubscribe := s.to.log.Subscribe()
	defer unsubscribe()
	began := time.Now()
	r, err := s.from.log.Append(ctx, authority, event.Operations, event.Draft{
		Subject: "alarm/7f3a", Kind: "bench.Noted", Mode: event.Test, Data: strings.Repeat("x", 1000), Urgent: true,
	})
	if err != nil {
		return 0, 0, err
	}
	if err := arrive(ctx, s.to, changed, r); err != nil && ctx.Err() == nil {
		return 0, 0, err
	}
	const alarmBytes = 1600
	return time.Since(began), lineDelay + time.Second*alarmBytes/time.Duration(kbit*125), nil
}

// underWay waits until so many bytes have come through the line.
func (s *slow) underWay(ctx context.Context, bytes int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if forth, _ := s.line.Carried(); forth >= int64(bytes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// bulkShare returns which share of the line's bytes are bytes of pages, when all there is to do is to fetch.
func bulkShare(ctx context.Context, o Options, kbit int) (share float64, err error) {
	s, err := newSlow(ctx, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// Small pages show small steps; smaller ones would measure how fast the disk syncs.
	page := max(1200, kbit*125/8)
	if err := s.fill(ctx, event.Register, 2*kbit*125*int(shareWindow/time.Second), page); err != nil {
		return 0, err
	}
	if err := s.connect(ctx, kbit); err != nil {
		return 0, err
	}
	if err := s.underWay(ctx, kbit*125*4); err != nil {
		return 0, err
	}
	began, before := time.Now(), s.held(ctx)
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(shareWindow):
	}
	return float64(s.held(ctx)-before) / (time.Since(began).Seconds() * float64(kbit*125)), nil
}

// held returns how many bytes of pages have been stored at the site behind the line.
func (s *slow) held(ctx context.Context) (bytes int) {
	for _, h := range s.to.log.Heads() {
		for after := uint64(0); after < h.Page; {
			pages, err := s.to.log.Read(ctx, h.Branch, after, 1<<20)
			if err != nil || len(pages) == 0 {
				break
			}
			for _, p := range pages {
				bytes += len(p.Raw())
				after = p.Number
			}
		}
	}
	return bytes
}
