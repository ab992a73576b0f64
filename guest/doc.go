// SPDX-License-Identifier: EUPL-1.2

// Package guest lets people in who belong to no register: the liaison of the fire brigade, an interpreter, a colleague of
// the neighbouring authority. A guest sees one incident and nothing else, for hours or days.
//
// # Terms
//
//   - A Guest is somebody with a name that the inviting person typed, one incident ("alarm/7f3a…") and an end.
//   - A code is what the inviting person reads to the guest or shows as a QR: twelve characters of Crockford's base 32 in
//     three groups ("7KQ2-M9XD-4TEN"), ten drawn (50 bits) and two that check them. It lets in once.
//   - Renewing gives the same guest a new code and a new end. The old code and its session end with that.
//
// # Facts
//
// All facts are of class register, under the subject "guest/ID".
//
//	guest.Invited    who, for which incident, until when, and the new code's hash
//	guest.Entered    the code was used, and the session that came of it
//	guest.SentAway   the guest is not welcome any more
//
// # Life
//
//	Invited ──► Inside ──► Expired          any of them ──► Away
//	                │                       Twice and Away are left by renewing only
//	                └────► Twice: the same code was used at two sites that did not see each other
//
// # Invariants
//
//   - No code is stored, only the argon2id hash of its HMAC under the authority's key "id"; without that key a log tells
//     nothing about it. The last two characters are a keyed tag, so that of 1,024 wrong codes one costs an argon2.
//   - A code that was used twice voids both sessions, at every site that knows of both, until the guest is renewed: one of
//     the two was somebody else, and nobody can tell which.
//   - Sending away wins over an invitation that did not know of it. It goes by the ids of facts, not by time.
//   - A session's id begins with its code's id, so that every site can tell by which invitation somebody came, also before
//     the fact of their entering has arrived.
//   - Guests whose invitation has not arrived at a site are strangers there.
//   - Names are sealed with a key of the guest's own. Forget destroys it, a while after the guest's end.
package guest
