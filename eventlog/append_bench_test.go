// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// everybody allows all.
type everybody struct{}

func (everybody) Member(event.SiteID) bool                     { return true }
func (everybody) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (everybody) Operator(event.SiteID) string                 { return "nordwerke" }

// BenchmarkAppend is 64 writers, each waiting for its own event of 1 KiB, on a disk that costs nothing: what the Log
// itself costs for one event.
func BenchmarkAppend(b *testing.B) {
	benchmarkAppend(b, eventlog.NewMemory(time.Now))
}

func benchmarkAppend(b *testing.B, store eventlog.Store) {
	log, err := eventlog.Open(b.Context(), eventlog.Config{
		Identity: logtest.Identity(b, 1), Store: store, Clock: event.NewClock(time.Now), Rand: rand.Reader,
		Policy: everybody{}, Now: time.Now, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		b.Fatal(err)
	}
	const writers = 64
	draft := event.Draft{Subject: "alarm/7f3a/person/12c0", Kind: "alarm.Replied", Actor: "person/12c0", Mode: event.Test,
		Data: json.RawMessage(`{"text":"` + logtest.Large(800) + `"}`)}
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range b.N/writers + min(1, max(0, b.N%writers-w)) {
				if _, err := log.Append(b.Context(), "lk-nordtal", event.Operations, draft); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.N)/float64(log.Heads()[0].Page), "events/page")
}
