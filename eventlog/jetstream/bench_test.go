// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"testing"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/seal"
)

// filled returns a store with n small pages in one branch, encrypted if there is a key.
func filled(b *testing.B, n int, key *seal.Key) (*Store, eventlog.Branch) {
	b.Helper()
	s, err := Start(Config{
		Identity: logtest.Identity(b, 1), Dir: b.TempDir(), CipherKey: key, Rand: zeros{}, Now: logtest.Start.Local, Logger: quiet(),
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

// BenchmarkRead and BenchmarkAppend say what encryption costs.
func BenchmarkRead(b *testing.B) { both(b, benchmarkRead) }

func BenchmarkAppend(b *testing.B) { both(b, benchmarkAppend) }

func both(b *testing.B, bench func(*testing.B, *seal.Key)) {
	b.Run("plain", func(b *testing.B) { bench(b, nil) })
	b.Run("encrypted", func(b *testing.B) { bench(b, &cipherKey) })
}

func benchmarkRead(b *testing.B, key *seal.Key) {
	const n = 5000
	s, branch := filled(b, n, key)
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

// benchmarkAppend appends pages of some 50 KB one after the other, so that there is something to encrypt.
func benchmarkAppend(b *testing.B, key *seal.Key) {
	s, branch := filled(b, 1, key)
	w := logtest.NewWriter(b, 1, 1)
	w.Page(b, "small")
	text := logtest.Large(48 << 10)
	heads, err := s.Heads(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	w.Number, w.Prev = heads[0].Page, heads[0].Hash
	bytes := 0
	for b.Loop() {
		p := w.Page(b, text)
		bytes += len(p.Raw())
		if err := s.Append(b.Context(), branch, p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
}
