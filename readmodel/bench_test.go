// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// wholeSource hands out all that is left of a branch at once, as a real store does within its bound.
type wholeSource struct{ *fakeSource }

func (s wholeSource) Read(_ context.Context, b eventlog.Branch, after uint64, _ int) ([]*eventlog.Page, error) {
	pages := s.pages[b][after:]
	return pages[:min(len(pages), 8)], nil
}

// BenchmarkFold folds replies: small events, each in a subject of its own or several to one, written from three sites.
func BenchmarkFold(b *testing.B) {
	for _, perSubject := range []int{1, 5} {
		b.Run(fmt.Sprintf("perSubject=%d", perSubject), func(b *testing.B) {
			src := wholeSource{newSource()}
			const total, perPage = 60_000, 200
			n := 0
			for n < total {
				branch := branchOf(event.SiteID("site-" + strconv.Itoa(n/perPage%3)))
				events := make([]event.Event, perPage)
				for i := range events {
					at := epoch.Add(time.Duration(n) * time.Millisecond)
					subject := event.Subject("list/7f3a/person/" + strconv.Itoa(n*7919%(total/perSubject)))
					events[i] = happened(subject, added, at, "coming")
					n++
				}
				src.write(branch, epoch.Add(time.Duration(n)*time.Millisecond), events...)
			}
			var cpu time.Duration
			b.ResetTimer()
			for b.Loop() {
				b.StopTimer()
				m := open(b, Config{Path: filepath.Join(b.TempDir(), "read.db"), Source: src})
				began := processorTime(b)
				b.StartTimer()
				if got := catchUp(b, m); got != total {
					b.Fatal(got)
				}
				b.StopTimer()
				cpu += processorTime(b) - began
				_ = m.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(total)*float64(b.N)/cpu.Seconds(), "events/cpu-s")
		})
	}
}

// processorTime tells what the process has used, which a busy machine changes less than the time of day.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
