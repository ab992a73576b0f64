// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// listed is a Membership as it was: every fact in one list.
type listed struct {
	Facts []listedFact `json:"facts"`
}

type listedFact struct {
	ID    event.ID     `json:"id"`
	Place []byte       `json:"place"`
	By    event.SiteID `json:"by"`
	MembershipFact
}

func applyListed(m listed, e readmodel.Entry) (listed, error) {
	f := listedFact{ID: e.ID, Place: e.Place.Key(), By: e.Place.Site}
	if !f.decode(e.Event) || !f.checked() {
		return m, nil
	}
	at, known := slices.BinarySearchFunc(m.Facts, f.Place, func(o listedFact, place []byte) int { return bytes.Compare(o.Place, place) })
	if !known && !slices.ContainsFunc(m.Facts, func(o listedFact) bool { return o.ID == f.ID && o.By == f.By }) {
		m.Facts = slices.Insert(m.Facts, at, f)
	}
	return m, nil
}

// single is a fold that is asked for each event, because it is not a Typed itself.
type single struct{ readmodel.Typed[listed] }

// BenchmarkMembershipFlood folds what a member repeats, as it was done and as it is. The cost of one fact must not grow with
// their number.
func BenchmarkMembershipFlood(b *testing.B) {
	before := single{readmodel.Typed[listed]{
		Label: "site", OwnedRoots: memberPart.OwnedRoots, KnownKinds: memberPart.KnownKinds, ApplyFunc: applyListed,
	}}
	for _, bm := range []struct {
		name  string
		fold  readmodel.Fold
		facts int
	}{
		{"before", before, 500},
		{"before", before, 1000},
		{"before", before, 2000},
		{"after", Fold(), 2000},
		{"after", Fold(), 40_000},
	} {
		b.Run(fmt.Sprintf("%s/facts=%d", bm.name, bm.facts), func(b *testing.B) {
			w := newWorld(b)
			a := w.site("a")
			must(b, a.Found(w.ctx, "Nordwerk", a.describe()))
			endorsed := event.Draft{Subject: SubjectMembers, Kind: KindEndorsed, Data: Endorsed{a.id.Site()}}
			a.say(slices.Repeat([]event.Draft{endorsed}, bm.facts)...)
			before := processorTime(b)
			for b.Loop() {
				m, err := readmodel.Open(w.ctx, readmodel.Config{
					Path: filepath.Join(b.TempDir(), "read.db"), Folds: []readmodel.Fold{bm.fold}, Source: a.log,
				})
				must(b, err)
				_, err = m.CatchUp(w.ctx)
				must(b, err, m.Close())
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(time.Microsecond)/float64(b.N*bm.facts), "cpu-µs/fact")
		})
	}
}

// processorTime tells what the process has used, which a busy machine changes less than the time of day.
func processorTime(b testing.TB) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRollOfAFlood calculates who belongs to the federation from as much as one site can say in a day.
func BenchmarkRollOfAFlood(b *testing.B) {
	var s script
	s.found()
	s.admit(0, 2)
	for i := range 64 * maxSaid {
		letters := []byte{'a' + byte(i%26), 'a' + byte(i/26%26), 'a' + byte(i/26/26%26)}
		s.forge(forged{incarnation: fmt.Sprintf("%016x", 16+i/maxSaid), stamp: event.Stamp(i), page: uint64(i)}, 2, KindEndorsed,
			Endorsed{event.SiteID(letters) + cast[3].Site()[len(letters):]})
	}
	m := s.state()
	if n := len(m.facts("")); n < 64*maxSaid {
		b.Fatalf("only %d facts", n)
	}
	for b.Loop() {
		m.Roll("")
	}
}
