// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/secretcode"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden are one of each kind of fact, and the form that is sealed.
func golden() map[string]any {
	return map[string]any{
		string(KindInvited): Invited{Key: "00112233445566aa", Sealed: []byte("sealed"), Incident: incident, Until: morning,
			Code: Code{ID: "0123456789abcdef", Mark: "beef", Salt: []byte("salt"), Hash: []byte("hash")}, Despite: []event.ID{"0123456789abcde0"}},
		string(KindEntered):  Entered{Code: "0123456789abcdef", Session: "0123456789abcdef0123456789abcdef"},
		string(KindSentAway): SentAway{},
		"guest.private":      private{Name: "Dr. Änne Weiß, Feuerwehr"},
	}
}

func TestTheStoredFormStaysAsItIs(t *testing.T) {
	for name, fact := range golden() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".json")
			got, err := json.Marshal(fact)
			ok(t, err)
			if *update {
				ok(t, os.MkdirAll("testdata", 0o755))
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

// The code's derivations are part of the stored form: another way to make them would lock every guest out.
func TestCodesAreCheckedTheSameWayForEver(t *testing.T) {
	key := [32]byte{1, 2, 3}
	const drawn = "7KQ2M9XD4T"
	got := secretcode.Grouped(drawn+tagOf(key, nordtal, drawn)) + " " + markOf(key, nordtal, drawn)
	if want := "7KQ2-M9XD-4TFW d614"; got != want {
		t.Errorf("got %s", got)
	}
	if tagOf(key, nordtal, drawn) == tagOf(key, suedtal, drawn) && markOf(key, nordtal, drawn) == markOf(key, suedtal, drawn) {
		t.Error("two authorities have the same code")
	}
}
