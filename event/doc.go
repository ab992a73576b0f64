// SPDX-License-Identifier: EUPL-1.2

// Package event defines what Holdfast remembers: facts, and the order in which they are told.
//
// # Terms
//
//   - An Event is a fact in the past tense: "person 12 replied". It is never changed and never taken back; what must win
//     over it (a cancellation, an all-clear) is another event that refers to it by its ID.
//   - A Subject ("alarm/7f3a/person/12c0") names the smallest thing that has an order of its own. Events of one subject
//     are folded in order; events of different subjects never depend on each other's order.
//   - A Stamp is the reading of a hybrid logical clock: wall-clock milliseconds and a counter in one integer.
//   - A Place is where an event sits for ever: stamp, site, incarnation, page, page hash, index. Places are totally
//     ordered, and the order is the same at every site, whatever the order in which pages arrived.
//   - A Mode tells exercise from reality. It is on every event, because the two must never be confused.
//
// # Invariants
//
// The JSON of an event is a stored format: fields are added, never renamed, never given another meaning. Unknown fields
// are ignored, unknown kinds are kept. An event is at most MaxEventBytes long.
//
// The package needs nothing but the standard library, and every type in it is a plain value, safe to copy; values are
// safe for concurrent use as long as nobody changes their Data.
package event
