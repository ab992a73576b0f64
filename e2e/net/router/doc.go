// SPDX-License-Identifier: EUPL-1.2

// Package router is a bad network for tests: a router in user space between network namespaces, which delays, loses,
// limits, reorders, duplicates and cuts, for kernels without netem and for lines that change while they are used.
//
// # Terms
//
//   - A Host is a network namespace of its own with one tun device and one IPv4 address. Processes and sockets that are
//     started in it have no other way out than the router.
//   - A Router reads the packets that the hosts send and writes them to the host that they are for.
//   - A Line is one direction of the way between two hosts, with Conditions that may change at any time. Several ways
//     may share a Line, as all that goes to one building shares its access line.
//   - A Count says what a Line was given and what became of it.
//
// # The life of a packet on a Line
//
//	offered ─ cut? ─ queue full? ─ bottleneck (rate) ─ lost? ─ delay, jitter ─ delivered (twice, if duplicated)
//	            │          │                             │
//	          dropped   dropped                       dropped: it has used the bottleneck all the same
//
// # Invariants
//
//   - What is dropped is dropped silently: no reset and no ICMP message tells the sender. That is what a black hole is.
//   - A Line keeps the order, also with jitter, except for the packets that Conditions.Reorder lets overtake.
//   - What a Line does is a function of its seed and of the packets' sizes and times. Lines share no randomness.
//   - All queues are bounded: that of the bottleneck by Conditions.QueueBytes, what is under way on a Line by
//     maxUnderWay.
//   - A Host leaves no trace: its namespace has no name and its device is not persistent, so the kernel takes both away
//     when the last process and the last open file are gone, also after kill -9.
package router
