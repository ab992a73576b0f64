// SPDX-License-Identifier: EUPL-1.2

// Package localstore keeps what must not leave this machine: the site's key, sign-in sessions, invitations that were
// given out, the receipts of gateways, the pins of a joining site.
//
// # Terms
//
//   - A bucket groups entries of one purpose ("session", "invitation"); a key names one entry in it.
//   - An entry may expire. From that moment on it is never returned; it is swept away soon after.
//   - The identity file site.key holds the site's private key. It is apart from the database, so that a database in a
//     support bundle is not the site.
//   - Both may be sealed: site.key under a key, the values of the database under another, each derived from the one secret
//     that the operator keeps elsewhere (NewSecret, LoadSecret, seal.DeriveKey). What is sealed opens with the right secret only; losing
//     it is losing the site.
//
// # Invariants
//
//   - What Put, PutNew, Take and Delete have acknowledged is on the disk (SQLite, WAL, synchronous=FULL).
//   - Take returns an entry to one caller only: what is meant for single use is used once.
//   - The files are readable by the site's user only. An identity that others may read is refused, because it can no
//     longer be trusted to be ours alone.
//   - A file is never sealed by halves: a crash leaves it as it was or sealed. What is sealed is never opened by chance: a
//     missing or wrong key is a fault that says so.
//   - Every entry has a checksum beside it. An entry that is not what was written is never returned: it is as if it were not
//     there, but keeps its place, so that what was used once is not used again. A file that is not well formed is set aside when it
//     is opened, and what can be read of it goes on in a fresh one (package salvage). Either is told to the health.Board.
//   - That a file was repaired is noted in it, from its first moment until TakeRepair: whether or not the opening that repaired it has
//     succeeded.
//   - Nothing here is replicated, and nothing here may be needed by another site.
package localstore
