// SPDX-License-Identifier: EUPL-1.2

// Package audit remembers who did what, when, at which site, from where and by which way in: every sign-in, refusal,
// grant, read of sealed data and administrative deed.
//
// # Terms
//
//   - A Line (Protokollzeile) is one fact of the class audit under a subject of its own, "audit/<id>". It is never changed
//     and never taken back.
//   - An Entry is what the caller says: the deed, the actor by id, the way in, the remote address, the object, the outcome:
//     done, only seen, or refused.
//     It holds no name, no text that somebody has typed, no secret. An object is a subject ("person/12c0") or the path of
//     a route; what is as long as a secret is left out of it.
//   - The month's key seals remote addresses. The fact MonthOpened in "auditkey/<yyyy-mm>" names it. Two sites that cannot
//     see each other may open a month each with a key of its own; both count.
//   - Gathering (Sammeln) counts what can be repeated by anybody, such as refusals: one line per source and minute with a
//     count, so that nobody floods the log.
//   - An export is a file with the signed pages of all audit logs of an authority. Verify checks it without a server, a
//     key or a network.
//
// # Facts
//
// All facts are of class audit. Subjects are "audit/<id>" and "auditkey/<yyyy-mm>".
//
//	audit.Recorded      one line            audit.MonthOpened   the key that seals a month's addresses
//
// # Life of a line
//
// Record returns when the line is on this site's disk. Gather returns at once; the line is written when its minute is
// over (Step, Run) or at Flush, all lines of an authority in one Append. What Gather holds is lost by a power cut: at
// most two minutes of repeated refusals.
//
// What belongs to no authority (a wrong code that names none, a name that does not resolve) is recorded in the log of
// the federation, which every member site may read. It therefore never holds an address, only a keyed pseudonym of it.
// The same goes for an authority whose key is not at this site.
//
// # Retention
//
// Expire destroys the keys of months that ended longer ago than the authority's policy says (default: 365 days). The
// lines stay: who (a keyed id), what, when, where. The addresses become unreadable everywhere, in exports, too.
//
// # Invariants
//
//   - No address is in a log, in the read model or in an export in the clear.
//   - A line is shown whoever has written another fact under the same subject: nobody can put his line in the place of
//     somebody else's.
//   - Gathering uses bounded memory whatever comes in, and does not wait for a disk.
//   - A page that was changed, dropped, reordered, put into another log or taken from elsewhere is found by Verify. A tail
//     that was cut off in a file made anew cannot be seen in the file alone: the report says where each log ends, by page
//     and hash, so that it can be compared with the export of another site.
package audit
