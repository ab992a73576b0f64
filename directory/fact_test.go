// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden are one of each kind of fact, and the form that is sealed.
func golden() map[string]any {
	key := event.KeyID("00112233445566aa")
	return map[string]any{
		string(KindPersonRecorded):   PersonRecorded{Key: key, Sealed: []byte("sealed"), Units: []UnitID{"0123456789abcdef"}, Source: "objectguid"},
		string(KindPersonRemoved):    PersonRemoved{},
		string(KindPersonErased):     PersonErased{Keys: []event.KeyID{key}},
		string(KindUnitRecorded):     UnitRecorded{Key: key, Sealed: []byte("sealed"), Parent: "0123456789abcdef"},
		string(KindUnitRemoved):      UnitRemoved{},
		string(KindFunctionRecorded): FunctionRecorded{Key: key, Sealed: []byte("sealed"), Holders: []PersonID{"0123456789abcdef"}, Deputies: []PersonID{"0123456789abcde0"}},
		string(KindFunctionRemoved):  FunctionRemoved{},
		string(KindErasureConfirmed): ErasureConfirmed{Site: "qto4bk46tloo724nqf7j4v44col3zrimgallyaih2gfh2x25twdq", Keys: []event.KeyID{key}},
		"directory.private": private{Display: "Dr. Änne Weiß", Given: "Änne", Family: "Weiß", Title: "Dr.", Position: "Amtsrätin", Language: German,
			Email: "aenne.weiss@x.example", Mobile: "+491713920012", Phone: "App. 4711", Manager: "0123456789abcdef", Ref: "4711"},
		"directory.Audience": Audience{Everyone: true, Units: []UnitID{"0123456789abcdef"}, Functions: []FunctionID{"0123456789abcde0"}, Persons: []PersonID{"0123456789abcde1"}},
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
	var kinds []event.Kind
	for k := range rootOf {
		kinds = append(kinds, k)
		if _, found := golden()[string(k)]; !found {
			t.Errorf("%s has no golden file", k)
		}
	}
	known := Fold().Kinds()
	slices.Sort(kinds)
	slices.Sort(known)
	if diff := cmp.Diff(kinds, known); diff != "" {
		t.Error(diff)
	}
}

// The ids are part of the stored form: another way to make them would record everybody anew.
func TestIDsAreMadeTheSameWayForEver(t *testing.T) {
	key := [32]byte{1, 2, 3}
	if got := idOf(key, "person", "objectguid", "08165069-80d1-22ed-5a13-3a579b1fff0f"); got != "3b044f7f186de7cc" {
		t.Errorf("got %s", got)
	}
	if idOf(key, "person", "employee", "7") == idOf(key, "unit", "employee", "7") || idOf(key, "person", "a", "7") == idOf([32]byte{}, "person", "a", "7") {
		t.Error("different things have the same id")
	}
}
