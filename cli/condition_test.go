// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/health"
)

func TestAConditionIsOneLineWithItsWayOut(t *testing.T) {
	at := time.Date(2026, 11, 30, 8, 0, 0, 0, time.Local)
	c := health.Condition{Store: health.Keyring, Cause: health.Damaged, Detail: "missing", Message: "keyring.db is gone", Doing: "keys are fetched",
		WayOut: "connect a site", Since: at}
	const want = "KEYRING DAMAGED: keyring.db is gone [missing], since 2026-11-30 08:00:00; keys are fetched (connect a site)"
	if got := conditionText(c); got != want {
		t.Errorf("got %q", got)
	}
	trouble := api.Trouble{Store: c.Store, Cause: c.Cause, Log: c.Detail, Reason: c.Message, Doing: c.Doing, WayOut: c.WayOut, Since: at}
	if got := troubleText(trouble); got != want {
		t.Errorf("got %q", got)
	}
	c.Mended = at.Add(time.Minute)
	if got := conditionText(c); !strings.HasPrefix(got, "In order again since 2026-11-30 08:01:00: keyring.db is gone") {
		t.Errorf("got %q", got)
	}
	if got := troubleText(api.Trouble{Authority: "lk-nordtal", Subject: "alarm/7", Reason: "broken"}); got != "lk-nordtal alarm/7  : broken" {
		t.Errorf("got %q", got)
	}
}

// A check that has found the read model damaged said that all was in order.
func TestACheckTellsOfEveryStoreThatItHasFoundDamaged(t *testing.T) {
	at := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	mended := health.Condition{Store: health.Model, Cause: health.Damaged, Since: at, Mended: at.Add(time.Second)}
	again := mended
	again.Since = at.Add(time.Hour)
	open := health.Condition{Store: health.Keyring, Cause: health.Damaged, Since: at}
	aside := health.Condition{Store: health.Keyring, Cause: health.SetAside, Since: again.Since}
	log := health.Condition{Store: health.Log, Cause: health.Damaged, Since: again.Since}
	for name, c := range map[string]struct {
		before, after []health.Condition
		want          int
	}{
		"nothing":                         {nil, nil, 0},
		"found and mended by the check":   {[]health.Condition{mended}, []health.Condition{again}, 1},
		"mended long before":              {[]health.Condition{mended}, []health.Condition{mended}, 0},
		"known and still open":            {[]health.Condition{open}, []health.Condition{open}, 1},
		"what is kept of an older damage": {nil, []health.Condition{aside}, 0},
		"a log, which is counted apart":   {nil, []health.Condition{log}, 0},
	} {
		got := damagedStores(c.before, c.after)
		if len(got) != c.want {
			t.Errorf("%s: %+v", name, got)
		}
		if err := damageFound(0, got); (err != nil) != (c.want > 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := damageFound(1, nil); err == nil {
		t.Error("a damaged log is no error")
	}
}
