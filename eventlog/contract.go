// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"errors"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Store keeps branches of pages on a disk. Every method is safe for concurrent use and blocks until it is done or ctx
// ends. Every implementation passes the suite in eventlog/logtest.
type Store interface {
	// Append stores p as the last page of the branch, creating the branch if this is its first page. It returns after the
	// page is on the disk (synced). It returns ErrOutOfOrder if the branch's last page is not number p.Number-1 (for a
	// fork's first page: if the fork exists), ErrNoRoom if the disk's reserve is used up, and another error if it cannot
	// tell; then the caller reads the head again before it goes on.
	Append(ctx context.Context, branch Branch, p *Page) error
	// Read returns pages of the branch after the given number, in order, at most maxBytes of them but at least one if
	// there is one. Pages come decoded, with StoredAt set. It returns ErrDamaged if the bytes of the first of them are not
	// what was stored; pages before a damaged one may be returned without it. An unknown branch has no page and no error.
	Read(ctx context.Context, branch Branch, after uint64, maxBytes int) ([]*Page, error)
	// Heads returns the head of every branch, in no particular order.
	Heads(ctx context.Context) ([]Head, error)
	// Stat tells about a branch what bounds go by; it is zero for a branch that has no page. It answers from memory.
	Stat(branch Branch) Stat
	// Delete removes a branch with all its pages. An unknown branch is no error.
	Delete(ctx context.Context, branch Branch) error
	// Close releases the store. What was acknowledged stays.
	Close() error
}

// Stat is what a Store knows of a branch besides its pages.
type Stat struct {
	// Born is when the first page was stored, by this site's clock.
	Born time.Time
	// Bytes is what its pages take, about.
	Bytes int64
}

// ErrOutOfOrder is returned by Store.Append when the page does not follow the branch's last page.
var ErrOutOfOrder = errors.New("the page does not follow the last one stored")

// ErrDamaged is returned by Store.Read when stored bytes are not what was stored: a flipped bit, a torn file.
var ErrDamaged = fault.New(fault.Internal, "log.damaged", "a stored page is damaged",
	"the log is fetched again from another site; check this machine's disk and memory")

// ErrNoRoom is returned when writing would use up the reserve of the disk. Reading goes on.
var ErrNoRoom = fault.New(fault.Exhausted, "log.no_room", "the disk of this site is nearly full; writing is refused until there is room",
	"make room on the data disk or use another site; writing resumes by itself")

// Policy says who may hold and write what. It is asked for every request and every page; it must not block.
type Policy interface {
	// Member reports whether the site is admitted and not removed.
	Member(site event.SiteID) bool
	// Allowed reports whether the site may hold the authority's logs and keys. For event.Federation it is every member.
	Allowed(site event.SiteID, authority event.AuthorityID) bool
	// Operator returns who runs the site, "" if unknown.
	Operator(site event.SiteID) string
}

// Keys tells whether the keys that a page needs are on this site's disk.
type Keys interface {
	// Missing returns those of ids for which this site holds neither the key nor its erasure mark.
	Missing(ctx context.Context, authority event.AuthorityID, ids []event.KeyID) ([]event.KeyID, error)
}

// Demands is what Keys may be as well: it knows which keys another site says to have destroyed.
type Demands interface {
	// Unmarked returns those of ids that the site has not signed a mark for which waits here.
	Unmarked(ctx context.Context, authority event.AuthorityID, by event.SiteID, ids []event.KeyID) ([]event.KeyID, error)
}

// Link carries requests to other sites. The answer is at most 768 KiB. It returns a fault of kind Unavailable when the
// site cannot be reached before ctx ends, and the other side's fault otherwise. It is safe for concurrent use.
type Link interface {
	Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error)
}

// Receipt is what Append acknowledges: the events are on this site's disk.
type Receipt struct {
	Log LogID
	// Last is the position of the last of the appended events; Read models and Wait go by it.
	Last Position
	// Events are the appended events with their ids and stamps, in order.
	Events []event.Event
}

// Appender is the part of a Log that commands need. Append returns when the events are on the disk, or with an error,
// and then none of them will ever appear unless the error says otherwise.
type Appender interface {
	Append(ctx context.Context, authority event.AuthorityID, class event.Class, drafts ...event.Draft) (Receipt, error)
}
