// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
)

// Bounds of what is kept behind the ends of a site's closed logs: enough for what an honest site writes before it
// hears of the closing, and not enough to fill a disk with.
const (
	maxApart      = 4096      // pages of one authority
	maxApartBytes = 256 << 20 // of all authorities; see Log.apartLimit
)

// open returns ErrClosed if the page's log ends before it and the page is not kept apart either, and the store's
// error. Of two pages of the last number only the named one counts.
func (l *Log) open(ctx context.Context, p *Page) error {
	if !l.behindEnd(p) {
		return nil
	}
	if l.apart(p.Log.Authority, p.Log.Site) >= maxApart {
		return ErrClosed
	}
	bytes, err := l.apartBytes(ctx, p.Log.Site)
	if err != nil {
		return fmt.Errorf("measure what is kept apart: %w", err)
	}
	if bytes+int64(len(p.Raw())) > l.apartLimit {
		return ErrClosed
	}
	return nil
}

// behindEnd reports whether the page does not count, because its log was closed before it.
func (l *Log) behindEnd(p *Page) bool {
	last, closed := l.closing(p.Log)
	return closed && beyond(Head{Page: p.Number, Hash: p.Hash}, last)
}

// beyond reports whether a page does not count in a log that was closed at last.
func beyond(h, last Head) bool {
	return h.Page > last.Page || h.Page == last.Page && h.Hash != last.Hash
}

// apart counts the pages that are kept behind the ends of a site's closed logs of an authority.
func (l *Log) apart(authority event.AuthorityID, site event.SiteID) (pages uint64) {
	for _, h := range l.headsApart(site) {
		if h.Branch.Authority == authority {
			last, _ := l.closing(h.Branch.LogID)
			pages += max(1, h.Page-last.Page)
		}
	}
	return pages
}

// headsApart returns the heads of a site's branches that go on behind the ends of their logs.
func (l *Log) headsApart(site event.SiteID) (apart []Head) {
	for _, h := range l.headsOf(func(b *branch) bool { return b.id.Site == site }) {
		if last, closed := l.closing(h.Branch.LogID); closed && beyond(h, last) {
			apart = append(apart, h)
		}
	}
	return apart
}

// apartBytes returns the bytes of all pages of a site that are kept apart. The first time it reads them, up to the
// bound; after that they are counted. If a log's end is moved meanwhile, the count is right again after the next
// start.
func (l *Log) apartBytes(ctx context.Context, site event.SiteID) (int64, error) {
	l.mu.Lock()
	bytes, known := l.apartCount[site]
	l.mu.Unlock()
	if known {
		return bytes, nil
	}
	for _, h := range l.headsApart(site) {
		last, _ := l.closing(h.Branch.LogID)
		for after := max(last.Page, 1) - 1; after < h.Page && bytes <= l.apartLimit; {
			pages, err := l.cfg.Store.Read(ctx, h.Branch, after, scrubBytes)
			if err != nil {
				return 0, err
			}
			if len(pages) == 0 {
				break
			}
			for _, p := range pages {
				after = p.Number
				if l.behindEnd(p) {
					bytes += int64(len(p.Raw()))
				}
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apartCount[site] = bytes
	return bytes, nil
}

// countApart notes a page that was just stored.
func (l *Log) countApart(p *Page) {
	if !l.behindEnd(p) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.apartCount[p.Log.Site]; known {
		l.apartCount[p.Log.Site] += int64(len(p.Raw()))
	}
}
