// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"fmt"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/health"
)

// conditionText says on one line what is or was wrong with a store, since when, and what to do.
func conditionText(c health.Condition) string {
	var b strings.Builder
	if c.Open() {
		fmt.Fprintf(&b, "%s: %s", strings.ToUpper(string(c.Store)+" "+string(c.Cause)), c.Message)
	} else {
		fmt.Fprintf(&b, "In order again since %s: %s", c.Mended.Local().Format(time.DateTime), c.Message)
	}
	if c.Detail != "" {
		fmt.Fprintf(&b, " [%s]", c.Detail)
	}
	fmt.Fprintf(&b, ", since %s", c.Since.Local().Format(time.DateTime))
	if c.Doing != "" {
		fmt.Fprintf(&b, "; %s", c.Doing)
	}
	if c.WayOut != "" {
		fmt.Fprintf(&b, " (%s)", c.WayOut)
	}
	return b.String()
}

func troubleText(t api.Trouble) string {
	if t.Store == "" {
		return fmt.Sprintf("%s %s %s %s: %s", t.Authority, t.Subject, t.Kind, t.Log, t.Reason)
	}
	return conditionText(health.Condition{Store: t.Store, Cause: t.Cause, Detail: t.Log, Message: t.Reason, Doing: t.Doing, WayOut: t.WayOut, Since: t.Since})
}
