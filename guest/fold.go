// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// Fold returns the guests' part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[state]{
		Label: "guest", OwnedRoots: []string{"guest"}, KnownKinds: []event.Kind{KindInvited, KindEntered, KindSentAway},
		ApplyFunc: func(s state, _ readmodel.Entry) (state, error) { return s, nil },
	}
}

type state struct{}
