// SPDX-License-Identifier: EUPL-1.2

package sheet

import (
	"fmt"
	"html"
	"strings"

	"rsc.io/qr"
)

const (
	// maxQR bounds the text, in bytes: more makes modules too small to be read from paper.
	maxQR = 1000
	// quietZone is the white border that readers need, in modules (ISO/IEC 18004, 9.1).
	quietZone = 4
)

// run is a black rectangle of modules: from (x, y), w wide and one high.
type run struct{ x, y, w int }

// modules returns the size of the text's code, without quiet zone, and its black runs row by row.
func modules(text string) (size int, runs []run, err error) {
	if text == "" || len(text) > maxQR {
		return 0, nil, ErrQR
	}
	// Level M survives a fold or a stain of 15 %, at sizes that a phone reads from paper.
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return 0, nil, ErrQR.With(err)
	}
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			w := 0
			for code.Black(x+w, y) {
				w++
			}
			if w > 0 {
				runs = append(runs, run{x, y, w})
				x += w
			}
		}
	}
	return code.Size, runs, nil
}

// QR returns a QR code of the text as an inline SVG of class "qr": one black path on white, with the quiet zone that
// readers need. The text is nowhere in the markup, so any text is safe in a template. It is hidden from screen readers:
// give it to them as a link beside it. It returns ErrQR for a text that is empty or over 1,000 bytes.
func QR(text string) (string, error) { return QRTitled(text, "") }

// QRTitled is QR with a title, escaped, that screen readers speak.
func QRTitled(text, title string) (string, error) {
	size, runs, err := modules(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	side := size + 2*quietZone
	fmt.Fprintf(&b, `<svg class="qr" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges" `, side, side)
	if title == "" {
		b.WriteString(`aria-hidden="true">`)
	} else {
		fmt.Fprintf(&b, `role="img"><title>%s</title>`, html.EscapeString(title))
	}
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="`, side, side)
	for _, r := range runs {
		fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", r.x+quietZone, r.y+quietZone, r.w, r.w)
	}
	b.WriteString(`"/></svg>`)
	return b.String(), nil
}
