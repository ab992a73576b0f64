// SPDX-License-Identifier: EUPL-1.2

// Package bench measures this machine: how much the log takes, how far sites lag behind each other, how fast the read
// model folds. It prints figures and judges none; the tests of other packages hold the promises.
//
// # What is measured against what
//
//   - log_append: acknowledged events per second of concurrent writers, each of which seals its text with a person's key
//     and waits until its event is on the disk (sealing, signing and syncing included), against the same writers, waiting
//     in the same way for plain synchronous JetStream publishes of the same number of bytes, on the same disk and with
//     the same setting (sync always), in turns in the same run.
//   - replication_lag: from the acknowledgement at one site until the other site's disk has the page, over TLS.
//   - replication_heal: from the moment a cut line works again until both sites have everything.
//   - lines: with a slow line (a bounded queue, a rate and 30 ms each way) between two sites, how long an alarm takes that
//     is raised while a backlog of 3 MiB is under way, of another log or of its own; and when there is nothing but backlog,
//     which share of what the line could carry it has carried (line_used), and which share was pages that were stored
//     (bulk_share; pages travel packed, so it can be above 100). From 64 kbit/s on, each is measured again as it was
//     done before (_before): whole pages of up to 700 KiB within five seconds, everything on one connection, alarms in
//     no log of their own.
//   - fold: events per second that the read model takes in from the disk.
//
// All sites of a measurement run in this process and share one disk, so figures of several sites are lower bounds.
package bench
