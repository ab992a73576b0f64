// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden are one of each kind of fact.
func golden() map[event.Kind]any {
	return map[event.Kind]any{
		KindRecorded: Recorded{Deed: "signin", Way: "passkey", Object: "account/12c0", Outcome: Refused, Code: "identity.code", Count: 12,
			Since: 1795316400000, Key: "00112233445566aa", Sealed: []byte("sealed"), Source: "~0a1b"},
		KindMonthOpened: MonthOpened{Month: "2026-11", Key: "00112233445566aa"},
	}
}

func TestTheStoredFormStaysAsItIs(t *testing.T) {
	for _, kind := range Fold().Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			fact, found := golden()[kind]
			if !found {
				t.Fatal("there is no golden form of it")
			}
			path := filepath.Join("testdata", string(kind)+".json")
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
