// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// person is the state that is folded: how many notes there are of one person.
type person struct {
	Notes int    `json:"notes"`
	Last  []byte `json:"last"`
}

const foldSchema = `CREATE TABLE IF NOT EXISTS bench_person (subject TEXT PRIMARY KEY, notes INTEGER NOT NULL);`

func personFold() readmodel.Fold {
	return readmodel.Typed[person]{
		Label: "bench", OwnedRoots: []string{"alarm"}, KnownKinds: []event.Kind{"bench.Noted"}, SQL: foldSchema,
		ApplyFunc: func(p person, e readmodel.Entry) (person, error) {
			var n note
			if err := e.Decode(&n); err != nil {
				return p, err
			}
			p.Notes++
			p.Last = n.Sealed
			return p, nil
		},
		SaveFunc: func(tx *readmodel.Tx, ref readmodel.Ref, _, p person) error {
			_, err := tx.Exec(`INSERT INTO bench_person(subject, notes) VALUES (?, ?)
				ON CONFLICT(subject) DO UPDATE SET notes = excluded.notes`, string(ref.Subject), p.Notes)
			return err
		},
	}
}

// Fold measures how many events per second the read model takes in: read from the disk, decoded, applied and saved. The
// log is written first, by as many writers and for as long as the options say.
func Fold(ctx context.Context, o Options, report func(Metric)) error {
	o = o.withDefaults()
	n, err := newNode(ctx, o.Dir, "")
	if err != nil {
		return err
	}
	return errors.Join(fold(ctx, o, n, report), n.close())
}

func fold(ctx context.Context, o Options, n *node, report func(Metric)) error {
	written, err := fill(ctx, o, n)
	if err != nil {
		return err
	}
	m, err := readmodel.Open(ctx, readmodel.Config{
		Path: filepath.Join(n.dir, "readmodel.db"), Folds: []readmodel.Fold{personFold()}, Source: n.log,
		Self: n.id.Site(), Now: time.Now, Logger: quiet,
	})
	if err != nil {
		return err
	}
	begin, folded := time.Now(), 0
	for {
		k, err := m.CatchUp(ctx)
		if err != nil {
			return errors.Join(err, m.Close())
		}
		if k == 0 {
			break
		}
		folded += k
	}
	took := time.Since(begin)
	if folded != written {
		return errors.Join(fmt.Errorf("%d of %d events were folded", folded, written), m.Close())
	}
	report(Metric{Name: "fold", Value: float64(folded) / took.Seconds(), Unit: "events/s"})
	return m.Close()
}

// fill writes events of many persons for a fifth of the duration.
func fill(ctx context.Context, o Options, n *node) (int, error) {
	const persons = 5000
	writers := make([]func(context.Context) (eventlog.Receipt, error), persons)
	for i := range writers {
		var err error
		if writers[i], err = n.writer(i, o.Bytes); err != nil {
			return 0, err
		}
	}
	turn := make([]int, o.Writers)
	t, err := drive(ctx, o.Writers, o.Duration/5, func(ctx context.Context, i int) error {
		turn[i] += o.Writers
		_, err := writers[(i+turn[i])%persons](ctx)
		return err
	})
	return len(t.took), err
}
