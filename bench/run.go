// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/fault"
)

// subjects are what can be measured, in the order of "all".
var subjects = []struct {
	name string
	run  func(context.Context, Options, func(Metric)) error
}{
	{"append", Append},
	{"replication", Replication},
	{"fold", Fold},
	{"signin", SignIn},
}

// ofLog are the subjects that make up "log": how much it takes, how fast the others have it, how fast it is folded.
var ofLog = []string{"append", "replication", "fold"}

// Subjects returns the names of single subjects; Run takes "log" and "all" besides.
func Subjects() []string {
	names := make([]string, len(subjects))
	for i, s := range subjects {
		names[i] = s.name
	}
	return names
}

// Run measures one subject, "log" or "all" and reports each figure as soon as it is known. It blocks for a few times
// Options.Duration. It returns a fault of kind Invalid for an unknown subject.
func Run(ctx context.Context, subject string, o Options, report func(Metric)) error {
	known := false
	for _, s := range subjects {
		if subject != s.name && subject != "all" && (subject != "log" || !slices.Contains(ofLog, s.name)) {
			continue
		}
		known = true
		if err := s.run(ctx, o, report); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
	}
	if !known {
		return fault.New(fault.Invalid, "bench.subject", fmt.Sprintf("%.40q cannot be measured", subject),
			"name one of: "+strings.Join(Subjects(), ", ")+", log, all")
	}
	return nil
}
