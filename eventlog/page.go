// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Bounds of a page. JetStream's message limit is 1 MiB; answers between sites stay under 768 KiB.
const (
	MaxPageBytes  = 512 << 10
	MaxPageEvents = 4096
)

// MaxStamp bounds the stamps of events (it is about the year 4200), so that there is always a stamp after the last one
// and every stamp fits into a signed integer of a database.
const MaxStamp event.Stamp = 1 << 62

// maxWall is the wall clock of MaxStamp, in milliseconds. Beyond the year 9999 a time has no JSON any more, and one such
// event would spoil every list that shows it.
const maxWall = int64(MaxStamp >> 16)

const (
	pageMagic      = "HFP1"
	maxHeaderBytes = 4 << 10
	signatureBytes = 64
)

// LogID names one log. Its text form is "authority/class/site/incarnation".
type LogID struct {
	Authority   event.AuthorityID `json:"authority"`
	Class       event.Class       `json:"class"`
	Site        event.SiteID      `json:"site"`
	Incarnation string            `json:"incarnation"`
}

// String returns the text form.
func (id LogID) String() string {
	return string(id.Authority) + "/" + string(id.Class) + "/" + string(id.Site) + "/" + id.Incarnation
}

// ParseLogID reads the text form. The error says which part is wrong.
func ParseLogID(s string) (LogID, error) {
	p := strings.Split(s, "/")
	if len(p) != 4 {
		return LogID{}, fmt.Errorf("%.120q is not a log's name (authority/class/site/incarnation)", s)
	}
	id := LogID{event.AuthorityID(p[0]), event.Class(p[1]), event.SiteID(p[2]), p[3]}
	return id, id.Check()
}

// Check returns an error that names the part of the id that is malformed.
func (id LogID) Check() error {
	if !id.Authority.Valid() {
		return fmt.Errorf("%.50q is not an authority's short name", string(id.Authority))
	}
	if !id.Class.Valid() {
		return fmt.Errorf("%.20q is not a class of logs", string(id.Class))
	}
	if !plainSite(id.Site) {
		return fmt.Errorf("%.60q is not a site's id (52 characters a-z and 2-7)", string(id.Site))
	}
	if !plainHex(id.Incarnation, 16) {
		return fmt.Errorf("%.40q is not an incarnation (16 hexadecimal characters)", id.Incarnation)
	}
	return nil
}

// plainSite reports whether the id is one that seal.SiteOf makes. It is stricter than seal.KeyOf: the last character holds
// one bit only, so that no other spelling of the same key passes.
func plainSite(s event.SiteID) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(s) == 52 && (s[51] == 'a' || s[51] == 'q')
}

// plainHex reports whether s is n lower-case hexadecimal digits.
func plainHex(s string, n int) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == n
}

// Branch names one branch of a log: Fork is "" for the branch a site saw first, else the first 16 hexadecimal characters
// of the hash of the first page that differs. Which branch is the first may differ from site to site; hashes do not.
type Branch struct {
	LogID
	Fork string `json:"fork,omitempty"`
}

// String returns the log's name, with "#fork" behind it for a second branch.
func (b Branch) String() string {
	if b.Fork == "" {
		return b.LogID.String()
	}
	return b.LogID.String() + "#" + b.Fork
}

// Hash is the SHA-256 of a whole page. The zero Hash is "before the first page".
type Hash [32]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes hexadecimal, so that hashes are readable in JSON.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads hexadecimal.
func (h *Hash) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(h) {
		return fmt.Errorf("a page hash has 64 hexadecimal characters, not %d", len(b))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// Head is how far a branch goes.
type Head struct {
	Branch Branch `json:"branch"`
	Page   uint64 `json:"page"`
	Hash   Hash   `json:"hash"`
}

// Position is where an event sits in its log. Pages count from 1, indexes from 0.
type Position struct {
	Page  uint64 `json:"page"`
	Index uint32 `json:"index"`
}

// Header is the part of a page that says whose it is and what it follows.
type Header struct {
	Log    LogID  `json:"log"`
	Number uint64 `json:"number"`
	Prev   Hash   `json:"prev"`
	// Wall is the origin's wall clock in milliseconds when the page was written.
	Wall int64 `json:"wall"`
	// Succeeds is set on the first page of a log that succeeds another one of the same origin: the predecessor's head.
	Succeeds *Head `json:"succeeds,omitempty"`
}

// Page is a verified or at least well-formed page. Treat it as read-only; it is then safe for concurrent use.
type Page struct {
	Header
	Events []event.Event
	Hash   Hash
	// StoredAt is when this site's store took the page; zero until it did. It is not part of the page's bytes.
	StoredAt time.Time
	raw      []byte
}

// Raw returns the page's bytes as stored and signed. Do not change them.
func (p *Page) Raw() []byte { return p.raw }

// Keys returns the ids of all keys that the page's events need, each once, in order of appearance.
func (p *Page) Keys() []event.KeyID {
	seen := make(map[event.KeyID]bool)
	var ids []event.KeyID
	for _, e := range p.Events {
		for _, k := range e.Keys {
			if !seen[k] {
				seen[k] = true
				ids = append(ids, k)
			}
		}
	}
	return ids
}

// PlaceOf returns where the i-th event sits: its own carried place, or this page's.
func (p *Page) PlaceOf(i int) event.Place {
	e := p.Events[i]
	if e.Place != nil {
		return *e.Place
	}
	return event.Place{
		Stamp: e.Stamp, Site: p.Log.Site, Incarnation: p.Log.Incarnation,
		Page: p.Number, Hash: p.Hash, Index: uint32(i),
	}
}

// The refusals of a page. Each says what to do.
var (
	ErrMalformed = fault.New(fault.Invalid, "page.malformed", "the page is damaged or not a page",
		"it is fetched again from another site; if that fails everywhere, compare the sites with 'holdfast status'")
	ErrSignature = fault.New(fault.Forbidden, "page.signature", "the page is not signed by the site whose log it is in",
		"find out who sent it: a site never passes on such a page unless it is broken or hostile")
)

// SignPage builds, encodes and signs a page. The caller has set every field of the header and of the events. It returns
// a fault of kind TooLarge if a bound is exceeded.
func SignPage(id *seal.Identity, h Header, events []event.Event) (*Page, error) {
	encoded := make([][]byte, len(events))
	for i := range events {
		b, err := EncodeEvent(events[i])
		if err != nil {
			return nil, err
		}
		encoded[i] = b
	}
	return signEncoded(id, h, events, encoded)
}

// EncodeEvent returns the stored form of an event, or a fault of kind TooLarge or Invalid.
func EncodeEvent(e event.Event) ([]byte, error) {
	if err := e.Check(); err != nil {
		return nil, fault.New(fault.Invalid, "event.invalid", err.Error(), "this is a mistake in the program that wrote it")
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s of %s: %w", e.Kind, e.Subject, err)
	}
	if len(b) > event.MaxEventBytes {
		return nil, eventTooLarge(e, len(b))
	}
	return b, nil
}

func eventTooLarge(e event.Event, size int) error {
	return fault.New(fault.TooLarge, "event.too_large",
		fmt.Sprintf("%s of %s has %d bytes, more than %d", e.Kind, e.Subject, size, event.MaxEventBytes),
		"shorten the text, or attach it as a file")
}

func signEncoded(id *seal.Identity, h Header, events []event.Event, encoded [][]byte) (*Page, error) {
	header, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode a page header: %w", err)
	}
	size := len(pageMagic) + 4 + len(header) + 4 + signatureBytes
	for _, e := range encoded {
		size += 4 + len(e)
	}
	if size > MaxPageBytes || len(encoded) > MaxPageEvents || len(encoded) == 0 {
		return nil, fault.New(fault.TooLarge, "page.too_large",
			fmt.Sprintf("a page of %d events and %d bytes is out of bounds (1 to %d events, %d bytes)",
				len(encoded), size, MaxPageEvents, MaxPageBytes), "write fewer events at once")
	}
	raw := make([]byte, 0, size)
	raw = append(raw, pageMagic...)
	raw = appendSized(raw, header)
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(encoded)))
	for _, e := range encoded {
		raw = appendSized(raw, e)
	}
	digest := sha256.Sum256(raw)
	raw = append(raw, id.Sign("page", digest[:])...)
	return &Page{Header: h, Events: events, Hash: sha256.Sum256(raw), raw: raw}, nil
}

func appendSized(b, part []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
}

// ParsePage reads a page's bytes, checks every bound and the origin's signature, and returns it. It keeps raw and reads
// nothing else; whether the page follows the one before and whether its origin may write is for the Log to check. It
// returns ErrMalformed or ErrSignature.
func ParsePage(raw []byte) (*Page, error) {
	p, err := decodePage(raw, false)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(raw[:len(raw)-signatureBytes])
	if !seal.Verify(p.Log.Site, "page", digest[:], raw[len(raw)-signatureBytes:]) {
		return nil, ErrSignature.Because("page %d of %s", p.Number, p.Log)
	}
	return p, nil
}

// DecodePage is ParsePage without checking the signature and whether the events' data is valid JSON: for bytes from our
// own store that were checked on the way in and whose checksum the store has checked on the way out.
func DecodePage(raw []byte) (*Page, error) { return decodePage(raw, true) }

func decodePage(raw []byte, trusted bool) (*Page, error) {
	if len(raw) > MaxPageBytes || len(raw) < len(pageMagic)+8+signatureBytes || !bytes.HasPrefix(raw, []byte(pageMagic)) {
		return nil, ErrMalformed.Because("%d bytes", len(raw))
	}
	body := raw[len(pageMagic) : len(raw)-signatureBytes]
	header, body, ok := takeSized(body, maxHeaderBytes)
	if !ok || len(body) < 4 {
		return nil, ErrMalformed.Because("no header")
	}
	p := &Page{raw: raw, Hash: sha256.Sum256(raw)}
	if err := decodeHeader(header, &p.Header); err != nil {
		return nil, ErrMalformed.Because("header: %v", err)
	}
	if err := p.Log.Check(); err != nil || p.Number == 0 {
		return nil, ErrMalformed.Because("header names no log or page: %v", err)
	}
	if p.Wall < 0 || p.Wall >= maxWall {
		return nil, ErrMalformed.Because("an impossible time")
	}
	n := binary.BigEndian.Uint32(body)
	if n == 0 || n > MaxPageEvents {
		return nil, ErrMalformed.Because("%d events", n)
	}
	return p, p.decodeEvents(int(n), body[4:], trusted)
}

func (p *Page) decodeEvents(n int, body []byte, trusted bool) error {
	p.Events = make([]event.Event, n)
	for i := range p.Events {
		part, rest, ok := takeSized(body, event.MaxEventBytes)
		if !ok {
			return ErrMalformed.Because("event %d is cut off", i)
		}
		if err := decodeEvent(part, trusted, &p.Events[i]); err != nil {
			return ErrMalformed.Because("event %d: %v", i, err)
		}
		if err := p.Events[i].Check(); err != nil {
			return ErrMalformed.Because("event %d: %v", i, err)
		}
		if e := &p.Events[i]; e.Stamp >= MaxStamp || e.Wall < 0 || e.Wall >= maxWall {
			return ErrMalformed.Because("event %d has an impossible stamp or time", i)
		}
		body = rest
	}
	if len(body) != 0 {
		return ErrMalformed.Because("%d bytes behind the last event", len(body))
	}
	return nil
}

func takeSized(b []byte, most int) (part, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(most) || uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}
