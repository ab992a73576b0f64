// SPDX-License-Identifier: EUPL-1.2

// Package phones plays the world outside for the demonstration: mobile phones, mailboxes and the gateways in front of
// them. It runs as a process of its own and counts by itself what arrives, so that the demonstration's figures do not come
// from the program that is being demonstrated.
//
// # Terms
//
//   - A hand-over is one message accepted by the SMS gateway (HTTP) or the mail server (SMTP). It is identified by its
//     idempotency key "authority/alarm/person/channel/wave"; a second one of the same key is a duplicate.
//   - A phone that has received a call (wave 0) may reply, as people would: most do, after a moment, some cannot come. It
//     tries the links of the message one after the other and reports which site took the reply with a 2xx.
//
// # Invariants
//
// The gateway takes no notice of the idempotency key except to count: it hides no duplicate. All queues are bounded.
package phones
