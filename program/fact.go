// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// The kinds of facts. Their JSON is a stored form; testdata keeps one of each for ever.
const (
	KindMade      event.Kind = "program.Made"
	KindWithdrawn event.Kind = "program.Withdrawn"
	KindUsed      event.Kind = "program.Used"
)

// Made says that a program may come in.
type Made struct {
	// Sealed is the name, sealed with Key under "program/ID".
	Key     event.KeyID         `json:"key"`
	Sealed  []byte              `json:"sealed"`
	Kind    Kind                `json:"kind"`
	Scopes  []access.Permission `json:"scopes"`
	Owner   directory.PersonID  `json:"owner,omitempty"`
	Expires time.Time           `json:"expires"`
	// Hash is the SHA-256 over "holdfast program", authority, id and secret, each ended by a zero byte.
	Hash []byte `json:"hash"`
}

// Withdrawn says that the program may not come in any more.
type Withdrawn struct{}

// Used says that the program came in on the day of the event, at the site of its log.
type Used struct{}
