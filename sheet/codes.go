// SPDX-License-Identifier: EUPL-1.2

package sheet

import (
	"fmt"
	"strings"
	"time"
)

// The bounds of a sheet of codes: what fits on one page.
const (
	maxCodes   = 20
	maxCode    = 64
	maxURLs    = 6
	maxURL     = 200
	maxPrinted = 200 // of names, in bytes
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
	// Issued is the date on the sheet, as in Germany, and in the file.
	Issued time.Time
}

func (s CodesSheet) check() error {
	switch {
	case len(s.Codes) == 0 || len(s.Codes) > maxCodes:
		return ErrContent.At(0, "codes")
	case len(s.SignInURLs) == 0 || len(s.SignInURLs) > maxURLs:
		return ErrContent.At(0, "addresses")
	case len(s.Person) > maxPrinted || len(s.Authority) > maxPrinted:
		return ErrContent.At(0, "name")
	case s.Issued.IsZero():
		return ErrContent.At(0, "issued")
	}
	for _, c := range s.Codes {
		if c == "" || len(c) > maxCode {
			return ErrContent.At(0, "codes")
		}
	}
	for _, u := range s.SignInURLs {
		if u == "" || len(u) > maxURL {
			return ErrContent.At(0, "addresses")
		}
	}
	return nil
}

// Codes returns the sheet as a PDF of one A4 page: the codes in two columns, numbered, each with a box to tick, what they
// are for, and where they are entered. It returns ErrContent for a sheet that would be empty or overfull.
func Codes(s CodesSheet) ([]byte, error) { return s.pdf(true) }

func (s CodesSheet) pdf(compress bool) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	w := wordsOf(s.Lang)
	p := newPaper(w, w.codesTitle, s.Issued, compress)
	p.pdf.AddPage()
	p.title(w.codesTitle)
	p.strong(fmt.Sprintf(w.codesFor, s.Person, s.Authority))
	p.text(textWidth, fmt.Sprintf(w.issued, onTheWall(s.Issued).Format(w.date)))
	for _, text := range []string{w.codesWhat, w.codesKeep, w.codesOnce} {
		p.gap(2)
		p.text(textWidth, text)
	}
	p.gap(5)
	p.codes(s.Codes)
	p.gap(4)
	p.addresses(s.SignInURLs)
	p.gap(4)
	p.text(textWidth, w.codesLost)
	return p.bytes()
}

// codes writes two columns, down the left one first. Each code stands in two lines, because one would be too wide for
// letters that can be read without glasses.
func (p *paper) codes(codes []string) {
	const box, number, line = 5.0, 10.0, 7.0
	rows := (len(codes) + 1) / 2
	height := 2*line + 3
	if len(codes) > 10 {
		height = 2 * line * 0.8
	}
	top := p.y()
	for i, code := range codes {
		x := margin + float64(i/rows)*textWidth/2
		y := top + float64(i%rows)*height
		p.pdf.SetLineWidth(0.4)
		p.pdf.Rect(x, y+1, box, box, "D")
		p.pdf.SetFont("sans", "B", sizeText+1)
		p.goTo(x+box, y)
		p.pdf.CellFormat(number, line, fmt.Sprintf("%d", i+1), "", 0, "R", false, 0, "")
		p.code(x+box+number+2, y, line*height/(2*line+3), code)
	}
	p.goTo(margin, top+float64(rows)*height)
}

func (p *paper) code(x, y, line float64, code string) {
	p.pdf.SetFont("mono", "", sizeCode)
	first, second := halves(code)
	p.goTo(x, y)
	p.pdf.CellFormat(textWidth/2, line, printable(first), "", 0, "L", false, 0, "")
	p.goTo(x, y+line)
	p.pdf.CellFormat(textWidth/2, line, printable(second), "", 0, "L", false, 0, "")
}

// halves cuts a code between its groups; the hyphen stays at the end of the first half to show that it goes on.
func halves(code string) (string, string) {
	groups := strings.SplitAfter(code, "-")
	half := (len(groups) + 1) / 2
	return strings.Join(groups[:half], ""), strings.Join(groups[half:], "")
}

// addresses writes where codes are entered, and the first address as a QR code beside them.
func (p *paper) addresses(urls []string) {
	const side, between = 36.0, 6.0
	top, width := p.y(), textWidth-side-between
	p.text(width, p.w.where)
	p.gap(1)
	for _, u := range urls {
		p.typed(width, sizeText, u)
		p.gap(0.5)
	}
	bottom := p.y()
	p.goTo(margin+width+between, top)
	p.pdf.SetFont("sans", "", sizeText-1)
	p.pdf.MultiCell(side+4, 4.6, p.w.scan, "", "L", false)
	p.qr(margin+width+between, p.y(), side, urls[0])
	p.goTo(margin, max(bottom, p.y()+side))
}
