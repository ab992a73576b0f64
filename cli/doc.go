// SPDX-License-Identifier: EUPL-1.2

// Package cli is the operator's way in from a shell: it reads flags, calls, and prints. It never decides.
//
// Commands that need a running site ask it over the control socket in its data folder (see package api), so they may do
// exactly what the API may do, and what they print is what the site knows. Commands that make a site or run one (init,
// join, serve, demo, bench) are given by the roof in Commands.
//
// Every command that lists something takes --json. Errors go to standard error as "what (way out)", and the exit code tells
// the kind of trouble: see ExitCode.
package cli
