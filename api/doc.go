// SPDX-License-Identifier: EUPL-1.2

// Package api is Holdfast for programs: JSON over HTTP, for what the portal does and what an operator does. The command
// line and the demonstration are its clients (see Client); its description is openapi.yaml beside this file.
//
// The same routes stand behind two doors: the portal's port, where a session is needed, and the operator's socket in the
// site's data folder, which the file system guards. The package translates; it decides nothing.
//
// # Conventions
//
//   - Names are lowerCamelCase; times are RFC 3339 in UTC; ids are the domain's own texts.
//   - Every error is a Problem (web.Problem): kind, code, message, wayOut, and line and field where input was wrong.
//   - Fields that the API does not know are errors, so that a typing mistake is not a silent default.
//   - Lists have a bound and go on with "after" or "before".
//   - What writes answers with a receipt and the operators at which it is secured so far, after this site shows it. Raising
//     an alarm takes an Idempotency-Key: the same key twice raises one alarm.
package api
