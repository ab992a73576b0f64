// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"fmt"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// Chains tells which pages of a log are in one chain: a log with a fork has a chain for each of its branches, from the first
// page to the branch's head. Branches have other names at other sites; which pages have a chain in common is the same
// everywhere. A nil Chains takes each log for one chain. It is not safe for concurrent use, and good for a moment only.
type Chains struct {
	ctx    context.Context
	source Source
	heads  map[eventlog.LogID][]eventlog.Head
	logs   map[eventlog.LogID][]Chain
	hashes map[pageOf]eventlog.Hash
}

// Chain is the parts of branches that it goes through, the last one first.
type Chain []Stretch

// Stretch is the pages of a branch from First to Last.
type Stretch struct {
	Branch      eventlog.Branch
	First, Last uint64
}

type pageOf struct {
	branch eventlog.Branch
	page   uint64
}

// Chains returns what the model's source says of chains now.
func (m *Model) Chains(ctx context.Context) *Chains { return newChains(ctx, m.cfg.Source) }

func newChains(ctx context.Context, source Source) *Chains {
	return &Chains{
		ctx:    ctx,
		source: source,
		logs:   make(map[eventlog.LogID][]Chain),
		hashes: make(map[pageOf]eventlog.Hash),
	}
}

// Forked returns the chains of a log that has several, nil for any other. It returns an error if pages cannot be read.
func (c *Chains) Forked(log eventlog.LogID) ([]Chain, error) {
	if c == nil {
		return nil, nil
	}
	return c.of(log)
}

// Together reports whether two pages of a log are in one chain. It reads pages of a log that has a fork. It returns an
// error if a page is in no chain, or pages cannot be read.
func (c *Chains) Together(log eventlog.LogID, a, b eventlog.Head) (bool, error) {
	chains, err := c.Forked(log)
	if err != nil || chains == nil {
		return true, err
	}
	hasA, hasB := false, false
	for _, ch := range chains {
		inA, err := c.holds(ch, a)
		if err != nil {
			return false, err
		}
		inB, err := c.holds(ch, b)
		if err != nil || inA && inB {
			return inA && inB, err
		}
		hasA, hasB = hasA || inA, hasB || inB
	}
	if !hasA || !hasB {
		return false, fmt.Errorf("page %d or %d of %s is in no branch", a.Page, b.Page, log)
	}
	return false, nil
}

// Fork returns the name that the branch has at this site to which a page of the log belongs. It reads and returns errors as
// Together does.
func (c *Chains) Fork(log eventlog.LogID, page eventlog.Head) (string, error) {
	chains, err := c.Forked(log)
	if err != nil || c == nil {
		return "", err
	}
	if heads := c.heads[log]; len(heads) == 1 {
		return heads[0].Branch.Fork, nil
	}
	if chains == nil {
		return "", nil
	}
	for _, ch := range chains {
		for _, s := range ch {
			is, err := c.holds(Chain{s}, page)
			if err != nil || is {
				return s.Branch.Fork, err
			}
		}
	}
	return "", fmt.Errorf("page %d of %s is in no branch", page.Page, log)
}

// of returns the chains of a log, nil if it has one.
func (c *Chains) of(log eventlog.LogID) ([]Chain, error) {
	if chains, known := c.logs[log]; known {
		return chains, nil
	}
	if c.heads == nil {
		c.heads = make(map[eventlog.LogID][]eventlog.Head)
		for _, h := range c.source.Heads() {
			c.heads[h.Branch.LogID] = append(c.heads[h.Branch.LogID], h)
		}
	}
	heads := c.heads[log]
	if len(heads) < 2 {
		return nil, nil
	}
	chains := make([]Chain, len(heads))
	for i, h := range heads {
		var err error
		if chains[i], err = c.back(heads, h.Branch, h.Page, nil); err != nil {
			return nil, err
		}
	}
	c.logs[log] = chains
	return chains, nil
}

// back adds to a chain the branch up to its page of that number, and what it came from.
func (c *Chains) back(heads []eventlog.Head, b eventlog.Branch, last uint64, behind Chain) (Chain, error) {
	pages, err := c.source.Read(c.ctx, b, 0, 1)
	if err != nil || len(pages) == 0 {
		return behind, err
	}
	first := pages[0]
	behind = append(behind, Stretch{b, first.Number, last})
	for _, h := range heads {
		if first.Number == 1 || h.Branch == b || h.Page < first.Number-1 {
			continue
		}
		if hash, err := c.hashAt(h.Branch, first.Number-1); err != nil {
			return nil, err
		} else if hash == first.Prev && len(behind) <= len(heads) {
			return c.back(heads, h.Branch, first.Number-1, behind)
		}
	}
	return behind, nil
}

// holds reports whether the chain goes through the page.
func (c *Chains) holds(ch Chain, page eventlog.Head) (bool, error) {
	for _, s := range ch {
		if s.First <= page.Page && page.Page <= s.Last {
			hash, err := c.hashAt(s.Branch, page.Page)
			return hash == page.Hash, err
		}
	}
	return false, nil
}

// hashAt returns the hash of the branch's own page of that number, the zero Hash if it has none.
func (c *Chains) hashAt(b eventlog.Branch, page uint64) (eventlog.Hash, error) {
	at := pageOf{b, page}
	if hash, known := c.hashes[at]; known {
		return hash, nil
	}
	pages, err := c.source.Read(c.ctx, b, page-1, 1)
	if err != nil {
		return eventlog.Hash{}, fmt.Errorf("read page %d of %s: %w", page, b, err)
	}
	if len(pages) > 0 && pages[0].Number == page {
		c.hashes[at] = pages[0].Hash
	}
	return c.hashes[at], nil
}
