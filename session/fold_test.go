// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden are one of each kind of fact, and the form that is signed.
func golden() map[string]any {
	site := event.SiteID(strings.Repeat("a", 52))
	return map[string]any{
		string(KindEnded):    Ended{Session: strings.Repeat("0f", 16), Expires: morning},
		string(KindAllEnded): AllEnded{},
		"session.claims": claims{Version: 1, Issuer: site, Issued: 1795000000, Expires: 1795003600, Principal: access.Principal{
			Kind: access.Person, Authority: nordtal, ID: "12c0ffee12c0ffee", Session: strings.Repeat("0f", 16), Way: access.ByPasskey,
			Begun: morning, Site: site, Epoch: ".00112233445566778899aabbccddeeff"}},
	}
}

func TestTheStoredFormStaysAsItIs(t *testing.T) {
	for name, fact := range golden() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".json")
			got, err := json.Marshal(fact)
			ok(t, err)
			if *update {
				ok(t, os.WriteFile(path, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(path)
			ok(t, err)
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("the stored form has changed: %s", diff)
			}
			back := reflect.New(reflect.TypeOf(fact))
			ok(t, json.Unmarshal(want, back.Interface()))
			if diff := cmp.Diff(fact, back.Elem().Interface()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryKindHasAGoldenFile(t *testing.T) {
	for _, k := range Fold().Kinds() {
		if _, found := golden()[string(k)]; !found {
			t.Errorf("%s has no golden file", k)
		}
	}
}

func id(n int) string { return fmt.Sprintf("%032x", n) }

func entry(n int, at time.Time, kind event.Kind, data any) readmodel.Entry {
	raw, _ := json.Marshal(data)
	return readmodel.Entry{Authority: nordtal, Class: event.Register, Place: event.Place{Stamp: event.StampAt(at)},
		Event: event.Event{ID: event.ID(fmt.Sprintf("%016x", n)), Subject: SubjectOf("12c0"), Kind: kind, Data: raw}}
}

func folded(t *testing.T, s state, entries ...readmodel.Entry) state {
	t.Helper()
	for _, e := range entries {
		var err error
		s, err = apply(s, e)
		ok(t, err)
	}
	return s
}

func TestWhatNobodyCanTakeForValidIsForgotten(t *testing.T) {
	s := folded(t, state{}, entry(1, morning, KindEnded, Ended{id(1), morning.Add(12 * time.Hour)}))
	at := morning.Add(12*time.Hour + MaxLife)
	if s = folded(t, s, entry(2, at, KindEnded, Ended{id(2), at})); len(s.Ended) != 2 {
		t.Errorf("forgotten too early: %v", s.Ended)
	}
	if s = folded(t, s, entry(3, at.Add(time.Second), KindEnded, Ended{id(3), at})); s.ended(id(1)) || len(s.Ended) != 2 {
		t.Errorf("never forgotten: %v", s.Ended)
	}
	far := folded(t, state{}, entry(1, morning, KindEnded, Ended{id(1), morning.AddDate(900, 0, 0)}))
	if got := far.Ended[0].Expires; got.After(morning.Add(MaxLife)) {
		t.Errorf("kept until %v", got)
	}
}

func TestTooManyEndedSessionsEndAll(t *testing.T) {
	var s state
	for n := range maxEnded {
		s = folded(t, s, entry(n, morning, KindEnded, Ended{id(n), morning}))
	}
	if err := s.stands(id(9999), ""); err != nil || len(s.Ended) != maxEnded {
		t.Fatal(err, len(s.Ended))
	}
	s = folded(t, s, entry(maxEnded, morning, KindEnded, Ended{id(maxEnded), morning}))
	for _, session := range []string{id(0), id(maxEnded), id(9999)} {
		if err := s.stands(session, ""); !errors.Is(err, ErrEnded) {
			t.Errorf("%s: %v", session, err)
		}
	}
	if err := s.stands(id(10000), s.epoch()); err != nil {
		t.Error("nobody can sign in any more:", err)
	}
	if len(s.Ended) > 0 {
		t.Error("they were kept")
	}
}

func TestAnEpochCoversWhatWasKnownAndNothingElse(t *testing.T) {
	all := func(n int) readmodel.Entry { return entry(n, morning, KindAllEnded, AllEnded{}) }
	none := state{}
	one, two, three := folded(t, none, all(1)), folded(t, none, all(1), all(2)), folded(t, none, all(1), all(2), all(3))
	other, late := folded(t, none, all(4)), folded(t, none, all(4), all(1))
	for _, c := range []struct {
		name  string
		here  state
		epoch string
		want  bool
	}{
		{"nothing known, none", none, none.epoch(), true},
		{"nothing known, one more", none, one.epoch(), true},
		{"nothing known, two more", none, two.epoch(), false},
		{"one known, none", one, none.epoch(), false},
		{"same", one, one.epoch(), true},
		{"one more", one, two.epoch(), true},
		{"one less", two, one.epoch(), false},
		{"same of three", three, three.epoch(), true},
		{"two less", three, one.epoch(), false},
		{"another one", one, other.epoch(), false},
		{"one that came to light before it", late, one.epoch(), false},
		{"one that came to light behind it", late, other.epoch(), false},
		{"nonsense", one, "nonsense", false},
		{"nothing known, nonsense", none, "x.y", false},
		{"a dot", two, ".", false},
	} {
		if got := c.here.covers(c.epoch); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestFactsThatMakeNoSenseChangeNothing(t *testing.T) {
	good := entry(1, morning, KindEnded, Ended{id(1), morning})
	for name, change := range map[string]func(*readmodel.Entry){
		"class":   func(e *readmodel.Entry) { e.Class = event.Operations },
		"subject": func(e *readmodel.Entry) { e.Subject += "/deeper" },
		"session": func(e *readmodel.Entry) { e.Data = []byte(`{"session":"../../x"}`) },
		"data":    func(e *readmodel.Entry) { e.Data = []byte(`[]`) },
		"none":    func(e *readmodel.Entry) { e.Data = nil },
	} {
		e := good
		change(&e)
		if s := folded(t, state{}, e); !cmp.Equal(s, state{}) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := folded(t, state{}, good, good); len(s.Ended) != 1 {
		t.Error("it counts twice")
	}
}

// FuzzApply: whatever a hostile site writes, the state stays small and the fold does not fail.
func FuzzApply(f *testing.F) {
	f.Add([]byte(`{"session":"`+id(1)+`","expires":"2026-11-22T03:00:00Z"}`), uint64(1)<<57, true)
	f.Add([]byte(`{}`), uint64(0), false)
	f.Fuzz(func(t *testing.T, data []byte, stamp uint64, one bool) {
		e := entry(1, morning, KindAllEnded, nil)
		if one {
			e.Kind = KindEnded
		}
		e.Data, e.Place.Stamp = data, event.Stamp(stamp)
		s := folded(t, state{}, e, e)
		b, err := json.Marshal(s)
		ok(t, err)
		var back state
		ok(t, json.Unmarshal(b, &back))
		if len(b) > 1000 || !slices.EqualFunc(s.Ended, back.Ended, func(x, y Ended) bool { return x.Session == y.Session && x.Expires.Equal(y.Expires) }) {
			t.Errorf("%s", b)
		}
	})
}
