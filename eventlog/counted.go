// SPDX-License-Identifier: EUPL-1.2

package eventlog

import "context"

// Counted is a Log as it is read by whoever makes something of its events: a log that was closed ends where it was closed.
// Sites may have taken pages behind that end before they heard of the closing, and they take more; only without them all
// come to the same. The pages themselves are kept apart: they stay where they are, and count when the site is allowed again.
//
// That is so for the federation's own logs too, in which it is told where logs end: what a removed site says behind the end of its logs
// has no say in its removal (site.Membership), so everybody comes to the same end, whoever has read on and whoever has not.
type Counted struct{ *Log }

// Heads returns how far every branch counts, sorted by branch. It reads the disk for closed logs that go beyond their end;
// what cannot be read is left out.
func (c Counted) Heads() []Head {
	heads := c.Log.Heads()
	counted := heads[:0]
	for _, h := range heads {
		if h, ok := c.count(h); ok {
			counted = append(counted, h)
		}
	}
	return counted
}

// Apart returns the branches that go on behind the end of their log, each with the last page that is here.
func (c Counted) Apart() []Head {
	var apart []Head
	for _, h := range c.Log.Heads() {
		if c.Ended(h) {
			apart = append(apart, h)
		}
	}
	return apart
}

// Ended reports whether the page that h names does not count. It does not block.
func (c Counted) Ended(h Head) bool {
	last, closed := c.closing(h.Branch.LogID)
	return closed && beyond(h, last)
}

// count applies the rule of Accept: before the last page everything counts, of the last page only the one that was named.
func (c Counted) count(h Head) (Head, bool) {
	if !c.Ended(h) {
		return h, true
	}
	last, _ := c.closing(h.Branch.LogID)
	for page := last.Page; page > 0 && page+1 >= last.Page; page-- {
		hash, there, err := c.HashAt(context.Background(), h.Branch, page)
		if err != nil || !there {
			return h, false
		}
		if page < last.Page || hash == last.Hash {
			return Head{h.Branch, page, hash}, true
		}
	}
	return h, false
}
