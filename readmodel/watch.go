// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"slices"
	"strings"
	"sync"
)

// watchBuffer is how many unread names a watcher may have.
const watchBuffer = 256

// Name tells that a subject has changed, after the commit that changed it. All means: so much has changed that the names
// were dropped; look at everything again. Then Ref is zero.
type Name struct {
	Ref
	All bool
}

// watchers are those who want to be told.
type watchers struct {
	mu  sync.Mutex
	all map[*watcher]bool
}

type watcher struct {
	prefixes []Ref
	names    chan Name
}

// Watch returns a channel of the names of subjects that change, and a function that ends it and closes the channel. A
// prefix matches whole segments: "alarm/7" is for alarm/7 and alarm/7/person/1, not for alarm/70; an empty authority or
// subject matches any; no prefix at all matches everything. A name waits in the channel once, however often its subject
// changes meanwhile. Who does not read for 256 names gets Name{All: true} instead. Nothing ever waits for a watcher.
func (m *Model) Watch(prefixes ...Ref) (<-chan Name, func()) {
	w := &watcher{prefixes: slices.Clone(prefixes), names: make(chan Name, watchBuffer)}
	return w.names, m.watchers.add(w)
}

func (ws *watchers) add(w *watcher) (cancel func()) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = make(map[*watcher]bool)
	}
	ws.all[w] = true
	return func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		if ws.all[w] {
			delete(ws.all, w)
			close(w.names)
		}
	}
}

// announce tells every watcher the names it has asked for.
func (ws *watchers) announce(names []Name) {
	if len(names) == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		w.tell(names)
	}
}

func (w *watcher) tell(names []Name) {
	wanted := slices.DeleteFunc(slices.Clone(names), func(n Name) bool { return !w.wants(n) })
	if len(wanted) == 0 {
		return
	}
	// What is unread is taken back and put together with the new names. The reader may be faster for some of them; it then
	// reads a view that is as new.
	unread := w.drain()
	seen := make(map[Name]bool, len(unread)+len(wanted))
	var merged []Name
	for _, n := range slices.Concat(unread, wanted) {
		if n.All {
			merged, seen = nil, nil
			break
		}
		if !seen[n] {
			seen[n] = true
			merged = append(merged, n)
		}
	}
	if seen == nil || len(merged) > watchBuffer {
		merged = []Name{{All: true}}
	}
	for _, n := range merged {
		w.names <- n // never blocks: the channel is empty, has room for all, and only announce sends, under the lock
	}
}

func (w *watcher) drain() (unread []Name) {
	for {
		select {
		case n := <-w.names:
			unread = append(unread, n)
		default:
			return unread
		}
	}
}

func (w *watcher) wants(n Name) bool {
	if n.All || len(w.prefixes) == 0 {
		return true
	}
	return slices.ContainsFunc(w.prefixes, func(p Ref) bool { return p.covers(n.Ref) })
}

// covers reports whether r lies at or under the prefix p.
func (p Ref) covers(r Ref) bool {
	if p.Authority != "" && p.Authority != r.Authority {
		return false
	}
	prefix := strings.TrimSuffix(string(p.Subject), "/")
	rest, ok := strings.CutPrefix(string(r.Subject), prefix)
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}
