// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"slices"

	"codeberg.org/holdfast/holdfast/event"
)

// Bounds of the pieces that are kept. pieceCost is what one costs besides its bytes.
const (
	maxPieceBytes = 16 << 20
	pieceCost     = 4 << 10
)

// piece is the beginning of a stretch, of which no page is complete yet.
type piece struct {
	after spot
	bytes []byte
	first Hash           // the hash of the page that it begins, zero if no holder has told
	from  []event.SiteID // who besides the present giver has given of it
	mine  int            // from which byte on all is the present giver's
}

func (p piece) mixed() bool { return len(p.from) > 0 }
func (p piece) cost() int   { return pieceCost + len(p.bytes) }

// fits reports whether both may be the beginning of the same stretch.
func (p piece) fits(o piece) bool {
	return p.after == o.after && (p.first == o.first || p.first == Hash{} || o.first == Hash{})
}

// pieceKey says whose piece of which branch it is: the beginnings of two branches of a log differ. What a peer has given itself
// is kept beside what it has added to what others gave: nobody's bytes are worth less because somebody else gave garbage.
type pieceKey struct {
	branch Branch
	giver  event.SiteID
	mixed  bool
}

// pieces keeps pieces of logs until they are gone on with: after a cut, at the next turn, or at another holder. What is
// beyond its bound is forgotten and fetched again, the oldest first of the giver that takes most room. Its owner guards it.
type pieces struct {
	of    map[pieceKey]piece
	order []pieceKey // the oldest first
	cost  int
	costs map[event.SiteID]int // by giver
}

// put keeps a piece in place of the one before. Its bytes must not change any more.
func (k *pieces) put(key pieceKey, p piece) {
	if len(p.bytes) == 0 {
		k.drop(key)
		return
	}
	if k.of == nil {
		k.of, k.costs = make(map[pieceKey]piece), make(map[event.SiteID]int)
	}
	if old, there := k.of[key]; there {
		k.count(key, -old.cost())
	} else {
		k.order = append(k.order, key)
	}
	p.bytes = slices.Clip(p.bytes) // who goes on with it makes a copy
	k.of[key] = p
	k.count(key, p.cost())
	for k.cost > maxPieceBytes {
		k.drop(k.victim())
	}
}

func (k *pieces) count(key pieceKey, cost int) {
	k.cost += cost
	if k.costs[key.giver] += cost; k.costs[key.giver] == 0 {
		delete(k.costs, key.giver)
	}
}

func (k *pieces) drop(key pieceKey) {
	p, ok := k.of[key]
	if !ok {
		return
	}
	delete(k.of, key)
	k.order = slices.DeleteFunc(k.order, func(o pieceKey) bool { return o == key })
	k.count(key, -p.cost())
}

// dropAll forgets what has been kept of a page that is here now, whoever gave it.
func (k *pieces) dropAll(id LogID, after spot, page Hash) {
	here := piece{after: after, first: page}
	for _, key := range slices.Clone(k.order) {
		if key.branch.LogID == id && k.of[key].fits(here) {
			k.drop(key)
		}
	}
}

// victim is the oldest piece of the giver that takes most room. There is one.
func (k *pieces) victim() pieceKey {
	oldest := k.order[0]
	for _, key := range k.order {
		if k.costs[key.giver] > k.costs[oldest.giver] {
			oldest = key
		}
	}
	return oldest
}

// find returns what the peer itself has given of the stretch behind the page, and what to go on with: that, or a longer piece
// to which others have given whom it may go on with. It must be longer by the least answer: less is not worth
// the doubt.
func (k *pieces) find(b Branch, peer event.SiteID, after spot, trusts func(event.SiteID) bool) (own, best piece) {
	own = piece{after: after}
	if p, ok := k.of[pieceKey{branch: b, giver: peer}]; ok && p.after == after {
		own = p
	}
	best = own
	doubts := func(o event.SiteID) bool { return !trusts(o) }
	if p := k.of[pieceKey{b, peer, true}]; p.fits(own) && len(p.bytes) > len(own.bytes) && !slices.ContainsFunc(p.from, doubts) {
		best = p
	}
	for _, key := range k.order {
		p := k.of[key]
		if key.branch.LogID != b.LogID || key.giver == peer || !p.fits(own) || len(p.bytes) < len(best.bytes)+minAnswerBytes/2 {
			continue
		}
		p.from, p.mine = others(append(slices.Clone(p.from), key.giver), peer), len(p.bytes)
		if !slices.ContainsFunc(p.from, doubts) {
			best = p
		}
	}
	return own, best
}

// others returns the sites without one, each once.
func others(sites []event.SiteID, but event.SiteID) []event.SiteID {
	slices.Sort(sites)
	return slices.DeleteFunc(slices.Compact(sites), func(s event.SiteID) bool { return s == but })
}
