// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"codeberg.org/holdfast/holdfast/fault"
)

// Bounds of an imported file.
const (
	MaxFileBytes = 256 << 20
	MaxPeople    = 200_000
	maxLineBytes = 64 << 10
	peekBytes    = 64 << 10
)

// The refusals of a whole file.
var (
	ErrFileTooLarge = fault.New(fault.TooLarge, "directory.file_too_large", "the file is larger than 256 MiB",
		"export only people and groups, without pictures and certificates, or split the file by units")
	ErrTooManyPeople = fault.New(fault.TooLarge, "directory.too_many", "the file holds more than 200,000 entries",
		"split the file by units and import the parts one after the other without pruning")
	ErrFileKind = fault.New(fault.Invalid, "directory.file_kind", "this is neither LDIF nor CSV text",
		"in the spreadsheet choose 'save as', 'CSV UTF-8'; from a directory export LDIF with ldifde or ldapsearch -LLL")
	ErrEncoding = fault.New(fault.Invalid, "directory.encoding", "this line is not valid UTF-8 while the rest of the file is",
		"save the whole file as UTF-8 and import it again")
)

// line is one line of a file, without its ending. A line longer than maxLineBytes comes cut, and says so.
type line struct {
	no   int
	text string
	cut  bool
	// bad is set if the line is not valid in the file's encoding.
	bad bool
}

type charset int

const (
	undecided charset = iota
	utf8Text
	windows1252
)

// lineReader hands out the lines of a file one by one: any line ending, with or without a byte order mark, in UTF-8 or
// Windows-1252, never keeping more than one line in memory. It is not safe for concurrent use.
type lineReader struct {
	r       *bufio.Reader
	no      int
	read    int64
	limit   int64
	charset charset
	pushed  []line
	buf     []byte
}

// newLineReader looks at the beginning of r. It returns ErrFileKind for what is no text.
func newLineReader(r io.Reader) (*lineReader, error) {
	l := &lineReader{r: bufio.NewReaderSize(r, peekBytes), limit: MaxFileBytes}
	head, err := l.r.Peek(peekBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		_, _ = l.r.Discard(3)
		l.charset = utf8Text
		return l, nil
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0")):
		return nil, ErrFileKind.Because("it is a spreadsheet workbook")
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return nil, ErrFileKind.Because("it is text in UTF-16")
	case bytes.IndexByte(head, 0) >= 0:
		return nil, ErrFileKind.Because("it holds zero bytes")
	}
	l.charset = guessCharset(head)
	return l, nil
}

// guessCharset decides by what is more frequent in the sample: well-formed multi-byte characters, or bytes that cannot
// be UTF-8. German text in Windows-1252 practically never looks like UTF-8 by accident.
func guessCharset(sample []byte) charset {
	good, bad := 0, 0
	for len(sample) > 0 {
		if sample[0] < utf8.RuneSelf {
			sample = sample[1:]
			continue
		}
		if !utf8.FullRune(sample) {
			break // the sample ends in the middle of a character
		}
		r, n := utf8.DecodeRune(sample)
		if r == utf8.RuneError && n == 1 {
			bad++
		} else {
			good++
		}
		sample = sample[n:]
	}
	switch {
	case good == 0 && bad == 0:
		return undecided
	case bad > good:
		return windows1252
	}
	return utf8Text
}

// next returns the next line, io.EOF after the last one, or ErrFileTooLarge.
func (l *lineReader) next() (line, error) {
	if n := len(l.pushed); n > 0 {
		ln := l.pushed[n-1]
		l.pushed = l.pushed[:n-1]
		return ln, nil
	}
	cut, err := l.fill()
	if err != nil {
		return line{}, err
	}
	l.no++
	ln := line{no: l.no, cut: cut}
	ln.text, ln.bad = l.decode(bytes.TrimSuffix(l.buf, []byte("\r")), cut)
	return ln, nil
}

// fill reads up to the next line feed into buf and drops what exceeds the bound.
func (l *lineReader) fill() (cut bool, err error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if l.read += int64(len(part)); l.read > l.limit {
			return false, ErrFileTooLarge
		}
		if room := maxLineBytes - len(l.buf); len(part) > room+1 {
			part, cut = part[:room], true
		}
		l.buf = append(l.buf, part...)
		switch {
		case err == nil:
			l.buf = bytes.TrimSuffix(l.buf, []byte("\n"))
			return cut, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(l.buf) > 0:
			return cut, nil
		default:
			return false, err
		}
	}
}

func (l *lineReader) decode(b []byte, cut bool) (text string, bad bool) {
	ascii := true
	for _, c := range b {
		if c >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		return string(b), false
	}
	if l.charset == undecided {
		l.charset = guessCharset(b)
	}
	if l.charset == windows1252 {
		s, err := charmap.Windows1252.NewDecoder().Bytes(b)
		return string(s), err != nil
	}
	return string(b), !cut && !utf8.Valid(b)
}

// push gives a line back, to be the next one again.
func (l *lineReader) push(ln line) { l.pushed = append(l.pushed, ln) }
