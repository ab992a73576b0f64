// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"errors"
	"fmt"

	"codeberg.org/holdfast/holdfast/fault"
)

// The refusals of Accept, besides ErrMalformed, ErrSignature, ErrSiteNotAllowed and ErrNoRoom.
var (
	ErrGap = fault.New(fault.Conflict, "log.gap", "the page does not follow any page that is here",
		"the pages before it are fetched first; this mends itself")
	ErrOriginNotMember = fault.New(fault.Forbidden, "log.origin_not_member", "the page was written by a site that is no member",
		"admit the site, or ignore it")
	ErrOriginNotAllowed = fault.New(fault.Forbidden, "log.origin_not_allowed",
		"the page was written by a site that may not hold the authority's data", "allow the site for the authority, or ignore it")
	ErrClosed = fault.New(fault.Forbidden, "log.closed", "the page was written after its site had been removed or forbidden",
		"it is not taken over; who needs what it says writes it again at another site")
	ErrTooManyForks = fault.New(fault.Forbidden, "log.too_many_forks",
		"the site has signed too many different pages of the same number", "remove the site: it is broken or hostile")
)

// maxBranches bounds what one broken or hostile site can make everybody store of one log.
const maxBranches = 32

// Closer is what a Policy may be besides: it names the logs that were closed, because their site was removed or may no
// longer hold the authority's data. What was written up to the head is accepted whoever the site is now. What comes after
// it is kept apart: accepted too, up to a bound, so that what an honest site acknowledged before it heard of the closing is
// not lost, but it does not count, see Counted.
type Closer interface {
	Closing(LogID) (Head, bool)
}

// Accept verifies the signature of pages from other sites, that their origin and we may have them, and that each follows
// one that is here, and stores them. It returns how many were stored; pages that were here already are not counted and no
// error. A page that contradicts one that is here goes to a branch of its own and is reported as a fork.
//
// After a refused page the later ones of the same log are passed over, those of other logs are not; the first refusal is
// returned. It blocks until the pages are synced.
func (l *Log) Accept(ctx context.Context, raw [][]byte) (accepted int, err error) {
	refused := make(map[LogID]bool)
	var first error
	for _, b := range raw {
		p, err := ParsePage(b)
		if err == nil && refused[p.Log] {
			continue
		}
		stored := false
		if err == nil {
			stored, err = l.acceptOne(ctx, p)
		}
		if stored {
			accepted++
		}
		if err != nil && p != nil {
			refused[p.Log] = true
		}
		if err != nil && first == nil {
			first = err
		}
	}
	if accepted > 0 {
		l.wake()
	}
	return accepted, first
}

// acceptOne takes one verified page and reports whether it was new.
func (l *Log) acceptOne(ctx context.Context, p *Page) (bool, error) {
	if err := l.MayHold(p.Log); err != nil {
		return false, fmt.Errorf("accept page %d of %s: %w", p.Number, p.Log, err)
	}
	if err := l.open(ctx, p); err != nil {
		return false, fmt.Errorf("accept page %d of %s: %w", p.Number, p.Log, err)
	}
	if err := checkPlaces(p); err != nil {
		return false, fmt.Errorf("accept page %d of %s: %w", p.Number, p.Log, err)
	}
	if err := l.mayBegin(p); err != nil {
		return false, fmt.Errorf("accept page %d of %s: %w", p.Number, p.Log, err)
	}
	r := l.record(p.Log)
	if err := r.lock(ctx); err != nil {
		return false, err
	}
	fork, stored, err := l.acceptLocked(ctx, r, p)
	r.unlock()
	if err != nil {
		return stored, fmt.Errorf("accept page %d of %s: %w", p.Number, p.Log, err)
	}
	if stored {
		l.report(p, fork)
	}
	return stored, nil
}

// checkPlaces returns ErrMalformed if an event claims a place that its log cannot carry over: only the origin succeeds its
// own log, and it keeps the stamps.
func checkPlaces(p *Page) error {
	for i := range p.Events {
		e := &p.Events[i]
		if e.Place == nil {
			continue
		}
		if e.Place.Site != p.Log.Site || !plainHex(e.Place.Incarnation, 16) || e.Place.Page == 0 || e.Place.Stamp != e.Stamp {
			return ErrMalformed.Because("event %d claims a place that is not its origin's", i)
		}
	}
	return nil
}

// MayHold returns why this site may not hold the log, nil if it may.
func (l *Log) MayHold(id LogID) error {
	p := l.cfg.Policy
	if !p.Allowed(l.self, id.Authority) {
		return ErrSiteNotAllowed
	}
	if _, closed := l.closing(id); closed {
		return nil
	}
	if !p.Member(id.Site) {
		return ErrOriginNotMember
	}
	if !p.Allowed(id.Site, id.Authority) {
		return ErrOriginNotAllowed
	}
	return nil
}

func (l *Log) closing(id LogID) (Head, bool) { return closingOf(l.cfg.Policy, id) }

// closingOf returns where the policy says that the log ends, false if it goes on.
func closingOf(p Policy, id LogID) (Head, bool) {
	if c, ok := p.(Closer); ok {
		return c.Closing(id)
	}
	return Head{}, false
}

// acceptLocked stores the page where it belongs. The caller holds the record's lock.
func (l *Log) acceptLocked(ctx context.Context, r *record, p *Page) (fork *Fork, stored bool, err error) {
	to, err := l.belongs(ctx, r, p)
	if err != nil || to.duplicate {
		return nil, false, err
	}
	if err := l.mayGrow(p); err != nil {
		return nil, false, err
	}
	if to.forks {
		if err := l.mayFork(p.Log); err != nil {
			return nil, false, err
		}
	}
	current := p.Log.Site == l.self && l.isCurrent(p.Log.Incarnation)
	if current {
		// Given up before the page is stored: nothing may be signed after a page that we did not know of.
		l.Reincarnate("another site has pages of an own log that this site did not have")
	}
	err = l.store(ctx, to.branch, p)
	if errors.Is(err, ErrDamaged) {
		if to, err = l.replace(ctx, r, to.branch, p); err == nil {
			err = l.store(ctx, to.branch, p)
		}
	}
	if err != nil {
		return nil, false, err
	}
	l.put(r, to.branch, p)
	l.countApart(p)
	if to.forks {
		fork = &Fork{Branch: to.branch, Page: p.Number}
	}
	return fork, true, nil
}

// mayBegin returns why a page of a log of which nothing is known cannot begin it: ErrGap if it is not the first one,
// ErrTooManyLogs if it must wait. Without that a refused page would leave a record behind, and there is no end of log names.
// Pages that are fetched at the same time may each get the last place, so as many more as there are pulls under way are taken.
func (l *Log) mayBegin(p *Page) error {
	l.mu.Lock()
	known := l.records[p.Log] != nil
	l.mu.Unlock()
	switch {
	case known:
		return nil
	case p.Number != 1 || p.Prev != Hash{}:
		return ErrGap
	}
	return l.Room(p.Log, l.vouched(p.Log))
}

// mayFork returns ErrTooManyLogs if another branch of the log must wait: it costs what a log costs. Who holds the log does not
// vouch for a branch of it.
func (l *Log) mayFork(id LogID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.roomFor(id, ordinary)
}

// replace deletes a branch whose end is damaged or gone, so that it takes no page any more, and returns where the page goes
// now: ErrGap if the pages before it must be fetched first. The page follows what is here, so whoever sent it has all that
// goes: a page is only ever held together with those before it. The caller holds the record's lock.
func (l *Log) replace(ctx context.Context, r *record, damaged Branch, p *Page) (belonging, error) {
	l.cfg.Logger.Error("a log is damaged and is fetched again", "log", damaged.String(), "page", p.Number)
	if err := l.cfg.Store.Delete(ctx, damaged); err != nil {
		return belonging{}, fmt.Errorf("delete the damaged %s: %w", damaged, err)
	}
	l.forget(r, damaged)
	return l.belongs(ctx, r, p)
}

// store stores a foreign page. If the store could not tell, it looks whether the page is there.
func (l *Log) store(ctx context.Context, b Branch, p *Page) error {
	err := l.cfg.Store.Append(ctx, b, p)
	if err == nil || errors.Is(err, ErrNoRoom) || errors.Is(err, ErrDamaged) {
		return err
	}
	pages, readErr := l.cfg.Store.Read(ctx, b, p.Number-1, 1)
	if readErr == nil && len(pages) > 0 && pages[0].Hash == p.Hash {
		return nil
	}
	if readErr != nil {
		return fmt.Errorf("%w; reading it back: %v", err, readErr) // what reading says is no answer to storing
	}
	return err
}

// report tells what others must know of a page that was just stored. No lock is held.
func (l *Log) report(p *Page, fork *Fork) {
	if fork != nil {
		l.cfg.Logger.Warn("a site has signed two different pages of the same number", "log", p.Log.String(), "page", p.Number)
		if l.cfg.OnFork != nil {
			l.cfg.OnFork(*fork)
		}
	}
	if latest := l.followPage(p); latest > 0 {
		skew := Skew{Site: p.Log.Site, Log: p.Log, Page: p.Number, Ahead: latest.Time().Sub(l.cfg.Now())}
		l.cfg.Logger.Warn("a site's clock is ahead", "site", string(skew.Site), "ahead", skew.Ahead)
		if l.cfg.OnSkew != nil {
			l.cfg.OnSkew(skew)
		}
	}
}

// belonging is where a page goes.
type belonging struct {
	branch    Branch
	duplicate bool // it is there already
	forks     bool // it is the first page of a new branch
}

// belongs finds the page's place among the branches of its log, ErrGap if the page before it is not here. The caller
// holds the record's lock.
func (l *Log) belongs(ctx context.Context, r *record, p *Page) (belonging, error) {
	heads := l.branchHeads(r)
	// First of all: while a damaged branch is fetched again, its fork's first page would seem to go on with it.
	if _, here, err := l.holds(ctx, heads, p.Number, p.Hash); err != nil || here {
		return belonging{duplicate: true}, err
	}
	for _, h := range heads {
		if h.Page+1 == p.Number && h.Hash == p.Prev {
			return belonging{branch: h.Branch}, nil
		}
	}
	follows := p.Number == 1 && p.Prev == Hash{}
	if !follows {
		var err error
		if _, follows, err = l.holds(ctx, heads, p.Number-1, p.Prev); err != nil {
			return belonging{}, err
		}
	}
	if !follows {
		return belonging{}, ErrGap
	}
	return newBranch(p, heads)
}

// newBranch names the branch that begins with the page.
func newBranch(p *Page, heads []Head) (belonging, error) {
	if p.Number == 1 && (len(heads) == 0 || heads[0].Branch.Fork != "") {
		return belonging{branch: Branch{LogID: p.Log}}, nil
	}
	if len(heads) >= maxBranches {
		return belonging{}, ErrTooManyForks
	}
	return belonging{branch: Branch{LogID: p.Log, Fork: p.Hash.String()[:16]}, forks: true}, nil
}

// branchHeads returns the heads of all branches of the log, the first branch first.
func (l *Log) branchHeads(r *record) []Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	heads := make([]Head, 0, len(r.branches))
	for _, b := range r.branches {
		heads = append(heads, b.head)
	}
	sortHeads(heads)
	return heads
}

// holds returns the branch among those that has the page of that number and hash.
func (l *Log) holds(ctx context.Context, heads []Head, page uint64, hash Hash) (Branch, bool, error) {
	for _, h := range heads {
		got, ok, err := l.HashAt(ctx, h.Branch, page)
		if err != nil {
			return Branch{}, false, err
		}
		if ok && got == hash {
			return h.Branch, true, nil
		}
	}
	return Branch{}, false, nil
}

// Forks returns every fork on this site's disk, sorted by branch. It does not block.
func (l *Log) Forks() []Fork {
	l.mu.Lock()
	defer l.mu.Unlock()
	var forks []Fork
	for _, b := range l.sorted() {
		if b.id.Fork != "" {
			forks = append(forks, Fork{Branch: b.id, Page: b.first})
		}
	}
	return forks
}
