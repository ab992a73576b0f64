// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// The kinds of facts. Their JSON is a stored form; testdata keeps one of each for ever.
const (
	KindInvited  event.Kind = "guest.Invited"
	KindEntered  event.Kind = "guest.Entered"
	KindSentAway event.Kind = "guest.SentAway"
)

// Invited says that somebody may enter with a new code. Said again of the same guest it renews: the youngest code counts.
type Invited struct {
	// Key is the guest's own key, Sealed the JSON of their name, sealed with it under "guest/ID".
	Key      event.KeyID `json:"key"`
	Sealed   []byte      `json:"sealed"`
	Incident string      `json:"incident"`
	Code     Code        `json:"code"`
	Until    time.Time   `json:"until"`
	// Despite are the facts by which the guest had been sent away, as far as the inviting site knew.
	Despite []event.ID `json:"despite,omitempty"`
}

// Code is what is kept of a code.
type Code struct {
	// ID is random and begins the id of the session that the code leads to.
	ID event.ID `json:"id"`
	// Mark finds the code among the living ones: 16 bits of an HMAC under the authority's key "id".
	Mark string `json:"mark"`
	Salt []byte `json:"salt"`
	// Hash is argon2id over the code's HMAC under the authority's key "id".
	Hash []byte `json:"hash"`
}

// Entered says that a code was used.
type Entered struct {
	Code    event.ID `json:"code"`
	Session string   `json:"session"`
}

// SentAway says that the guest may not come in any more, and that their session is over.
type SentAway struct{}
