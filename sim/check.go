// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/keyring"
)

// check looks whether every promise was kept, after everything has healed.
func (w *World) check(ctx context.Context) error {
	w.checking = true
	w.checkPolicies()
	federation := &authority{id: event.Federation}
	for _, n := range w.nodes {
		federation.allowed = append(federation.allowed, n.site)
	}
	for _, a := range append([]*authority{federation}, w.authorities...) {
		w.checkFacts(ctx, a)
		w.checkHeads(a)
		w.checkForks(ctx, a)
		if err := w.checkStates(ctx, a); err != nil {
			return err
		}
	}
	for _, n := range w.honest() {
		if err := errors.Join(w.checkNode(ctx, n), w.checkKeys(ctx, n)); err != nil {
			return err
		}
	}
	if err := w.checkRogue(ctx); err != nil {
		return err
	}
	if err := w.checkPeople(ctx); err != nil {
		return err
	}
	return w.checkDomains(ctx)
}

// holders returns the living nodes that may hold the authority's logs.
func (w *World) holders(a *authority) []*node {
	return slices.DeleteFunc(w.honest(), func(n *node) bool { return !w.Allowed(n.site, a.id) })
}

// checkFacts: acknowledged facts are at every allowed site exactly once, others at most once and everywhere or nowhere.
func (w *World) checkFacts(ctx context.Context, a *authority) {
	holders := w.holders(a)
	at := make([]map[int]int, len(holders))
	for i, n := range holders {
		at[i] = w.tokensAt(ctx, n)
	}
	for _, f := range w.ledger.facts {
		if f.authority != a.id {
			continue
		}
		for i, n := range holders {
			switch got := at[i][f.token]; {
			case got > 1:
				w.violate("fact %d is %d times at %v", f.token, got, n)
			case got == 0 && f.fate == mustBe && !w.node(f.site).isRogue():
				w.violate("fact %d, acknowledged by %v, is not at %v", f.token, w.node(f.site), n)
			case got != at[0][f.token]:
				w.violate("fact %d is at %v or at %v, but not at both", f.token, holders[0], n)
			}
		}
	}
	for i, n := range holders {
		for token := range at[i] {
			if w.ledger.get(token) == nil {
				w.violate("%v has a fact %d that nobody wrote", n, token)
			}
		}
	}
}

// checkHeads: what one holder has, all have. Branch names may differ, page hashes may not.
func (w *World) checkHeads(a *authority) {
	var want string
	for i, n := range w.holders(a) {
		var lines []string
		for _, h := range n.log.Heads() {
			if h.Branch.Authority == a.id {
				lines = append(lines, fmt.Sprintf("%s %d %s", h.Branch.LogID, h.Page, h.Hash))
			}
		}
		slices.Sort(lines)
		got := strings.Join(lines, "\n")
		if i == 0 {
			want = got
		} else if got != want {
			w.violate("the heads of %s differ at %v and %v:\n%s\n--\n%s", a.id, w.holders(a)[0], n, want, got)
		}
	}
}

// checkForks: where two hashes exist at one page of a log, every holder reports the fork, and has both.
func (w *World) checkForks(ctx context.Context, a *authority) {
	type page struct {
		log    eventlog.LogID
		number uint64
	}
	hashes := make(map[page]map[eventlog.Hash]bool)
	for _, n := range w.holders(a) {
		for _, p := range w.pagesAt(ctx, n) {
			at := page{p.Log, p.Number}
			if p.Log.Authority != a.id {
				continue
			}
			if hashes[at] == nil {
				hashes[at] = make(map[eventlog.Hash]bool)
			}
			hashes[at][p.Hash] = true
		}
	}
	forked := make(map[eventlog.LogID]bool)
	for at, h := range hashes {
		forked[at.log] = forked[at.log] || len(h) > 1
	}
	for _, n := range w.holders(a) {
		reported := make(map[eventlog.LogID]bool)
		for _, f := range n.log.Forks() {
			reported[f.Branch.LogID] = true
		}
		for id, is := range forked {
			if is != reported[id] {
				w.violate("%v: the log %s is forked: %v; reported: %v", n, id, is, reported[id])
			}
		}
	}
}

// checkStates: the folded states are the same everywhere, and each subject is folded in the order of its places.
func (w *World) checkStates(ctx context.Context, a *authority) error {
	var want string
	for i, n := range w.holders(a) {
		got, err := n.model.StateHashOf(ctx, a.id)
		if err != nil {
			return err
		}
		if i == 0 {
			want = got
		} else if got != want {
			w.violate("the states of %s differ at %v and %v", a.id, w.holders(a)[0], n)
		}
		for subject, tokens := range w.naive(ctx, n, a.id) {
			var s notes
			if _, err := n.model.State(ctx, a.id, subject, &s); err != nil {
				return err
			}
			if !slices.Equal(s.Tokens, tokens) {
				w.violate("%s of %s is folded as %v at %v, want the order of places %v", subject, a.id, s.Tokens, n, tokens)
			}
		}
	}
	return nil
}

// naive folds a site's notes by sorting everything that counts.
func (w *World) naive(ctx context.Context, n *node, id event.AuthorityID) map[event.Subject][]int {
	var all []located
	for _, e := range w.countedAt(ctx, n) {
		if e.authority == id && e.event.Kind == noteKind {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b located) int { return a.place.Compare(b.place) })
	out := make(map[event.Subject][]int)
	seen := make(map[event.ID]bool)
	for _, e := range all {
		var d note
		if seen[e.event.ID] || e.event.Decode(&d) != nil {
			continue
		}
		seen[e.event.ID] = true
		out[e.event.Subject] = append(out[e.event.Subject], d.Token)
	}
	return out
}

// checkNode: no pages and no keys of authorities that do not allow the site; nothing set aside.
func (w *World) checkNode(ctx context.Context, n *node) error {
	heads, err := n.disk.Heads(ctx)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if !w.Allowed(n.site, h.Branch.Authority) {
			w.violate("%v has pages of %s, which does not allow it", n, h.Branch.Authority)
		}
	}
	held, err := n.ring.Authorities(ctx)
	if err != nil {
		return err
	}
	for _, id := range held {
		if !w.Allowed(n.site, id) {
			w.violate("%v has keys of %s, which does not allow it", n, id)
		}
	}
	aside, err := n.model.SetAside(ctx)
	if err != nil {
		return err
	}
	for _, t := range aside {
		if t.Apart {
			continue
		}
		w.violate("%v has set something aside: %+v", n, t)
	}
	w.checkDurable(ctx, n)
	return nil
}

// checkDurable: with everything healed, every page has its keys, except where they were lost with the site that made them, and but
// for the rogue's own pages: it may have handed on pages and kept their keys, or given them out under planted records.
func (w *World) checkDurable(ctx context.Context, n *node) {
	durable := make(map[eventlog.Branch]uint64)
	for _, h := range n.log.Durable(ctx) {
		durable[h.Branch] = h.Page
	}
	for _, h := range n.log.Heads() {
		if by := w.node(h.Branch.Site); durable[h.Branch] != h.Page && !by.gone && !by.isRogue() {
			w.violate("%v: page %d of %s has not got its keys", n, durable[h.Branch]+1, h.Branch)
		}
	}
}

// observe looks at every message: nobody is told what it may not know.
func (w *World) observe(m logtest.Message) {
	switch m.Verb {
	case eventlog.VerbHeads:
		w.observeHeads(m.From, m.To, m.Body)
		if m.Err == nil {
			w.observeHeads(m.To, m.From, m.Answer)
		}
	case eventlog.VerbPages, eventlog.VerbHash:
		var q struct{ Log eventlog.LogID }
		if json.Unmarshal(m.Body, &q) == nil && m.Err == nil && !w.mayTell(m.To, m.From, q.Log.Authority) {
			w.violate("%v gave %s of %s to %v, which may not have them", w.node(m.To), m.Verb, q.Log.Authority, w.node(m.From))
		}
	case keyring.Verb:
		for _, a := range w.authorities {
			if !w.mayTell(m.To, m.From, a.id) && m.Err == nil && givesKeys(m.Answer, a.id) {
				w.violate("%v gave keys of %s to %v", w.node(m.To), a.id, w.node(m.From))
			}
		}
	}
}

// givesKeys reports whether an answer about keys has any of the authority. A refusal names it, too, to who has named it.
func givesKeys(answer []byte, id event.AuthorityID) bool {
	var a struct {
		Given []struct {
			Authority event.AuthorityID
			Records   []json.RawMessage
		}
	}
	if json.Unmarshal(answer, &a) != nil {
		return true
	}
	for _, g := range a.Given {
		if g.Authority == id && len(g.Records) > 0 {
			return true
		}
	}
	return false
}

// mayTell reports whether somebody has ever allowed the hearing site, and the telling one does not know that this has ended.
func (w *World) mayTell(from, to event.SiteID, id event.AuthorityID) bool {
	teller := w.node(from)
	if teller.isRogue() {
		return true // it tells what it likes
	}
	return w.Allowed(to, id) && (teller.fed == nil || teller.fed.Allowed(to, id))
}

func (w *World) observeHeads(from, to event.SiteID, body []byte) {
	var m struct {
		Heads []struct{ Branch eventlog.Branch }
	}
	if json.Unmarshal(body, &m) != nil {
		return
	}
	for _, h := range m.Heads {
		if !w.mayTell(from, to, h.Branch.Authority) {
			w.violate("%v told %v of %s, which it may not know", w.node(from), w.node(to), h.Branch.LogID)
		}
	}
}
