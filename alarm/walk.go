// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"math/bits"

	"codeberg.org/holdfast/holdfast/directory"
)

// walk is the way of one site through the people of an alarm who have something due, once around. Sites that call without
// seeing each other go different ways, so that what they hand over twice comes last: two of them meet only when together they have reached everybody.
type walk struct {
	// share is where the walk begins, 0 to 1 of the list ordered by person; down walks towards its beginning.
	share float64
	down  bool
	// began is false until the first page; start is the person behind which the walk began, "" for an end of the list.
	began   bool
	start   directory.PersonID
	cursor  directory.PersonID
	wrapped bool
}

// walkOf returns the way of a site by its rank: the first goes up from the beginning, the second down from the end, the third and fourth
// up and down from the middle, the next ones from the quarters, and so on.
func walkOf(rank int) walk {
	pair := uint64(max(0, rank)) / 2
	// The van der Corput sequence 0, 1/2, 1/4, 3/4, 1/8 ...: each next pair begins in the middle of the longest free stretch.
	return walk{share: float64(bits.Reverse64(pair)) / (1 << 63) / 2, down: rank%2 == 1}
}

// next returns the next people on the way, at most limit, and whether the walk is over with them.
func (w *walk) next(ctx context.Context, work Work, k alarmKey, o Ongoing, limit int) (people []Due, over bool, err error) {
	if !w.began {
		if w.share > 0 {
			if w.start, err = work.DuePlace(ctx, k.authority, k.id, o.Wave, int(w.share*float64(o.Pending))); err != nil {
				return nil, false, err
			}
		}
		w.began, w.cursor = true, w.start
	}
	read := work.Due
	if w.down {
		read = work.DueDown
	}
	if people, err = read(ctx, k.authority, k.id, o.Wave, w.cursor, limit); err != nil {
		return nil, false, err
	}
	if len(people) == limit {
		w.cursor = people[limit-1].Person
		return people, false, nil
	}
	// The second round passes the whole list: whoever was met in the first is done or queued already.
	over = w.wrapped || w.start == ""
	w.wrapped, w.cursor = true, ""
	return people, over, nil
}
