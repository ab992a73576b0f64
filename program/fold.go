// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// Fold returns the programs' part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[state]{
		Label: "program", OwnedRoots: []string{"program"}, KnownKinds: []event.Kind{KindMade, KindWithdrawn, KindUsed},
		ApplyFunc: func(s state, _ readmodel.Entry) (state, error) { return s, nil },
	}
}

type state struct{}
