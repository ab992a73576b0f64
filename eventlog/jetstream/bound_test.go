// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// Each log is a stream: some files, and while it is written a quarter of a MiB of memory and an open file.
func TestTheStreamsThatOneSiteCanMakeAreBounded(t *testing.T) {
	d, now := newTestDisk(t), time.Now()
	open := func() *eventlog.Log {
		t.Helper()
		log, err := eventlog.Open(t.Context(), eventlog.Config{
			Identity: logtest.Identity(t, 1), Store: d.open(t), Clock: event.NewClock(time.Now), Rand: rand.Reader,
			Policy: everybody{}, Now: func() time.Time { return now }, Logger: quiet(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	var pages [][]byte
	for n := range 300 {
		w := logtest.NewWriter(t, 2, 0)
		w.Log.Incarnation = fmt.Sprintf("%016x", n)
		pages = append(pages, w.Page(t, "one").Raw())
	}
	offer := func(log *eventlog.Log, want int) {
		t.Helper()
		if n, err := log.Accept(t.Context(), pages); n != want || !errors.Is(err, eventlog.ErrTooManyLogs) {
			t.Errorf("%d logs were taken, and %v; want %d", n, err, want)
		}
	}
	log := open()
	offer(log, 64)
	streams, err := os.ReadDir(d.server.streamDir(""))
	if err != nil || len(streams) != 64 {
		t.Errorf("there are %d streams, want 64: %v", len(streams), err)
	}
	log = open() // when the streams began is known after a restart
	offer(log, 0)
	now = now.Add(24 * time.Hour)
	offer(log, 8)
}
