// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// Source is where the pages come from: an eventlog.Log, or a fake of plain maps. If it also has
// Subscribe() (<-chan struct{}, func()), Run is woken by it. If it has Ended(eventlog.Head) bool (eventlog.Counted), that
// tells which pages have come not to count any more; a model that has folded such a page is folded anew. If it has
// Apart() []eventlog.Head, SetAside lists the branches that go on behind what counts; if it has Waiting() []eventlog.Waiting,
// also the logs that are not taken yet.
// All methods are safe for concurrent use.
type Source interface {
	// Heads returns how far each branch goes on this site's disk.
	Heads() []eventlog.Head
	// Read returns pages after the given number, as eventlog.Store.Read does.
	Read(ctx context.Context, branch eventlog.Branch, after uint64, maxBytes int) ([]*eventlog.Page, error)
}

// A transaction takes whole pages until it has this many events; that is about a tenth of a second. A page may bring
// eventlog.MaxPageEvents more.
const batchEvents = 2000

// How much is read of a branch at once. With many branches behind (a site that has just joined) less is held of each.
const (
	readBytes     = 512 << 10
	readBytesMany = 64 << 10
	manyBranches  = 32
)

// errChain is the trouble of a branch whose pages do not follow each other although it was read from the beginning.
var errChain = errors.New("the pages of the branch do not follow each other")

// branchReader hands out the pages of one branch that is behind.
type branchReader struct {
	branch  eventlog.Branch
	head    eventlog.Head
	at      cursor
	buf     []*eventlog.Page
	rewound bool
}

// ended reports whether the page that the cursor of a branch names does not count any more.
func (e *engine) ended(b eventlog.Branch, at cursor) bool {
	s, ok := e.cfg.Source.(interface {
		Ended(eventlog.Head) bool
	})
	return ok && at.page > 0 && s.Ended(eventlog.Head{Branch: b, Page: at.page, Hash: at.hash})
}

// overshot reports whether pages have been folded that do not count any more.
func (e *engine) overshot() bool {
	for b, at := range e.cursors {
		if e.ended(b, at) {
			return true
		}
	}
	return false
}

// behind returns a reader for each branch that has pages we have not folded: our own site's first, since somebody waits
// for those, then the other sites' in turn, each site's by name, so that the order is the same in every run.
func (e *engine) behind() []*branchReader {
	var rs []*branchReader
	for _, h := range e.cfg.Source.Heads() {
		at := e.cursors[h.Branch]
		if e.ended(h.Branch, at) {
			continue // its cursor keeps saying so until everything is folded anew
		}
		r := &branchReader{branch: h.Branch, head: h, at: at}
		if h.Page < at.page || h.Page == at.page && h.Hash != at.hash {
			// The branch was replaced by another one, or its damaged copy is being fetched again. What was folded before
			// counts once, so reading it from its beginning is slow at worst.
			r.rewind()
		}
		if r.pending() {
			rs = append(rs, r)
		} else {
			delete(e.damaged, h.Branch)
		}
	}
	slices.SortFunc(rs, func(a, b *branchReader) int {
		if own := a.branch.Site == e.cfg.Self; own != (b.branch.Site == e.cfg.Self) {
			if own {
				return -1
			}
			return 1
		}
		return compare(a.branch.String(), b.branch.String())
	})
	return inTurn(rs)
}

// byOrigin groups readers by the site that wrote their branches, in order of the first reader of each.
func byOrigin(rs []*branchReader) (origins [][]*branchReader) {
	index := make(map[event.SiteID]int)
	for _, r := range rs {
		i, known := index[r.branch.Site]
		if !known {
			i = len(origins)
			index[r.branch.Site] = i
			origins = append(origins, nil)
		}
		origins[i] = append(origins[i], r)
	}
	return origins
}

// inTurn orders readers so that each origin's first comes before any origin's second: who writes thousands of logs is not read
// before who writes one.
func inTurn(rs []*branchReader) []*branchReader {
	out := make([]*branchReader, 0, len(rs))
	origins := byOrigin(rs)
	for round := 0; len(out) < len(rs); round++ {
		for _, o := range origins {
			if round < len(o) {
				out = append(out, o[round])
			}
		}
	}
	return out
}

// turn prepares the next batch of a catch-up: our own branches as they are now, for whoever writes while a long history
// is being copied waits for his own page; of the others those that are not done, beginning with the next origin, and of each
// origin with its next branch.
func (e *engine) turn(rs []*branchReader) []*branchReader {
	var own, others []*branchReader
	for _, r := range e.behind() {
		if r.branch.Site == e.cfg.Self {
			own = append(own, r)
		}
	}
	for _, r := range rs {
		if r.branch.Site != e.cfg.Self && r.pending() {
			others = append(others, r)
		}
	}
	var rotated []*branchReader
	for _, o := range rotate(byOrigin(others)) {
		rotated = append(rotated, rotate(o)...)
	}
	return append(own, inTurn(rotated)...)
}

// rotate puts the first one last.
func rotate[T any](list []T) []T {
	if len(list) < 2 {
		return list
	}
	return append(slices.Clone(list[1:]), list[0])
}

func (r *branchReader) rewind() {
	r.at.page, r.at.hash, r.buf, r.rewound = 0, eventlog.Hash{}, nil, true
}

func (r *branchReader) pending() bool { return r.at.page < r.head.Page }

// next returns the page after the cursor, or nil if there is none.
func (r *branchReader) next(ctx context.Context, src Source, maxBytes int) (*eventlog.Page, error) {
	if !r.pending() {
		return nil, nil
	}
	if len(r.buf) == 0 {
		pages, err := src.Read(ctx, r.branch, r.at.page, maxBytes)
		if err != nil || len(pages) == 0 {
			return nil, err
		}
		r.buf = pages
	}
	p := r.buf[0]
	if !r.follows(p) {
		if r.rewound {
			return nil, fmt.Errorf("%w: page %d after page %d", errChain, p.Number, r.at.page)
		}
		r.rewind()
		return r.next(ctx, src, maxBytes)
	}
	r.buf = r.buf[1:]
	r.at.page, r.at.hash = p.Number, p.Hash
	return p, nil
}

// follows reports whether p is the page after the cursor. The first page of a fork has any number.
func (r *branchReader) follows(p *eventlog.Page) bool {
	return r.at.page == 0 || p.Number == r.at.page+1 && p.Prev == r.at.hash
}

// sourced is a page with the branch it was read from.
type sourced struct {
	*eventlog.Page
	branch eventlog.Branch
}

// gather takes pages from the readers in turn until they make a batch. Each origin gets a fair share of it, whatever the number
// of its branches, so that neither a long history that is being copied nor a site that floods its logs holds up what happens
// now. A branch that cannot be read is set aside; the others go on. It returns ctx's error only.
func (e *engine) gather(ctx context.Context, rs []*branchReader) ([]sourced, error) {
	var batch []sourced
	share := batchEvents/max(1, len(byOrigin(rs))) + 1
	taken := make(map[event.SiteID]int)
	size := readBytes
	if len(rs) > manyBranches {
		size = readBytesMany
	}
	events := 0
	for _, r := range rs {
		for taken[r.branch.Site] < share && events < batchEvents {
			p, err := r.next(ctx, e.cfg.Source, size)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				e.noteBranch(r.branch, err)
			}
			if p == nil {
				r.head.Page = 0 // nothing more from this one in this catch-up
				break
			}
			delete(e.damaged, r.branch)
			batch = append(batch, sourced{p, r.branch})
			taken[r.branch.Site] += len(p.Events)
			events += len(p.Events)
		}
	}
	return batch, nil
}

// noteBranch remembers that a branch cannot be read, until a page of it is read again.
func (e *engine) noteBranch(b eventlog.Branch, err error) {
	if was, known := e.damaged[b]; known && was.Reason == err.Error() {
		return // it is tried at every catch-up; once is enough for the report
	}
	e.damaged[b] = Trouble{Ref: Ref{Authority: b.Authority}, Branch: b, Reason: err.Error(), Since: fromMillis(e.nowMillis())}
	e.cfg.Logger.Error("a branch of a log cannot be read; the others go on", "branch", b.String(), "error", err)
}
