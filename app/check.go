// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
)

// When stores are read back and compared with what was written. The small ones soon after the start and every hour; the logs and
// the read model once a day, the first time soon enough after the start that a site which is started anew every night is checked
// too. A check takes at most a tenth of the disk's time.
const (
	smallFirst = time.Minute
	smallEvery = time.Hour
	scrubFirst = time.Hour
	scrubEvery = 24 * time.Hour
	scrubShare = 10
)

// errReopen ends Run because a store must be opened anew to be repaired; Serve then does so.
var errReopen = errors.New("a store of this site is damaged and is repaired by opening it anew")

// reopenEvery is how soon a site may be opened anew again for the same purpose: a disk that damages files all the time must not
// keep people out all the time.
const reopenEvery = time.Hour

// pace returns a function that rests so long that what happens between its calls takes one part in share of the time.
func pace(share time.Duration) func(context.Context) error {
	begin := time.Now()
	return func(ctx context.Context) error {
		rest := time.NewTimer((share - 1) * time.Since(begin))
		defer rest.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rest.C:
			begin = time.Now()
			return nil
		}
	}
}

func atFullSpeed(ctx context.Context) error { return ctx.Err() }

// followStores keeps the board up to date and has checked what somebody could not read. It returns errReopen when a store must be
// opened anew, nil when ctx ends.
func (s *Site) followStores(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.log.Suspected():
			s.noteDamages(s.log.ScrubSuspected(ctx))
		case <-tick.C:
		case <-s.checked:
		}
		s.look(ctx)
		if s.ring.Suspected() || s.local.Suspected() {
			if err := s.checkSmall(ctx, atFullSpeed); s.mustReopen(err) {
				return errReopen
			}
		}
	}
}

// mustReopen reports whether a store is so damaged that only opening it anew helps, and whether that may be done now.
func (s *Site) mustReopen(err error) bool {
	if !errors.Is(err, keyring.ErrDamaged) && !errors.Is(err, localstore.ErrDamaged) {
		return false
	}
	return !s.now().Before(s.reopenAfter)
}

// scrub reads all stores back, again and again.
func (s *Site) scrub(ctx context.Context) {
	small, large := time.NewTimer(smallFirst), time.NewTimer(scrubFirst)
	defer small.Stop()
	defer large.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-small.C:
			_ = s.checkSmall(ctx, pace(scrubShare)) // it is told; followStores acts on it
			small.Reset(smallEvery)
		case <-large.C:
			s.checkLarge(ctx, pace(scrubShare))
			large.Reset(scrubEvery)
		}
	}
}

// scrubOnce reads everything back at once, and returns the logs that are damaged. The rest is on the board.
func (s *Site) scrubOnce(ctx context.Context) []eventlog.Damage {
	_ = s.checkSmall(ctx, atFullSpeed) // as above
	return s.checkLarge(ctx, atFullSpeed)
}

// checkLarge checks the read model and the logs.
func (s *Site) checkLarge(ctx context.Context, rest func(context.Context) error) []eventlog.Damage {
	if err := s.model.Check(ctx, rest); err != nil && ctx.Err() == nil {
		s.logger.Warn("the read model was checked and is not in order", "error", err)
	}
	damages, err := s.log.ScrubGently(ctx, rest)
	s.noteDamages(damages, err)
	select {
	case s.checked <- struct{}{}:
	default: // it looks anyway
	}
	return damages
}

// noteDamages remembers the damaged logs for the next look.
func (s *Site) noteDamages(found []eventlog.Damage, err error) {
	s.ailing.mu.Lock()
	defer s.ailing.mu.Unlock()
	for _, d := range found {
		s.ailing.logs[d.Branch] = d
	}
	s.health.Set(err != nil && !errors.Is(err, context.Canceled), health.Condition{Store: health.Log, Cause: health.Failing, Detail: "check",
		Message: fmt.Sprintf("the logs could not be checked: %v", err), WayOut: "look at the data disk of this machine"})
}

// checkSmall checks the keyring, the local store, the site's key and the configuration. It returns keyring.ErrDamaged or
// localstore.ErrDamaged for what only opening anew repairs.
func (s *Site) checkSmall(ctx context.Context, rest func(context.Context) error) error {
	_, ring := s.ring.Check(ctx, rest)
	local := s.local.Check(ctx, rest)
	s.tellFile(health.Keyring, keyringFile, ring)
	s.tellFile(health.Local, localFile, local)
	s.checkKey()
	_, err := LoadConfig(s.data)
	s.health.Set(err != nil, health.Condition{Store: health.Config, Cause: health.Damaged,
		Message: fmt.Sprintf("this site would not start again with the configuration on its disk: %v", err), WayOut: "mend config.yaml"})
	return errors.Join(ring, local)
}

// tellFile tells of a store whose file as such is damaged.
func (s *Site) tellFile(store health.Store, file string, err error) {
	damaged := errors.Is(err, keyring.ErrDamaged) || errors.Is(err, localstore.ErrDamaged)
	s.health.Set(damaged, health.Condition{Store: store, Cause: health.Damaged, Detail: file, Blocks: true,
		Message: fmt.Sprintf("%s is damaged: %v", file, err), Doing: "the site opens its stores anew, which repairs it",
		WayOut: "if it stays: restart the site; check this machine's disk and memory"})
}

// checkKey compares site.key with the key that this process has. If the file is damaged it is written again: after the next start
// nobody would have the key any more.
func (s *Site) checkKey() {
	id, err := s.vault.loadIdentity(s.data)
	if err == nil && id.Site() == s.identity.Site() {
		s.health.Mend(health.Key, health.Damaged, "")
		return
	}
	c := health.Condition{Store: health.Key, Cause: health.Damaged, Message: "site.key is damaged or was replaced",
		Doing: "it was written again with the key that the running site has", WayOut: "check this machine's disk and memory"}
	if err == nil || errors.Is(err, localstore.ErrIdentityDamaged) || errors.Is(err, localstore.ErrIdentityKey) || errors.Is(err, localstore.ErrIdentityMissing) {
		err = s.vault.writeIdentity(s.data, s.identity)
		if err == nil {
			s.health.Tell(c)
			s.health.Mend(health.Key, health.Damaged, "")
			return
		}
	}
	c.Doing, c.WayOut = "", "put site.key back from its backup before this site is stopped"
	if err != nil {
		c.Message += ": " + err.Error()
	}
	s.health.Tell(c)
}
