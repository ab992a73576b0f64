// SPDX-License-Identifier: EUPL-1.2

package sheet

import "codeberg.org/holdfast/holdfast/fault"

// The refusals.
var (
	// ErrContent is returned for a sheet with nothing on it, or with too much; its Field tells where.
	ErrContent = fault.New(fault.Invalid, "sheet.content", "this does not fit on the sheet", "print fewer or shorter entries")
	// ErrQR is returned for a text that does not fit into a QR code: more than 1,000 bytes, or none.
	ErrQR = fault.New(fault.TooLarge, "sheet.qr", "this text does not fit into a QR code", "use a shorter address")
)
