// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"bytes"
	"encoding/json"
	"math"

	"codeberg.org/holdfast/holdfast/event"
)

// decodeEvent reads the stored form of an event. Nearly all events are in exactly the form in which EncodeEvent writes
// them, and that form is read here without encoding/json, which goes over the data two times and is most of the time that
// folding and catching up take. Anything else (a newer version's field, an escaped character) is left to encoding/json,
// so the result is the same (FuzzDecodeEvent). With trusted the data was found to be valid JSON before, and is not looked
// at again. The event's Data lies in b.
func decodeEvent(b []byte, trusted bool, e *event.Event) error {
	if decodeUsual(b, trusted, e) {
		return nil
	}
	*e = event.Event{}
	return json.Unmarshal(b, e)
}

func decodeUsual(b []byte, trusted bool, e *event.Event) bool {
	r := reader{rest: b, ok: true}
	e.ID = event.ID(r.text(`{"id":"`))
	e.Subject = event.Subject(r.text(`,"subject":"`))
	e.Kind = event.Kind(r.text(`,"kind":"`))
	e.Stamp = event.Stamp(r.number(`,"stamp":`, math.MaxUint64))
	e.Wall = int64(r.number(`,"wall":`, math.MaxInt64))
	if r.next(`,"actor":"`) {
		e.Actor = r.text(`,"actor":"`)
	}
	if r.next(`,"grant":"`) {
		e.Grant = r.text(`,"grant":"`)
	}
	if r.next(`,"mode":"`) {
		e.Mode = event.Mode(r.text(`,"mode":"`))
	}
	if r.next(`,"keys":["`) {
		e.Keys = append(e.Keys, event.KeyID(r.text(`,"keys":["`)))
		for r.next(`,"`) {
			e.Keys = append(e.Keys, event.KeyID(r.text(`,"`)))
		}
		r.literal(`]`)
	}
	if r.next(`,"data":`) {
		r.literal(`,"data":`)
		e.Data = r.value(trusted)
	}
	r.literal(`}`)
	return r.ok && len(r.rest) == 0
}

// decodeHeader reads a page's header in the same way.
func decodeHeader(b []byte, h *Header) error {
	if decodeUsualHeader(b, h) {
		return nil
	}
	*h = Header{}
	return json.Unmarshal(b, h)
}

func decodeUsualHeader(b []byte, h *Header) bool {
	r := reader{rest: b, ok: true}
	h.Log.Authority = event.AuthorityID(r.text(`{"log":{"authority":"`))
	h.Log.Class = event.Class(r.text(`,"class":"`))
	h.Log.Site = event.SiteID(r.text(`,"site":"`))
	h.Log.Incarnation = r.text(`,"incarnation":"`)
	h.Number = r.number(`},"number":`, math.MaxUint64)
	prev := r.text(`,"prev":"`)
	h.Wall = int64(r.number(`,"wall":`, math.MaxInt64))
	r.literal(`}`)
	return r.ok && len(r.rest) == 0 && h.Prev.UnmarshalText([]byte(prev)) == nil
}

// reader goes over the usual form. After the first surprise ok is false, and nothing that it returns means anything.
type reader struct {
	rest []byte
	ok   bool
}

func (r *reader) next(prefix string) bool {
	return len(r.rest) >= len(prefix) && string(r.rest[:len(prefix)]) == prefix
}

func (r *reader) literal(s string) {
	if !r.next(s) {
		r.ok = false
		return
	}
	r.rest = r.rest[len(s):]
}

// text reads a string of plain characters, with what comes before it and its closing quote.
func (r *reader) text(before string) string {
	r.literal(before)
	for i, c := range r.rest {
		if c == '"' {
			s := string(r.rest[:i])
			r.rest = r.rest[i+1:]
			return s
		}
		if c < 0x20 || c >= 0x7f || c == '\\' {
			break
		}
	}
	r.ok = false
	return ""
}

// number reads a natural number without leading zeros.
func (r *reader) number(before string, most uint64) uint64 {
	r.literal(before)
	n, i := uint64(0), 0
	for ; i < len(r.rest) && r.rest[i] >= '0' && r.rest[i] <= '9'; i++ {
		d := uint64(r.rest[i] - '0')
		if n > (most-d)/10 {
			r.ok = false
			return 0
		}
		n = n*10 + d
	}
	if i == 0 || i > 1 && r.rest[0] == '0' {
		r.ok = false
		return 0
	}
	r.rest = r.rest[i:]
	return n
}

// value reads a JSON value and checks it, unless it is trusted.
func (r *reader) value(trusted bool) json.RawMessage {
	n := endOfValue(r.rest)
	v := r.rest[:n:n]
	if n == 0 || !trusted && !json.Valid(v) {
		r.ok = false
		return nil
	}
	r.rest = r.rest[n:]
	return json.RawMessage(v)
}

// endOfValue returns how long the JSON value at the start of b is, 0 if it cannot tell. Of valid JSON it is right; other
// bytes are for the caller to find out.
func endOfValue(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := endOfString(b[i+1:])
			if n == 0 {
				return 0
			}
			i += n
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return 0
			}
			continue
		default:
			for i+1 < len(b) && isScalar(b[i+1]) {
				i++
			}
		}
		switch {
		case depth == 0:
			return i + 1
		case depth < 0:
			return 0 // a bracket closes that was never opened
		}
	}
	return 0
}

func isScalar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '.' || c == '+' || c == '-' || c == 'E'
}

// endOfString returns how long the string is whose first quote comes before b, with its last quote; 0 if it has none.
func endOfString(b []byte) int {
	for from := 0; ; {
		q := bytes.IndexByte(b[from:], '"')
		if q < 0 {
			return 0
		}
		q += from
		slashes := 0
		for slashes < q && b[q-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return q + 1
		}
		from = q + 1
	}
}
