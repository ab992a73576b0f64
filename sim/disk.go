// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"errors"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// errSlow is what a disk says that took too long. Whether the page is stored is not known then.
var errSlow = errors.New("the disk did not answer in time")

// disk is a Store that can be told to misbehave the way disks do.
type disk struct {
	eventlog.Store
	troubles []trouble // what happens to the next appends
	full     bool
	writes   int
}

type trouble int

const (
	fine       trouble = iota
	failBefore         // the page is not stored, and the disk cannot tell
	failAfter          // the page is stored, and the disk cannot tell
)

// Append implements eventlog.Store.
func (d *disk) Append(ctx context.Context, b eventlog.Branch, p *eventlog.Page) error {
	if d.full {
		return eventlog.ErrNoRoom
	}
	next := fine
	if len(d.troubles) > 0 {
		next, d.troubles = d.troubles[0], d.troubles[1:]
	}
	if next == failBefore {
		return errSlow
	}
	err := d.Store.Append(ctx, b, p)
	if err == nil && next == failAfter {
		return errSlow
	}
	d.writes++
	return err
}

// mend makes the disk good again.
func (d *disk) mend() { d.troubles, d.full = nil, false }
