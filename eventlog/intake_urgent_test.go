// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// A site that has begun anew often, without anybody who could hear it, is heard with its present log at once (ADR 0021); so must be
// the alarm that it raises now.
func TestTheAlarmOfWhoBeganAnewOftenComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, "c", "a")
		f.running = true
		c, a := f.sites[0], f.sites[1]
		for i := range 40 { // each start: an alarm and its receipts
			a.log.Reincarnate("nobody could confirm our logs")
			a.alarm(fmt.Sprint("old", i))
			a.append("nordtal", fmt.Sprint("receipt", i))
		}
		f.runs(t, f.sites, func(context.Context) {
			time.Sleep(time.Minute)
			a.log.Reincarnate("once more")
			ordinary, urgent := a.append("nordtal", "now"), a.alarm("now")
			t.Log(ordinary.Log.Incarnation, urgent.Log.Incarnation)
			time.Sleep(10 * time.Minute)
			has := func(r eventlog.Receipt) bool {
				return slices.ContainsFunc(c.log.Heads(), func(h eventlog.Head) bool { return h.Branch.LogID == r.Log && h.Page >= r.Last.Page })
			}
			if !has(ordinary) {
				t.Error("what the site says now has not come in ten minutes")
			}
			if !has(urgent) {
				t.Error("the alarm that it raises now has not come in ten minutes")
			}
		})
	})
}
