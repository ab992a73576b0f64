// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// foundingBy is one founding in a log of cast[by].
type foundingBy struct {
	log  logKey
	fact said[PolicyFact]
}

// foundingOn is dated by its page; earlier dates it back by so much.
func foundingOn(by int, incarnation string, page, earlier int) foundingBy {
	return foundingBy{logKey(string(cast[by].Site()) + "/" + incarnation), said[PolicyFact]{
		mark: mark{Page: uint64(page + 1)}, Stamp: event.Stamp(1<<20 + page - earlier),
		Fact: PolicyFact{ID: event.ID(fmt.Sprintf("%016x", page)), NameDE: "Behörde", NameEN: "Authority", Allows: sitesOf(by)},
	}}
}

func stateWith(list ...foundingBy) AuthorityState {
	s := AuthorityState{Founded: make(map[logKey][]said[PolicyFact])}
	for _, f := range list {
		s.Founded[f.log] = []said[PolicyFact]{f.fact}
	}
	return s
}

// foundedBy returns the states of authorities that cast[by] founds one after the other, each on a page of its own.
func foundedBy(by, n int, incarnation string) map[event.AuthorityID]AuthorityState {
	states := make(map[event.AuthorityID]AuthorityState)
	for i := range n {
		id := event.AuthorityID(fmt.Sprintf("a-%d-%s-%d", by, incarnation, i))
		states[id] = stateWith(foundingOn(by, incarnation, i, 0))
	}
	return states
}

func snapshotOf(states map[event.AuthorityID]AuthorityState) *snapshot {
	return newSnapshot(cast[0].Site(), folded{authorities: states, founders: foundersOf(states)}, bootstrap{})
}

// foundersOf finds out from all states what the tables tell without them.
func foundersOf(states map[event.AuthorityID]AuthorityState) founders {
	logs := make(map[logKey][]authorityAt)
	for id, s := range states {
		for at := range s.foundings() {
			logs[at.log] = append(logs[at.log], authorityAt{id, at.place})
		}
	}
	f := newFounders()
	for log, list := range logs {
		slices.SortFunc(list, func(a, b authorityAt) int { return strings.Compare(a.place, b.place) })
		f.add(log, list[:min(len(list), maxFounded)], len(list))
	}
	return f
}

func TestTheAuthoritiesThatOneSiteFoundsAreBounded(t *testing.T) {
	states := foundedBy(2, 300, "w")
	for id, s := range foundedBy(4, 3, "w") {
		states[id] = s
	}
	s := snapshotOf(states)
	if len(s.list) != maxFounded+3 || s.authorities["a-2-w-255"] == nil || s.authorities["a-2-w-256"] != nil {
		t.Errorf("%d authorities count, want the first %d of one site and 3 of the other", len(s.list), maxFounded)
	}
	if len(s.surplus) != 1 || s.surplus[0] != (Surplus{cast[2].Site(), 300 - maxFounded}) {
		t.Errorf("reported is %+v", s.surplus)
	}
	if len(states["a-2-w-299"].all().inOrder()) != 1 {
		t.Error("the folded state was changed")
	}
}

// Whoever breaks into the site that founded them all can found more and date it back, and nothing disappears.
func TestAuthoritiesDoNotDisappearByFoundingOthersBeforeThem(t *testing.T) {
	states := foundedBy(2, maxFounded, "w")
	for i := range 50 {
		states[event.AuthorityID(fmt.Sprint("forged-", i))] = stateWith(foundingOn(2, "w", maxFounded+i, 1000))
	}
	s := snapshotOf(states)
	for i := range maxFounded {
		if id := event.AuthorityID(fmt.Sprint("a-2-w-", i)); s.authorities[id] == nil {
			t.Fatalf("%s has disappeared", id)
		}
	}
	if len(s.list) != maxFounded {
		t.Errorf("%d authorities count", len(s.list))
	}
}

// A founding that is surplus takes nobody's authority away.
func TestASurplusFoundingOfAnothersAuthorityDoesNotCount(t *testing.T) {
	states := foundedBy(2, maxFounded, "w")
	states["theirs"] = stateWith(foundingOn(4, "v", 0, 0), foundingOn(2, "w", maxFounded, 0))
	s := snapshotOf(states)
	if p := s.authorities["theirs"]; p == nil || !p.allowed[cast[4].Site()] || p.allowed[cast[2].Site()] {
		t.Errorf("the authority of another site is now %+v", p)
	}
}

// TestFoundingsBeyondTheBoundAreNotReadAgain is a member that founds without end, and says of others that nobody has founded who is
// allowed there. None of that may be read or kept by those who refresh their view.
func TestFoundingsBeyondTheBoundAreNotReadAgain(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	founds := func(id event.AuthorityID, by *node) event.Draft {
		return event.Draft{Subject: SubjectOf(id), Kind: KindAuthorityFounded, Data: AuthorityFounded{"Behörde", "Authority", []event.SiteID{by.id.Site()}}}
	}
	var drafts []event.Draft
	for i := range 2 * maxFounded {
		drafts = append(drafts, founds(event.AuthorityID(fmt.Sprintf("rogue-%06d", i)), c),
			event.Draft{Subject: SubjectOf(event.AuthorityID(fmt.Sprintf("nobodys-%06d", i))), Kind: KindAllowed, Data: Allowed{c.id.Site()}})
	}
	c.say(drafts...)
	c.say(founds(nordtal, c))
	w.exchange()
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District",
		Sites: []event.SiteID{a.id.Site()}}))
	w.exchange()
	for _, n := range []*node{a, b, c} {
		if got, want := len(n.known.raw), 1+maxFounded+1; got != want || len(n.known.authorities) != want-1 {
			t.Errorf("%s keeps %d states, and those of %d authorities, want %d", n.name, got, len(n.known.authorities), want)
		}
		if got, want := n.Federation.Surplus(), []Surplus{{c.id.Site(), maxFounded + 1}}; !slices.Equal(got, want) {
			t.Errorf("%s reports %+v, want %+v", n.name, got, want)
		}
		if !n.Federation.Allowed(a.id.Site(), nordtal) || n.Federation.Allowed(c.id.Site(), nordtal) {
			t.Errorf("at %s the authority is another's", n.name)
		}
	}
	c.say(founds("one-more", c)) // nothing but the report changes
	w.exchange()
	if got := a.Federation.Surplus(); len(got) != 1 || got[0].Authorities != maxFounded+2 {
		t.Errorf("reported is %+v after one more", got)
	}
}

// paged is a source of pages of which so many have arrived of each branch.
type paged struct {
	pages   map[eventlog.Branch][]*eventlog.Page
	arrived map[eventlog.Branch]int
}

func (p *paged) Heads() (heads []eventlog.Head) {
	for b, n := range p.arrived {
		last := p.pages[b][n-1]
		heads = append(heads, eventlog.Head{Branch: b, Page: last.Number, Hash: last.Hash})
	}
	return heads
}

func (p *paged) Read(_ context.Context, b eventlog.Branch, after uint64, _ int) ([]*eventlog.Page, error) {
	return p.pages[b][min(int(after), p.arrived[b]):p.arrived[b]], nil
}

// write adds a page of facts that are all dated alike.
func (p *paged) write(b eventlog.Branch, stamp event.Stamp, drafts ...event.Draft) {
	page := &eventlog.Page{Header: eventlog.Header{Log: b.LogID, Number: uint64(len(p.pages[b]) + 1)}}
	page.Hash[0], page.Hash[1] = byte(page.Number), byte(len(b.Fork))
	if before := p.pages[b]; len(before) > 0 {
		page.Prev = before[len(before)-1].Hash
	}
	for i, d := range drafts {
		data := json.RawMessage(mustJSON(d.Data))
		id := event.ID(fmt.Sprintf("%08x%08x", page.Number, i))
		page.Events = append(page.Events, event.Event{ID: id, Subject: d.Subject, Kind: d.Kind, Stamp: stamp, Data: data})
	}
	p.pages[b] = append(p.pages[b], page)
}

// forkedFoundings is a log with a fork: both found authorities, and the fork pushes foundings of the other branch out.
func forkedFoundings() *paged {
	p := &paged{pages: make(map[eventlog.Branch][]*eventlog.Page)}
	trunk, fork := eventlog.Branch{LogID: logOf(2)}, eventlog.Branch{LogID: logOf(2), Fork: "f"}
	founds := func(n int) event.Draft {
		return event.Draft{Subject: SubjectOf(event.AuthorityID(fmt.Sprint("a-", n))), Kind: KindAuthorityFounded,
			Data: AuthorityFounded{"Behörde", "Authority", sitesOf(2)}}
	}
	for page := range 6 {
		var here, there []event.Draft
		for i := range 60 {
			here, there = append(here, founds(page*55+i)), append(there, founds(1000+page*10+i))
		}
		if page > 0 {
			there = there[:10]
		} else {
			for i := range 30 { // which the other branch founds, too
				there = append(there, founds(3*i))
			}
			for i := range 2 * maxSaid {
				there = append(there, event.Draft{Subject: SubjectOf(event.AuthorityID(fmt.Sprint("a-", 100+i%2))), Kind: KindAllowed,
					Data: Allowed{cast[i%4].Site()}})
			}
		}
		p.write(trunk, event.Stamp(100-page), here...)
		p.write(fork, event.Stamp(50+page), there...)
	}
	return p
}

// TestWhichFoundingsCountDependsOnTheSetOnly lets the pages of a forked log arrive in many orders.
func TestWhichFoundingsCountDependsOnTheSetOnly(t *testing.T) {
	source := forkedFoundings()
	var want string
	for seed := range uint64(8) {
		f := source.foldedIn(t, rand.New(rand.NewPCG(seed, 0)))
		if n := len(f.founders.authorities); len(f.founders.counted) != 1 || n <= maxFounded || n > 2*maxFounded {
			t.Fatalf("%d authorities count, %+v is surplus", n, f.founders.surplus())
		}
		s := newSnapshot(cast[0].Site(), f, bootstrap{})
		got := mustJSON([]any{s.list, s.surplus, f.authorities})
		if want = cmp.Or(want, got); got != want {
			t.Fatalf("in another order (%d) the foundings come to something else", seed)
		}
	}
}

// foldedIn folds the pages in an order by chance, some at once, and compares what is told of the foundings with all states.
func (p *paged) foldedIn(t *testing.T, random *rand.Rand) folded {
	t.Helper()
	ctx := t.Context()
	p.arrived = make(map[eventlog.Branch]int)
	m, err := readmodel.Open(ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: p})
	must(t, err)
	defer func() { must(t, m.Close()) }()
	var order []eventlog.Branch
	for b, pages := range p.pages {
		order = append(order, slices.Repeat([]eventlog.Branch{b}, len(pages))...)
	}
	slices.SortFunc(order, func(a, b eventlog.Branch) int { return strings.Compare(a.Fork, b.Fork) })
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i, b := range order {
		if p.arrived[b]++; i == len(order)-1 || random.IntN(3) > 0 {
			_, err := m.CatchUp(ctx)
			must(t, err)
		}
	}
	f, changed, err := readFolded(ctx, m, folded{})
	must(t, err)
	if again, more, err := readFolded(ctx, m, f); err != nil || !changed || more || mustJSON(again.authorities) != mustJSON(f.authorities) {
		t.Fatalf("a second look shows a change: %v", err)
	}
	if all := p.founders(p.states(t, m)); !f.founders.equal(all) {
		t.Fatalf("the tables tell %+v, the states %+v", f.founders.surplus(), all.surplus())
	}
	return f
}

// founders finds out from all states what the tables tell without them, branch by branch: both begin with page 1.
func (p *paged) founders(states map[event.AuthorityID]AuthorityState) founders {
	var first []authorityAt
	total := 0
	for _, pages := range p.pages {
		var list []authorityAt
		for id, s := range states {
			for at := range s.foundings() {
				if at.page.Page <= uint64(len(pages)) && pages[at.page.Page-1].Hash == at.page.Hash {
					list = append(list, authorityAt{id, at.place})
				}
			}
		}
		slices.SortFunc(list, func(a, b authorityAt) int { return strings.Compare(a.place, b.place) })
		first, total = append(first, list[:min(len(list), maxFounded)]...), total+len(list)
	}
	f := newFounders()
	f.add(logKey(string(cast[2].Site())+"/"+logOf(2).Incarnation), first, total)
	return f
}

// states reads the states of all authorities that the pages tell of.
func (p *paged) states(t *testing.T, m *readmodel.Model) map[event.AuthorityID]AuthorityState {
	states := make(map[event.AuthorityID]AuthorityState)
	for _, pages := range p.pages {
		for _, page := range pages {
			for _, e := range page.Events {
				id := event.AuthorityID(e.Subject.Part(1))
				if _, known := states[id]; known {
					continue
				}
				var s AuthorityState
				_, err := m.State(t.Context(), event.Federation, e.Subject, &s)
				must(t, err)
				states[id] = s
			}
		}
	}
	return states
}

// TestAForkOfTheFoundersLogTakesNoAuthorityAway is a founder that its authority has forbidden, and that signs other
// pages under the numbers of its log, before the one with the founding.
func TestAForkOfTheFoundersLogTakesNoAuthorityAway(t *testing.T) {
	for what, draft := range map[string]func(i int) event.Draft{
		"other authorities": func(i int) event.Draft {
			return foundsFor(event.AuthorityID(fmt.Sprintf("rogue-%06d", i)))
		},
		"the authority again and again": func(int) event.Draft {
			return foundsFor(nordtal)
		},
		"facts of the authority": func(i int) event.Draft {
			return event.Draft{Subject: SubjectOf(nordtal), Kind: KindAllowed, Data: Allowed{strangerOf(i)}}
		},
	} {
		for page := range uint64(2) {
			t.Run(fmt.Sprintf("%s, from page %d", what, page+1), func(t *testing.T) {
				w := newWorld(t)
				a, b, c := w.three()
				all := []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}
				founded := AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: all}
				must(t, a.AddAuthority(w.ctx, founded))
				w.exchange()
				must(t, b.Forbid(w.ctx, nordtal, a.id.Site()))
				w.exchange()
				fork := forkBehind(t, a, page, 2*maxSaid, draft)
				for _, n := range []*node{b, c} {
					n.accept(fork)
					got, _ := n.Federation.Authority(nordtal)
					if want := slices.Sorted(slices.Values(all[1:])); !slices.Equal(got.Sites, want) {
						t.Errorf("at %s one page of %d bytes makes the authority %+v", n.name, len(fork), got)
					}
					if got := len(n.known.authorities); got > 2*maxFounded {
						t.Errorf("%s keeps %d authorities", n.name, got)
					}
				}
			})
		}
	}
}

func foundsFor(id event.AuthorityID) event.Draft {
	founded := AuthorityFounded{"Behörde", "Authority", nil}
	return event.Draft{Subject: SubjectOf(id), Kind: KindAuthorityFounded, Data: founded}
}

// forkBehind is a page that a site signs under the number behind another page of its register log, with so many facts.
func forkBehind(t *testing.T, by *node, page uint64, facts int, draft func(int) event.Draft) []byte {
	t.Helper()
	heads := by.log.OwnHeads()
	i := slices.IndexFunc(heads, func(h eventlog.Head) bool { return h.Branch.Class == event.Register })
	h := eventlog.Header{Log: heads[i].Branch.LogID, Number: page + 1, Wall: by.w.now.UnixMilli()}
	if page > 0 {
		hash, there, err := by.log.HashAt(t.Context(), heads[i].Branch, page)
		if must(t, err); !there {
			t.Fatalf("there is no page %d", page)
		}
		h.Prev = hash
	}
	var events []event.Event
	for i := range facts {
		d := draft(i)
		events = append(events, event.Event{
			ID:      event.ID(fmt.Sprintf("%016x", i)),
			Subject: d.Subject,
			Kind:    d.Kind,
			Stamp:   5,
			Data:    json.RawMessage(mustJSON(d.Data)),
		})
	}
	return signed(t, by, h, events...)
}
