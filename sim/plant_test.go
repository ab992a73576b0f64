// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// plantedWithin is how many worlds a planted mistake may stay unnoticed.
const plantedWithin = 30

// wantFound runs worlds with the mistake until one of the promises named is found broken.
func wantFound(t *testing.T, p Plant, promises ...string) {
	t.Helper()
	for s := uint64(1); s <= plantedWithin; s++ {
		r, err := Run(t.Context(), Options{Seed: s, Plant: p})
		if err != nil {
			t.Logf("seed %d: %v", s, err)
			continue
		}
		for _, v := range r.Violations {
			for _, promise := range promises {
				if strings.Contains(v, promise) {
					t.Logf("found with seed %d: %.200s", s, v)
					return
				}
			}
		}
	}
	t.Errorf("the planted mistake was not found in %d worlds", plantedWithin)
}

func TestPlantedRandomFoldOrderIsFound(t *testing.T) {
	wantFound(t, Plant{Source: func(rnd *rand.Rand, log eventlog.Counted) readmodel.Source {
		salt := rnd.Uint64()
		return &restamped{Counted: log, stamp: func(e event.Event) event.Stamp {
			sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(e.ID), salt))
			return event.Stamp(binary.BigEndian.Uint64(sum[:]) >> 1)
		}}
	}}, "is folded as")
}

func TestPlantedLateEventFoldedAsTheLastIsFound(t *testing.T) {
	wantFound(t, Plant{Source: func(_ *rand.Rand, log eventlog.Counted) readmodel.Source {
		arrived := make(map[event.ID]event.Stamp)
		return &restamped{Counted: log, stamp: func(e event.Event) event.Stamp {
			if arrived[e.ID] == 0 {
				arrived[e.ID] = event.Stamp(len(arrived) + 1)
			}
			return arrived[e.ID]
		}}
	}}, "is folded as")
}

func TestPlantedAcknowledgingBeforeTheDiskIsFound(t *testing.T) {
	wantFound(t, Plant{Lying: true}, "acknowledged by")
}

func TestPlantedReplicatorThatSkipsAnEventIsFound(t *testing.T) {
	wantFound(t, Plant{Copies: func(rnd *rand.Rand, log *eventlog.Log) eventlog.Copies {
		return &skipping{Log: log, rnd: rnd, skipped: make(map[eventlog.Hash]bool)}
	}}, "acknowledged by")
}

func TestPlantedForkThatIsAcceptedIsFound(t *testing.T) {
	wantFound(t, Plant{Copies: func(_ *rand.Rand, log *eventlog.Log) eventlog.Copies {
		return &forgiving{Log: log, ignored: make(map[eventlog.Hash]bool)}
	}}, "is forked: true; reported: false", "the heads of")
}

// restamped is a source that lies about the stamps of events, and so about their order.
type restamped struct {
	eventlog.Counted
	stamp func(event.Event) event.Stamp
}

// Read implements readmodel.Source.
func (r *restamped) Read(ctx context.Context, b eventlog.Branch, after uint64, most int) ([]*eventlog.Page, error) {
	pages, err := r.Counted.Read(ctx, b, after, most)
	for i, p := range pages {
		if p.Log.Authority == event.Federation {
			continue // who belongs must stay known, or nothing happens at all
		}
		c := *p
		c.Events = slices.Clone(p.Events)
		for j := range c.Events {
			c.Events[j].Stamp = r.stamp(c.Events[j])
		}
		pages[i] = &c
	}
	return pages, err
}

// skipping is a log that now and then does not store the last page it is given, and says it has.
type skipping struct {
	*eventlog.Log
	rnd     *rand.Rand
	skipped map[eventlog.Hash]bool
}

// Accept implements eventlog.Copies.
func (s *skipping) Accept(ctx context.Context, raw [][]byte) (int, error) {
	if s.rnd.IntN(10) == 0 {
		last := raw[len(raw)-1]
		s.skipped[sha256.Sum256(last)] = true
		raw = raw[:len(raw)-1]
	}
	return s.Log.Accept(ctx, raw)
}

// Holds implements eventlog.Copies.
func (s *skipping) Holds(ctx context.Context, id eventlog.LogID, page uint64, hash eventlog.Hash) (eventlog.Branch, bool, error) {
	if s.skipped[hash] {
		return eventlog.Branch{LogID: id}, true, nil
	}
	return s.Log.Holds(ctx, id, page, hash)
}

// forgiving is a log that takes the second of two pages of one number for the first, and stores nothing.
type forgiving struct {
	*eventlog.Log
	ignored map[eventlog.Hash]bool
}

// Accept implements eventlog.Copies.
func (f *forgiving) Accept(ctx context.Context, raw [][]byte) (int, error) {
	accepted := 0
	for _, b := range raw {
		p, err := eventlog.ParsePage(b)
		if err != nil {
			return accepted, err
		}
		have, there, err := f.HashAt(ctx, eventlog.Branch{LogID: p.Log}, p.Number)
		if err != nil {
			return accepted, err
		}
		if there && have != p.Hash || f.ignored[p.Prev] {
			f.ignored[p.Hash] = true
			continue
		}
		n, err := f.Log.Accept(ctx, [][]byte{b})
		accepted += n
		if err != nil {
			return accepted, err
		}
	}
	return accepted, nil
}

// Holds implements eventlog.Copies.
func (f *forgiving) Holds(ctx context.Context, id eventlog.LogID, page uint64, hash eventlog.Hash) (eventlog.Branch, bool, error) {
	if f.ignored[hash] {
		return eventlog.Branch{LogID: id}, true, nil
	}
	return f.Log.Holds(ctx, id, page, hash)
}

func TestPlantedFoldingBehindTheEndOfAClosedLogIsFound(t *testing.T) {
	wantFound(t, Plant{Source: func(_ *rand.Rand, log eventlog.Counted) readmodel.Source { return log.Log }}, "is folded as", "the states of")
}
