// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/access"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden are one of each kind of fact, and the form that is sealed.
func golden() map[string]any {
	return map[string]any{
		string(KindMade): Made{Key: "00112233445566aa", Sealed: []byte("sealed"), Kind: CardDAV, Scopes: []access.Permission{access.SeePeople},
			Owner: anna, Expires: morning, Hash: []byte("hash")},
		string(KindWithdrawn): Withdrawn{},
		string(KindUsed):      Used{},
		"program.private":     private{Name: "Annas Telefon"},
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

// Tokens and hashes are part of the stored form: another way to make them would lock every program out.
func TestTokensAreMadeTheSameWayForEver(t *testing.T) {
	secret := []byte("01234567890123456789")
	if got := tokenOf("00112233445566aa", secret); got != "hf1_00112233445566aa_60rk4csm6mv3ee1s60rk4csm6mv3ee1s" {
		t.Errorf("got %s", got)
	}
	if got := hex.EncodeToString(hashOf(nordtal, "00112233445566aa", secret)[:8]); got != "035455d11a49ab04" {
		t.Errorf("got %s", got)
	}
}
