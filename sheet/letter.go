// SPDX-License-Identifier: EUPL-1.2

package sheet

import (
	"fmt"
	"time"
)

// MaxLetters bounds the letters of one file.
const MaxLetters = 500

// InvitationLetter is one letter that invites a person to enrol.
type InvitationLetter struct {
	Lang      string // "de" or "en"; anything else is German
	Person    string
	Authority string
	URL       string // the person's one-time link
	// Expires is printed as it is read off the wall in Germany, with the zone.
	Expires time.Time
}

func (l InvitationLetter) check() error {
	switch {
	case l.URL == "" || len(l.URL) > maxURL:
		return ErrContent.At(0, "address")
	case len(l.Person) > maxPrinted || len(l.Authority) > maxPrinted:
		return ErrContent.At(0, "name")
	case l.Expires.IsZero():
		return ErrContent.At(0, "expires")
	}
	return nil
}

// Invitations returns the letters as one PDF, an A4 page each, at most MaxLetters; the file's language and date are those
// of the first. It returns ErrContent for none, too many, or one that would not fit.
func Invitations(letters []InvitationLetter) ([]byte, error) { return invitations(letters, true) }

func invitations(letters []InvitationLetter, compress bool) ([]byte, error) {
	if len(letters) == 0 || len(letters) > MaxLetters {
		return nil, ErrContent.At(0, "letters")
	}
	for _, l := range letters {
		if err := l.check(); err != nil {
			return nil, err
		}
	}
	w := wordsOf(letters[0].Lang)
	p := newPaper(w, w.letterTitle, letters[0].Expires, compress)
	for _, l := range letters {
		p.w = wordsOf(l.Lang)
		p.letter(l)
	}
	return p.bytes()
}

func (p *paper) letter(l InvitationLetter) {
	const side = 60.0
	w := p.w
	p.pdf.AddPage()
	p.text(textWidth, l.Authority)
	p.gap(14)
	p.strong(fmt.Sprintf(w.dear, l.Person))
	p.gap(10)
	p.title(w.letterTitle)
	p.gap(3)
	p.text(textWidth, w.letterWhat)
	p.gap(2)
	p.text(textWidth, w.letterWhy)
	p.gap(5)
	for i, step := range w.steps {
		p.step(i+1, step)
	}
	p.gap(2)
	p.qr((pageWidth-side)/2, p.y(), side, l.URL)
	p.gap(side + 2)
	p.text(textWidth, w.orType)
	p.gap(1)
	p.typed(textWidth, sizeText, l.URL)
	p.gap(4)
	p.strong(fmt.Sprintf(w.letterEnds, onTheWall(l.Expires).Format(w.moment)))
	p.gap(1)
	p.text(textWidth, w.letterPrivate)
}

// step writes a number and, beside it, what to do.
func (p *paper) step(n int, text string) {
	const indent = 9.0
	y := p.y()
	p.pdf.SetFont("sans", "B", sizeText+1)
	p.pdf.CellFormat(indent, lineText, fmt.Sprintf("%d.", n), "", 0, "L", false, 0, "")
	p.goTo(margin+indent, y)
	p.text(textWidth-indent, text)
	p.gap(2)
}
