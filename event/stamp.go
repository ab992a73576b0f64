// SPDX-License-Identifier: EUPL-1.2

package event

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"
)

// Stamp is one reading of a hybrid logical clock: 48 bits of milliseconds since 1970, 16 bits of counter. Stamps
// compare as integers. (Kulkarni et al., "Logical Physical Clocks", 2014.)
type Stamp uint64

// MaxDrift is how far a foreign stamp may move our clock ahead of our own wall clock. A site whose clock is wrong by
// more is shown to the operator instead of dragging everybody along.
const MaxDrift = 5 * time.Minute

// StampAt returns the smallest stamp of the given instant.
func StampAt(t time.Time) Stamp { return Stamp(uint64(t.UnixMilli()) << 16) }

// Time returns the stamp's millisecond in UTC; the counter is dropped.
func (s Stamp) Time() time.Time { return time.UnixMilli(int64(s >> 16)).UTC() }

// Clock is a hybrid logical clock. It is safe for concurrent use.
type Clock struct {
	now  func() time.Time
	mu   sync.Mutex
	last Stamp
}

// NewClock returns a clock that reads wall time from now.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now} }

// Next returns a stamp that exceeds every stamp it has returned, every stamp it was allowed to follow, and after. It
// also returns the wall clock's reading in milliseconds. It does not block.
func (c *Clock) Next(after Stamp) (Stamp, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := c.now()
	s := max(StampAt(wall), c.last+1)
	c.last = s
	// A subject that somebody's wrong clock threw far ahead is followed for this one event only; the clock stays.
	if after >= s {
		s = after + 1
	}
	return s, wall.UnixMilli()
}

// Follow moves the clock up to a foreign stamp, but never more than MaxDrift ahead of the wall clock. It reports
// whether the stamp was within that bound; if not, the operator should be told whose clock is wrong.
func (c *Clock) Follow(foreign Stamp) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bound := StampAt(c.now().Add(MaxDrift)); foreign > bound {
		// The clock is not moved to the bound: then every later event would be five minutes in the future for nothing.
		return false
	}
	c.last = max(c.last, foreign)
	return true
}

// Place is where an event sits for ever. Its order is total and the same everywhere: stamp, site, incarnation, page,
// page hash, index.
type Place struct {
	Stamp       Stamp    `json:"stamp"`
	Site        SiteID   `json:"site"`
	Incarnation string   `json:"incarnation"`
	Page        uint64   `json:"page"`
	Hash        [32]byte `json:"hash"`
	Index       uint32   `json:"index"`
}

// Key returns the place as bytes whose lexical order is the order of places: what a database can sort by.
func (p Place) Key() []byte {
	b := make([]byte, 0, 8+len(p.Site)+1+len(p.Incarnation)+1+8+32+4)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Stamp))
	b = append(b, p.Site...)
	b = append(b, 0)
	b = append(b, p.Incarnation...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, p.Page)
	b = append(b, p.Hash[:]...)
	return binary.BigEndian.AppendUint32(b, p.Index)
}

// Compare returns -1, 0 or +1 as p sorts before, with or after q.
func (p Place) Compare(q Place) int { return bytes.Compare(p.Key(), q.Key()) }
