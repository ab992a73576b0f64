// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

const (
	noisePage = 49 << 10
	perSecond = 8000 // bytes per second
	// duringAFlood is how long an alarm may take on that line: one page that is under way goes before it, and it has 3 seconds.
	duringAFlood = noisePage*time.Second/perSecond + 3*time.Second
)

// urgentNoise appends so many pages of 49 KiB to the site's urgent log.
func (s *testSite) urgentNoise(authority event.AuthorityID, pages int) eventlog.Receipt {
	s.f.t.Helper()
	var r eventlog.Receipt
	for i := range pages {
		var err error
		r, err = s.log.Append(s.f.t.Context(), authority, event.Operations, event.Draft{
			Subject: "note/large", Kind: "note.Written", Mode: event.Test, Data: logtest.Dense(noisePage, i), Urgent: true})
		if err != nil {
			s.f.t.Fatal(err)
		}
	}
	return r
}

// floodOfAlarms returns how long an alarm of a takes to c, behind one line of 64 kbit/s, when h has written so many urgent logs of so
// many pages of 49 KiB.
func floodOfAlarms(t *testing.T, logs, pages int, authorities ...event.AuthorityID) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, "c", "a", "h")
		f.running = true
		c, a, h := f.sites[0], f.sites[1], f.sites[2]
		if len(authorities) > 1 {
			f.allowed["nordtal"] = []event.SiteID{c.name, a.name}
		}
		behindOneLine(perSecond, c.name, f.sites[1:], eventlog.VerbPages, eventlog.VerbHeads)
		f.runs(t, f.sites, func(context.Context) {
			time.Sleep(20 * time.Second)
			for i := range logs {
				h.log.Reincarnate("flood")
				h.urgentNoise(authorities[i*len(authorities)/logs], pages)
			}
			time.Sleep(20 * time.Second)
			t.Logf("a has %d logs, c has %d", len(a.log.Heads()), len(c.log.Heads()))
			began := time.Now()
			r := a.alarm("real")
			has := func(h eventlog.Head) bool { return h.Branch.LogID == r.Log && h.Page >= r.Last.Page }
			for !slices.ContainsFunc(c.log.Heads(), has) {
				time.Sleep(100 * time.Millisecond)
				if time.Since(began) > 2*time.Hour {
					t.Fatal("the alarm does not come")
				}
			}
			took = time.Since(began)
			t.Logf("%d logs of %d pages: %v", logs, pages, took)
		})
	})
	return took
}

func TestWhoBeginsManyUrgentLogsDelaysNoAlarm(t *testing.T) {
	for _, n := range []int{0, 1, 5, 30} {
		if took := floodOfAlarms(t, n, 3, "nordtal"); took > duringAFlood {
			t.Errorf("%d logs: the alarm came after %v", n, took)
		}
	}
}

// The hostile site's logs are of authorities that it may have founded itself; it is not even allowed where the alarm is.
func TestWhoBeginsManyUrgentLogsOfOtherAuthoritiesDelaysNoAlarm(t *testing.T) {
	if took := floodOfAlarms(t, 120, 3, "aaa", "bbb"); took > duringAFlood {
		t.Errorf("the alarm came after %v", took)
	}
}
