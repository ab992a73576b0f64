// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"errors"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// scrubBytes is how much Scrub reads at once.
const scrubBytes = 2 << 20

// Scrub reads every page of every branch and checks bytes, signature and chain. What is not in order is returned. A damaged
// branch is deleted if Config.Elsewhere says that another site has it, so that it is fetched again as a copy; if it is
// the only one it is kept for as long as it can be read. When an own log of the present incarnation is damaged, the
// incarnation is given up.
//
// It reads as fast as the disk allows; run it rarely, and end ctx to stop it. The error is ctx's or the store's.
func (l *Log) Scrub(ctx context.Context) ([]Damage, error) {
	return l.ScrubGently(ctx, func(context.Context) error { return nil })
}

// ScrubGently is Scrub with a rest after every 2 MiB: rest may wait, and its error ends the scrub.
func (l *Log) ScrubGently(ctx context.Context, rest func(context.Context) error) ([]Damage, error) {
	return l.scrub(ctx, l.Heads(), rest)
}

// ScrubSuspected is Scrub for those branches of which somebody could not read a page since they were checked last.
func (l *Log) ScrubSuspected(ctx context.Context) ([]Damage, error) {
	l.mu.Lock()
	suspected := l.suspects
	l.suspects = make(map[Branch]bool)
	l.mu.Unlock()
	found, err := l.scrub(ctx, l.headsOf(func(b *branch) bool { return suspected[b.id] }), func(context.Context) error { return nil })
	if err != nil {
		for b := range suspected {
			l.Suspect(b) // it is not known yet
		}
	}
	return found, err
}

// Suspected returns a channel that gets a value when a page could not be read because it is damaged: ScrubSuspected then has
// something to do.
func (l *Log) Suspected() <-chan struct{} { return l.suspected }

// doubt remembers a branch of which a page is damaged. It returns err.
func (l *Log) doubt(b Branch, err error) error {
	if !damaged(err) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept[b] {
		l.suspect(b)
	}
	return err
}

// Suspect has a branch checked by the next ScrubSuspected: a damaged only copy may not be the only one any more.
func (l *Log) Suspect(b Branch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.suspect(b)
}

// suspect is called with mu held.
func (l *Log) suspect(b Branch) {
	l.suspects[b] = true
	select {
	case l.suspected <- struct{}{}:
	default: // it is known already that there is one
	}
}

func (l *Log) scrub(ctx context.Context, heads []Head, rest func(context.Context) error) ([]Damage, error) {
	var found []Damage
	for _, h := range heads {
		page, err := l.check(ctx, h, rest)
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		if err != nil && !damaged(err) {
			return found, fmt.Errorf("check %s: %w", h.Branch, err)
		}
		if err == nil {
			l.keep(h.Branch, false)
			continue
		}
		d, err := l.mend(ctx, Damage{Branch: h.Branch, Page: page, Last: h.Page, Err: err})
		if err != nil {
			return found, err
		}
		l.keep(h.Branch, !d.Deleted)
		found = append(found, d)
	}
	return found, nil
}

// keep notes whether a branch is damaged and kept as the only copy. Whoever reads it meets the damage again and again, and to check
// it each time would keep the disk busy.
func (l *Log) keep(b Branch, damaged bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.kept, b)
	if damaged {
		l.kept[b] = true
	}
}

// damaged tells bytes that are not in order from a store that does not answer.
func damaged(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrSignature)
}

// check reads the branch up to the head. It returns the number of the first page that is not in order, and why.
func (l *Log) check(ctx context.Context, h Head, rest func(context.Context) error) (uint64, error) {
	prev, after, err := l.before(ctx, h.Branch)
	if err != nil {
		return after + 1, err
	}
	for after < h.Page {
		pages, err := l.cfg.Store.Read(ctx, h.Branch, after, scrubBytes)
		if err != nil {
			return after + 1, err
		}
		if len(pages) == 0 {
			return after + 1, ErrDamaged.Because("the page is gone")
		}
		for _, p := range pages {
			if err := checkPage(h, p, after+1, prev); err != nil {
				return after + 1, err
			}
			prev, after = p.Hash, p.Number
		}
		if err := rest(ctx); err != nil {
			return after, err
		}
	}
	return 0, nil
}

// before returns the hash and number of the page that the branch begins after.
func (l *Log) before(ctx context.Context, b Branch) (Hash, uint64, error) {
	if b.Fork == "" {
		return Hash{}, 0, nil
	}
	first, err := l.cfg.Store.Read(ctx, b, 0, 1)
	if err != nil {
		return Hash{}, 0, err
	}
	if len(first) == 0 || first[0].Hash.String()[:16] != b.Fork {
		return Hash{}, 0, ErrDamaged.Because("the branch does not begin with its page")
	}
	return first[0].Prev, first[0].Number - 1, nil
}

func checkPage(h Head, p *Page, number uint64, prev Hash) error {
	if _, err := ParsePage(p.Raw()); err != nil {
		return err
	}
	switch {
	case p.Log != h.Branch.LogID || p.Number != number || p.Prev != prev:
		return ErrDamaged.Because("the page does not follow the one before")
	case number == h.Page && p.Hash != h.Hash:
		return ErrDamaged.Because("the page is not the one that was acknowledged")
	}
	return nil
}

// mend decides what becomes of a damaged branch and does it.
func (l *Log) mend(ctx context.Context, d Damage) (Damage, error) {
	r := l.record(d.Branch.LogID)
	if err := r.lock(ctx); err != nil {
		return d, err
	}
	defer r.unlock()
	if d.Branch.Site == l.self && l.isCurrent(d.Branch.Incarnation) {
		l.Reincarnate("an own log is damaged")
	}
	head, there := l.Head(d.Branch)
	elsewhere := there && l.cfg.Elsewhere != nil && l.cfg.Elsewhere(head)
	if !elsewhere {
		return d, nil
	}
	if err := l.cfg.Store.Delete(ctx, d.Branch); err != nil {
		return d, fmt.Errorf("delete the damaged %s: %w", d.Branch, errors.Join(err, d.Err))
	}
	d.Deleted = true
	l.forget(r, d.Branch)
	return d, nil
}

// Drop deletes all logs of an authority that no longer allows this site, our own among them; the sites that it allows have
// them. It returns a fault of kind Conflict as long as the policy allows this site, and the store's error.
func (l *Log) Drop(ctx context.Context, authority event.AuthorityID) error {
	if l.cfg.Policy.Allowed(l.self, authority) {
		return errStillAllowed
	}
	for _, h := range l.headsOf(func(b *branch) bool { return b.id.Authority == authority }) {
		if err := l.drop(ctx, h.Branch); err != nil {
			return fmt.Errorf("delete %s: %w", h.Branch, err)
		}
	}
	return nil
}

var errStillAllowed = fault.New(fault.Conflict, "log.still_allowed", "the authority allows this site, so its logs stay",
	"forbid the site first with 'holdfast authority forbid'")

func (l *Log) drop(ctx context.Context, b Branch) error {
	r := l.record(b.LogID)
	if err := r.lock(ctx); err != nil {
		return err
	}
	defer r.unlock()
	if b.Site == l.self && l.isCurrent(b.Incarnation) {
		// If the site is allowed again it must not sign these page numbers a second time.
		l.Reincarnate("an own log was deleted, since its authority no longer allows this site")
	}
	if err := l.cfg.Store.Delete(ctx, b); err != nil {
		return err
	}
	l.forget(r, b)
	return nil
}

// forget drops what is known of a branch, and the subscribers hear that it is gone.
func (l *Log) forget(r *record, b Branch) {
	l.mu.Lock()
	l.shrink(r.branches[b.Fork])
	delete(r.branches, b.Fork)
	l.order = nil
	l.mu.Unlock()
	l.wake()
}
