// SPDX-License-Identifier: EUPL-1.2

// Package identity lets people in when their directory, identity provider, mail and DNS are gone, at any site, and nobody
// else.
//
// # Terms
//
//   - An Account (Konto) is what a person of the directory can come in with: passkeys, recovery codes, a one-time password
//     app. It has no password. A person without any of it has no account.
//   - A name is a host under which the federation's portal is reached ("portal.nordtal.example"). A Passkey (Passkey) is
//     bound to one name, so it is enrolled under each, one after the other: a hand-over leads from name to name.
//   - An invitation (Einladung) is a secret on a letter or in an e-mail. It leads to enrolment and to nothing else: the
//     principal it makes is Limited.
//   - A recovery code (Wiederherstellungscode) stands on a printed sheet with nine others. It is used once, works under
//     every name and on the box's own address, and may be guarded by a one-time password (TOTP).
//   - Vouching (Bürgen): two colleagues who are signed in say that the person who reads eight characters to them is who
//     they say they are.
//   - A link (Anmeldelink) is a one-time sign-in that the console made.
//   - A session is void (ungültig) when it rests on a secret that was used twice, see below.
//
// # States of an account
//
//	none ──Invite──► invited ──passkey or codes──► enrolled ──a year without a sign-in──► dormant
//	                    └──expires──► none                 └──the last one removed──► none or invited
//
// Enrolled means that the person can come in by themself: with a passkey under at least one name, or with a code. What
// is missing for the worst day is told apart from that, in Account.Missing: "passkey:HOST" for each name without one,
// "second passkey" while there is only one under every name, "codes" while fewer than three are left.
//
// # Facts
//
// All facts are of class register, under the subject "account/PERSON".
//
//	identity.Invited, InvitationUsed     identity.PasskeyAdded, PasskeyRemoved     identity.CodesIssued, CodeUsed
//	identity.LinkMade, LinkUsed          identity.TOTPSet, TOTPRemoved             identity.Vouched, VouchingUsed
//	identity.SignedIn (one per person and day)      identity.CounterFell           identity.Told
//
// # Invariants
//
//   - No secret stands in a fact: invitations and links as SHA-256 of 144 random bits, codes as argon2id of 80 random bits,
//     spoken characters as an HMAC under the authority's key "id". Credentials and one-time password secrets are sealed
//     with keys of the account, which are destroyed with the person, see Service.KeysOf.
//   - Nothing needs a quorum. A challenge, a hand-over and a ticket are signed by the site that made them, and any member
//     site that the authority allows takes them. What may be used once is used once at each site at once, and once in the
//     federation as soon as the sites see each other.
//   - Used twice (a code, an invitation, a link, a vouching, at two sites that did not see each other): all sessions that
//     came of it are void, and so is what was enrolled in them and what came of that. Standing refuses them, and the
//     person and the administrators are told. Nobody has to decide which of the two was the thief.
//   - A signature counter that goes back is told and refuses nobody: synchronised passkeys do not count.
//   - Unknown, used, wrong and expired get one answer, at one price. Wrong codes cost no argon2, because a code ends in
//     20 keyed bits. No number of wrong attempts locks an account: passkeys are never throttled, and codes only by the
//     code that is tried.
//   - Nothing but one-time passwords depends on the right time: with every clock ten years ahead passkeys and codes work, and
//     so does a sign-in that begins and ends at one site whatever its clock says. Between two sites clocks may differ by
//     event.MaxDrift. Whoever sets a one-time password app decides that their codes need the right time, too.
//   - Nobody vouches for themself; a session by vouching lasts an hour and cannot vouch.
//   - Whoever comes in by the identity provider leaves nothing behind: no passkey, no code, no word for a colleague; nor do they
//     take anything away. Their session ends when the provider is switched off.
//   - With a one-time password app, a code and five wrong passwords use the code up.
//   - This package judges no permission (package access does, at the edge). It refuses only what no grant can allow.
package identity
