// SPDX-License-Identifier: EUPL-1.2

// Package eventlog is the memory that survives: append-only logs of signed pages, one writer each, copied to every site
// that may hold them.
//
// # Terms
//
//   - A log is (authority, class, origin site, incarnation). Only its origin appends to it. It is created when first
//     needed.
//   - A Page is the unit that is written, synced, signed and copied: the events that came in while the page before was
//     being synced. Position = (page, index).
//   - An incarnation is a random word. A site that cannot make sure that nobody holds more of its log than it does itself
//     (it was restored from a backup, cloned, or starts cut off) goes on in a new incarnation, a new log.
//   - What is urgent (event.Draft) is appended under the urgent incarnation, a word derived from the present one: a log that
//     holds nothing else, so that no backlog is before an alarm. To whoever copies it it is a log like any other.
//   - Two hashes at one page number are a fork: somebody signed twice. Both branches are kept and folded, the fork is
//     reported, and the log is closed. A Branch names one of them by the hash of its first page that differs.
//   - A Head is how far a branch goes: (page, hash). Sites push each other their durable heads.
//   - A page is durable at a site when it is on its disk together with the keys its events need, or their erasure marks.
//   - A log waits, kept apart, when it is known and not taken yet, because its origin has begun too many or space is scarce. A
//     site of another operator that holds a log vouches for it: then it does not wait for its number.
//   - A position is secured when sites of at least two operators have reported it as durable.
//
// # The stored form of a page
//
//	magic "HFP1" | u32 header length | header (JSON) | u32 count | count x (u32 length, event JSON) | signature (64)
//
// All integers are big-endian. The signature is the origin's Ed25519 signature ("page") of the SHA-256 of everything before it; the
// page's hash is the SHA-256 of the whole. The header names log, number and the hash of the page before.
//
// # Invariants
//
//   - What Append has acknowledged is on the disk (synced), and stays through kill -9 and power loss.
//   - Nothing is accepted that is not signed by its origin, that does not follow the page before, or whose origin is no
//     member or may not hold the authority's logs.
//   - A page is never changed. Copies are compared by hash.
//   - What one other site can make this one keep is bounded: logs in number and time (intake.go), bytes when space is scarce
//     (space.go), pages behind the end of a closed log (apart.go). What is beyond waits, is reported by Log.Waiting, and is
//     taken as time passes or when there is room. A new table or file that another site can fill gets a bound and a row in
//     ADR 0021.
//
// # How pages travel
//
// A Replicator asks a holder for parts of a stretch, the pages behind a page that it has, as one row of bytes. A pacer for
// each peer measures what the line carries and asks for as much as about a second of it, whatever the size of the pages;
// what has come of a page is gone on with after a cut, at any holder. A log has one giver at a time, unless that one gives
// little: see replicator_claim.go. Pages go one of three ways, each with a loop: urgent logs, then operations and the
// federation, then everything else; see docs/adr/0015-slow-lines.md.
//
// # How a page comes about
//
// Writers encode their events side by side and meet in the lane of their authority and class. The first one there leads:
// it takes all that wait, stamps and signs one page, has it stored, answers everybody, and the next to come leads. While
// the store syncs one page the next one fills. There is no goroutine behind it, so a simulation with one writer runs in
// order.
//
// A store that cannot tell whether it has stored a page is asked again; if it still cannot, the writers are told that the
// events may yet appear ("log.unconfirmed"), and the page is recognized if it does.
//
// The package has the contract of a Store with an in-memory one, the Log (append and accept) and the Replicator; a real
// Store is in eventlog/jetstream. The conformance suite that every Store passes is in eventlog/logtest.
package eventlog
