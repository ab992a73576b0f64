// SPDX-License-Identifier: EUPL-1.2

package deed

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// TestStoredForms holds what is in logs for ever: the arguments of each deed.
func TestStoredForms(t *testing.T) {
	d := alarm.Draft{TextDE: "Bitte melden", TextEN: "Report", Mode: event.Actual, Ranking: []event.SiteID{"b", "a"}, TakeoverAfter: 5 * time.Second, LinkValid: time.Hour,
		Channels: []directory.ChannelKind{directory.SMS, directory.Email}, Actor: "person/1", Grant: "g",
		Audience: directory.Audience{Units: []directory.UnitID{"u2", "u1", "u2"}, Functions: []directory.FunctionID{"f"}, Persons: []directory.PersonID{"p2", "p1"}}}
	want := `{"textDe":"Bitte melden","textEn":"Report","mode":"actual","audience":{"units":["u1","u2"],"functions":["f"],"persons":["p1","p2"]},` +
		`"channels":["email","sms"],"ranking":["b","a"],"takeoverAfterMillis":5000,"linkValidMillis":3600000}`
	if got := string(AlarmArgs(d)); got != want {
		t.Errorf("an alarm is stored as\n%s\nwant\n%s", got, want)
	}
	if got := string(EraseArgs("12c0")); got != `{"person":"12c0"}` {
		t.Errorf("an erasure is stored as %s", got)
	}
}

func TestTheSameWishHasTheSameArguments(t *testing.T) {
	a := alarm.Draft{TextDE: "x", Mode: event.Test, Audience: directory.Audience{Units: []directory.UnitID{"u2", "u1"}}, Channels: []directory.ChannelKind{"sms", "email"}, Actor: "person/1"}
	b := alarm.Draft{TextDE: "x", Mode: event.Test, Audience: directory.Audience{Units: []directory.UnitID{"u1", "u2", "u1"}}, Channels: []directory.ChannelKind{"email", "sms"}, Grant: "g"}
	if !bytes.Equal(AlarmArgs(a), AlarmArgs(b)) {
		t.Errorf("%s and %s", AlarmArgs(a), AlarmArgs(b))
	}
}

func TestArgsAreBounded(t *testing.T) {
	if _, err := ReadAlarm(json.RawMessage(`{"textDe":"` + strings.Repeat("x", maxArgs) + `"}`)); err == nil {
		t.Error("arguments without a bound are read")
	}
}

func FuzzReadArgs(f *testing.F) {
	f.Add([]byte(AlarmArgs(alarm.Draft{TextDE: "x", Mode: event.Exercise, Audience: directory.Audience{Everyone: true}})))
	f.Add([]byte(EraseArgs("12c0")))
	f.Add([]byte(access.GrantDraft{Role: access.Auditor, Person: "12c0"}.Args()))
	f.Add([]byte(access.DefaultPolicy().Args()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ReadAlarm(b); err == nil {
			again, err := ReadAlarm(AlarmArgs(d))
			if err != nil || !bytes.Equal(AlarmArgs(again), AlarmArgs(d)) {
				t.Errorf("%s is read once and not twice: %v", b, err)
			}
		}
		if p, err := ReadErase(b); err == nil && p == "" {
			t.Error("nobody is to be erased")
		}
		_, _ = ReadGrant(b)
		_, _ = ReadPolicy(b)
	})
}
