// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

const (
	// stepEvery is how often Run looks, eraseEvery how often it looks for keys to destroy.
	stepEvery  = 5 * time.Second
	eraseEvery = time.Minute
	// tellDelay is how long a site waits, times its rank, before it tells of a warning in place of the sites before it;
	// tellAgain is how long it waits after nobody could be told.
	tellDelay = time.Minute
	tellAgain = 2 * time.Minute
	// maxWarned bounds the warnings that are remembered, perStep those that one Step tells of.
	maxWarned = 10_000
	// perStep bounds the warnings that one Step tells of, besides those that somebody was invited again.
	perStep = 50
	// againTold is how long it is tried to tell somebody that they were invited again.
	againTold = 24 * time.Hour
)

// doer is what Step remembers between steps. It is lost at a restart, and nothing but time with it.
type doer struct {
	mu     sync.Mutex
	first  map[string]time.Time // when this site first saw a warning
	next   map[string]time.Time // when to try it again
	erased map[event.KeyID]bool // keys that were destroyed here
	swept  time.Time
}

// Step tells people and administrators of warnings, and destroys the keys of erased people's accounts. It does a bounded
// amount of work, blocks for gateways, and returns the first error; the rest is done all the same. One Step runs at a time.
func (s *Service) Step(ctx context.Context) error {
	s.doer.mu.Lock()
	defer s.doer.mu.Unlock()
	now := s.cfg.Now()
	sweep := now.Sub(s.doer.swept) >= eraseEvery || now.Before(s.doer.swept)
	if sweep {
		s.doer.swept = now
	}
	var errs []error
	for _, a := range s.cfg.Federation.Held() {
		errs = append(errs, s.tellAll(ctx, a, now))
		if sweep {
			_, err := s.eraseLate(ctx, a)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Run steps every five seconds until ctx ends.
func (s *Service) Run(ctx context.Context) {
	t := time.NewTicker(stepEvery)
	defer t.Stop()
	for {
		if err := s.Step(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("accounts could not be looked after; it will be tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (s *Service) tellAll(ctx context.Context, a event.AuthorityID, now time.Time) error {
	if s.cfg.Messenger == nil {
		return nil
	}
	var untold []Warning
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		untold, err = untoldWarnings(ctx, q, a, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for warnings: %w", err)
	}
	var errs []error
	for _, w := range untold {
		if s.myTurn(a, w, now) {
			errs = append(errs, s.tell(ctx, a, w, now))
		}
	}
	return errors.Join(errs...)
}

// myTurn says whether this site tells of a warning now: the first of the sites where it happened does, in the order of
// their ids, and the others wait for it.
func (s *Service) myTurn(a event.AuthorityID, w Warning, now time.Time) bool {
	key := string(a) + "/" + string(w.Person) + "/" + w.ID
	if len(s.doer.first) > maxWarned {
		clear(s.doer.first)
		clear(s.doer.next)
	}
	if _, known := s.doer.first[key]; !known {
		s.doer.first[key] = now
	}
	return !now.Before(s.doer.first[key].Add(time.Duration(rankOf(w.Sites, s.cfg.Self))*tellDelay)) && !now.Before(s.doer.next[key])
}

// rankOf is a site's place among those where something happened, from 0; others come after them.
func rankOf(sites []event.SiteID, self event.SiteID) int {
	sorted := slices.Compact(slices.Sorted(slices.Values(sites)))
	if i := slices.Index(sorted, self); i >= 0 {
		return i
	}
	return len(sorted)
}

// tell tells the person and the administrators, and records it if anybody could be told. That somebody was invited again is told
// that person only: the administrators see it on their page, and one of them has done it.
func (s *Service) tell(ctx context.Context, a event.AuthorityID, w Warning, now time.Time) error {
	told := Told{Warning: w.ID}
	err := s.cfg.Messenger.Tell(ctx, a, w.Person, warningToPerson(w))
	told.Person = err == nil
	if w.What == InvitedAgain && !told.Person {
		s.doer.next[string(a)+"/"+string(w.Person)+"/"+w.ID] = now.Add(tellAgain)
		return nil // there may be no way to reach the person; they see it when they sign in
	}
	var admins []directory.PersonID
	if w.What != InvitedAgain {
		admins, err = s.administrators(ctx, a)
	}
	for _, admin := range admins {
		if admin == w.Person {
			continue
		}
		if s.cfg.Messenger.Tell(ctx, a, admin, warningToAdministrators(w)) == nil {
			told.Administrators++
		}
	}
	if !told.Person && told.Administrators == 0 {
		s.doer.next[string(a)+"/"+string(w.Person)+"/"+w.ID] = now.Add(tellAgain)
		return errors.Join(err, fmt.Errorf("nobody could be told of a warning (%s)", w.What))
	}
	if _, err := s.appendFact(ctx, a, w.Person, "site/"+string(s.cfg.Self), KindTold, told); err != nil {
		return err
	}
	return errors.Join(err, s.audit(ctx, a, "account.warn", string(accountSubject(w.Person))))
}

const maxAdministrators = 20

func (s *Service) administrators(ctx context.Context, a event.AuthorityID) ([]directory.PersonID, error) {
	if s.cfg.Administrators == nil {
		return nil, nil
	}
	list, err := s.cfg.Administrators(ctx, a)
	return list[:min(len(list), maxAdministrators)], err
}
