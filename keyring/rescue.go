// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
)

// rescue takes keys that pages here wait for from a site that may not hold them any more. Nothing else is taken from it, and
// it is read from the beginning each time, because the rest will be wanted when it is allowed again.
func (s *Syncer) rescue(ctx context.Context, peer event.SiteID) (changed int, err error) {
	if s.Needed == nil || !s.Policy.Member(peer) {
		return 0, nil
	}
	for _, a := range s.Authorities() {
		if a == event.Federation || s.Policy.Allowed(peer, a) || !s.Policy.Allowed(s.Ring.Self(), a) {
			continue
		}
		needed, err := s.Needed(ctx, a)
		if err != nil {
			return changed, err
		}
		if len(needed) == 0 {
			continue
		}
		n, err := s.rescueOf(ctx, peer, a, needed)
		changed += n
		if err != nil {
			return changed, fmt.Errorf("pull keys from %s: %w", peer.Short(), err)
		}
	}
	return changed, nil
}

func (s *Syncer) rescueOf(ctx context.Context, peer event.SiteID, a event.AuthorityID, needed []event.KeyID) (changed int, err error) {
	var from Cursor
	o := newOffer(s.Ring, a, needed)
	for range roundsAStep {
		answer, err := s.ask(ctx, peer, false, func(int) request { return request{Want: []wanted{{a, from}}} })
		if errors.Is(err, ErrForbidden) || err == nil && (len(answer.Given) != 1 || answer.Given[0].Authority != a || answer.Given[0].Refused) {
			return changed, nil
		}
		if err != nil {
			return changed, err
		}
		g := answer.Given[0]
		if records := o.useful(g.Records); len(records) > 0 {
			n, err := s.Ring.mergeApart(ctx, peer, a, records)
			changed += n
			if err != nil {
				return changed, err
			}
		}
		if from = g.Next; !g.More {
			break
		}
	}
	return changed, nil
}

// offer is what a site that may not hold an authority's keys any more has to offer, as far as it has been read. A site that
// did not hear that it was forbidden may have renewed the authority's key: then what it made since opens only with that key,
// which it sealed to this site.
type offer struct {
	ring      *Ring
	authority event.AuthorityID
	needed    map[event.KeyID]bool
	// sealed has, of the needed keys, one that each authority key seals; boxes has the authority keys sealed to this site, of
	// each those that different sites have made.
	sealed map[event.KeyID]Record
	boxes  map[event.KeyID][]Record
}

// boxesOfOneKey is how many boxes of one authority key are tried.
const boxesOfOneKey = 64

func newOffer(r *Ring, a event.AuthorityID, needed []event.KeyID) *offer {
	o := &offer{r, a, make(map[event.KeyID]bool, len(needed)), make(map[event.KeyID]Record), make(map[event.KeyID][]Record)}
	for _, id := range needed {
		o.needed[id] = true
	}
	return o
}

// useful returns those of some more records that are needed, and before them the boxes, of all records so far, that open what
// is needed. They are for reading only, since the other site has that key.
func (o *offer) useful(records []Record) []Record {
	var keys, boxes []Record
	for _, rec := range records {
		switch {
		case rec.Site == o.ring.self && len(o.boxes) < recordsAtOnce && len(o.boxes[rec.ID]) < boxesOfOneKey:
			o.boxes[rec.ID] = append(o.boxes[rec.ID], rec)
		case rec.Site != "" || !o.needed[rec.ID]:
		default:
			keys = append(keys, rec)
			if rec.Erased == 0 && len(o.sealed) < recordsAtOnce {
				o.sealed[rec.By] = rec
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(o.boxes)) {
		key, ok := o.sealed[id]
		if !ok {
			continue
		}
		for _, box := range o.boxes[id] {
			if !o.ring.fits(o.authority, box, key) {
				continue
			}
			if box.Origin == "" { // what its origin has signed seals nothing while the authority forbids the origin
				box.Generation, box.Maker, box.Signature = readingOnly, "", nil
			}
			boxes = append(boxes, box)
		}
		delete(o.boxes, id)
	}
	return append(boxes, keys...)
}

// fits reports whether the box, sealed to this site, has the authority key that opens a key.
func (r *Ring) fits(authority event.AuthorityID, box, key Record) bool {
	by, err := r.openBox(authority, box)
	if err != nil {
		return false
	}
	_, err = openSecret(by, authority, key.ID, key.Name, key.Sealed)
	return err == nil
}
