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

// A site whose clock is weeks ahead ends a session of somebody; from then on all facts about them sort behind that moment.
func TestWhatWasEndedStaysEndedWhateverTheClocks(t *testing.T) {
	expires := morning.Add(12 * time.Hour)
	for name, facts := range map[string][]readmodel.Entry{
		"the end itself is ahead": {
			entry(1, morning.AddDate(0, 0, 48), KindEnded, Ended{id(1), expires}),
			entry(2, morning.AddDate(0, 0, 48), KindEnded, Ended{id(2), expires}),
		},
		"a later one is ahead": {
			entry(1, morning, KindEnded, Ended{id(1), expires}),
			entry(2, morning.AddDate(10, 0, 0), KindEnded, Ended{id(2), expires.AddDate(10, 0, 0)}),
		},
		"the end is behind": {
			entry(1, morning.AddDate(-10, 0, 0), KindEnded, Ended{id(1), expires}),
			entry(2, morning, KindEnded, Ended{id(2), expires}),
		},
		"the end claims that it is over long ago": {
			entry(1, morning, KindEnded, Ended{id(1), morning.AddDate(-10, 0, 0)}),
			entry(2, morning, KindEnded, Ended{id(2), expires}),
		},
	} {
		s := folded(t, state{}, facts...)
		for _, session := range []string{id(1), id(2)} {
			if err := s.stands(session, ""); !errors.Is(err, ErrEnded) {
				t.Errorf("%s: session %s: %v", name, session, err)
			}
		}
		if err := s.stands(id(3), ""); err != nil {
			t.Errorf("%s: another session: %v", name, err)
		}
	}
}

// The last one that is too many may be of another time, too.
func TestTooManyEndedSessionsEndAllWhateverTheClocks(t *testing.T) {
	var s state
	for n := range maxEnded {
		s = folded(t, s, entry(n, morning, KindEnded, Ended{id(n), morning.Add(time.Hour)}))
	}
	ahead := morning.AddDate(10, 0, 0)
	s = folded(t, s, entry(maxEnded, ahead, KindEnded, Ended{id(maxEnded), ahead.Add(time.Hour)}))
	for n := range maxEnded + 1 {
		if err := s.stands(id(n), ""); !errors.Is(err, ErrEnded) {
			t.Fatalf("session %d: %v", n, err)
		}
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
		if len(b) > 1000 || !slices.Equal(s.Ended, back.Ended) {
			t.Errorf("%s", b)
		}
	})
}
