// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Config is what a Log works with. Identity, Store, Clock, Rand, Policy, Now and Logger are required.
type Config struct {
	Identity *seal.Identity
	Store    Store
	Clock    *event.Clock
	// Rand gives ids and incarnations. The Log never uses it from two goroutines at once.
	Rand   io.Reader
	Policy Policy
	// Keys tells which keys are on this site's disk. nil means that no page ever waits for keys.
	Keys   Keys
	Now    func() time.Time
	Logger *slog.Logger
	// Incarnation is the word that the site's own logs go on under, "" to draw a new one at the first append.
	Incarnation string
	// OnIncarnation keeps a newly drawn word on the disk before the first page that uses it, and "" when the present one
	// is given up. An error stops the append that needs it. nil keeps nothing.
	OnIncarnation func(incarnation string) error
	// OnFork and OnSkew are told of a new fork and of a page from a wrong clock. They run outside all locks and must not
	// block for long. nil is fine.
	OnFork func(Fork)
	OnSkew func(Skew)
	// Elsewhere reports whether another site holds the branch at least up to this head; Scrub deletes nothing damaged
	// without it. nil means that nobody does.
	Elsewhere func(Head) bool
	// Vouched reports whether a site of another operator than the origin's holds the log: then it is taken whatever the
	// origin has begun besides, see Room. It is called without locks and must not block. nil means that nobody does.
	Vouched func(LogID) bool
	// Space tells how many bytes are free for the logs, and how many of them are the reserve: then bulk of other sites waits
	// before the reserve is reached, see ErrShare. It is called without locks. nil means that there is always room.
	Space func() (free, reserve uint64)
	// HoldLimit is how long an append waits at most while the log is on hold; 0 means three seconds: longer than
	// Replicator.Settle takes when a peer does not answer, or the first append after a start would give up what another
	// peer is about to confirm.
	HoldLimit time.Duration
	// StoreTimeout is how long one page may take to be stored; 0 means ten seconds.
	StoreTimeout time.Duration
}

// Fork is a log in which the origin signed two different pages of the same number.
type Fork struct {
	// Branch is the branch that this site saw second; its Fork begins the hash of the first page that differs.
	Branch Branch `json:"branch"`
	// Page is the number of the first page that differs.
	Page uint64 `json:"page"`
}

// Skew is a page whose stamps are further ahead of our wall clock than event.MaxDrift: somebody's clock is wrong.
type Skew struct {
	Site  event.SiteID
	Log   LogID
	Page  uint64
	Ahead time.Duration
}

// Damage is a branch that Scrub found not to be what was once stored.
type Damage struct {
	Branch Branch
	// Page is the number of the first page that is not in order, Last that of the last page of all.
	Page, Last uint64
	Err        error
	// Deleted says that the branch was removed so that it is fetched again; otherwise it was kept as the only copy.
	Deleted bool
}

// Log is a site's side of all logs that it holds: it appends to its own and accepts the pages of others. It is safe for
// concurrent use. It starts no goroutines and needs no closing; its Store does.
type Log struct {
	cfg  Config
	self event.SiteID

	randMu sync.Mutex
	drawMu sync.Mutex // held while a new incarnation is drawn and kept

	durableMu sync.Mutex // one Durable at a time

	apartLimit int64 // bytes, see maxApartBytes

	mu          sync.Mutex // guards all below; never held while the store works
	records     map[LogID]*record
	order       []*branch // of all records, sorted; nil when it must be made again
	lanes       map[laneKey]*lane
	incarnation string
	held        chan struct{} // closed by Release; nil when not on hold
	ahead       map[subjectKey]event.Stamp
	bytes       int64                    // of all branches
	apartCount  map[event.SiteID]int64   // see apartBytes
	intakes     map[event.SiteID]*intake // of other sites; made again from the branches when one is missing
	watchers    map[chan struct{}]struct{}
	suspects    map[Branch]bool // see ScrubSuspected
	kept        map[Branch]bool // see keep

	suspected chan struct{}
}

// record is what is known of one log.
type record struct {
	id LogID
	// write lets one goroutine at a time add pages to the log or delete it. It is a channel so that waiting can end.
	write    chan struct{}
	branches map[string]*branch // by Branch.Fork
}

// branch is what is known of one branch. All fields but id are guarded by Log.mu.
type branch struct {
	id     Branch
	head   Head
	first  uint64 // number of the first page: 1 unless it is a fork's
	stat   Stat
	recent []Hash // hashes of the last pages; the last one is head.Hash
	ready  durability
}

var _ Appender = (*Log)(nil)

// Open reads the heads of the store and checks the tails of the site's own logs. It does not take an incarnation yet; if
// the present one's logs are damaged or forked it is given up. It returns an error if the store does.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if cfg.HoldLimit == 0 {
		cfg.HoldLimit = settleTimeout + time.Second
	}
	if cfg.StoreTimeout == 0 {
		cfg.StoreTimeout = 10 * time.Second
	}
	l := &Log{
		cfg: cfg, self: cfg.Identity.Site(), incarnation: cfg.Incarnation,
		records: make(map[LogID]*record), lanes: make(map[laneKey]*lane),
		ahead: make(map[subjectKey]event.Stamp), watchers: make(map[chan struct{}]struct{}),
		intakes: make(map[event.SiteID]*intake), apartCount: make(map[event.SiteID]int64), apartLimit: maxApartBytes,
		suspected: make(chan struct{}, 1),
		suspects:  make(map[Branch]bool), kept: make(map[Branch]bool),
	}
	heads, err := cfg.Store.Heads(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the heads of the logs: %w", err)
	}
	sortHeads(heads)
	for _, h := range heads {
		if err := l.adopt(ctx, h); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// adopt takes over a branch that the store already has.
func (l *Log) adopt(ctx context.Context, h Head) error {
	b := &branch{id: h.Branch, head: h, first: 1, recent: []Hash{h.Hash}, stat: l.cfg.Store.Stat(h.Branch)}
	l.bytes += b.stat.Bytes
	if h.Branch.Fork != "" {
		first, err := l.cfg.Store.Read(ctx, h.Branch, 0, 1)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return fmt.Errorf("read the first page of %s: %w", h.Branch, err)
		}
		if len(first) > 0 {
			b.first = first[0].Number
		}
	}
	b.ready = durability{page: b.first - 1}
	r := l.record(h.Branch.LogID)
	l.mu.Lock()
	r.branches[h.Branch.Fork] = b
	l.order = nil
	l.mu.Unlock()
	if h.Branch.Site == l.self {
		return l.checkTail(ctx, h)
	}
	return nil
}

// checkTail makes sure that the last page of an own log is what we signed, and that new stamps exceed its stamps even
// if the wall clock went back while we were down.
func (l *Log) checkTail(ctx context.Context, h Head) error {
	pages, err := l.cfg.Store.Read(ctx, h.Branch, h.Page-1, 1)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("read the last page of %s: %w", h.Branch, err)
	}
	current := l.isCurrent(h.Branch.Incarnation)
	if len(pages) != 1 || pages[0].Hash != h.Hash {
		if current {
			l.Reincarnate("the last page of an own log is damaged")
		}
		return nil
	}
	l.followPage(pages[0])
	if current && h.Branch.Fork != "" {
		l.Reincarnate("an own log is forked")
	}
	return nil
}

// Self returns the site that this log belongs to.
func (l *Log) Self() event.SiteID { return l.self }

// Heads returns how far every branch on this site's disk goes, sorted by branch. It does not block.
func (l *Log) Heads() []Head {
	return l.headsOf(func(*branch) bool { return true })
}

// Branches returns how far the branches of one log on this site's disk go, the first branch first; none if it has no page
// of the log. It does not block.
func (l *Log) Branches(id LogID) []Head {
	l.mu.Lock()
	r := l.records[id]
	l.mu.Unlock()
	if r == nil {
		return nil
	}
	return l.branchHeads(r)
}

// OwnHeads returns the heads of the site's own logs of the present incarnation: the tails that peers must confirm before
// it may go on with them.
func (l *Log) OwnHeads() []Head {
	incarnation := l.Incarnation()
	return l.headsOf(func(b *branch) bool { return b.id.Site == l.self && isOf(b.id.Incarnation, incarnation) })
}

func (l *Log) headsOf(want func(*branch) bool) []Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	var heads []Head
	for _, b := range l.sorted() {
		if want(b) {
			heads = append(heads, b.head)
		}
	}
	return heads
}

// sorted returns all branches in order. The caller holds mu.
func (l *Log) sorted() []*branch {
	if l.order == nil {
		for _, r := range l.records {
			for _, b := range r.branches {
				l.order = append(l.order, b)
			}
		}
		slices.SortFunc(l.order, func(a, b *branch) int { return compareBranches(a.id, b.id) })
	}
	return l.order
}

// Head returns how far the branch goes on this site's disk, false if it has no page of it.
func (l *Log) Head(b Branch) (Head, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.records[b.LogID]; r != nil && r.branches[b.Fork] != nil {
		return r.branches[b.Fork].head, true
	}
	return Head{}, false
}

// Read returns pages of the branch after the given number as Store.Read does. Of a fork it returns the pages that
// differ; those before are in the branch that it left.
func (l *Log) Read(ctx context.Context, b Branch, after uint64, maxBytes int) ([]*Page, error) {
	pages, err := l.cfg.Store.Read(ctx, b, after, maxBytes)
	return pages, l.doubt(b, err)
}

// Subscribe returns a channel that gets a value after heads have changed, or may have, and a function that ends the
// subscription. The channel holds one value: several changes are one wake-up.
func (l *Log) Subscribe() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers[c] = struct{}{}
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, c)
	}
}

// wake tells every subscriber. The caller does not hold mu.
func (l *Log) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// record returns what is known of the log, a new record if that is nothing.
func (l *Log) record(id LogID) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[id]
	if r == nil {
		r = &record{id: id, write: make(chan struct{}, 1), branches: make(map[string]*branch)}
		l.records[id] = r
	}
	return r
}

// lock waits until the caller alone may write to the log, or ctx ends.
func (r *record) lock(ctx context.Context) error {
	select {
	case r.write <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to write to %s: %w", r.id, ctx.Err())
	}
}

func (r *record) unlock() { <-r.write }

// put notes that the store has the page as the last one of the branch. The caller holds the record's lock.
func (l *Log) put(r *record, id Branch, p *Page) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := r.branches[id.Fork]
	if b == nil {
		b = &branch{id: id, first: p.Number, ready: durability{page: p.Number - 1}, stat: Stat{Born: l.cfg.Now()}}
		if id.Site != l.self {
			l.intakeOf(id.Site).add(id.LogID, b.stat.Born)
		}
		r.branches[id.Fork] = b
		l.order = nil
	}
	l.grow(b, len(p.Raw()))
	b.head = Head{id, p.Number, p.Hash}
	if len(b.recent) == recentHashes {
		b.recent = slices.Delete(b.recent, 0, recentHashes/2)
	}
	b.recent = append(b.recent, p.Hash)
	b.ready.push(p, l.cfg.Keys == nil)
}

// recentHashes is how many hashes of a branch are at hand, for pages that arrive twice.
const recentHashes = 32

// HashAt returns the hash of the branch's page of that number, false if the branch itself has no such page here. For a
// fork these are only the pages that differ. It reads the store unless the page is one of the last few.
func (l *Log) HashAt(ctx context.Context, b Branch, page uint64) (Hash, bool, error) {
	l.mu.Lock()
	hash, near, there := l.recentHash(b, page)
	l.mu.Unlock()
	if near || !there {
		return hash, near, nil
	}
	pages, err := l.Read(ctx, b, page-1, 1)
	if err != nil {
		return Hash{}, false, fmt.Errorf("read page %d of %s: %w", page, b, err)
	}
	if len(pages) == 0 || pages[0].Number != page {
		return Hash{}, false, nil
	}
	return pages[0].Hash, true, nil
}

// recentHash looks at what is in memory: near says that hash is known, there that the branch has such a page.
func (l *Log) recentHash(id Branch, page uint64) (hash Hash, near, there bool) {
	r := l.records[id.LogID]
	if r == nil || r.branches[id.Fork] == nil {
		return Hash{}, false, false
	}
	b := r.branches[id.Fork]
	if page < b.first || page > b.head.Page {
		return Hash{}, false, false
	}
	if back := b.head.Page - page; back < uint64(len(b.recent)) {
		return b.recent[uint64(len(b.recent))-1-back], true, true
	}
	return Hash{}, false, true
}

// Holds returns the branch in which this site has the page of that number and hash, false if it has none.
func (l *Log) Holds(ctx context.Context, id LogID, page uint64, hash Hash) (Branch, bool, error) {
	l.mu.Lock()
	r := l.records[id]
	l.mu.Unlock()
	if r == nil {
		return Branch{}, false, nil
	}
	return l.holds(ctx, l.branchHeads(r), page, hash)
}

// ErrSiteNotAllowed is returned by Append when this site may not hold the authority's logs.
var ErrSiteNotAllowed = fault.New(fault.Forbidden, "log.site_not_allowed", "this site may not hold the authority's data",
	"use a site that the authority allows, or let an operator allow this one with 'holdfast authority allow'")
