// SPDX-License-Identifier: EUPL-1.2

// Package privacy answers the question that anybody may ask of an authority: what is stored about me (Art. 15 GDPR)?
//
// # Terms
//
//   - A Document (Auskunft) is everything that this site holds about one person, in one JSON value: the register's record,
//     the account, roles, approvals, sessions, programs, alarms with receipts and the person's own replies, the audit's
//     lines by and about the person, and how far an erasure has come. Notes explain every field in German and English.
//   - An Erasure (Löschung) is the state of erasing a person: at which sites it is confirmed. It is complete when all
//     have.
//
// The package writes nothing and keeps nothing; it has no facts and no tables of its own. It asks the services that own
// the data, and reads the read model where no service has the question.
//
// # Invariants
//
//   - No other person's data is in a document. Whoever else had a part in something (who granted a role, who decided, who
//     looked somebody up) appears as "another person", a program or a guest as such, never by id, name, address or way in.
//     Ids of other people are cut out of paths.
//   - No secret is in it: neither codes, nor tokens, nor keys, nor what would lead to one. Even their hashes are left out.
//   - What is stored and cannot be read here (a key has not arrived, or is destroyed) is told as such, not left out.
//   - Lists are bounded. A document whose list was cut says so in Truncated.
package privacy
