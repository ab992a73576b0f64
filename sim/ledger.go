// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// fate is what may become of a fact.
type fate int

const (
	mustBe fate = iota // acknowledged: everywhere, once
	mayBe              // the disk could not tell, or the only disk is gone: everywhere or nowhere, at most once
)

// fact is one event that somebody wanted written. Its token is in its data and nowhere else.
type fact struct {
	token     int
	authority event.AuthorityID
	site      event.SiteID
	fate      fate
	secured   bool // two operators had it: it must survive whatever happens to one of them
	log       eventlog.LogID
	at        eventlog.Position
	disk      *eventlog.Memory // where it was written first; nil on a real store
}

// ledger remembers every fact by its token, and those of the domains by their event, too.
type ledger struct {
	facts  []*fact
	events map[event.ID]*fact
}

func (l *ledger) add(authority event.AuthorityID, n *node) *fact {
	f := &fact{token: len(l.facts) + 1, authority: authority, site: n.site, disk: n.memory, fate: mayBe}
	l.facts = append(l.facts, f)
	return f
}

// addEvent notes a fact of a domain.
func (l *ledger) addEvent(authority event.AuthorityID, n *node, id event.ID) *fact {
	if l.events == nil {
		l.events = make(map[event.ID]*fact)
	}
	f := l.add(authority, n)
	l.events[id] = f
	return f
}

func (l *ledger) get(token int) *fact {
	if token < 1 || token > len(l.facts) {
		return nil
	}
	return l.facts[token-1]
}
