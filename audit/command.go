// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// Keys is what the audit needs of a keyring.Ring.
type Keys interface {
	NewKeys(ctx context.Context, authority event.AuthorityID, n int) ([]keyring.Key, error)
	Key(ctx context.Context, authority event.AuthorityID, id event.KeyID) (seal.Key, error)
	Erase(ctx context.Context, authority event.AuthorityID, ids ...event.KeyID) error
}

// Model is what the audit needs of a readmodel.Model.
type Model interface {
	View(ctx context.Context, read func(q readmodel.Query) error) error
	State(ctx context.Context, authority event.AuthorityID, subject event.Subject, into any) (found bool, err error)
}

// Config is what a Service needs. All fields but Logger and Source are required.
type Config struct {
	Self   event.SiteID
	Log    eventlog.Appender
	Model  Model
	Keys   Keys
	Now    func() time.Time
	Rand   io.Reader
	Logger *slog.Logger
	// Source returns a keyed pseudonym of a remote address, the same one for the same address and of 40 characters at most. It
	// stands in lines that no authority's key can seal. Without it those lines say nothing of where the deed came from.
	Source func(address string) string
}

// Service records deeds and answers questions about them. It is safe for concurrent use. All methods but Gather block
// until they are done or ctx ends.
type Service struct {
	cfg    Config
	gather gatherer
	months months

	rand sync.Mutex // cfg.Rand need not be safe for concurrent use
}

// New returns a Service. It starts nothing: call Run, or Step now and then.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg}
}

// ErrAfter is returned by Entries for a page that is to begin after a line that this site does not have.
var ErrAfter = fault.New(fault.Invalid, "audit.after_unknown", "the line after which the page should begin is not in this site's audit",
	"begin with the newest lines again")

// Record writes one line to the log of the authority. It returns when the line is on this site's disk; the read model shows
// it as soon as it has folded it. With the authority "" the line goes to the federation's log, where a pseudonym stands for
// the address. It returns the log's errors; whoever may not act without a trace must then not act.
func (s *Service) Record(ctx context.Context, authority event.AuthorityID, e Entry) error {
	if authority == "" {
		authority = event.Federation
	}
	return s.write(ctx, authority, []entry{{Entry: e.bounded()}})
}

// entry is an Entry with the moment of the first deed that it counts.
type entry struct {
	Entry
	since time.Time
}

// write appends the entries as lines, in one Append. A month that has no key yet is opened in the same Append, so the fact
// that names the key is never missing where a line needs it.
func (s *Service) write(ctx context.Context, authority event.AuthorityID, entries []entry) error {
	key, opened, done, err := s.monthKey(ctx, authority, entries)
	if err != nil {
		return fmt.Errorf("record in the audit: %w", err)
	}
	drafts := opened
	for _, e := range entries {
		d, err := s.draft(e, key)
		if err != nil {
			done(false)
			return fmt.Errorf("record in the audit: %w", err)
		}
		drafts = append(drafts, d)
	}
	_, err = s.cfg.Log.Append(ctx, authority, event.Audit, drafts...)
	done(err == nil)
	if err != nil {
		return fmt.Errorf("record in the audit: %w", err)
	}
	return nil
}

func (s *Service) draft(e entry, key keyring.Key) (event.Draft, error) {
	s.rand.Lock()
	defer s.rand.Unlock()
	id, err := event.NewID(s.cfg.Rand)
	if err != nil {
		return event.Draft{}, err
	}
	d := event.Draft{Subject: subjectOf(string(id)), Kind: KindRecorded, Actor: e.Actor, Grant: e.Grant}
	fact := Recorded{Deed: e.Deed, Way: e.Way, Object: e.Object, Outcome: e.Outcome, Code: e.Code, Count: e.Count}
	if !e.since.IsZero() {
		fact.Since = e.since.UnixMilli()
	}
	switch {
	case e.From == "":
	case key.ID == "":
		fact.Source = s.pseudonym(e.From)
	default:
		fact.Key, d.Keys = key.ID, []event.KeyID{key.ID}
		if fact.Sealed, err = key.Secret.Seal(s.cfg.Rand, sealContext(d.Subject), []byte(e.From)); err != nil {
			return event.Draft{}, err
		}
	}
	d.Data = fact
	return d, nil
}

func (s *Service) pseudonym(from string) string {
	if s.cfg.Source == nil {
		return ""
	}
	return plain(s.cfg.Source(from), maxFrom)
}

// Entries returns a page of lines, newest first. An unknown authority has none. It returns ErrAfter if Query.After is not
// known here.
func (s *Service) Entries(ctx context.Context, authority event.AuthorityID, q Query) (lines []Line, err error) {
	if authority == "" {
		authority = event.Federation
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	err = s.cfg.Model.View(ctx, func(v readmodel.Query) (err error) {
		lines, err = listLines(ctx, v, authority, q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	return lines, nil
}

// UnderWithdrawn returns what was done under grants after they had been withdrawn, at sites that had not heard of it yet:
// newest first, MaxLimit at most of each grant.
func (s *Service) UnderWithdrawn(ctx context.Context, authority event.AuthorityID, withdrawn []Withdrawn) (lines []Line, err error) {
	err = s.cfg.Model.View(ctx, func(v readmodel.Query) error {
		for _, w := range withdrawn {
			if w.Grant == "" {
				continue
			}
			more, err := linesUnder(ctx, v, authority, w)
			if err != nil {
				return err
			}
			lines = append(lines, more...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	sortNewestFirst(lines)
	return lines, nil
}

// Run calls Step every few seconds until ctx ends, and Flush then.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			s.logFailure(s.Flush(last))
			return
		case <-ticker.C:
			s.logFailure(s.Step(ctx))
		}
	}
}

// How often Run looks for minutes that are over, and how long the last flush may take.
const (
	tick      = 5 * time.Second
	lastFlush = 5 * time.Second
)

func (s *Service) logFailure(err error) {
	if err != nil {
		s.cfg.Logger.Error("gathered lines of the audit could not be written; they are kept and tried again", "error", err)
	}
}
