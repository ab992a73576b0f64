// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// noteKind is the kind of the simulator's own facts: so small that a naive reader can say what their fold must be.
const noteKind event.Kind = "note.Written"

// note is the data of a simulator's fact.
type note struct {
	Token int    `json:"token"`
	Pad   string `json:"pad,omitempty"`
}

// notes is the folded state of a subject: the tokens in the order of their places. Any mistake in the order shows.
type notes struct {
	Tokens []int `json:"tokens"`
}

// noteFold is the simulator's own domain.
func noteFold() readmodel.Fold {
	return readmodel.Typed[notes]{
		Label: "note", OwnedRoots: []string{"note"}, KnownKinds: []event.Kind{noteKind},
		ApplyFunc: func(s notes, e readmodel.Entry) (notes, error) {
			var n note
			if err := e.Decode(&n); err != nil {
				return s, err
			}
			s.Tokens = append(s.Tokens, n.Token)
			return s, nil
		},
	}
}
