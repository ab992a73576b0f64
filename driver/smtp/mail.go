// SPDX-License-Identifier: EUPL-1.2

package smtp

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/event"
)

// messageID returns the Message-ID of every mail with this idempotency key, without the angle brackets.
func messageID(key, domain string) string {
	h := sha256.Sum256([]byte("holdfast mail v1\x00" + key))
	return hex.EncodeToString(h[:16]) + "@" + domain
}

// compose returns the mail as it goes over the wire (RFC 5322), with CRLF line ends.
func compose(from *mail.Address, domain string, m alarm.Message, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	field := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	field("From", from.String())
	field("To", "<"+m.To+">")
	field("Subject", encoded(m.Subject))
	field("Date", now.Format(time.RFC1123Z))
	field("Message-ID", "<"+messageID(m.IdempotencyKey, domain)+">")
	field("X-Holdfast-Key", m.IdempotencyKey) // lets a relay, and whoever counts, recognise a second try
	field("Auto-Submitted", "auto-generated") // RFC 3834: no holiday replies, please
	if m.Mode == event.Actual {
		field("Importance", "high")
	}
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	if _, err := q.Write([]byte(m.Text)); err != nil {
		return nil, err
	}
	if err := q.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// encoded returns a text as it may stand in a field: on lines of at most 76 characters (RFC 2047, 2), without line ends of
// its own.
func encoded(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if ascii(s) && len(s) <= wordBytes && !strings.Contains(s, "=?") {
		return s
	}
	var words []string
	begin, at := 0, 0
	for next, r := range s {
		if at = next + utf8.RuneLen(r); at-begin > wordBytes {
			words = append(words, s[begin:next])
			begin = next
		}
	}
	words = append(words, s[begin:])
	for i, w := range words {
		words[i] = "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(w)) + "?="
	}
	return strings.Join(words, "\r\n ")
}

// wordBytes in base64 and its frame are 64 characters, which leaves room for the field's name.
const wordBytes = 39
