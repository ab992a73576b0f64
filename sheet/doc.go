// SPDX-License-Identifier: EUPL-1.2

// Package sheet makes what is printed: the sheet of recovery codes (Wiederherstellungscodes) that a person keeps like a
// key, letters of invitation, and QR codes.
//
// Everything is pure black on white, so that it is legible on the worst printer and after the worst copier. The fonts are
// Fira Sans and Fira Mono, embedded and cut to the letters of Europe's Latin scripts; a character outside of them is
// written as "?". The same input gives the same bytes.
//
// A sheet holds secrets. It is made in memory, handed out once and kept nowhere.
package sheet
