// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

var update = flag.Bool("update", false, "write the golden files of new kinds; old ones stay for ever")

// golden has one of every kind, with every field set.
func golden() map[string]any {
	return map[string]any{
		string(KindGranted):   Granted{Role: AlarmOfficer, Unit: "0011223344556677", Person: "ffeeddccbbaa0099", Function: "0123456789abcdef", From: 1803902400000, Until: 1835438400000},
		string(KindWithdrawn): Withdrawn{Grant: "00112233445566aa"},
		string(KindPolicySet): PolicySet{MassAlarmFrom: 500, TwoPersons: []Permission{ErasePerson, GrantRoles}, ProviderOff: true,
			RetentionDays: map[event.Class]int{event.Audit: 365, event.Operations: 730}, SessionMaxMinutes: 720},
		string(KindApprovalAsked): ApprovalAsked{Deed: DeedRaiseAlarm, Args: json.RawMessage(`{"mode":"exercise","textDE":"Hochwasser"}`), Size: 900,
			Expires: 1803988800000, Units: []directory.UnitID{"0011223344556677"}, Behind: "person/ffeeddccbbaa0099"},
		string(KindApproved):          Approved{Result: "alarm/00112233445566aa"},
		string(KindRefused):           Refused{},
		string(KindApprovalWithdrawn): ApprovalWithdrawn{},
		"access.GrantDraft":           GrantDraft{Role: Auditor, Unit: "0011223344556677", Person: "ffeeddccbbaa0099", Function: "0123456789abcdef", From: noon, Until: noon.AddDate(1, 0, 0)},
		"access.Principal": Principal{Kind: Program, Authority: nordtal, ID: "00112233445566aa", Session: "0123456789abcdef0123456789abcdef", Way: ByToken, Begun: noon,
			Site: "site", Epoch: "00112233445566bb", Limited: true, Incident: "alarm/00112233445566aa", Scopes: []Permission{SeePeople}, Owner: "ffeeddccbbaa0099"},
	}
}

func TestTheStoredFormStaysAsItIs(t *testing.T) {
	for name, fact := range golden() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".json")
			got, err := json.Marshal(fact)
			ok(t, err)
			want, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) && *update {
				want = append(got, '\n')
				err = os.WriteFile(path, want, 0o644)
			}
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
	kinds := slices.Sorted(maps.Keys(rootOf))
	for _, k := range kinds {
		if _, found := golden()[string(k)]; !found {
			t.Errorf("%s has no golden file", k)
		}
	}
	known := Fold().Kinds()
	slices.Sort(known)
	if diff := cmp.Diff(kinds, known); diff != "" {
		t.Error(diff)
	}
}
