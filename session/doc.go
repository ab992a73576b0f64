// SPDX-License-Identifier: EUPL-1.2

// Package session lets a person who signed in at one site go on at every other site, without asking anybody: a token that
// any site of the authority verifies alone.
//
// # Terms
//
//   - A session begins when somebody has come in by one of the ways in; it has an id of 32 hexadecimal characters that its
//     way's own fact names. It belongs to one access.Principal.
//   - A token is a session as a browser carries it (a cookie): the principal, when it was issued and when it expires, signed
//     by the issuing site under the purpose "session". It is base64url(JSON) "." base64url(signature), at most 1,500 bytes.
//   - Life is how long a token is good for when nobody uses it (one hour). Whoever is active gets a new token in good time
//     (due, Renew), from any site. Max is how long a session may last in all (twelve hours), counted from Begun.
//   - Ending a session is a fact, session.Ended, in the authority's register log under sessions/<id of the person or guest>.
//     "Signed out everywhere" is session.AllEnded under the same subject.
//   - The epoch of a person is made of all AllEnded facts of their subject, in their order. A session carries the epoch that
//     the site where it began knew of.
//
// # Life of a session
//
//	way in ──Issue──> token ──Verify──> …due──Renew──> token … ──> expired (Life idle, Max in all)
//	                    └────────── End, EndAll ──────────────────> ended, at each site as soon as it hears of it
//
// # Invariants
//
//   - A token counts at this site only if the sites where the session began and which issued the token are members, and the
//     authority allows both of them and this one. So a removed or forbidden site's tokens end with it, renewed or not.
//   - A session counts only if it knew of every AllEnded that this site knows. Where two people, or one person twice, sign
//     out everywhere on both sides of a cut, all sessions of both sides end when the sites see each other: nobody can tell
//     which of them were meant, so all are. A session that knows of one AllEnded more than this site is not refused: its
//     site has heard more.
//   - Nothing outlives Begun+Max. No clock of another site can make it longer: a verifying site cuts by its own Life and Max.
//     Clocks of two sites may differ by five minutes; a token from further in the future is refused.
//   - A site that is cut off does not hear that a session was ended elsewhere. Max bounds what that can cost.
//   - A token of the console (whoever holds the machine) counts only at the site that issued it. Its end is a matter of
//     this machine and no fact.
//   - A token says who somebody is and never what they may do. It is no secret from its holder and holds no personal data.
//
// A site that an authority allows could sign a token for anybody of that authority: it holds the authority's data anyway.
// Forbidding the site ends all that it has issued.
//
// # Bounds
//
// The fold keeps which sessions were ended one by one, of one subject at most 128. One more, and it takes that for "signed out
// everywhere": who signs in again goes on, and nothing that was ended comes back. It does not forget by time, because the time of a
// fact is that of some site's clock: after one from a clock that is days ahead, what was ended a minute ago would be good again.
// The price: who signs out for the 129th time since they last signed out everywhere is signed out everywhere.
package session
