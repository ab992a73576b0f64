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
	alarmPatience = 40 * time.Second
	// shareWindow is for how long the bulk's share of the line is measured.
	shareWindow = 30 * time.Second
	// leastFormer is the slowest line on which it is measured how it was done before.
	leastFormer = 64
)

// Lines measures slow lines: how long an alarm to one person takes to a site that has a backlog to fetch, of another
// log or of the alarm's own; and how much of the line such a backlog uses, and how much becomes pages. Each is
// measured as it is done and as it was done before. It takes some ten minutes.
func Lines(ctx context.Context, o Options, report func(Metric)) error {
	o = o.withDefaults()
	for _, kbit := range lineRates {
		for _, class := range []event.Class{event.Register, event.Operations} {
			if err := measureAlarm(ctx, o, kbit, class, report); err != nil {
				return fmt.Errorf("an alarm at %d kbit/s under %s: %w", kbit, class, err)
			}
		}
		if err := measureBulk(ctx, o, kbit, report); err != nil {
			return fmt.Errorf("bulk at %d kbit/s: %w", kbit, err)
		}
	}
	return nil
}

// asNow is what a figure of the version before is compared with.
const asNow = "what it is now"

func measureAlarm(ctx context.Context, o Options, kbit int, class event.Class, report func(Metric)) error {
	name := fmt.Sprintf("lines_%d_alarm_under_%s", kbit, class)
	took, late, err := alarmUnder(ctx, o, kbit, class, false)
	if err != nil {
		return err
	}
	const alarmBytes = 1600
	limit := lineDelay + time.Second*alarmBytes/time.Duration(kbit*125)
	report(Metric{Name: name, Value: millis(took), Unit: "ms", Ratio: float64(took) / float64(limit),
		Against: "what the line needs for the alarm's bytes alone" + notYet(late)})
	if kbit < leastFormer {
		return nil
	}
	before, late, err := alarmUnder(ctx, o, kbit, class, true)
	if err != nil {
		return err
	}
	report(Metric{Name: name + "_before", Value: millis(before), Unit: "ms", Ratio: float64(before) / float64(took),
		Against: asNow + notYet(late)})
	return nil
}

// notYet says of a figure that it is a lower bound.
func notYet(late bool) string {
	if !late {
		return ""
	}
	return fmt.Sprintf(" (not there after %v: it takes longer)", alarmPatience)
}

func measureBulk(ctx context.Context, o Options, kbit int, report func(Metric)) error {
	lineUsed, bulkShare := fmt.Sprintf("lines_%d_line_used", kbit), fmt.Sprintf("lines_%d_bulk_share", kbit)
	now, err := useOf(ctx, o, kbit, false)
	if err != nil {
		return err
	}
	report(Metric{Name: lineUsed, Value: 100 * now.carried, Unit: "%"})
	report(Metric{Name: bulkShare, Value: 100 * now.stored, Unit: "%"})
	if kbit < leastFormer {
		return nil
	}
	before, err := useOf(ctx, o, kbit, true)
	if err != nil {
		return err
	}
	report(Metric{Name: lineUsed + "_before", Value: 100 * before.carried, Unit: "%", Against: asNow,
		Ratio: before.carried / now.carried})
	report(Metric{Name: bulkShare + "_before", Value: 100 * before.stored, Unit: "%", Against: asNow,
		Ratio: before.stored / now.stored})
	return nil
}

// slow is a site with a backlog and another one behind a slow line.
type slow struct {
	from, to *node
	former   bool // the site behind the line fetches as it was done before
	line     *logtest.Line
	links    []*jetstream.Links
	stop     context.CancelFunc
	runs     sync.WaitGroup
}

func newSlow(ctx context.Context, o Options, before bool) (s *slow, err error) {
	s = &slow{former: before}
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
	switch {
	case !s.former:
		s.runs.Go(func() { r.Run(ctx) })
	case n == s.to:
		s.runs.Go(func() { former{n.log, links, other.id.Site()}.run(ctx) })
	}
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
			drafts[i] = event.Draft{
				Subject: event.Subject(fmt.Sprintf("note/%d", done+i)),
				Kind:    "bench.Noted",
				Mode:    event.Test,
				Data:    logtest.Dense(each, done+i),
			}
		}
		if _, err := s.from.log.Append(ctx, authority, class, drafts...); err != nil {
			return err
		}
	}
	return nil
}

// alarmUnder raises an alarm when the backlog is under way and returns how long it takes to the other site, or how
// long it was waited for in vain: then it is late.
func alarmUnder(ctx context.Context, o Options, kbit int, class event.Class, before bool) (
	took time.Duration, late bool, err error,
) {
	s, err := newSlow(ctx, o, before)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.fill(ctx, class, backlogBytes, 400<<10); err != nil {
		return 0, false, err
	}
	if err := s.connect(ctx, kbit); err != nil {
		return 0, false, err
	}
	if err := s.underWay(ctx, kbit*125*4); err != nil {
		return 0, false, err
	}
	changed, unsubscribe := s.to.log.Subscribe()
	defer unsubscribe()
	began := time.Now()
	r, err := s.from.log.Append(ctx, authority, event.Operations, event.Draft{
		Subject: "alarm/7f3a",
		Kind:    "bench.Noted",
		Mode:    event.Test,
		Data:    strings.Repeat("x", 1000),
		Urgent:  !before, // there were no urgent logs
	})
	if err != nil {
		return 0, false, err
	}
	patient, cancel := context.WithTimeout(ctx, alarmPatience)
	defer cancel()
	err = arrive(patient, s.to, changed, r)
	if late = err != nil && patient.Err() != nil; late {
		err = ctx.Err()
	}
	return time.Since(began), late, err
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

// use is which share of what a line could carry it has carried, and which share was pages that were stored.
type use struct{ carried, stored float64 }

// useOf returns the use of a line when all there is to do is to fetch.
func useOf(ctx context.Context, o Options, kbit int, before bool) (u use, err error) {
	s, err := newSlow(ctx, o, before)
	if err != nil {
		return use{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// Small pages show small steps; smaller ones would measure how fast the disk syncs.
	page := max(1200, kbit*125/8)
	if err := s.fill(ctx, event.Register, 2*kbit*125*int(shareWindow/time.Second), page); err != nil {
		return use{}, err
	}
	if err := s.connect(ctx, kbit); err != nil {
		return use{}, err
	}
	if err := s.underWay(ctx, kbit*125*4); err != nil {
		return use{}, err
	}
	began, held := time.Now(), s.held(ctx)
	carried, _ := s.line.Carried()
	select {
	case <-ctx.Done():
		return use{}, ctx.Err()
	case <-time.After(shareWindow):
	}
	carriedNow, _ := s.line.Carried()
	could := time.Since(began).Seconds() * float64(kbit*125)
	return use{float64(carriedNow-carried) / could, float64(s.held(ctx)-held) / could}, nil
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
