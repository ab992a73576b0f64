// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// What one log of a site may say in one subject: so many facts that differ, of so many bytes together. What is behind that in
// the log is left out. How many logs a site may have is bounded where pages are accepted. An honest site says a few dozen.
//
// The bound goes by a log's own chain, which its site cannot change any more without a fork that everybody sees. By dates, or
// over all logs of a site, a new log that is dated back would push out what the site has said before, and with it the members
// that were admitted on its word.
const (
	maxSaid      = 256
	maxSaidBytes = 512 << 10
)

// mark is where a fact is in its log.
type mark struct {
	Page  uint64        `json:"page"`
	Hash  eventlog.Hash `json:"hash"`
	Index uint32        `json:"index"`
}

func markOf(p event.Place) mark { return mark{p.Page, p.Hash, p.Index} }

// compare orders the marks of one log along its chain. Pages of one number, in branches of a fork, go by their hashes.
func (m mark) compare(o mark) int {
	return cmp.Or(cmp.Compare(m.Page, o.Page), bytes.Compare(m.Hash[:], o.Hash[:]), cmp.Compare(m.Index, o.Index))
}

// key returns the mark as text that sorts as compare does.
func (m mark) key() string {
	b := binary.BigEndian.AppendUint64(nil, m.Page)
	return string(binary.BigEndian.AppendUint32(append(b, m.Hash[:]...), m.Index))
}

// head returns the page.
func (m mark) head() eventlog.Head { return eventlog.Head{Page: m.Page, Hash: m.Hash} }

// firstKey returns what mark.key of all facts on the page of that number and behind it does not sort before.
func firstKey(page uint64) []byte { return binary.BigEndian.AppendUint64(nil, page) }

// said is one fact in a log. Two facts of a log with the same Same say the same: the first of them counts. "" is like no other.
// Equal Same must mean equal Bytes, see sameWords.
type said[F any] struct {
	mark
	Stamp event.Stamp `json:"stamp"`
	Bytes int         `json:"bytes"`
	Same  string      `json:"same,omitempty"`
	Fact  F           `json:"fact"`
}

// saidLog is what one log says in one subject, along its chain: of facts that say the same the first one, and of those the
// first ones, up to the bound. What it comes to depends on the set of the facts only: a fact that was left out never comes
// back, because what others bring can only move the end towards the beginning. That takes facts that say the same to be of one
// size: a short one in the place of a long one would make room again for what is gone.
type saidLog[F any] struct {
	Facts []said[F] `json:"facts"`
	// Cut is the mark of the first fact that is left out.
	Cut *mark `json:"cut,omitempty"`
}

// put adds a fact unless it says nothing new or is beyond the bound.
func (l *saidLog[F]) put(f said[F]) {
	if !l.takes(f.mark, f.Same) {
		return
	}
	if i := l.same(f.Same); i >= 0 {
		l.Facts = slices.Delete(l.Facts, i, i+1)
	}
	at, known := slices.BinarySearchFunc(l.Facts, f.mark, func(o said[F], m mark) int { return o.compare(m) })
	if known {
		return
	}
	l.Facts = slices.Insert(l.Facts, at, f)
	l.trim()
}

// same returns the index of the fact that says the same, -1 if there is none.
func (l *saidLog[F]) same(same string) int {
	if same == "" {
		return -1
	}
	return slices.IndexFunc(l.Facts, func(o said[F]) bool { return o.Same == same })
}

// takes reports whether put would take a fact of that mark which says that.
func (l *saidLog[F]) takes(m mark, same string) bool {
	if l.Cut != nil && m.compare(*l.Cut) >= 0 {
		return false
	}
	i := l.same(same)
	return i < 0 || m.compare(l.Facts[i].mark) < 0
}

// trim leaves out what is beyond the bound.
func (l *saidLog[F]) trim() {
	total := 0
	for i := range l.Facts {
		total += l.Facts[i].Bytes
		if i >= maxSaid || total > maxSaidBytes {
			cut := l.Facts[i].mark
			l.Cut, l.Facts = &cut, l.Facts[:i]
			return
		}
	}
}

// sameWords returns what two facts have in common that say the same: kind and data, byte by byte. A fact that means the same in
// other words, with another description or fields that nobody knows, is another one, and uses up its own log's bound: only what
// is equal has one size, and is equal for programs of every age.
func sameWords(e readmodel.Entry) string {
	return string(e.Kind) + " " + digest(e.Data)
}

// saidBy is what all sites say in one subject, by log.
type saidBy[F any] map[logKey]*saidLog[F]

// logKey names a log of the federation's register class, as "site/incarnation", so that maps by it have a JSON form.
type logKey string

func logKeyOf(p event.Place) logKey { return logKey(string(p.Site) + "/" + p.Incarnation) }

func (k logKey) split() (site event.SiteID, incarnation string) {
	id, incarnation, _ := strings.Cut(string(k), "/")
	return event.SiteID(id), incarnation
}

// id returns the log.
func (k logKey) id() eventlog.LogID {
	site, incarnation := k.split()
	return eventlog.LogID{Authority: event.Federation, Class: event.Register, Site: site, Incarnation: incarnation}
}

// takes reports whether the fact of an entry would be taken. It costs little: it is asked before signatures are checked.
func (s saidBy[F]) takes(e readmodel.Entry, same string) bool {
	l := s[logKeyOf(e.Place)]
	return l == nil || l.takes(markOf(e.Place), same)
}

// put adds the fact of an entry.
func (s saidBy[F]) put(e readmodel.Entry, same string, fact F) {
	key := logKeyOf(e.Place)
	l := s[key]
	if l == nil {
		l = new(saidLog[F])
		s[key] = l
	}
	l.put(said[F]{mark: markOf(e.Place), Stamp: e.Place.Stamp, Bytes: len(e.Data), Same: same, Fact: fact})
}

// over returns the sites of which something is left out.
func (s saidBy[F]) over() map[event.SiteID]bool {
	sites := make(map[event.SiteID]bool)
	for key, l := range s {
		if l.Cut != nil {
			site, _ := key.split()
			sites[site] = true
		}
	}
	return sites
}

// told is a fact with who stated it, and the stamp that it sorts by.
type told[F any] struct {
	by          event.SiteID
	incarnation string
	stamp       event.Stamp
	*said[F]
}

// inOrder returns all facts in the order in which they count: by stamps, but no fact before an earlier one of its own log. An
// honest site's stamps rise along its log; who dates a fact back behind one that it has written already gains nothing.
func (s saidBy[F]) inOrder() []*told[F] {
	var all []*told[F]
	for key, l := range s {
		site, incarnation := key.split()
		var last event.Stamp
		for i := range l.Facts {
			f := &l.Facts[i]
			last = max(last, f.Stamp)
			all = append(all, &told[F]{by: site, incarnation: incarnation, stamp: last, said: f})
		}
	}
	slices.SortFunc(all, func(a, b *told[F]) int {
		return cmp.Or(cmp.Compare(a.stamp, b.stamp), cmp.Compare(a.by, b.by), cmp.Compare(a.incarnation, b.incarnation),
			a.compare(b.mark))
	})
	return all
}

// digest is a short name for a fact's content or place: 16 bytes, in hexadecimal.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte{byte(len(p) >> 24), byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p))})
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// name returns what a fact is called where another one says that it was heard: it follows from where the fact is, its page's
// hash included, so that no other fact can take it.
func (t *told[F]) name() string {
	place := event.Place{Site: t.by, Incarnation: t.incarnation, Page: t.Page, Hash: t.Hash, Index: t.Index}
	return digest(place.Key())
}
