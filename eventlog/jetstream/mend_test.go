// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

type everybody struct{}

func (everybody) Member(event.SiteID) bool                     { return true }
func (everybody) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (everybody) Operator(event.SiteID) string                 { return "nordwerke" }

// A copy whose end JetStream has cut off must be fetched again by what comes from others: nothing in it looks damaged.
func TestACopyThatWasCutShortIsFetchedAgain(t *testing.T) {
	for name, page := range map[string]int{"all gone": 1, "the end gone": 3} {
		t.Run(name, func(t *testing.T) {
			d := newTestDisk(t)
			s, w := d.open(t), logtest.NewWriter(t, 2, 1)
			b := eventlog.Branch{LogID: w.Log}
			var pages []*eventlog.Page
			var raw [][]byte
			for range 5 {
				p := w.Page(t, logtest.Large(300))
				pages, raw = append(pages, p), append(raw, p.Raw())
			}
			mustAppend(t, s, b, pages...)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			tails := filepath.Join(d.dir, "tails.json")
			written, err := os.ReadFile(tails)
			if err != nil {
				t.Fatal(err)
			}
			d.crash(t)
			if err := os.WriteFile(tails, written, 0o600); err != nil {
				t.Fatal(err)
			}
			d.server = nil
			d.flip(t, pages[page-1].Raw())
			log, err := eventlog.Open(t.Context(), eventlog.Config{
				Identity: logtest.Identity(t, 1), Store: d.open(t), Clock: event.NewClock(time.Now), Rand: rand.Reader,
				Policy: everybody{}, Now: time.Now, Logger: quiet(),
			})
			if err != nil {
				t.Fatal(err)
			}
			// What a replicator does: it asks for what follows our head, and if that has become another one, again.
			for range 2 {
				head, _ := log.Head(b)
				if _, err = log.Accept(t.Context(), raw[head.Page:]); err != nil && !errors.Is(err, eventlog.ErrGap) {
					t.Fatal(err)
				}
			}
			if head, _ := log.Head(b); err != nil || head.Hash != pages[4].Hash {
				t.Errorf("the copy ends at page %d: %v", head.Page, err)
			}
		})
	}
}
