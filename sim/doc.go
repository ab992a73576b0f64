// SPDX-License-Identifier: EUPL-1.2

// Package sim runs many sites in one process, badly: it cuts and heals links, both ways or one, slows them down to 16 kbit/s,
// loses messages, crashes, restores and clones sites, fills and slows disks, turns clocks by up to ten years, puts a site into the
// wrong hands, and lets one vanish for good, and authorities forbid sites and allow them again, while facts are written and people
// sign in everywhere. Then it lets everything heal and looks whether the promises were kept.
//
// # Terms
//
//   - A World is one run. Everything in it follows from its seed: who is in it, what happens, and in which order. It is
//     single-threaded and calls the same step methods that the loops of a real site call.
//   - A fact is what a site was asked to write. The ledger knows whether it was acknowledged, and then it must survive;
//     or whether the answer was "cannot tell", and then it may appear once or never.
//   - The unlucky operator is the one whose sites may lose a disk: by vanishing, or by a backup put back. What has been
//     secured at two operators must survive that, too.
//   - A secret lets somebody in once: a link, an invitation, a recovery code, a ticket for which two have vouched, a guest's code.
//     A session is what came of it, with its tokens; they are shown at every site, also at those where they do not belong.
//   - What a site has heard is gathered from its disk, naively: sets of facts, without folds and with no order but that of facts
//     that replace each other. What the real services answer is compared with it, while things happen and in the end.
//   - A slow line takes virtual time for each message. In a third of the worlds lines stay slow when everything heals.
//   - The rogue is a member in the wrong hands. It runs what all run, and besides floods, dates back, begins a hundred logs, signs two
//     pages of one number, plants keys, boxes and erasure marks, forges heads, and answers garbage; it goes on when everything heals.
//     What it has acknowledged need not survive, nor what is on its disk alone when the disk that acknowledged it is lost; and
//     what its own site shows is not looked at. It may be voted out.
//   - A duel is an alarm through an interruption of two sites that both may call for it.
//   - A Plant is a deliberate mistake, wrapped around a real part. The tests plant each and expect to be told.
//
// # What is checked
//
//   - Every acknowledged fact is at every allowed site after healing, exactly once; nothing is there that nobody wrote.
//   - All sites that may hold an authority's logs have the same heads; forks are the same everywhere, and reported.
//   - The read models have the same state hash, and each subject is folded in the order of its places, recomputed naively.
//   - No page, key or head of an authority has reached a site that it never allowed, or was told by one that knew of the
//     forbidding; and whoever is forbidden in the end has nothing left of it.
//   - What a forbidden site wrote behind the end of its closed logs is kept by all allowed sites and folded by none.
//   - No site takes a secret twice. Of one that was taken at two sites, every session ends, and what came of it, wherever both
//     uses have been heard of; all sites warn of it.
//   - Where "signed out everywhere", the end of a session, an erasure or the sending away of a guest has been heard of, no session
//     that it concerns is accepted; nor is one at or from a site that the authority does not allow. All others are, in the end.
//   - Nobody may do what no grant in force that the site has heard of allows, and who has such a grant may.
//   - Nobody carries out alone what takes two, and all sites name those who approved.
//   - Every acknowledged line of the audit is shown at every allowed site, and the export of the audit is sound.
//   - The credentials of an erased person can be read nowhere. Not looked at: an erasure that a site shows as waiting, of an
//     authority that has forbidden a site.
//   - Nobody who had a channel is left uncalled by an alarm, and whoever was called got its all-clear, whatever the clocks: or all
//     sites show that the alarm is held.
//   - After an interruption of two sites that call, at most a window of hand-overs is made again for each change of the caller.
//   - Nobody joins by one operator's word, however it is dated; a rogue that was forbidden cannot let itself in again; what it says
//     again and again is folded once; no key is destroyed without a fact that is a reason, and nobody is locked out.
//
// Most worlds live in memory; a share of them has real JetStream stores in a temporary directory.
package sim
