// SPDX-License-Identifier: EUPL-1.2

// Package authenticator is a passkey made of software, for tests, benchmarks and demonstrations: it answers the options of
// navigator.credentials.create and .get as a browser with a platform authenticator would, with real ES256 signatures
// (WebAuthn 3, 6 and 7).
//
// # Terms
//
//   - A Device holds resident credentials, one for each relying party and user handle, and a signature counter for each.
//   - An answer is the JSON that a page sends to its server.
//
// # Invariants
//
// Keys live in memory only, and nothing protects them: never sign a person in with it. A Device is safe for concurrent use.
package authenticator
