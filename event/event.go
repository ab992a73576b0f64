// SPDX-License-Identifier: EUPL-1.2

package event

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// MaxEventBytes bounds one encoded event. A larger text belongs into several events or into a file.
const MaxEventBytes = 64 << 10

// SiteID is a site's Ed25519 public key, base32 (lower case, no padding, 52 characters): a site is its key. Whoever
// holds a SiteID can check the site's signatures without asking anybody.
type SiteID string

// Short returns the first eight characters, for people and logs; it is not unique enough to decide anything by.
func (s SiteID) Short() string {
	if len(s) < 8 {
		return string(s)
	}
	return string(s[:8])
}

// AuthorityID is the short name of an authority (Behörde), a slug such as "lk-nordtal". Federation is reserved.
type AuthorityID string

// Federation is the pseudo-authority whose logs hold what every member site may know: sites, authorities, policies.
const Federation AuthorityID = "federation"

var authorityPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{1,38}[a-z0-9]$`)

// Valid reports whether the id is a slug of 3 to 40 lower-case letters, digits and hyphens that begins with a letter.
func (a AuthorityID) Valid() bool { return authorityPattern.MatchString(string(a)) }

// Class sorts the logs of an authority by how long they are kept.
type Class string

// The classes of logs, see Class. Their names are part of stored stream names.
const (
	Register   Class = "register"   // directory, settings: kept small by succession
	Operations Class = "operations" // alarms, receipts, rooms
	Record     Class = "record"     // journals, decisions: kept for years
	Audit      Class = "audit"      // who did what
)

// Valid reports whether c is one of the four classes.
func (c Class) Valid() bool {
	return c == Register || c == Operations || c == Record || c == Audit
}

// Mode tells exercise from reality; the words are those of CAP 1.2's status element (OASIS CAP-v1.2, 3.2.1).
type Mode string

// The modes. The zero value is not a mode: whoever raises something must say which it is.
const (
	Actual   Mode = "actual"   // Echteinsatz
	Exercise Mode = "exercise" // Übung
	Test     Mode = "test"     // Test
)

// Valid reports whether m is one of the three modes.
func (m Mode) Valid() bool { return m == Actual || m == Exercise || m == Test }

// ID names one event: 16 hexadecimal characters from the injected source of randomness.
type ID string

// NewID reads eight random bytes from r. It returns r's error.
func NewID(r io.Reader) (ID, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", fmt.Errorf("draw an event id: %w", err)
	}
	return ID(hex.EncodeToString(b[:])), nil
}

// KeyID names a key of the keyring: 16 hexadecimal characters that tell nothing of it.
type KeyID string

// Kind says what happened, as "domain.PastTense": "alarm.Replied".
type Kind string

// Domain returns the part before the dot.
func (k Kind) Domain() string {
	d, _, _ := strings.Cut(string(k), ".")
	return d
}

// Subject names the smallest thing that has an order, as a path: "alarm/7f3a/person/12c0".
type Subject string

// Root returns the first segment of the path: "alarm".
func (s Subject) Root() string {
	r, _, _ := strings.Cut(string(s), "/")
	return r
}

// Part returns the i-th segment, counted from zero, or "" where there is none.
func (s Subject) Part(i int) string {
	parts := strings.Split(string(s), "/")
	if i < 0 || i >= len(parts) {
		return ""
	}
	return parts[i]
}

var subjectPattern = regexp.MustCompile(`^[a-z][a-z0-9-]*(/[A-Za-z0-9._-]+){0,7}$`)

// Valid reports whether the subject is a path of one to eight plain segments, at most 200 bytes long.
func (s Subject) Valid() bool { return len(s) <= 200 && subjectPattern.MatchString(string(s)) }

// Event is one fact. See the package comment for its life.
type Event struct {
	ID      ID      `json:"id"`
	Subject Subject `json:"subject"`
	Kind    Kind    `json:"kind"`
	Stamp   Stamp   `json:"stamp"`
	// Wall is the origin's own wall clock in milliseconds since 1970: what people are shown.
	Wall int64 `json:"wall"`
	// Actor is who did it ("person/12c0", "site/abcd1234", "operator"), never a name.
	Actor string `json:"actor,omitempty"`
	// Grant is what allowed it; rights are judged once, where a fact is accepted.
	Grant string `json:"grant,omitempty"`
	Mode  Mode   `json:"mode,omitempty"`
	// Keys are the keyring's keys without which parts of Data stay unreadable.
	Keys []KeyID `json:"keys,omitempty"`
	// Place is set only on an event that a successor log carried over from its predecessor: its first place.
	Place *Place          `json:"place,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`
}

// Time returns the origin's wall clock as a time in UTC.
func (e Event) Time() time.Time { return time.UnixMilli(e.Wall).UTC() }

// Decode reads the event's data into v. It returns an error that names kind and subject if they do not fit.
func (e Event) Decode(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("read %s of %s: %w", e.Kind, e.Subject, err)
	}
	return nil
}

// Check returns an error if the event breaks one of the rules of the stored form. It does not look at Data's meaning.
func (e Event) Check() error {
	switch {
	case len(e.ID) != 16:
		return errors.New("the event's id is not 16 characters long")
	case !e.Subject.Valid():
		return fmt.Errorf("the subject %.40q is not a path of plain segments", string(e.Subject))
	case e.Kind.Domain() == "" || len(e.Kind) > 80 || !strings.Contains(string(e.Kind), "."):
		return fmt.Errorf("the kind %.40q is not of the form domain.PastTense", string(e.Kind))
	case e.Mode != "" && !e.Mode.Valid():
		return fmt.Errorf("the mode %.20q is none of actual, exercise, test", string(e.Mode))
	}
	return nil
}

// Draft is an event before its log has given it an id, a stamp and a place. Data may be anything encoding/json takes.
type Draft struct {
	Subject Subject
	Kind    Kind
	Actor   string
	Grant   string
	Mode    Mode
	Keys    []KeyID
	Data    any
	// After is the latest stamp that the command knows of in this subject; the event's stamp will exceed it.
	After Stamp
	// Urgent says that somebody is to be called, or not to be called any more, because of this event: it goes into a log that
	// holds nothing else, so that no backlog is before it. It is no part of the event, and what is not urgent in one append
	// makes all of it not urgent.
	Urgent bool
}
