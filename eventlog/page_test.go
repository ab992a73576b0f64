// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenPage uses every field that the stored form has.
func goldenPage(t testing.TB) *eventlog.Page {
	w := logtest.NewWriter(t, 7, 7)
	first := w.Page(t, "page one")
	full := w.Event("<Probe> & ümläut")
	full.Actor, full.Grant, full.Keys = "person/12c0", "role/duty", []event.KeyID{"00112233445566aa", "00112233445566bb"}
	carried := w.Event("carried over")
	place := first.PlaceOf(0)
	carried.Place = &place
	carried.Mode = event.Actual
	h := eventlog.Header{
		Log: w.Log, Number: 2, Prev: first.Hash, Wall: logtest.Start.UnixMilli(),
		Succeeds: &eventlog.Head{Branch: eventlog.Branch{LogID: w.Log, Fork: "0123456789abcdef"}, Page: 9, Hash: first.Hash},
	}
	p, err := eventlog.SignPage(w.Identity, h, []event.Event{full, carried})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheStoredFormOfAPageStaysAsItIs(t *testing.T) {
	p := goldenPage(t)
	golden := filepath.Join("testdata", "page.hex")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(golden, []byte(hex.Dump(p.Raw())), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got := hex.Dump(p.Raw()); got != string(want) {
		t.Errorf("the stored form has changed: old pages could not be read any more\ngot\n%s", got)
	}
	read, err := eventlog.ParsePage(p.Raw())
	must(t, err)
	equal(t, "hash", read.Hash, p.Hash)
	a, _ := json.Marshal(read.Events)
	b, _ := json.Marshal(p.Events)
	equal(t, "events", string(a), string(b))
	c, _ := json.Marshal(read.Header)
	d, _ := json.Marshal(p.Header)
	equal(t, "header", string(c), string(d))
}

func TestPagesOutOfBoundsAreNotSigned(t *testing.T) {
	w := logtest.NewWriter(t, 1, 1)
	h := eventlog.Header{Log: w.Log, Number: 1}
	many := make([]event.Event, eventlog.MaxPageEvents+1)
	for i := range many {
		many[i] = event.Event{ID: "0000000000000000", Subject: "a", Kind: "a.B"}
	}
	large := make([]event.Event, 9)
	for i := range large {
		large[i] = w.Event(logtest.Large(64_000))
	}
	for _, events := range [][]event.Event{nil, many, large} {
		_, err := eventlog.SignPage(w.Identity, h, events)
		equal(t, "kind", fault.KindOf(err), fault.TooLarge)
	}
}

func TestAPageWithAnImpossibleStampIsMalformed(t *testing.T) {
	w := logtest.NewWriter(t, 1, 1)
	w.Stamp = eventlog.MaxStamp
	if _, err := eventlog.ParsePage(w.Page(t, "a").Raw()); !errors.Is(err, eventlog.ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}

func TestAPageWithATimeThatHasNoJSONIsMalformed(t *testing.T) {
	for _, wall := range []int64{-1, 1 << 46, 1 << 62} {
		w := logtest.NewWriter(t, 1, 1)
		e := w.Event("a")
		e.Wall = wall
		h := eventlog.Header{Log: w.Log, Number: 1, Wall: wall}
		for name, make := range map[string]func() (*eventlog.Page, error){
			"event": func() (*eventlog.Page, error) { return w.PageOf(t, e), nil },
			"page":  func() (*eventlog.Page, error) { return eventlog.SignPage(w.Identity, h, []event.Event{w.Event("b")}) },
		} {
			p, err := make()
			must(t, err)
			if _, err := eventlog.ParsePage(p.Raw()); !errors.Is(err, eventlog.ErrMalformed) {
				t.Errorf("%s at %d: got %v, want ErrMalformed", name, wall, err)
			}
		}
	}
}

func TestEveryByteOfAPageCounts(t *testing.T) {
	raw := goldenPage(t).Raw()
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x40
		if _, err := eventlog.ParsePage(bad); err == nil {
			t.Fatalf("byte %d of %d was changed and the page was still accepted", i, len(raw))
		}
		if _, err := eventlog.ParsePage(raw[:i]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", i, len(raw))
		}
	}
}

func TestLogNamesAreReadAsWritten(t *testing.T) {
	id := logtest.NewWriter(t, 1, 1).Log
	got, err := eventlog.ParseLogID(id.String())
	must(t, err)
	equal(t, "id", got, id)
	for _, bad := range []string{"", "a/b", id.String() + "/x", "lk-nordtal/gossip/" + string(id.Site) + "/0000000000000001",
		"lk-nordtal/audit/nosite/0000000000000001", "lk-nordtal/audit/" + string(id.Site) + "/XYZ", "LK/audit/" + string(id.Site) + "/0000000000000001"} {
		if _, err := eventlog.ParseLogID(bad); err == nil {
			t.Errorf("%q was read as a log's name", bad)
		}
	}
}

func FuzzParsePage(f *testing.F) {
	f.Add(goldenPage(f).Raw())
	f.Add([]byte("HFP1"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := eventlog.DecodePage(raw)
		if err != nil {
			if p, err := eventlog.ParsePage(raw); err == nil || p != nil && err == nil {
				t.Fatal("accepted what cannot be decoded")
			}
			return
		}
		if err := p.Log.Check(); err != nil || p.Number == 0 || len(p.Events) == 0 || len(p.Events) > eventlog.MaxPageEvents {
			t.Fatalf("a page out of bounds was decoded: %v", err)
		}
		for i, e := range p.Events {
			if err := e.Check(); err != nil {
				t.Fatalf("event %d: %v", i, err)
			}
			p.PlaceOf(i).Key()
		}
		p.Keys()
	})
}

func FuzzEvent(f *testing.F) {
	for _, e := range goldenPage(f).Events {
		b, _ := eventlog.EncodeEvent(e)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e event.Event
		if json.Unmarshal(raw, &e) != nil || e.Check() != nil {
			return
		}
		b, err := eventlog.EncodeEvent(e)
		if err != nil {
			return
		}
		var again event.Event
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatalf("what was encoded cannot be read: %v", err)
		}
		c, err := eventlog.EncodeEvent(again)
		if err != nil || !bytes.Equal(b, c) {
			t.Fatalf("encoding twice differs:\n%s\n%s\n%v", b, c, err)
		}
	})
}
