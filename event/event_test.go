// SPDX-License-Identifier: EUPL-1.2

package event_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"codeberg.org/holdfast/holdfast/event"
)

func at(ms int64) func() time.Time { return func() time.Time { return time.UnixMilli(ms) } }

func TestAClockNeverGoesBack(t *testing.T) {
	now := int64(1_000_000)
	c := event.NewClock(func() time.Time { return time.UnixMilli(now) })
	first, _ := c.Next(0)
	now -= 5_000 // somebody has set the wall clock back
	second, wall := c.Next(0)
	if second <= first {
		t.Errorf("after the wall clock went back: %d, not more than %d", second, first)
	}
	if wall != now {
		t.Errorf("wall clock %d, want the origin's own reading %d", wall, now)
	}
}

func TestAStampExceedsWhatItFollows(t *testing.T) {
	c := event.NewClock(at(1_000_000))
	far := event.StampAt(time.UnixMilli(1_000_000).Add(time.Hour))
	s, _ := c.Next(far)
	if s <= far {
		t.Errorf("stamp %d does not exceed %d, which its subject has seen", s, far)
	}
	next, _ := c.Next(0)
	if next >= far {
		t.Errorf("one subject's wrong stamp has dragged the whole clock to %v", next.Time())
	}
}

func TestAForeignStampMovesTheClockByFiveMinutesAtMost(t *testing.T) {
	c := event.NewClock(at(1_000_000))
	within := event.StampAt(time.UnixMilli(1_000_000).Add(event.MaxDrift - time.Second))
	if !c.Follow(within) {
		t.Fatal("a stamp within the drift was reported as wrong")
	}
	if s, _ := c.Next(0); s <= within {
		t.Errorf("the clock did not follow: %d, not more than %d", s, within)
	}
	if c.Follow(event.StampAt(time.UnixMilli(1_000_000).Add(event.MaxDrift + time.Minute))) {
		t.Error("a stamp beyond the drift was not reported")
	}
	if s, _ := c.Next(0); s.Time().After(time.UnixMilli(1_000_000).Add(event.MaxDrift)) {
		t.Errorf("a wrong clock has moved ours to %v", s.Time())
	}
}

func anyPlace(t *rapid.T, label string) event.Place {
	p := event.Place{
		Stamp:       event.Stamp(rapid.Uint64Range(0, 3).Draw(t, label+" stamp")),
		Site:        event.SiteID(strings.Repeat(rapid.SampledFrom([]string{"a", "b"}).Draw(t, label+" site"), 52)),
		Incarnation: rapid.SampledFrom([]string{"0000000000000000", "00000000000000ff"}).Draw(t, label+" incarnation"),
		Page:        rapid.Uint64Range(1, 300).Draw(t, label+" page"),
		Index:       rapid.Uint32Range(0, 300).Draw(t, label+" index"),
	}
	p.Hash[0] = rapid.Byte().Draw(t, label+" hash")
	return p
}

func TestKeysSortAsPlacesDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := anyPlace(t, "p"), anyPlace(t, "q")
		want := slices.Compare([]uint64{uint64(p.Stamp)}, []uint64{uint64(q.Stamp)})
		if want == 0 {
			want = strings.Compare(string(p.Site), string(q.Site))
		}
		if want == 0 {
			want = strings.Compare(p.Incarnation, q.Incarnation)
		}
		if want == 0 {
			want = slices.Compare([]uint64{p.Page}, []uint64{q.Page})
		}
		if want == 0 {
			want = bytes.Compare(p.Hash[:], q.Hash[:])
		}
		if want == 0 {
			want = slices.Compare([]uint32{p.Index}, []uint32{q.Index})
		}
		if got := p.Compare(q); got != want {
			t.Fatalf("compare %+v with %+v: got %d, want %d", p, q, got, want)
		}
	})
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	good := event.Event{ID: "0123456789abcdef", Subject: "alarm/7f3a/person/12c0", Kind: "alarm.Replied", Mode: event.Exercise}
	if err := good.Check(); err != nil {
		t.Fatalf("a good event is refused: %v", err)
	}
	for name, spoil := range map[string]func(*event.Event){
		"id":      func(e *event.Event) { e.ID = "short" },
		"subject": func(e *event.Event) { e.Subject = "alarm/../x y" },
		"kind":    func(e *event.Event) { e.Kind = "Replied" },
		"mode":    func(e *event.Event) { e.Mode = "drill" },
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			spoil(&e)
			if err := e.Check(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want an error that names the %s", err, name)
			}
		})
	}
}

func TestNamesOfAuthorities(t *testing.T) {
	for id, want := range map[event.AuthorityID]bool{
		"lk-nordtal": true, "federation": true, "a1b": true,
		"": false, "ab": false, "-ab": false, "ab-": false, "Lk-nordtal": false, "lk_nordtal": false,
		event.AuthorityID(strings.Repeat("a", 41)): false,
	} {
		if got := id.Valid(); got != want {
			t.Errorf("%q valid: got %v, want %v", id, got, want)
		}
	}
}

// The stored form never changes: this text was written by the first version.
func TestTheStoredFormOfAnEventStays(t *testing.T) {
	const stored = `{"id":"0123456789abcdef","subject":"alarm/7f3a/person/12c0","kind":"alarm.Replied","stamp":117833203712000001,` +
		`"wall":1798000000000,"actor":"person/12c0","grant":"g1","mode":"actual","keys":["00ff00ff00ff00ff"],"data":{"kind":"coming"}}`
	var e event.Event
	if err := json.Unmarshal([]byte(stored), &e); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(e)
	if err != nil || string(got) != stored {
		t.Errorf("got  %s (%v)\nwant %s", got, err, stored)
	}
}
