// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

const many = 100_000

// BenchmarkEntries asks for pages among 100,000 lines of one authority beside 20,000 of another, read model on disk.
func BenchmarkEntries(b *testing.B) {
	w := newWorld(b, 1)
	r := w.site(filepath.Join(b.TempDir(), "read.db"))
	ok(b, r.ring.Found(w.ctx, nordtal))
	r.fill(many)
	ok(b, func() error { _, err := r.model.CatchUp(w.ctx); return err }())
	start := w.now.Add(-many * time.Second)
	for _, c := range []struct {
		name string
		q    Query
	}{
		{"newest", Query{}},
		{"newest 500", Query{Limit: MaxLimit}},
		{"word of all", Query{Text: "person"}},
		{"one letter", Query{Text: "p"}},
		{"two letters", Query{Text: "si"}},
		{"rare", Query{Text: "rare"}},
		{"nothing", Query{Text: "nothing"}},
		{"hex prefix", Query{Text: "00a"}},
		{"actor", Query{Actor: "person/00000000000000aa"}},
		{"deed", Query{Deed: "people.see"}},
		{"outcome and words", Query{Outcome: "refused", Text: "forbid access"}},
		{"two that never meet", Query{Deed: "people.see", Outcome: "refused"}},
		{"an hour long ago", Query{From: start, Until: start.Add(time.Hour)}},
		{"an hour long ago with words", Query{From: start, Until: start.Add(time.Hour), Text: "signin person", Limit: MaxLimit}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				_, err := r.Entries(w.ctx, nordtal, c.q)
				ok(b, err)
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/ask")
		})
	}
}

// fill writes n lines, one a second, of several deeds and 5,000 people.
func (r *rig) fill(n int) {
	var batch []entry
	for i := range n {
		e := Entry{Deed: "people.see", Way: "passkey", From: "192.0.2.7", Object: "/{authority}/people", Outcome: Done, Count: 1}
		switch {
		case i%50_000 == 7:
			e.Deed = "rare.deed"
		case i%10 == 0:
			e = Entry{Deed: "signin", Way: "code", From: "192.0.2.8", Outcome: Refused, Code: "access.forbidden", Count: 3}
		case i%3 == 0:
			e.Deed, e.Grant = "signin", "00112233445566aa"
		}
		e.Actor = fmt.Sprintf("person/%016x", i%5000)
		if batch = append(batch, entry{Entry: e}); len(batch) == 500 {
			ok(r.w.t, r.write(r.w.ctx, nordtal, batch))
			ok(r.w.t, r.write(r.w.ctx, "other-town", batch[:100]))
			batch = batch[:0]
		}
		r.w.now = r.w.now.Add(time.Second)
	}
}

// BenchmarkRecord writes one line at a time and side by side, without a disk.
func BenchmarkRecord(b *testing.B) {
	w := newWorld(b, 1)
	r := w.sites[0]
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			ok(b, r.Record(w.ctx, nordtal, signin))
		}
	})
}

// BenchmarkGather counts refusals of 10,000 sources.
func BenchmarkGather(b *testing.B) {
	w := newWorld(b, 1)
	from := make([]string, 10_000)
	for i := range from {
		from[i] = fmt.Sprintf("10.0.%d.%d", i/250, i%250)
	}
	for i := 0; b.Loop(); i++ {
		w.sites[0].Gather(nordtal, Entry{Deed: "signin", From: from[i%len(from)], Outcome: Refused, Code: "identity.code"})
	}
}

// BenchmarkVerify checks an export of 20,000 lines.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b, 1)
	w.sites[0].fill(20_000)
	file := w.sites[0].export(nordtal)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		_, err := Verify(bytes.NewReader(file))
		ok(b, err)
	}
}

// BenchmarkFold folds 20,000 lines into a read model on disk.
func BenchmarkFold(b *testing.B) {
	w := newWorld(b, 1)
	r := w.site(filepath.Join(b.TempDir(), "read.db"))
	ok(b, r.ring.Found(w.ctx, nordtal))
	r.fill(20_000)
	b.ResetTimer()
	for b.Loop() {
		ok(b, r.model.Rebuild(w.ctx))
	}
	b.ReportMetric(24_000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
