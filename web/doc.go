// SPDX-License-Identifier: EUPL-1.2

// Package web is what the portal and the API share: the listener, who is asking, what a browser is told about safety,
// and how an error becomes an answer.
//
// # Terms
//
//   - An Actor is whoever a request comes from. An Authenticator finds out; Sessions is the one for browsers, Fixed the
//     one for the operator's own socket. The identity domain adds others behind the same interface.
//   - A sign-in link carries a secret that works once. Opening the link changes nothing, because mail scanners and
//     chat previews open links too; only pressing the button on the page (a POST) uses the secret up.
//   - A session is a random token in a cookie. What is stored is its hash, in the local store: sessions never leave the
//     machine, and a copy of the disk opens no session.
//   - Assets are files that never change under their name: the name holds the hash of the content.
//
// # Invariants
//
//   - Every answer carries the same strict headers: nothing is loaded from elsewhere, no inline script, no inline style,
//     no framing. A page that needs an exception is wrong.
//   - A request that changes something and comes from another site's page is refused (http.CrossOriginProtection).
//   - Bodies, headers, connections, attempts to sign in and live streams are bounded.
//   - What is not a fault.Fault is answered as an internal error without details; the log has them once.
//
// Everything exported is safe for concurrent use after its constructor has returned.
package web
