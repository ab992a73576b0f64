// SPDX-License-Identifier: EUPL-1.2

// Package program lets programs in: an authority's scripts with API tokens, and the address books and file clients of its
// people with app passwords.
//
// # Terms
//
//   - A Program is a name, what it may do at most (its scopes), an end, and a secret of 160 random bits.
//   - An API token is a program of kind API. It works for an authority, or in the name of an Owner.
//   - An app password (App-Passwort) is a program that belongs to one person, its Owner, and speaks one protocol: LDAP,
//     CardDAV or WebDAV. It is the person's way in where a passkey cannot be used.
//   - The token "hf1_ID_SECRET" is shown once. It serves as a bearer token and as a password alike.
//
// # Facts
//
// All facts are of class register, under the subject "program/ID".
//
//	program.Made        name, kind, scopes, owner, end, and the secret's hash
//	program.Withdrawn   it does not work any more
//	program.Used        it was used that day, at that site; at most once a day and site
//
// # Invariants
//
//   - No secret is stored, only the SHA-256 over authority, id and secret: 160 random bits need no slow hash.
//   - Every program ends: after two years at the latest.
//   - No program may hold permissions that are not Fit: nobody grants roles, makes programs, vouches, erases people or takes over
//     accounts with something that lies in a script.
//   - A withdrawn program stays withdrawn, whatever the order in which the facts arrive.
//   - Whoever tries names and passwords learns nothing: every refusal is the same, and takes the same work.
//   - Names are sealed: those of API tokens with the authority's key "register", those of app passwords with a key of their
//     own, which WithdrawAll destroys when the owner is erased.
package program
