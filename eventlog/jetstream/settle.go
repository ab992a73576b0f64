// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// errUnknown never wraps ErrNoRoom, which would say that the page is not stored.
var errUnknown = fault.New(fault.Unavailable, "log.unanswered",
	"the disk of this site does not answer; what was being written may or may not be stored",
	"look at the data disk; the log settles it by itself when the disk has room and answers")

func (b *branch) doubt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unsure = true
}

// suspect notes that what is on the disk may differ from what we remember.
func (s *Store) suspect(e *engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubt = e
}

// Stuck reports whether a page was not acknowledged and nobody knows yet what became of it. Nothing is written until that is
// settled: the engine is started again as soon as the disk has room.
func (s *Store) Stuck() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubt != nil
}

// settled returns an engine that is not in doubt and whose heads we know.
func (s *Store) settled(ctx context.Context) (*engine, error) {
	for {
		if err := s.settle(ctx); err != nil {
			return nil, err
		}
		e, err := s.srv.current()
		if err != nil {
			return nil, err
		}
		// An engine that was exchanged just now is in doubt until its heads have been read.
		s.mu.Lock()
		sure := s.doubt == nil
		s.mu.Unlock()
		if sure {
			return e, nil
		}
	}
}

// settle starts a stuck engine again, if there is room, and reads the heads afresh. Without doubt it costs nothing.
func (s *Store) settle(ctx context.Context) error {
	doubt, err := s.doubted()
	if doubt == nil || err != nil {
		return err
	}
	s.settling.Lock()
	defer s.settling.Unlock()
	if doubt, err = s.doubted(); doubt == nil || err != nil {
		return err
	}
	if err := s.room.take(eventlog.MaxPageBytes); err != nil {
		return err
	}
	exchanged, err := s.srv.restart(doubt)
	if err != nil {
		return fault.New(fault.Unavailable, "log.stuck", "the log of this site is stuck",
			"look at the data disk; writing resumes by itself when the log starts again").With(err)
	}
	s.unread = s.unread || exchanged
	if s.unread {
		e, err := s.srv.current()
		if err != nil {
			return err
		}
		if err := s.load(ctx, e); err != nil {
			return err
		}
		s.unread = false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubt == doubt {
		s.doubt = nil
	}
	return nil
}

// doubted returns the engine that is in doubt, nil if none is.
func (s *Store) doubted() (*engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	return s.doubt, nil
}

// resolve finds out what became of a page whose publish was not answered, and if it is not on the disk writes it again.
func (s *Store) resolve(ctx context.Context, e *engine, b *branch, p *eventlog.Page, cause error) error {
	s.srv.cfg.Logger.Warn("a page was not acknowledged", "log", b.id.String(), "page", p.Number, "error", cause)
	now, err := s.srv.current()
	if err != nil || now == e {
		s.suspect(e)
	}
	b.doubt()
	if err := s.settle(ctx); err != nil {
		return errUnknown.Because("%v", err).With(cause)
	}
	if h, ok := b.head(); ok && h.Page == p.Number && h.Hash == p.Hash {
		return nil
	}
	if err := b.follows(p); err != nil {
		return err
	}
	if now, err = s.settled(ctx); err != nil {
		return err
	}
	return s.conclude(now, b, p, s.put(ctx, now, b, p))
}

// certain settles the fate of a page that may follow the last one, if that is what is asked for.
func (s *Store) certain(ctx context.Context, b *branch, after uint64) error {
	b.mu.Lock()
	matters := b.unsure && (!b.exists || after >= b.page)
	b.mu.Unlock()
	if !matters {
		return nil
	}
	if err := s.settle(ctx); err != nil {
		return errUnknown.Because("%v", err)
	}
	return nil
}

// unmade forgets the streams that were being made when the engine got stuck and that are not there.
func (s *Store) unmade(seen map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, b := range s.branches {
		b.mu.Lock()
		if b.unsure && !seen[name] {
			b.unsure = false
			b.exists, b.first, b.page, b.hash = false, 0, 0, eventlog.Hash{}
		}
		b.mu.Unlock()
	}
}
