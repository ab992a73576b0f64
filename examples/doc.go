// SPDX-License-Identifier: EUPL-1.2

// Package examples has two invented authorities to try Holdfast with: the district Landkreis Nordtal, whose file is an
// LDIF export as Active Directory writes it, and the insurance Sozialversicherung Westmark, whose file is a table as a
// German spreadsheet writes it (semicolons, Windows-1252).
//
// Everything in them is invented and put together at random from lists: people, units, addresses below .example (which
// RFC 2606 keeps unassigned), and telephone numbers that begin with those the Bundesnetzagentur keeps for films and books
// (Amtsblatt 7/2021, Mitteilung 148/2021). Any resemblance is chance.
//
// The same seed and number of people give the same bytes. The committed files are made by "go generate".
package examples

//go:generate go run ./generate
