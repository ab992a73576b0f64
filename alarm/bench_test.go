// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// heedless is a Replication as it was: after a silence nothing is waited for.
type heedless struct{ Replication }

func (heedless) StaleSince(event.AuthorityID) (time.Time, bool) { return time.Time{}, false }
func (heedless) Refresh(event.AuthorityID)                      {}

// oneWay is a Work as it was: all sites go the same way through the people, and none looks again before a hand-over.
type oneWay struct{ Work }

func (o oneWay) DueDown(
	ctx context.Context, a event.AuthorityID, id ID, w Wave, after directory.PersonID, limit int,
) ([]Due, error) {
	return o.Due(ctx, a, id, w, after, limit)
}

func (oneWay) DuePlace(context.Context, event.AuthorityID, ID, Wave, int) (directory.PersonID, error) {
	return "", nil
}

func (oneWay) StillDue(
	context.Context, event.AuthorityID, ID, Wave, directory.PersonID, directory.ChannelKind,
) (bool, error) {
	return true, nil
}

// asBefore makes the sites call as they did before they minded silences. A full window still opens by one more window
// at a time, where it once opened for good: the true figures of before were higher.
func (w *world) asBefore() {
	for _, s := range w.stations {
		cfg := &s.caller.cfg
		cfg.Replication, cfg.Work = heedless{cfg.Replication}, oneWay{cfg.Work}
	}
}

// BenchmarkSilence counts, in virtual time, how many messages are sent twice for each change of the calling site, as
// it was done and as it is, and how many of all those were sent while every site could do everything again.
func BenchmarkSilence(b *testing.B) {
	for _, silence := range silences {
		for _, manner := range []string{"before", "after"} {
			b.Run(silence.name+"/"+manner, func(b *testing.B) {
				var doubled, changes, healed float64
				for b.Loop() {
					w := newSilence(b)
					if manner == "before" {
						w.asBefore()
					}
					d, _, c := w.endure(silence.story)
					doubled, changes, healed = float64(d), float64(c), float64(w.again)
				}
				b.ReportMetric(doubled/changes, "doubled/change")
				b.ReportMetric(changes, "changes")
				b.ReportMetric(healed, "doubled-when-healed")
				b.ReportMetric(0, "ns/op") // of no meaning
			})
		}
	}
}
