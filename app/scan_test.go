// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// scanner looks for many texts at once in files, in the forms in which a text may stand in a file.
type scanner struct {
	byStart map[[5]byte][]needle
	needles int
}

type needle struct {
	form string
	// whole needles count only where no letter of base64 stands beside them: short words occur in sealed bytes by chance.
	whole bool
	bytes []byte
	text  string
}

// chanceless is from which length on a text does not occur by chance in some megabytes of base64.
const chanceless = 9

func newScanner(texts map[string]bool) *scanner {
	s := &scanner{byStart: make(map[[5]byte][]needle)}
	for text := range texts {
		s.add(text, "UTF-8", []byte(text), len(text) < chanceless)
		if lower := strings.ToLower(text); lower != text {
			s.add(text, "lower case", []byte(lower), len(text) < chanceless)
		}
		if latin, ok := latin1(text); ok {
			s.add(text, "Latin-1", latin, len(text) < chanceless)
		}
		units := utf16.Encode([]rune(text))
		little, big := make([]byte, 0, 2*len(units)), make([]byte, 0, 2*len(units))
		for _, u := range units {
			little, big = binary.LittleEndian.AppendUint16(little, u), binary.BigEndian.AppendUint16(big, u)
		}
		s.add(text, "UTF-16LE", little, false)
		s.add(text, "UTF-16BE", big, false)
		for shift := range 3 {
			for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				if b := inBase64(e, text, shift); len(b) >= chanceless {
					s.add(text, "base64", b, false)
				}
			}
		}
	}
	return s
}

// inBase64 returns the letters that stand in the base64 of any text that has this one at the given place modulo 3.
func inBase64(e *base64.Encoding, text string, shift int) []byte {
	b := []byte(e.EncodeToString([]byte(strings.Repeat("x", shift) + text)))
	first, last := (shift*8+5)/6, (shift+len(text))*8/6
	return b[first:last]
}

func latin1(text string) ([]byte, bool) {
	var b []byte
	for _, r := range text {
		if r > 0xff {
			return nil, false
		}
		b = append(b, byte(r))
	}
	return b, len(b) != len(text) // else it is ASCII
}

func (s *scanner) add(text, form string, b []byte, whole bool) {
	if len(b) >= 5 {
		start := [5]byte(b)
		s.byStart[start] = append(s.byStart[start], needle{form, whole, b, text})
		s.needles++
	}
}

// find returns the texts that stand in b, each with the form in which it was found.
func (s *scanner) find(b []byte) map[string]string {
	found := make(map[string]string)
	for i := 0; i+5 <= len(b); i++ {
		for _, n := range s.byStart[[5]byte(b[i:i+5])] {
			end := i + len(n.bytes)
			if !bytes.HasPrefix(b[i:], n.bytes) || n.whole && (i > 0 && isBase64(b[i-1]) || end < len(b) && isBase64(b[end])) {
				continue
			}
			found[n.text] = n.form
		}
	}
	return found
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
}

// filesBelow returns the contents of all files below a path, which may be a file.
func filesBelow(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the site is at work
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files[p] = b
		// A name in a path would be as bad as one inside.
		files[p] = append(files[p], p...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTheScannerFindsATextInEveryForm(t *testing.T) {
	text := "Müller-Lüdenscheidt"
	s := newScanner(map[string]bool{text: true, "Klein": true})
	latin, _ := latin1(text)
	hay := map[string][]byte{
		"UTF-8": []byte(`{"name":"` + text + `"}`), "Latin-1": latin, "lower case": []byte(strings.ToLower(text)),
		"UTF-16LE": []byte("\x01M\x00\xfc\x00l\x00l\x00e\x00r\x00-\x00L\x00\xfc\x00d\x00e\x00n\x00s\x00c\x00h\x00e\x00i\x00d\x00t\x00"),
	}
	for form, b := range hay {
		if s.find(b)[text] != form {
			t.Errorf("%s is not found", form)
		}
	}
	for shift := range 7 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("{", shift) + text + strings.Repeat("}", shift)))
		if s.find([]byte(b))[text] != "base64" {
			t.Errorf("base64 behind %d bytes is not found", shift)
		}
	}
	if s.find([]byte(`["Klein"]`))["Klein"] == "" || s.find([]byte("AbKleinQ"))["Klein"] != "" {
		t.Error("short words are not told from chance")
	}
}
