// SPDX-License-Identifier: EUPL-1.2

package sheet

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tenCodes() []string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var codes []string
	for i := range 10 {
		var groups []string
		for g := range 6 {
			var b strings.Builder
			for c := range 4 {
				b.WriteByte(alphabet[(i*7+g*11+c*5)%32])
			}
			groups = append(groups, b.String())
		}
		codes = append(codes, strings.Join(groups, "-"))
	}
	return codes
}

func sample(lang string) CodesSheet {
	return CodesSheet{Lang: lang, Person: "Dr. Änne Weiß", Authority: "Landkreis Nordtal", Codes: tenCodes(), Issued: noon,
		SignInURLs: []string{"https://nordtal.holdfast.example/code", "https://holdfast-nordtal.example/code", "https://192.0.2.17:8443/code"}}
}

func letters() []InvitationLetter {
	l := InvitationLetter{Lang: "de", Person: "Łukasz Šťastný", Authority: "Landkreis Nordtal", Expires: noon.AddDate(0, 0, 14),
		URL: "https://nordtal.holdfast.example/enrol/7KQ2M9XD4TENABCD7KQ2M9XD4TEN"}
	e := l
	e.Lang, e.Person = "en", "Jane Doe"
	return []InvitationLetter{l, e}
}

var (
	shown   = regexp.MustCompile(`(?s)\(((?:[^\\()]|\\.)*)\) ?Tj`)
	escaped = regexp.MustCompile(`(?s)\\(.)`)
)

// drawn returns the pieces of text of an uncompressed file, in the order in which they are drawn.
func drawn(t *testing.T, pdf []byte) []string {
	t.Helper()
	var list []string
	for _, m := range shown.FindAllSubmatch(pdf, -1) {
		raw := escaped.ReplaceAllFunc(m[1], func(b []byte) []byte {
			if b[1] == 'r' {
				return []byte{'\r'}
			}
			return b[1:]
		})
		if len(raw)%2 != 0 {
			t.Fatalf("%q is not UTF-16", raw)
		}
		var units []uint16
		for i := 0; i < len(raw); i += 2 {
			units = append(units, uint16(raw[i])<<8|uint16(raw[i+1]))
		}
		list = append(list, string(utf16.Decode(units)))
	}
	return list
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		ok(t, os.MkdirAll("testdata", 0o755))
		ok(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	ok(t, err)
	if got != string(want) {
		t.Errorf("the text of %s has changed; look at it and run with -update:\n%s", name, got)
	}
}

func TestTheSheetHasEveryCodeNumberAndAddress(t *testing.T) {
	for _, lang := range []string{"de", "en"} {
		t.Run(lang, func(t *testing.T) {
			s := sample(lang)
			pdf, err := s.pdf(false)
			ok(t, err)
			lines := drawn(t, pdf)
			text := strings.Join(lines, "\n")
			for i, code := range s.Codes {
				first, second := halves(code)
				if first+second != code {
					t.Fatalf("%q and %q are not %q", first, second, code)
				}
				if want := fmt.Sprintf("%d\n%s\n%s", i+1, first, second); !strings.Contains(text, want) {
					t.Errorf("code %d is not on the sheet, with its number before it", i+1)
				}
			}
			for _, u := range s.SignInURLs {
				if !strings.Contains(text, u) {
					t.Errorf("%s is not on the sheet", u)
				}
			}
			if strings.Contains(text, "?"+"?") || !strings.Contains(text, "Dr. Änne Weiß") {
				t.Error("the name is not on the sheet")
			}
			if n := bytes.Count(pdf, []byte("/Type /Page\n")); n != 1 {
				t.Errorf("%d pages, want one", n)
			}
			golden(t, "codes."+lang+".txt", text+"\n")
		})
	}
}

func TestALetterLeadsThroughThreeStepsAndSaysWhenItEnds(t *testing.T) {
	pdf, err := invitations(letters(), false)
	ok(t, err)
	text := strings.Join(drawn(t, pdf), "\n")
	for _, want := range []string{"Łukasz Šťastný", "Jane Doe", "06.12.2026, 13:00 Uhr (CET)", "6 December 2026, 13:00 (CET)", "1.\n", "2.\n", "3.\n", letters()[0].URL} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the letters", want)
		}
	}
	if n := bytes.Count(pdf, []byte("/Type /Page\n")); n != 2 {
		t.Errorf("%d pages, want two", n)
	}
	golden(t, "letters.txt", text+"\n")
}

// A copier knows no grey: everything is drawn in black, and nothing else is asked for.
func TestEverythingIsBlackOnWhite(t *testing.T) {
	a, err := sample("de").pdf(false)
	ok(t, err)
	b, err := invitations(letters(), false)
	ok(t, err)
	colours := regexp.MustCompile(`(?m)(?:^|\s)([\d.]+(?: [\d.]+){0,3}) (?:rg|RG|g|G|k|K)\s`)
	for _, m := range colours.FindAllSubmatch(append(a, b...), -1) {
		for _, part := range strings.Fields(string(m[1])) {
			if strings.Trim(part, "0.") != "" {
				t.Errorf("a colour that is not black: %s", m[0])
			}
		}
	}
	sizes := regexp.MustCompile(`/F\S+ ([\d.]+) Tf`)
	if m := sizes.FindAllSubmatch(a, -1); len(m) == 0 {
		t.Error("the file names no sizes of letters: the test looks at the wrong thing")
	}
	if sizeCode < 14 {
		t.Errorf("codes are %v points high, want 14", sizeCode)
	}
}

func TestTheSameContentGivesTheSameBytes(t *testing.T) {
	first, err := Codes(sample("de"))
	ok(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			again, err := Codes(sample("de"))
			if err != nil || !bytes.Equal(first, again) {
				t.Errorf("two sheets with the same content differ (%v)", err)
			}
		})
	}
	wg.Wait()
	if len(first) > 100_000 {
		t.Errorf("a sheet has %d bytes, want 100,000 at most", len(first))
	}
	if bytes.Contains(first, []byte(time.Now().UTC().Format("20060102"))) && time.Now().UTC().Format("20060102") != noon.Format("20060102") {
		t.Error("the sheet tells when it was made")
	}
}

func TestAsManyAsFitAndNoMore(t *testing.T) {
	s := sample("de")
	s.Codes = append(s.Codes, s.Codes...)
	pdf, err := s.pdf(false)
	ok(t, err)
	if n := bytes.Count(pdf, []byte("/Type /Page\n")); n != 1 {
		t.Errorf("%d pages, want one", n)
	}
	for name, change := range map[string]func(*CodesSheet){
		"no codes":       func(s *CodesSheet) { s.Codes = nil },
		"21 codes":       func(s *CodesSheet) { s.Codes = append(s.Codes, "X") },
		"an empty code":  func(s *CodesSheet) { s.Codes[0] = "" },
		"no address":     func(s *CodesSheet) { s.SignInURLs = nil },
		"a long address": func(s *CodesSheet) { s.SignInURLs[0] = strings.Repeat("x", 201) },
		"a long name":    func(s *CodesSheet) { s.Person = strings.Repeat("x", 201) },
		"no date":        func(s *CodesSheet) { s.Issued = time.Time{} },
	} {
		s := sample("de")
		s.Codes = append(s.Codes, tenCodes()...)
		change(&s)
		if _, err := Codes(s); !errors.Is(err, ErrContent) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Invitations(make([]InvitationLetter, MaxLetters+1)); !errors.Is(err, ErrContent) {
		t.Errorf("too many letters: got %v", err)
	}
	if _, err := Invitations([]InvitationLetter{{URL: "https://x.example", Person: "A"}}); !errors.Is(err, ErrContent) {
		t.Errorf("a letter without an end: got %v", err)
	}
}

func TestLettersThatTheFontsLackBecomeQuestionMarks(t *testing.T) {
	if got := printable("Ünal Żółć\n„Haus“ 5 € – 本\u00ad\u2011x"); got != "Ünal Żółć „Haus“ 5 € – ?-x" {
		t.Errorf("got %q", got)
	}
}

func TestAQRCodeIsOnePathOnWhite(t *testing.T) {
	const link = `https://nordtal.example/enrol/"><script>`
	svg, err := QRTitled(link, `A & "B" <C>`)
	ok(t, err)
	if strings.Contains(svg, "nordtal") || strings.Contains(svg, "script") {
		t.Error("the text is in the markup")
	}
	if n := strings.Count(svg, "<path "); n != 1 {
		t.Errorf("%d paths, want one", n)
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	var title string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		ok(t, err)
		if text, is := token.(xml.CharData); is {
			title += string(text)
		}
	}
	if title != `A & "B" <C>` {
		t.Errorf("the title is %q", title)
	}
	plain, err := QR(link)
	ok(t, err)
	if !strings.Contains(plain, `aria-hidden="true"`) || strings.Contains(plain, "style=") {
		t.Error("a code without a title is read aloud, or needs a style that the portal's policy forbids")
	}
}

// The runs of the path are the modules of the code, each once.
func TestTheRunsAreTheModules(t *testing.T) {
	size, runs, err := modules("https://nordtal.example/code")
	ok(t, err)
	black := make(map[[2]int]bool)
	for _, r := range runs {
		for x := r.x; x < r.x+r.w; x++ {
			if black[[2]int{x, r.y}] {
				t.Fatal("two runs overlap")
			}
			black[[2]int{x, r.y}] = true
		}
	}
	// The finder patterns sit in three corners (ISO/IEC 18004, 6.3.3): a ring of 7, then white, then a block of 3.
	for _, corner := range [][2]int{{0, 0}, {size - 7, 0}, {0, size - 7}} {
		for i := range 7 {
			if !black[[2]int{corner[0] + i, corner[1]}] || !black[[2]int{corner[0], corner[1] + i}] || !black[[2]int{corner[0] + 3, corner[1] + 3}] {
				t.Fatalf("no finder pattern at %v", corner)
			}
		}
		if black[[2]int{corner[0] + 1, corner[1] + 1}] {
			t.Fatalf("no white ring at %v", corner)
		}
	}
}

func FuzzQR(f *testing.F) {
	f.Add("https://nordtal.example/enrol/7KQ2")
	f.Add("")
	f.Add("ä€\x00\xff")
	f.Fuzz(func(t *testing.T, text string) {
		svg, err := QRTitled(text, text)
		if (err == nil) != (text != "" && len(text) <= maxQR) {
			t.Fatalf("%d bytes: %v", len(text), err)
		}
		if err == nil && (!strings.HasPrefix(svg, "<svg ") || strings.Count(svg, "<") > 7) {
			t.Error("the text has become markup")
		}
	})
}

func BenchmarkCodes(b *testing.B) {
	for b.Loop() {
		if _, err := Codes(sample("de")); err != nil {
			b.Fatal(err)
		}
	}
}
