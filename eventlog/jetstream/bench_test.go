// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"testing"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// filled returns a store with n small pages in one branch.
func filled(b *testing.B, n int) (*Store, eventlog.Branch) {
	b.Helper()
	s, err := Start(Config{
		Identity: logtest.Identity(b, 1), Dir: b.TempDir(), Rand: zeros{}, Now: logtest.Start.Local, Logger: quiet(),
		Free: func() (uint64, error) { return 1 << 40, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	w := logtest.NewWriter(b, 1, 1)
	branch := eventlog.Branch{LogID: w.Log}
	for range n {
		if err := s.Store().Append(b.Context(), branch, w.Page(b, "small")); err != nil {
			b.Fatal(err)
		}
	}
	return s.Store(), branch
}

func BenchmarkRead(b *testing.B) {
	const n = 5000
	s, branch := filled(b, n)
	read := 0
	for b.Loop() {
		for after := uint64(0); after < n; {
			pages, err := s.Read(b.Context(), branch, after, 4<<20)
			if err != nil {
				b.Fatal(err)
			}
			after = pages[len(pages)-1].Number
			read += len(pages)
		}
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "pages/s")
}

func BenchmarkDecode(b *testing.B) {
	p := logtest.NewWriter(b, 1, 1).Page(b, "small")
	for b.Loop() {
		if _, err := eventlog.DecodePage(p.Raw()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	s, branch := filled(b, 1)
	w := logtest.NewWriter(b, 1, 1)
	w.Page(b, "small")
	heads, err := s.Heads(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	w.Number, w.Prev = heads[0].Page, heads[0].Hash
	for b.Loop() {
		if err := s.Append(b.Context(), branch, w.Page(b, "small")); err != nil {
			b.Fatal(err)
		}
	}
}
