// SPDX-License-Identifier: EUPL-1.2

// Package demo tells Holdfast's story on one machine: three sites of three operators as three processes, two invented
// authorities, a fourth process with everybody's phones, and a fault in the middle of a call-out.
//
// # Terms
//
//   - The world is what is set up before the story: sites on 127.0.0.2, .3 and .4, the phones, the authorities, their
//     people.
//   - A scenario is the fault: provider-loss (the calling site is killed with SIGKILL while it calls), partition (the box
//     in the town hall is cut off, both halves raise an alarm), none.
//   - The result is measured from outside wherever possible: hand-overs and replies by the phones' own count, state
//     hashes by each site over its stored rows.
//
// # Invariants
//
// Every child dies with the demonstration. Everything listens on loopback. Nothing is written outside a temporary folder
// that is removed at the end.
package demo
