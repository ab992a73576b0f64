// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"codeberg.org/holdfast/holdfast/examples"
)

const many = 20_000

var files = map[string]func() []byte{
	"ldif": func() []byte { return examples.Export(examples.Nordtal, 3, many) },
	"csv":  func() []byte { return examples.Export(examples.Westmark, 3, many) },
}

// BenchmarkRead reads 20,000 people without writing them anywhere.
func BenchmarkRead(b *testing.B) {
	for name, file := range files {
		data := file()
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				batch, report, err := drain(data, ImportOptions{})
				if err != nil || report.RefusedTotal > 0 || len(batch.people) != many {
					b.Fatalf("%d people, %v, %v", len(batch.people), report.Refused, err)
				}
			}
			b.ReportMetric(float64(many)*float64(b.N)/b.Elapsed().Seconds(), "people/s")
		})
	}
}

// BenchmarkImport imports 20,000 people into an empty register, read model on disk, and the same file again.
func BenchmarkImport(b *testing.B) {
	for name, file := range files {
		data := file()
		for _, again := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/again=%v", name, again), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					r := newRigAt(b, filepath.Join(b.TempDir(), "read.db"))
					if again {
						importAll(b, r, data)
					}
					b.StartTimer()
					report := importAll(b, r, data)
					if again && report.Unchanged != many || !again && report.Added != many {
						b.Fatalf("%+v", report)
					}
				}
				b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/import")
			})
		}
	}
}

func importAll(b *testing.B, r *rig, data []byte) Report {
	report, err := r.Import(r.ctx, nordtal, ImportOptions{}, bytes.NewReader(data))
	ok(b, err)
	return report
}

// BenchmarkAsk searches, lists and resolves among 20,000 people.
func BenchmarkAsk(b *testing.B) {
	r := newRigAt(b, filepath.Join(b.TempDir(), "read.db"))
	importAll(b, r, files["ldif"]())
	top := r.unit("Dezernat 1 Zentrale Dienste").ID
	somebody := r.everybody()[0].ID
	people := func(s Search) func() error {
		return func() error { _, _, err := r.People(r.ctx, nordtal, s); return err }
	}
	resolve := func(a Audience) func() error {
		return func() error { _, err := r.Resolve(r.ctx, nordtal, a); return err }
	}
	for _, c := range []struct {
		name string
		ask  func() error
	}{
		{"search/m", people(Search{Text: "m"})},
		{"search/mü", people(Search{Text: "mü"})},
		{"search/müller", people(Search{Text: "müller"})},
		{"search/jürgen weiß", people(Search{Text: "jürgen weiß"})},
		{"search/unit", people(Search{Text: "an", Unit: top})},
		{"list", people(Search{})},
		{"list/unit", people(Search{Unit: top})},
		{"person", func() error { _, err := r.Person(r.ctx, nordtal, somebody); return err }},
		{"units", func() error { _, err := r.Units(r.ctx, nordtal); return err }},
		{"functions", func() error { _, err := r.Functions(r.ctx, nordtal); return err }},
		{"resolve/everyone", resolve(Audience{Everyone: true})},
		{"resolve/unit", resolve(Audience{Units: []UnitID{top}})},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				ok(b, c.ask())
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/ask")
		})
	}
}
