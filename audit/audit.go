// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/event"
)

// Outcome says how a deed went.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Seen    Outcome = "seen" // sealed data was shown, or the form of a deed, and nothing was changed
	Refused Outcome = "refused"
)

// DeedOthers is the deed of the one line that stands for everything beyond MaxRows in a minute.
const DeedOthers = "others"

// DeedExpire is the deed of the line that Expire leaves.
const DeedExpire = "audit.expire"

// DefaultDays is how long remote addresses stay readable where the authority's policy says nothing.
const DefaultDays = 365

// MaxRows bounds the distinct lines of each outcome that are gathered of one authority in one minute; the rest is one line
// "others".
const MaxRows = 200

// MaxRefusalsADay bounds the lines that gathered refusals of one authority take at this site in one day (UTC); from then on they
// are one line a minute. A log forgets nothing and every site has a copy: whoever sends from many addresses for a month must not
// fill the disks of all.
const MaxRefusalsADay = 5000

// The bounds of an entry's fields in bytes. What is longer is cut.
const (
	maxDeed   = 60
	maxActor  = 100
	maxWay    = 20
	maxFrom   = 64
	maxObject = 160
	maxCode   = 80
	maxGrant  = 64
)

// Entry is one deed as the caller tells it. It holds ids, never names; see the package comment.
type Entry struct {
	Deed    string  // "signin", "people.see", "role.grant"
	Actor   string  // "person/12c0…", "guest/…", "program/…", "operator"; "" unknown
	Way     string  // the way in: "passkey", "code", ...
	From    string  // remote address without port; it is sealed with the month's key
	Object  string  // a subject or the path of a route, no personal data; see object
	Outcome Outcome // "" counts as Done
	Code    string  // the code of the fault, for a refusal
	Grant   string  // the id of the grant relied on
	Count   int     // how often; 0 counts as 1
}

// bounded returns the entry within its bounds, with nothing in it that does not print.
func (e Entry) bounded() Entry {
	e.Deed, e.Actor, e.Way, e.Object = plain(e.Deed, maxDeed), plain(e.Actor, maxActor), plain(e.Way, maxWay), plain(object(e.Object), maxObject)
	e.From, e.Code, e.Grant = plain(e.From, maxFrom), plain(e.Code, maxCode), plain(e.Grant, maxGrant)
	e.Count = max(1, e.Count)
	if e.Outcome != Refused && e.Outcome != Seen {
		e.Outcome = Done
	}
	return e
}

// maxPart is how long a part of an object may be. Ids have 16 characters; invitations, links and tokens have 24 or more.
const maxPart = 20

// object returns what may be kept of an object, which is a path or several subjects: nothing that follows a '?', where people's
// searches stand, and of every part that is as long as a secret only that it was there. A caller that forgets this leaks nothing.
func object(s string) string {
	s, _, _ = strings.Cut(s, "?")
	words := strings.Split(s, " ")
	for i, word := range words {
		parts := strings.Split(word, "/")
		for j, p := range parts {
			if len(p) > maxPart {
				parts[j] = "…"
			}
		}
		words[i] = strings.Join(parts, "/")
	}
	return strings.Join(words, " ")
}

func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s[:min(len(s), 4*most)])
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// sourceOf returns the address by which refusals are gathered: of an IPv6 address the network of 64 bits, because one
// machine has all addresses of it.
func sourceOf(from string) string {
	a, err := netip.ParseAddr(from)
	if err != nil || a.Unmap().Is4() {
		return from
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return from
	}
	return p.String()
}

// Readability says whether a line's address can be read.
type Readability string

// The readabilities of an address.
const (
	Readable  Readability = "readable"  // From is the address, or empty if none was recorded
	Pseudonym Readability = "pseudonym" // From is a keyed pseudonym: the same source has the same one
	Erased    Readability = "erased"    // the month's key is destroyed
	NotYet    Readability = "not_yet"   // the key has not arrived at this site
)

// Line is one recorded deed.
type Line struct {
	// ID names the line for paging (Query.After) and for people who talk about it.
	ID string
	// At is when it was written, by the wall clock of Site.
	At time.Time
	// Since is when the first of the gathered deeds happened; zero for a line of one deed.
	Since time.Time
	// Site is where it happened: the origin of the log the line is in.
	Site  event.SiteID
	Stamp event.Stamp
	Entry
	// Readable is about From alone; everything else can always be read.
	Readable Readability
}

// Query says which lines. Zero fields do not restrict. Lines come newest first.
type Query struct {
	// Text are words, each the beginning of a word in deed, actor, way, object or code; all must occur.
	Text string
	// Actor, Deed, Grant and Outcome are compared as a whole.
	Actor   string
	Deed    string
	Grant   string
	Outcome string
	// From and Until bound At: From <= At < Until.
	From, Until time.Time
	// Limit is at most MaxLimit; 0 means DefaultLimit.
	Limit int
	// After is the ID of the last line of the page before.
	After string
}

// The bounds of a page of lines.
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// Withdrawn names a grant and the moment of its withdrawal, in the order of the logs.
type Withdrawn struct {
	Grant string
	Stamp event.Stamp
}

// monthOf returns the month that an instant belongs to, as in subjects: "2026-11", in UTC.
func monthOf(t time.Time) string { return t.UTC().Format("2006-01") }

// expired reports whether a month ended at least so many days before now. A malformed month never expires.
func expired(month string, now time.Time, days int) bool {
	first, err := time.Parse("2006-01", month)
	return err == nil && !first.AddDate(0, 1, days).After(now)
}
