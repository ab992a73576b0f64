// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"codeberg.org/holdfast/holdfast/event"
)

// maxAhead bounds the subjects that are remembered because a wrong clock threw them ahead. Commands also pass the last
// stamp they know of (event.Draft.After), so forgetting one is no disaster.
const maxAhead = 1 << 16

// subjectKey names a subject across authorities.
type subjectKey struct {
	authority event.AuthorityID
	subject   event.Subject
}

// Follow makes the next own event in the subject exceed the stamp, also where that is further ahead than our clock may
// be moved. What is remembered is dropped when the wall clock has passed it.
func (l *Log) Follow(authority event.AuthorityID, subject event.Subject, stamp event.Stamp) {
	if stamp >= MaxStamp || l.cfg.Clock.Follow(stamp) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remember(subjectKey{authority, subject}, stamp)
}

// remember keeps the subject's stamp. The caller holds mu.
func (l *Log) remember(k subjectKey, stamp event.Stamp) {
	if _, there := l.ahead[k]; !there && len(l.ahead) >= maxAhead {
		l.forgetPassed()
		if len(l.ahead) >= maxAhead {
			return
		}
	}
	l.ahead[k] = max(l.ahead[k], stamp)
}

// forgetPassed drops what the wall clock has passed. The caller holds mu.
func (l *Log) forgetPassed() {
	now := event.StampAt(l.cfg.Now())
	for k, s := range l.ahead {
		if s < now {
			delete(l.ahead, k)
		}
	}
}

// stamp returns the next stamp for an event of the subject and the wall clock in milliseconds.
func (l *Log) stamp(k subjectKey, after event.Stamp) (event.Stamp, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	after = max(after, l.ahead[k])
	if after >= MaxStamp-1 {
		after = 0 // nothing can come after that; what must win refers to it
	}
	s, wall := l.cfg.Clock.Next(after)
	switch {
	case after == 0:
	case s == after+1:
		l.remember(k, s) // thrown ahead of the clock, which stays behind: the next one must exceed it, too
	default:
		delete(l.ahead, k)
	}
	return s, wall
}

// followPage moves the clock up to the page's stamps. It returns how far the latest of them is ahead of the wall clock
// if that is more than the clock may follow, else 0.
func (l *Log) followPage(p *Page) (ahead event.Stamp) {
	for _, e := range p.Events {
		if l.cfg.Clock.Follow(e.Stamp) {
			continue
		}
		l.Follow(p.Log.Authority, e.Subject, e.Stamp)
		ahead = max(ahead, e.Stamp)
	}
	return ahead
}
