// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"os"
	"context"
	"fmt"
	"strconv"
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
			b.ResetTimer()
			for b.Loop() {
				b.StopTimer()
				m := open(b, Config{Path: os.Getenv("RMPATH"), Source: src})
				b.StartTimer()
				if got := catchUp(b, m); got != total {
					b.Fatal(got)
				}
				b.StopTimer()
				_ = m.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
