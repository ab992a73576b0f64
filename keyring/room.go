// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
)

// room is what a box takes up at this site. It is named by who made the box and by who drew its key, since an honest
// site makes boxes of all keys that it holds: counted by their makers alone, a site that draws thousands of keys would
// use up the room of everybody who grants them on.
//
// All boxes of a maker that are of no use now share the room without an origin: those of keys whose origin the
// authority does not allow, or which nobody has signed for, and those for sites that it does not allow. Unsigned boxes,
// and all those of makers that it does not allow, share the room without a name.
type room struct{ maker, origin event.SiteID }

func (r *Ring) roomOf(authority event.AuthorityID, maker, origin, site event.SiteID) room {
	switch {
	case !r.trusts(authority, maker):
		return room{}
	case !r.trusts(authority, origin) || !r.trusts(authority, site):
		return room{maker: maker}
	}
	return room{maker, origin}
}

// boxesFull refuses a box if there is no room for another one, and counts it otherwise. In a room without an origin
// what opens nothing gives way to what opens a record that is here.
func (w *writer) boxesFull(authority event.AuthorityID, rec Record) (bool, error) {
	if err := w.countBoxes(authority); err != nil {
		return false, err
	}
	in := w.ring.roomOf(authority, rec.Maker, rec.Origin, rec.Site)
	if w.made[in] >= maxBoxes {
		gone, err := w.giveWay(authority, in, rec.ID)
		if err != nil {
			return false, err
		}
		if !gone {
			w.refuse(refusedBoxes)
			w.lack(refusedBoxes, in)
			return true, nil
		}
	}
	w.made[in]++
	return false, nil
}

// countBoxes counts, once in a transaction, the boxes in each room.
func (w *writer) countBoxes(authority event.AuthorityID) error {
	if w.made != nil {
		return nil
	}
	boxes, err := w.boxes(authority)
	w.made = make(map[room]int)
	for _, b := range boxes {
		w.made[w.ring.roomOf(authority, b.maker, b.origin, b.site)]++
	}
	return err
}

// giveWay takes a box that opens nothing out of a full room, if the key of the id opens a record that is here. Only
// then: two that open nothing would take each other's place without end. It reports whether it has done so.
func (w *writer) giveWay(authority event.AuthorityID, in room, id event.KeyID) (bool, error) {
	if in.origin != "" {
		return false, nil
	}
	if used, err := opensSomething(w.ctx, w, authority, id); err != nil || !used {
		return false, err
	}
	idle, known := w.idle[in]
	if !known {
		var err error
		if idle, err = w.idleBoxes(authority, in); err != nil {
			return false, err
		}
	}
	if w.idle == nil {
		w.idle = make(map[room][]boxRow)
	}
	w.idle[in] = idle[:max(0, len(idle)-1)]
	if len(idle) == 0 {
		return false, nil
	}
	w.made[in]--
	return true, w.dropBox(authority, idle[len(idle)-1])
}

// idleBoxes returns the boxes in a room that open nothing here and lead to no other generation.
func (w *writer) idleBoxes(authority event.AuthorityID, in room) (idle []boxRow, err error) {
	boxes, err := w.boxes(authority)
	if err != nil {
		return nil, err
	}
	steps := stepsOf(boxes)
	for _, b := range boxes {
		if w.ring.roomOf(authority, b.maker, b.origin, b.site) != in || steps[b.generation] == 1 {
			continue
		}
		used, err := opensSomething(w.ctx, w, authority, b.id)
		if err != nil {
			return nil, err
		}
		if !used {
			steps[b.generation]--
			idle = append(idle, b)
		}
	}
	return idle, nil
}

// stepsOf counts the boxes of each generation that leads to another one, see reach: the last of them must stay.
func stepsOf(boxes []boxRow) map[int64]int {
	top := reach(boxes)
	steps := make(map[int64]int)
	for _, b := range boxes {
		if b.generation != readingOnly && b.generation <= top {
			steps[b.generation]++
		}
	}
	return steps
}

func (w *writer) dropBox(authority event.AuthorityID, b boxRow) error {
	var slot int64
	err := w.QueryRowContext(w.ctx, `DELETE FROM box WHERE authority = ? AND id = ? AND site = ? AND maker = ? RETURNING slot`,
		authority, b.id, b.site, b.maker).Scan(&slot)
	if err != nil {
		return err
	}
	if b.site == w.ring.self {
		w.ring.forgetHeldOf(authority, b.id)
		err = w.forgetGenuine(authority, b.id)
	}
	return errors.Join(err, w.burn(slot))
}

// opensSomething reports whether a living key that is here is sealed with the authority key of the id.
func opensSomething(ctx context.Context, q querier, authority event.AuthorityID, id event.KeyID) (bool, error) {
	return exists(ctx, q, usedBy, authority, id)
}

// ownKey is an authority key that is sealed to this site.
type ownKey struct {
	id         event.KeyID
	generation int64
	change     int64 // of the first box
	used       bool  // it opens a record that is here
}

// grantable returns the authority keys that this site grants on, with their generations: all that it has drawn itself,
// and of those that another site has drawn not more than finds room everywhere. Then those that open records here come
// first, and of them those that came first: what this site has sealed something with is always among them, because it
// seals with no key of an origin of which it has more (crowded).
func (r *Ring) grantable(ctx context.Context, q querier, authority event.AuthorityID, boxes []boxRow) (map[event.KeyID]int64, error) {
	out := make(map[event.KeyID]int64)
	for origin, keys := range r.ownKeys(authority, boxes) {
		most := maxOfOrigin
		if origin == "" {
			most = maxOfOthers
		}
		if origin != r.self && len(keys) > most {
			if err := r.rankUsed(ctx, q, authority, keys); err != nil {
				return nil, err
			}
			keys = keys[:most]
		}
		for _, k := range keys {
			out[k.id] = k.generation
		}
	}
	return out, nil
}

// ownKeys returns the authority keys sealed to this site by their origins: "" if it is not allowed now, or not known.
func (r *Ring) ownKeys(authority event.AuthorityID, boxes []boxRow) map[event.SiteID][]ownKey {
	out := make(map[event.SiteID][]ownKey)
	for _, b := range boxes { // in order of their ids
		if b.site != r.self {
			continue
		}
		origin := b.origin
		if !r.trusts(authority, origin) {
			origin = ""
		}
		list := out[origin]
		if last := len(list) - 1; last >= 0 && list[last].id == b.id {
			list[last].generation, list[last].change = b.generation, min(list[last].change, b.change)
			continue
		}
		out[origin] = append(list, ownKey{id: b.id, generation: b.generation, change: b.change})
	}
	return out
}

func (r *Ring) rankUsed(ctx context.Context, q querier, authority event.AuthorityID, keys []ownKey) (err error) {
	for i := range keys {
		if keys[i].used, err = opensSomething(ctx, q, authority, keys[i].id); err != nil {
			return err
		}
	}
	slices.SortFunc(keys, func(a, b ownKey) int {
		if a.used != b.used {
			if a.used {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.change, b.change)
	})
	return nil
}
