// SPDX-License-Identifier: EUPL-1.2

// Package access decides who may do what in an authority, and what takes two people.
//
// # Terms
//
//   - A Principal is who acts, as a session, a token or a socket has shown it: a person of the directory, a guest, a program,
//     or the console, which is whoever holds the machine.
//   - A Permission is one thing that can be allowed. Every route and every command names the one that it takes.
//   - A Role is a bundle of permissions that people know by its name.
//   - A Grant gives a role to a person, or to a function of the staff and thereby to its holders and deputies; for the whole
//     authority or for a unit with all below it; from and to a date.
//   - A Verdict is the answer to "may they?": the grant relied on, and the units that it reaches.
//   - A Policy is what an authority has decided: what takes two people, how long things are kept, how long sessions last.
//   - An Approval is a request for a second person (Vier-Augen-Prinzip), and what became of it. A Deed is what it is for.
//
// # Who may do what
//
// What is not in this table is forbidden. Every enrolled person is a member without a grant, a guest is let in for one
// incident; all other roles are granted, and make nobody less of a member. A program may do what its scopes say, at most what
// the last column allows; one that works in a person's name may do no more than that person. The console may do everything
// for the authorities whose data its machine holds: claiming otherwise would be theatre.
//
//	                  member alarm-officer journal-keeper plan-editor administrator auditor operator guest program
//	overview.see      x      .             .              .           .             .       .        .     x
//	account.own       x      .             .              .           .             .       .        .     .
//	account.vouch     x      .             .              .           .             .       .        .     .
//	alarm.see         x      .             .              .           .             .       .        .     x
//	alarm.raise       .      x             .              .           .             .       .        .     x
//	alarm.close       .      x             .              .           .             .       .        .     x
//	people.see        x      .             .              .           .             .       .        .     x
//	directory.import  .      .             .              .           x             .       .        .     x
//	account.see       .      .             .              .           x             x       .        .     x
//	account.manage    .      .             .              .           x             .       .        .     .
//	role.see          .      .             .              x           x             x       .        .     x
//	role.grant        .      .             .              .           x             .       .        .     .
//	approval.see      .      x             x              .           x             x       .        .     x
//	guest.invite      .      x             x              .           x             .       .        .     x
//	program.manage    .      .             .              .           x             .       .        .     .
//	policy.set        .      .             .              .           x             .       .        .     .
//	policy.see        .      .             .              .           x             x       .        .     x
//	audit.see         .      .             .              .           .             x       .        .     x
//	person.export     .      .             .              .           x             .       .        .     x
//	person.erase      .      .             .              .           x             .       .        .     .
//	site.see          .      .             .              .           x             x       x        .     x
//	site.manage       .      .             .              .           .             .       x        .     .
//	authority.add     .      .             .              .           .             .       .        .     .
//	authority.place   .      .             .              .           x             .       .        .     .
//	incident.see      x      .             .              .           .             .       .        x     x
//
// # Judging
//
// Service.Judge is asked anew for every request and goes by what this site knows now: the grants in its read model and the
// people in its directory. Somebody who is not in the register any more has no rights, whatever was granted. A session that may
// only enrol has OwnAccount. Whoever signed in at the authority's identity provider may see and alarm by their rights, and
// administers nothing (ErrOwnKey): a provider that is seized must not leave rights behind. Whoever asks for another authority than their own learns nothing: one that is somebody else's, one
// that does not exist and one that is not held here are refused with the same ErrNoAuthority, before anything is looked up.
//
// A right is judged once, at the site that accepts a fact, and the fact names the grant. Folding never judges: what was done
// under a grant that had been withdrawn on the other side of a cut stays, and is shown.
//
// # Facts
//
//	access.Granted            register    grant/ID        a role is given
//	access.Withdrawn          register    grant/ID        and taken away, for good
//	access.PolicySet          register    policy/access   replaces the policy
//	access.ApprovalAsked      operations  approval/ID     somebody wants to do what takes two
//	access.Approved           operations  approval/ID     a second person agreed, and it was done then and there
//	access.Refused            operations  approval/ID     a second person did not agree
//	access.ApprovalWithdrawn  operations  approval/ID     the asker does not want it any more
//
// # The life of a request
//
//	           ┌─ Approve ─► approved: carried out by the one who approved, then written down
//	Ask ─► pending ─ Refuse ─► refused, or withdrawn if it was the asker
//	           └─ time ───► expired (24 hours unless said otherwise)
//
// Asking takes no quorum and deciding neither: two people on one side of a cut are enough. A request that is pending on both
// sides when they meet again stays pending; two requests for the same are shown together (Approval.Elsewhere). If one request
// was approved on both sides it was done twice, and Approval.DecidedBy has both names. Of different decisions approval counts,
// because done is done, then refusal, then withdrawal.
//
// # Invariants
//
//   - A withdrawal refers to the grant, and wins wherever it sorts: no clock gives a right back, nor does granting under the same id.
//   - Nobody but the console makes an operator. An administrator of a unit gives roles in that unit only.
//   - At one site, nobody but the console withdraws the last grant that gives the whole authority an administrator. On two
//     sides of a cut two administrators can withdraw each other; the console is the way back.
//   - Who approves is a person (or the console) and not the one who asked, nor the one in whose name a program asked, nor the one
//     who made that program; they have the permission for the same units, and the asker has it still.
//   - A deed is done before its approval is written, never by a merge. If it fails, nothing is approved.
//   - A change that takes a mark away, or lets larger alarms pass, takes two people itself. Switching the identity provider off
//     never does.
//   - Granting roles and setting the policy hold to a mark in the policy by themselves (ErrNeedsSecond). Raising an alarm and
//     erasing a person are other packages' deeds: their edges ask NeedsSecond.
//   - No fact here holds personal data: people are named by their ids.
package access
