// SPDX-License-Identifier: EUPL-1.2

package sheet

import (
	"time"

	"codeberg.org/holdfast/holdfast/fault"
)

// CodesSheet is what stands on a sheet of recovery codes.
type CodesSheet struct {
	Lang      string // "de" or "en"; anything else is German
	Person    string // the person's name
	Authority string // the authority's name
	// Codes are up to 20 codes as they are typed: "7KQ2-M9XD-…".
	Codes []string
	// SignInURLs are the pages where a code is entered, the first one also as a QR code; up to 6.
	SignInURLs []string
	// Issued is the date on the sheet and in the file.
	Issued time.Time
}

// InvitationLetter is one letter that invites a person to enrol.
type InvitationLetter struct {
	Lang      string // "de" or "en"; anything else is German
	Person    string
	Authority string
	URL       string // the person's one-time link
	Expires   time.Time
}

// MaxLetters bounds the letters of one file.
const MaxLetters = 500

// The refusals.
var (
	// ErrContent is returned for a sheet without codes or addresses, or with too many or too long ones.
	ErrContent = fault.New(fault.Invalid, "sheet.content", "this does not fit on the sheet", "print fewer or shorter entries")
	// ErrQR is returned for a text that does not fit into a QR code: more than 1,000 bytes, or none.
	ErrQR = fault.New(fault.TooLarge, "sheet.qr", "this text does not fit into a QR code", "use a shorter address")
)

// Codes returns the sheet as a PDF of one A4 page.
func Codes(s CodesSheet) ([]byte, error) { return nil, ErrContent }

// Invitations returns the letters as one PDF, an A4 page each, at most MaxLetters. All dates in the file are those of the
// first letter's expiry, so that the same letters give the same bytes.
func Invitations(letters []InvitationLetter) ([]byte, error) { return nil, ErrContent }

// QR returns a QR code of the text as an inline SVG: one path, black on white, with the quiet zone that readers need. Text
// and markup never mix: the text is only in the modules. Give it a title beside it (aria-labelledby) for those who do not see.
func QR(text string) (string, error) { return QRTitled(text, "") }

// QRTitled is QR with a title that screen readers speak; it is escaped.
func QRTitled(text, title string) (string, error) { return "", ErrQR }
