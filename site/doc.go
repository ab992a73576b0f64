// SPDX-License-Identifier: EUPL-1.2

// Package site knows who belongs to the federation (Verbund) and which authority allows which site: trust without a
// centre.
//
// # Terms
//
//   - A site is its key. A Member is a site that was admitted and not removed; it is run by an operator (Betreiber) and
//     is a provider's machine or a box in the authority's own building.
//   - Every site that is a member may invite. An invitation is a Token for one use, with a date. Who joins with it is
//     proposed by the inviter; it is Pending, a member of nothing, until sites of enough operators have endorsed it.
//   - An Authority allows sites; only they may hold its logs and keys. Names and allowed sites of authorities are known
//     to every member.
//   - The Federation is this site's view of all that, held in memory: the policy that logs and keyring ask.
//   - A pin is a member in this site's local store: at first whom it was told of when it joined, before it had any log to read
//     it from; later whom the facts know. A site that loses its logs still knows whom to ask.
//
// # Life of a site
//
//	invited ──join──> pending ──endorsed by two operators──> member ──removed by two operators──> removed (for ever)
//
// # Invariants
//
//   - Admitting takes sites of min(2, operators among the members) distinct operators; the inviter's operator is one.
//     Removing takes as many, the operator of the site to be removed not counted; if one other remains, one suffices.
//   - Membership is a pure function of the set of facts, see Membership.Roll: it is the same at every site, whatever the order
//     in which the facts arrived. A fact is judged by who was a member at its place. An endorsement that sorts before its
//     proposal counts when that comes.
//   - A fact's place is its stamp, but no fact comes before an earlier one of its own log: stamps of honest sites rise along a log.
//   - A proposal names what the sites of the inviter's operator have said so far (Proposed.Heard). When the proposed site has
//     acknowledged it (Joined, which every site states once, by itself), it is firm: what that operator says beyond it for
//     admitting sites comes behind it, in whichever log and however it is dated. So nobody can say later that he had admitted
//     others alone before there was a second operator.
//   - A firm proposal binds its own operator only, and moves nothing that is about a site which has acknowledged it itself: who
//     claims to have heard nothing cannot undo what others have said, nor members that know by what they became some.
//   - A site that has acknowledged different proposals, or consented to be of different operators, is like one that has
//     acknowledged nothing: what is about it moves, and all the proposals that it named stay firm. It is bound under each of its names.
//   - What a removed site has said and none of those had heard whose votes removed it (Removed.Heard) does not count, however it
//     is dated. It takes all of them to leave something out: one that claims to have heard nothing decides nothing.
//   - Of several foundings by one site that counts of which most of its firm proposals have heard, those of sites that have
//     acknowledged several aside.
//   - A removed site's logs are closed at (page, hash), as the votes that removed it knew them; of two closings of a log the
//     lower page wins, of equal ones the lower hash. A log that none of them named is closed before its first page, until a site
//     names it that may hold it or might once: voters do not know the logs of authorities that do not allow them. Nothing that
//     sorts behind the removal moves the end of a log that the votes have named. The federation's own logs are closed
//     where the one of the removing sites that knew most knew them: what one had heard counts, so all must get it.
//   - What a removed site wrote behind the end of its logs is kept apart: stored as far as it comes, not folded, shown. That is so in
//     the federation's logs, too.
//   - A removed site is not spoken to any more: it sees that the others refuse it. It keeps what it has read.
//   - Which sites an authority allows is said by sites that it allows, at the place of the fact: nobody lets himself in. What
//     others say is passed over. Of two foundings of one short name that of the site counts which was admitted first: dates
//     can be forged, admission takes others.
//   - Of several foundings of a short name by one site that counts which the withdrawals of the site have heard: of
//     two, the one that the site heard which was admitted first, of equal ones the first in order. So a founder that
//     was forbidden does not come back with a founding that nobody has withdrawn. What it founds besides is an
//     allowance like others.
//   - Of the foundings in one log the first maxFounded count, along each of its chains: a fork takes nothing from what
//     was said in another branch. The states of authorities without a founding that counts are folded, but not read
//     into the view.
//   - Of one authority a chain has one founding, the first. No other bound leaves that out.
//   - An allowance ends only by a withdrawal that names it. An allowance that the withdrawing site did not know of stays, unless
//     the forbidden site itself gave it: what that had said unheard does not count, however it is dated. A withdrawal that
//     would leave an authority without any site does not count: its data would be lost.
//   - The logs of a site that is not allowed any more are closed as those that forbade it last knew them. What it wrote
//     behind that is kept apart: stored at the allowed sites, not folded, shown, and counted when it is allowed again.
//   - So does a site leave, and hand over, that was allowed by somebody who could not allow it.
//   - A site that is forbidden deletes its copies when sites of two operators have everything that it holds.
//   - A sealing key counts only with the certificate of the site's own key; a site is proposed only with its own consent.
//   - Membership knows no dates. Only invitations have one, judged by the clock of the site that invited.
//   - A fact that breaks a rule is passed over; it never stops the fold.
//   - What a log says again in a subject, in the same words, costs nothing, and of what differs, foundings aside, it
//     can say so much only (maxSaid, maxSaidBytes); the rest is left out at every site alike, and told among the
//     troubles. The bound goes along the log, so that no other log and no date can push out what was said before; how
//     many logs a site may have is bounded where pages are accepted.
//
// A withdrawal names the facts that it had heard one by one (Forbidden.Named), so that a second page under a number that was heard
// changes nothing. Withdrawals from before there was that field go by page numbers.
//
// What holds no longer than all of an authority's sites are honest: each of them can allow and forbid others, and of
// two that forbid each other the earlier date wins. If a member says that it had heard another founding of a forbidden
// founder's, and was admitted before those that forbade the founder, that founding counts. Facts from before there was
// Heard, and sites that have not acknowledged anything because their program is older, go by dates and the order within
// a log. So an operator whose second site keeps silent, or lies, can move the time when that became a member, and with
// it take back what it said for others; and if no more sites have joined by the founder's word than that one and
// another, it can have an earlier founding of his preferred. A name that a site takes besides its own gives it no power
// over who has that name alone; so where an operator other than the founder's is left alone and invites through a site
// that names itself after two operators, this binds only those of its sites that do the same. A site that forks its log
// before what it has said, which is shown to all, can push that out with a flood, and so take back its own word for
// others. A member that votes for a removal can name a lower end of the removed site's logs than it knows: what lies
// behind is kept apart; and a member can date its vote back until it is one of those that removed the site. Which
// person may say something at a site is not judged here, but before.
package site
