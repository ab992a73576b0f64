// SPDX-License-Identifier: EUPL-1.2

package sheet

import (
	"bytes"
	_ "embed"
	"fmt"
	"time"

	"codeberg.org/go-pdf/fpdf"
)

//go:embed font/FiraSans-Regular.ttf
var regular []byte

//go:embed font/FiraSans-SemiBold.ttf
var semiBold []byte

//go:embed font/FiraMono-Medium.ttf
var mono []byte

// Measures of an A4 page, in millimetres (ISO 216); sizes of letters are in points.
const (
	pageWidth = 210.0
	margin    = 20.0
	textWidth = pageWidth - 2*margin

	sizeTitle = 20.0
	sizeText  = 11.0
	sizeCode  = 16.0 // 14 at least, so that it is read by candlelight
	lineText  = 5.2
)

// paper is a PDF being written, black on white. Errors stay inside until bytes returns them.
type paper struct {
	pdf *fpdf.Fpdf
	w   words
}

// newPaper begins a file. Its dates are the given one, so that the same content gives the same bytes.
func newPaper(w words, title string, date time.Time, compress bool) *paper {
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.SetCompression(compress)
	pdf.SetCatalogSort(true)
	pdf.SetCreationDate(date.UTC())
	pdf.SetModificationDate(date.UTC())
	pdf.SetTitle(title, true)
	pdf.SetCreator("Holdfast", true)
	pdf.SetProducer("Holdfast", true)
	pdf.SetLang(w.lang)
	pdf.SetMargins(margin, margin, margin)
	pdf.SetAutoPageBreak(false, 0)
	pdf.SetTextColor(0, 0, 0)
	pdf.SetDrawColor(0, 0, 0)
	pdf.SetFillColor(0, 0, 0)
	// The library writes into the bytes it is given while it cuts a font to the letters in use.
	pdf.AddUTF8FontFromBytes("sans", "", bytes.Clone(regular))
	pdf.AddUTF8FontFromBytes("sans", "B", bytes.Clone(semiBold))
	pdf.AddUTF8FontFromBytes("mono", "", bytes.Clone(mono))
	return &paper{pdf: pdf, w: w}
}

// bytes returns the finished file.
func (p *paper) bytes() ([]byte, error) {
	var b bytes.Buffer
	if err := p.pdf.Output(&b); err != nil {
		return nil, fmt.Errorf("write a PDF: %w", err)
	}
	return b.Bytes(), nil
}

// y returns how far down the page we are.
func (p *paper) y() float64 { return p.pdf.GetY() }

func (p *paper) goTo(x, y float64) { p.pdf.SetXY(x, y) }

func (p *paper) gap(h float64) { p.pdf.SetXY(margin, p.y()+h) }

func (p *paper) title(text string) {
	p.pdf.SetFont("sans", "B", sizeTitle)
	p.pdf.MultiCell(textWidth, 9, printable(text), "", "L", false)
}

// strong writes a line that stands out.
func (p *paper) strong(text string) {
	p.pdf.SetFont("sans", "B", sizeText+1)
	p.pdf.MultiCell(textWidth, 6, printable(text), "", "L", false)
}

// text writes a paragraph of the given width at the current place.
func (p *paper) text(width float64, text string) {
	p.pdf.SetFont("sans", "", sizeText)
	p.pdf.MultiCell(width, lineText, printable(text), "", "L", false)
}

// typed writes what somebody has to type, in letters of one width, broken where it must be.
func (p *paper) typed(width, size float64, text string) {
	p.pdf.SetFont("mono", "", size)
	p.pdf.MultiCell(width, size*0.45, printable(text), "", "L", false)
}

// qr draws the text's code with its quiet zone into a square, as one filled path: separate rectangles would show seams. It
// leaves the current place as it was.
func (p *paper) qr(x, y, side float64, text string) {
	size, runs, err := modules(text)
	if err != nil {
		p.pdf.SetError(err)
		return
	}
	backX, backY := p.pdf.GetXY()
	defer p.goTo(backX, backY)
	m := side / float64(size+2*quietZone)
	for _, r := range runs {
		left, top := x+float64(r.x+quietZone)*m, y+float64(r.y+quietZone)*m
		p.pdf.MoveTo(left, top)
		p.pdf.LineTo(left+float64(r.w)*m, top)
		p.pdf.LineTo(left+float64(r.w)*m, top+m)
		p.pdf.LineTo(left, top+m)
		p.pdf.ClosePath()
	}
	p.pdf.DrawPath("f")
}
