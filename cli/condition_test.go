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
