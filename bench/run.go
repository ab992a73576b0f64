// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/fault"
)

// subject is something that can be measured.
type subject struct {
	name string
	run  func(context.Context, Options, func(Metric)) error
}

// subjects are what can be measured, in the order of "all".
var subjects = []subject{
	{"append", Append},
	{"replication", Replication},
	{"fold", Fold},
	{"signin", SignIn},
}

// aside are the subjects that "all" leaves out, since they take minutes.
var aside = []subject{{"lines", Lines}}

// ofLog are the subjects that make up "log": how much it takes, how fast the others have it, how fast it is folded.
var ofLog = []string{"append", "replication", "fold"}

// Subjects returns the names of single subjects; Run takes "log" and "all" besides.
func Subjects() []string {
	var names []string
	for _, s := range slices.Concat(subjects, aside) {
		names = append(names, s.name)
	}
	return names
}

// Run measures one subject, "log" or "all" (all but those that take minutes) and reports each figure as soon as it is known. It blocks for a few times
// Options.Duration. It returns a fault of kind Invalid for an unknown subject.
func Run(ctx context.Context, name string, o Options, report func(Metric)) error {
	known := false
	for _, s := range subjects {
		if name != s.name && name != "all" && (name != "log" || !slices.Contains(ofLog, s.name)) {
			continue
		}
		known = true
		if err := s.run(ctx, o, report); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
	}
	for _, s := range aside {
		if name == s.name {
			return s.run(ctx, o, report)
		}
	}
	if !known {
		return fault.New(fault.Invalid, "bench.subject", fmt.Sprintf("%.40q cannot be measured", name),
			"name one of: "+strings.Join(Subjects(), ", ")+", log, all")
	}
	return nil
}
