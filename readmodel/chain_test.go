// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// forks is a source of branches, each with the pages that are its own. Page n of a branch has the hash {branch's letter, n}.
type forks struct {
	pages map[eventlog.Branch][]*eventlog.Page
}

func (f forks) Heads() (heads []eventlog.Head) {
	for b, pages := range f.pages {
		last := pages[len(pages)-1]
		heads = append(heads, eventlog.Head{Branch: b, Page: last.Number, Hash: last.Hash})
	}
	return heads
}

func (f forks) Read(_ context.Context, b eventlog.Branch, after uint64, _ int) ([]*eventlog.Page, error) {
	i := slices.IndexFunc(f.pages[b], func(p *eventlog.Page) bool { return p.Number > after })
	if i < 0 {
		return nil, nil
	}
	return f.pages[b][i : i+1], nil
}

// add adds the pages from first to last to a branch, behind the page of that hash.
func (f forks) add(fork string, letter byte, prev eventlog.Hash, first, last uint64) {
	b := eventlog.Branch{LogID: forkedLog, Fork: fork}
	for n := first; n <= last; n++ {
		p := &eventlog.Page{Header: eventlog.Header{Log: forkedLog, Number: n, Prev: prev}}
		p.Hash = eventlog.Hash{letter, byte(n)}
		f.pages[b], prev = append(f.pages[b], p), p.Hash
	}
}

var forkedLog = eventlog.LogID{Authority: "federation", Class: "register", Site: "a", Incarnation: "0000000000000001"}

// sources are the same pages as two sites have them: a log of five pages, a fork of it behind the second, one of that behind
// the third, and one from the first page on.
func sources() []forks {
	one, other := forks{map[eventlog.Branch][]*eventlog.Page{}}, forks{map[eventlog.Branch][]*eventlog.Page{}}
	one.add("", 'a', eventlog.Hash{}, 1, 5)
	one.add("b", 'b', eventlog.Hash{'a', 2}, 3, 6)
	one.add("c", 'c', eventlog.Hash{'b', 3}, 4, 4)
	one.add("d", 'd', eventlog.Hash{}, 1, 9)
	other.add("", 'd', eventlog.Hash{}, 1, 9)
	other.add("c", 'a', eventlog.Hash{}, 1, 2)
	other.add("c", 'b', eventlog.Hash{'a', 2}, 3, 3)
	other.add("c", 'c', eventlog.Hash{'b', 3}, 4, 4)
	other.add("b", 'b', eventlog.Hash{'b', 3}, 4, 6)
	other.add("a", 'a', eventlog.Hash{'a', 2}, 3, 5)
	return []forks{one, other}
}

// TestWhichPagesAreInOneChainIsTheSameAtEverySite compares whichever branch a site saw first.
func TestWhichPagesAreInOneChainIsTheSameAtEverySite(t *testing.T) {
	page := func(letter byte, n uint64) eventlog.Head {
		return eventlog.Head{Page: n, Hash: eventlog.Hash{letter, byte(n)}}
	}
	for i, source := range sources() {
		c := newChains(t.Context(), source)
		for _, tc := range []struct {
			a, b eventlog.Head
			want bool
		}{
			{page('a', 1), page('a', 5), true}, {page('a', 2), page('b', 3), true}, {page('a', 1), page('c', 4), true},
			{page('b', 3), page('c', 4), true}, {page('b', 6), page('a', 2), true}, {page('d', 1), page('d', 9), true},
			{page('a', 3), page('b', 3), false}, {page('a', 3), page('b', 6), false}, {page('b', 4), page('c', 4), false},
			{page('d', 1), page('a', 2), false}, {page('a', 1), page('d', 9), false}, {page('c', 4), page('a', 5), false},
		} {
			for _, pair := range [][2]eventlog.Head{{tc.a, tc.b}, {tc.b, tc.a}} {
				if got, err := c.Together(forkedLog, pair[0], pair[1]); err != nil || got != tc.want {
					t.Errorf("source %d: pages %v are in one chain: %v, want %v, %v", i, pair, got, tc.want, err)
				}
			}
		}
		if _, err := c.Together(forkedLog, page('a', 1), page('x', 2)); err == nil {
			t.Errorf("source %d: a page that is nowhere is in a chain", i)
		}
		for b, pages := range source.pages {
			for _, p := range pages {
				if got, err := c.Fork(forkedLog, eventlog.Head{Page: p.Number, Hash: p.Hash}); err != nil || got != b.Fork {
					t.Errorf("source %d: page %d of %s is in branch %q, %v", i, p.Number, b, got, err)
				}
			}
		}
	}
}

// TestALogWithoutAForkIsOneChain wants no page to be read for that.
func TestALogWithoutAForkIsOneChain(t *testing.T) {
	one := eventlog.Head{Branch: eventlog.Branch{LogID: forkedLog}, Page: 3}
	for _, c := range []*Chains{nil, newChains(t.Context(), forks{}), newChains(t.Context(), headsOnly{one})} {
		together, err := c.Together(forkedLog, one, eventlog.Head{Page: 1})
		fork, failed := c.Fork(forkedLog, one)
		if err != nil || failed != nil || !together || fork != "" {
			t.Errorf("%v %q, %v, %v", together, fork, err, failed)
		}
	}
}

// headsOnly is a source that cannot be read.
type headsOnly []eventlog.Head

func (h headsOnly) Heads() []eventlog.Head { return h }

func (headsOnly) Read(context.Context, eventlog.Branch, uint64, int) ([]*eventlog.Page, error) {
	return nil, errChain
}
