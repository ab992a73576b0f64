// SPDX-License-Identifier: EUPL-1.2

// Package app is the roof of the house: it builds a site out of all other packages and runs it. It is the only place that
// knows everything, and it decides nothing: rules live in the domain packages.
//
// # A site
//
// A site is one process and one data folder:
//
//	config.yaml   the configuration, see Config
//	site.key      the site itself: its private key
//	log/          the logs (JetStream), synced on every page
//	keyring.db    keys of authorities and persons, sealed
//	local.db      what must not leave this machine: sessions, invitations, sign-in links
//	read.db       the read model; may be deleted at any time, is folded again from the logs
//	read.db-sum   the sums of its pages
//	*.layout      where the tables of keyring.db and local.db lie, for a repair
//	*.damaged-*   a damaged keyring.db or local.db that is kept, see package salvage
//	control.sock  the operator's way in for 'holdfast' commands on the same machine
//
// # Life
//
// Found (init) or Join make the folder; New opens it; Run serves until its context ends. Ready tells where it listens.
//
// Order of the start matters and is kept in New: local store and keys first, then the log engine, then the read model, then
// the federation's snapshot (who may do what), then services, then the wires to other sites, and people last.
package app
