// SPDX-License-Identifier: EUPL-1.2

// Package keyring holds the keys of authorities and persons: sealed at rest, replicated beside the logs, and erasable.
// Logs are for ever; a keyring is what makes it possible to forget.
//
// # Terms
//
//   - A key seals the personal fields of one person, or is shared and has a name ("id", "link", "register"). It is named
//     by a random KeyID that means nothing. At rest it is sealed by an authority key; the record says by which.
//
//   - An authority key is sealed to every site that its authority allows: one box per authority key and site. It has a
//     generation; the newest generation, and of equals the lowest id, seals what is made next. Generation 0 is for reading
//     only and seals nothing.
//
//   - An erasure mark takes the place of a key for ever.
//
//   - A change number counts what a store has taken in; an epoch is one opening of a store. Together they are the cursor
//     by which another site asks for what it does not have yet. A store that was put back from a backup, or that was
//     cloned, opens in an epoch of its own, so that nobody's old cursor skips what comes then.
//
//   - Keys that an alarm waits for are asked for by name (Fetch); all others come in the order of their changes, in parts that
//     the line takes.
//
// # Invariants
//
//   - A mark always wins: over the key it marks, over a copy of that key that comes later, whatever the order. It
//     destroys the key's bytes in the database and its write-ahead log (rows are overwritten in place, and the log is
//     truncated), and in memory. Forensics below the file system, on flash that remaps blocks, are out of its reach.
//   - NewKeys returns after the keys are on the disk, so a page that needs them is never stored before them.
//   - A key counts as held (Missing) only if this site can open it, or holds its mark.
//   - Records are exchanged with a peer only while the policy allows both sites to hold the authority's keys. Who is not
//     allowed learns nothing, not even how many there are. From a site that is forbidden only those keys are taken that
//     pages here wait for, and the authority keys that seal them (it may have renewed the authority's key before it heard):
//     these for reading only, here and wherever they go from here, since the forbidden site has them.
//   - A foreign record is believed only if it opens, as soon as this site can tell.
//
// # The stored form
//
// Key:  seal.Key.Seal(authority key, context "holdfast key <authority> <id> <name>", 32 bytes)
// Box:  seal.SealTo(site, context "holdfast authority key <authority> <id> <site>", 32 bytes)
//
// Two sites that found the keys of one authority at the same time make two sets; both stay readable, and of two keys of
// one name the lower id is used by everybody.
package keyring
