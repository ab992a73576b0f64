// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// ErrShare is returned by Room and Accept when space on this site's disk is scarce and the log belongs to what must
// wait then. It is stored elsewhere, reported by Waiting, and taken as soon as there is room.
var ErrShare = fault.New(fault.Exhausted, "log.share",
	"space on this site's disk is scarce, so what other sites write in bulk waits",
	"make room on the data disk; what waits is fetched by itself")

// Below so many reserves of free space it is scarce, or tight. The reserve itself is what nothing is written into.
const (
	scarceReserves = 4
	tightReserves  = 2
)

// shareFloor is what every site may use of a disk whose space is scarce, whatever its share.
const shareFloor = 64 << 20

// urgentWhenScarce is how many KiB of alarms and membership are taken from one site while space is scarce: 64 MiB at
// once, and as much again each day. An alarm to 5,000 people with all receipts and replies has about 5 MiB.
var urgentWhenScarce = allowance{burst: 64 << 10, every: 24 * time.Hour / (64 << 10)}

// pressure is how scarce space on the disk is.
type pressure int

const (
	plenty pressure = iota // everything is taken
	scarce                 // bulk of a site that has more than a quarter of what is stored waits
	tight                  // all bulk of other sites waits: what is left is for alarms, and for what people write here
)

func pressureOf(free, reserve uint64) pressure {
	switch {
	case free >= scarceReserves*reserve:
		return plenty
	case free >= tightReserves*reserve:
		return scarce
	}
	return tight
}

// pressure asks the disk. No lock is held.
func (l *Log) pressure() pressure {
	if l.cfg.Space == nil {
		return plenty
	}
	return pressureOf(l.cfg.Space())
}

// urgent tells alarms, and who belongs to the federation, from bulk.
func urgent(id LogID) bool {
	return id.Class == event.Operations || id.Authority == event.Federation && id.Class == event.Register
}

// fits is the rule for one more page of an origin: that nobody can fill a disk so far that alarms are refused. stored
// is the bytes of all logs here.
func (in *intake) fits(id LogID, p pressure, stored int64, now time.Time) bool {
	switch {
	case p == plenty:
		return true
	case urgent(id):
		in.urgentFreeAt = urgentWhenScarce.capped(in.urgentFreeAt, now)
		return urgentWhenScarce.room(in.urgentFreeAt, now)
	case p == tight:
		return false
	}
	return in.bytes <= shareFloor || 4*in.bytes <= stored
}

// spaceFor returns ErrShare, and notes it, if another site's log must wait for space. The caller holds mu.
func (l *Log) spaceFor(id LogID, p pressure) error {
	if id.Site == l.self || p == plenty {
		return nil
	}
	now, in := l.cfg.Now(), l.intakeOf(id.Site)
	if in.fits(id, p, l.bytes, now) {
		return nil
	}
	lane := in.lane(originKeyOf(id))
	if in.refuse(lane, id, now) || !lane.space {
		l.cfg.Logger.Warn("space on the disk is scarce; what a site writes waits", "site", id.Site.Short(),
			"authority", string(id.Authority), "class", string(id.Class), "bytes", in.bytes)
	}
	lane.space = true
	return ErrShare
}

// mayGrow returns ErrShare if the page must wait for space, and counts it otherwise.
func (l *Log) mayGrow(p *Page) error {
	if p.Log.Site == l.self {
		return nil
	}
	pressure := l.pressure()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.spaceFor(p.Log, pressure); err != nil {
		return err
	}
	in := l.intakeOf(p.Log.Site)
	in.taken(in.lane(originKeyOf(p.Log)), p.Log)
	if pressure != plenty && urgent(p.Log) {
		in.urgentFreeAt = urgentWhenScarce.take(in.urgentFreeAt, l.cfg.Now(), 1+len(p.Raw())>>10)
	}
	return nil
}
