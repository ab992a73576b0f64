// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"fmt"
	"time"
)

// plurals are the words of this package's sentences whose plural is not made with an s.
var plurals = map[string]string{"person": "people", "person's account is": "people's accounts are", "person has": "people have", "log was": "logs were"}

// count says how many there are of something, in a sentence: "1 person", "2 people".
func count[N int | uint64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	many, ok := plurals[one]
	if !ok {
		many = one + "s"
	}
	return fmt.Sprintf("%d %s", n, many)
}

// day shows a time where the reader is, with the zone because the portal may show another; a dash for none.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04 MST")
}

// second is day for what happens within seconds.
func second(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}
