// SPDX-License-Identifier: EUPL-1.2

// Package keyring holds the keys of authorities and persons: sealed at rest, replicated beside the logs, and erasable.
// Logs are for ever; a keyring is what makes it possible to forget.
//
// # Terms
//
//   - A key seals the personal fields of one person, or is shared and has a name ("id", "link", "register"). It is
//     named by a KeyID that is made of its secret (ownID) and tells nothing of it; the ids of older keys are random. At
//     rest it is sealed by an authority key; the record says by which.
//
//   - An authority key is sealed to every site that its authority allows. Each site that has the key makes a box of its
//     own for every other one: whether a box holds the key, only its receiver can tell. Its origin is the site that
//     drew it; the origin signs for its generation and its digest. The newest generation seals what is made next, and
//     of equals the lowest id: of the keys whose origin the authority allows now, and within reach (at most
//     generationStep above the generation before it), unless this site has more than maxOfOrigin of that origin. All others
//     are for reading only. Keys of before there were
//     signatures count where there is no signed one; they are renewed when a site is forbidden, and once after the
//     upgrade. Generation 0 seals nothing: a forbidden site gave it, unsigned.
//
//   - An erasure mark takes the place of a key for ever. Its maker signs it. At another site it is a demand until that
//     site's own facts bear it out (Ground), by Config.Grounds: all that they say is sealed with the key is to be
//     forgotten. Then it is a mark there, too, and is handed on. Demands are not.
//
//   - Demands are held if the facts of one other site make more keys due within a day than tollFloor, and than one in
//     tollShare of the authority's keys. A person releases or rejects them, at each site. Of keys that are not here
//     there is nothing to destroy: they are marked a day later, unless they come.
//
//   - A change number counts what a store has taken in; an epoch is one opening of a store. Together they are the
//     cursor by which another site asks for what it does not have yet. A store that was put back from a backup, or that
//     was cloned, opens in an epoch of its own, so that nobody's old cursor skips what comes then.
//
//   - Keys that an alarm waits for are asked for by name (Fetch); all others come in the order of their changes, in parts that
//     the line takes.
//
// # Invariants
//
//   - A mark that counts always wins: over the key it marks, over a copy of that key that comes later, whatever the
//     order. It destroys the key's bytes in the database and its write-ahead log (rows are overwritten in place, and
//     the log is truncated), and in memory. Forensics below the file system, on flash that remaps blocks, are out of
//     its reach.
//   - NewKeys returns after the keys are on the disk, so a page that needs them is never stored before them.
//   - A key counts as held (Missing) only if this site can open it, holds its mark, or has nothing of it and facts that
//     say it is to be destroyed.
//   - Records are exchanged with a peer only while the policy allows both sites to hold the authority's keys. Who is
//     not allowed learns nothing, not even how many there are. From a site that is forbidden only those keys are taken
//     that pages here wait for, and the authority keys that seal them (it may have renewed the authority's key before
//     it heard): these for reading only, here and wherever they go from here, since the forbidden site has them.
//   - A foreign record is believed only if it opens, as soon as this site can tell; before that it is handed on to nobody. What no honest site sends is left
//     out, counted and told (Refusal); the rest is taken, and the cursor moves.
//   - A key whose secret gives its id takes the place of whatever else is under the id, in whatever order they come, and
//     nothing takes its place. Of others that open the first one stays, however far the authority key of the next one is
//     believed, since whoever is allowed can draw one: it gives way only if no more than a key for reading only opens it.
//   - No site can destroy a key at another one without a fact that says so, nor more in a day than the toll without a
//     person's look; nor take an authority key's place there, nor keep keys from being exchanged.
//   - What others can make this site keep is bounded: maxKeys of an authority that open, maxUnopened of a peer that do not
//     open yet, maxDemands of a peer, and maxBoxes that one site makes of the keys of one origin. What one site uses up is its own room, whoever hands it on: of the keys that
//     another site has drawn an honest one grants maxOfOrigin on and seals with no key beyond those, and boxes of no use
//     now (of keys whose origin is not allowed, for sites that are not allowed) have a room apart, in which what opens no
//     record that is here gives way. Under one id, of sites that are not allowed, maxStrangers boxes for this site are
//     kept: each record is tried with all that a box may hold. What does not open goes when the key comes that should open
//     it, and when its giver is known and not allowed any more (Tidy).
//   - What is refused for want of room is asked for again: keys and boxes when there is room (Tidy), keys that do not open
//     when an authority key comes: at once a few times an hour for each site that makes boxes, else within
//     the hour (Tidy).
//   - Shared keys are never erased. Those that an earlier version has let be erased are made anew (Mend).
//   - Which keys can be read, which are erased, and which authority key is the newest depends only on the set of
//     records, the facts and the policy, not on the order in which they came. What is held back depends on the day, and
//     is told. The exception are older keys, of random ids: of two that open under one id a site keeps what came first.
//
// # The stored form
//
// Key:  seal.Key.Seal(authority key, context "holdfast key <authority> <id> <name>", 32 bytes)
// Box:  seal.SealTo(site, context "holdfast authority key <authority> <id> <site>", 32 bytes)
//
// The id of a signed authority key is the beginning of its digest, so that nobody can give another key under the id, also
// when the true one is lost (genuine.go). So is that of every other key, of a digest over authority, name and secret. With some four billion trials somebody can make two
// keys of one id, both theirs; for the id of another's key it takes that squared, and even then the first one stays.
// Signatures are those of seal.Identity.Sign under the purposes "keyring-mark", "keyring-box" and "keyring-birth", see
// record.go. A store of the version before is brought to this form when it is opened, in place (migrate.go); that
// version can still open it.
//
// Two sites that found the keys of one authority at the same time make two sets; both stay readable, and of two keys of
// one name the lower id is used by everybody.
package keyring
