// SPDX-License-Identifier: EUPL-1.2

// Package alarm calls people out and takes their answers, at whichever site is alive.
//
// # Terms
//
//   - An Alarm (Alarm, Alarmierung) has a text in German, English or both, a mode, and recipients that are resolved once,
//     from the audience, when it is raised. It is open until it is cancelled (Abbruch) or all-clear is given (Entwarnung).
//   - A wave is one round of messages: Call is the alarm, Closing tells those who were called that it is over.
//   - A hand-over gives one message (person, channel, wave) to a gateway. Its receipt is a fact: Accepted or Refused.
//   - A Channel is a gateway's driver. All channels of a person are used at once, none waits for another.
//   - A reply (Rückmeldung) is one of coming, cannot, safe. It comes by a link in the message; each message carries links
//     at two sites of different operators. GET shows, only POST records.
//   - An alarm or a closing is held (zurückgehalten) at a site that does not call for it by itself: see Hold. An order to call ends that.
//   - The ranking is the order in which sites call. The Caller of the first one calls; the one of rank r begins after
//     r x the takeover delay without a sign of another caller, by its own clock of arrival, and carries on with what is due.
//
// # Subjects and life
//
//	alarm/<id>                  Raised, then Cancelled or AllClear; CallingOrdered
//	alarm/<id>/recipients/<n>   RecipientsNamed, written before Raised, so an alarm never lacks recipients
//	alarm/<id>/person/<person>  Accepted, Refused, Replied
//	alarm/<id>/caller           CallerReported, TakenOver
//	alarm/<id>/clock            ClockDiffered
//
//	             Raised                   Cancelled | AllClear
//	(nothing) ------------> open ------------------------------> closed
//	                         wave Call to all due                 wave Closing to all with an Accepted of wave Call
//
// The subjects may arrive in any order and from any site; each folds alone, and the view joins them when it can: receipts
// and replies that come before the alarm are kept and counted when it arrives.
//
// # Invariants
//
//   - A double alarm beats no alarm. A hand-over is due until its final receipt is known, and is tried again with the same
//     idempotency key; two sites may hand over twice, none may leave somebody out.
//   - Whoever any receipt shows as called gets the closing message, also when the receipt arrives after the closing.
//   - A person without any of the alarm's channels is listed, not forgotten.
//   - While another site can be reached, at most Window hand-overs for an authority have a receipt that no other site holds, and one
//     more window each time that the others have acknowledged nothing for two seconds; who has heard nobody for twelve seconds goes
//     on without that bound. Receipts written in a stall, or alone, are marked as unsecured. Authorities do not wait for each other.
//   - A site that takes over says so before it catches up, so that the next one does not take over meanwhile; once, so that it does if
//     nothing comes of it. That stops nobody who calls.
//   - After any silence towards the others (start, cut, pause) a site calls only when it has folded what they had then, or has waited
//     for it in vain. Right before a hand-over it looks once more.
//   - A wrong clock holds nothing and is shown on the alarm. Nothing that a person has raised is silently not called: what is not called for is
//     shown as held.
//   - A site whose gateways take nothing gives no sign of calling, so that the next one takes over, though the site lives; also one that
//     catches up again and again, since a wait is not held against the gateways, and ends nothing either.
//   - Facts hold no address and no text of a gateway. Mode is in every message, in both languages where it is not Actual.
//
// Contracts: Channel (suite in alarm/channeltest), and what the package needs of others (Directory, Federation, Keys,
// Replication), to be kept by package app.
package alarm
