// SPDX-License-Identifier: EUPL-1.2

// Package logtest is the conformance suite of eventlog.Store: what every store must do, whatever disk is behind it.
//
// A store's own tests say how to open it and, where it can, how to fill its disk, damage a page or cut its power:
//
//	func TestStoreConforms(t *testing.T) {
//		logtest.Run(t, func(t *testing.T) logtest.Disk { ... })
//	}
//
// The package also makes signed pages for other tests, see Writer. It is only for tests.
package logtest
