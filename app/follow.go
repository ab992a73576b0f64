// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// retryEvery is how soon something is tried again that the disk or the database has refused.
const retryEvery = 2 * time.Second

// keyNews is what the read model has not been told of yet. all stands for more than was listed.
type keyNews struct {
	refs []readmodel.KeyRef
	all  bool
}

func (n *keyNews) add(keys []keyring.Changed) {
	for _, k := range keys {
		if k == (keyring.Changed{}) {
			n.refs, n.all = nil, true
		}
		if !n.all {
			n.refs = append(n.refs, readmodel.KeyRef{Authority: k.Authority, KeyID: k.KeyID})
		}
	}
}

// followKeys saves subjects again whose keys have come or are erased, and lets pages become durable. What could not be
// saved is tried again: an erased person must not stay readable.
func (s *Site) followKeys(ctx context.Context) {
	changed, stop := s.ring.Subscribe()
	defer stop()
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	var due keyNews
	due.add(s.keysSinceLastRun(ctx))
	for {
		if len(due.refs) > 0 || due.all {
			if err := s.showKeys(ctx, due); err == nil {
				due = keyNews{}
			} else if ctx.Err() == nil {
				s.logger.Error("people whose keys have changed are shown as before; it is tried again", "error", err)
			}
			s.log.Recheck(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case keys := <-changed:
			due.add(keys)
		case <-retry.C:
			if len(due.refs) == 0 && !due.all {
				s.keepKeysShown(ctx)
			}
		}
	}
}

func (s *Site) showKeys(ctx context.Context, due keyNews) error {
	if due.all {
		return s.model.Rebuild(ctx)
	}
	return s.model.KeysChanged(ctx, due.refs)
}

const keyKeysShown = "keys-shown"

// keysSinceLastRun returns the keys that came or were erased around the end of the last run, when it may have been too late
// to tell the read model of them. A site that has never kept how far it was looks at all of its keys.
func (s *Site) keysSinceLastRun(ctx context.Context) []keyring.Changed {
	var shown keyring.Cursor
	if b, err := s.local.Get(ctx, bucketMeta, keyKeysShown); err == nil {
		_ = json.Unmarshal(b, &shown) // an unreadable cursor is the beginning
	}
	authorities, err := s.ring.Authorities(ctx)
	var out []keyring.Changed
	for _, a := range authorities {
		if err == nil {
			out, err = s.keysSince(ctx, a, shown, out)
		}
	}
	if err != nil && ctx.Err() == nil {
		s.logger.Error("the keyring cannot be compared with the read model; it is folded anew", "error", err)
		return []keyring.Changed{{}}
	}
	return out
}

func (s *Site) keysSince(ctx context.Context, a event.AuthorityID, c keyring.Cursor, out []keyring.Changed) ([]keyring.Changed, error) {
	for more := true; more; {
		var records []keyring.Record
		var err error
		if records, c, more, err = s.ring.Changes(ctx, a, c, 1<<20); err != nil {
			return out, err
		}
		for _, rec := range records {
			if rec.Site == s.identity.Site() {
				// With an authority key any number of older keys has become readable.
				return append(out, keyring.Changed{}), nil
			}
			if rec.Site == "" {
				out = append(out, keyring.Changed{Authority: a, KeyID: rec.ID, Erased: rec.Erased > 0})
			}
		}
	}
	return out, nil
}

// keepKeysShown notes how far the read model knows the keyring. What it keeps is one call old: by then the changes before
// it have come through the subscription.
func (s *Site) keepKeysShown(ctx context.Context) {
	end, err := s.ring.End(ctx)
	if err != nil {
		return // the next tick tries again
	}
	if before := s.keysEnd; before != s.keysKept && before != (keyring.Cursor{}) {
		if b, err := json.Marshal(before); err == nil && s.local.Put(ctx, bucketMeta, keyKeysShown, b, time.Time{}) == nil {
			s.keysKept = before
		}
	}
	s.keysEnd = end
}

// bucketLeaving holds the authorities whose data is being taken off this site.
const bucketLeaving = "app.leaving"

// followPolicies takes an authority's data off this site's disk when the authority no longer allows this site.
func (s *Site) followPolicies(ctx context.Context) {
	changed, stop := s.federation.Subscribe()
	defer stop()
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	told := ""
	for again := true; ; {
		if again {
			err := s.leave(ctx)
			again = err != nil
			if again && ctx.Err() == nil && err.Error() != told {
				s.logger.Warn("the data of an authority that forbids this site is still here; it is tried again", "error", err)
				told = err.Error()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			again = true
		case <-retry.C:
		}
	}
}

// errNotHandedOver is why data is still here that this site may not hold: deleting it could lose what people were told is
// stored.
var errNotHandedOver = fault.New(fault.Unavailable, "app.not_handed_over", "the sites that the authority allows have not got everything from this one yet",
	"let two of them, of different operators, reach this site; if one will never come back, forbid it too")

// fetchLimit is how long forbidding a site waits for what that site has.
const fetchLimit = 5 * time.Second

// fetch asks a peer for what we lack; it may not answer.
func (s *Site) fetch(ctx context.Context, peer event.SiteID) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	if _, err := s.replicator.Step(ctx, peer); err != nil {
		s.logger.Info("a site is forbidden without having been asked for its last pages", "site", peer.Short(), "error", err)
	}
}

// leave deletes the keys and logs of all authorities that have withdrawn from this site, when other sites have everything, and
// folds the read model anew. What is being left is kept in the local store, so that a crash in the middle leaves nothing
// behind.
func (s *Site) leave(ctx context.Context) error {
	leaving, err := s.leaving(ctx)
	if err != nil {
		return err
	}
	var left []event.AuthorityID
	var errs []error
	for _, a := range leaving {
		if err := s.leaveOne(ctx, a); err != nil {
			errs = append(errs, fmt.Errorf("delete the data of %s: %w", a, err))
			continue
		}
		left = append(left, a)
	}
	if len(left) > 0 {
		if err := s.model.Rebuild(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	for _, a := range left {
		errs = append(errs, s.local.Delete(ctx, bucketLeaving, string(a)))
	}
	return errors.Join(errs...)
}

// leaveOne deletes what is here of an authority, unless it has allowed this site again meanwhile.
func (s *Site) leaveOne(ctx context.Context, a event.AuthorityID) error {
	if !s.federation.Withdrawn(a) {
		return nil
	}
	if done, err := s.replicator.HandedOver(ctx, a); !done {
		return errNotHandedOver.With(err)
	}
	s.logger.Warn("an authority no longer allows this site; its data is deleted here", "authority", a)
	return errors.Join(s.ring.Drop(ctx, a), s.log.Drop(ctx, a))
}

// leaving returns the authorities that are to be left: those noted before a crash, and those that have withdrawn.
func (s *Site) leaving(ctx context.Context) (list []event.AuthorityID, err error) {
	err = s.local.Each(ctx, bucketLeaving, func(a string, _ []byte) error {
		list = append(list, event.AuthorityID(a))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, h := range s.log.Heads() {
		a := h.Branch.Authority
		if slices.Contains(list, a) || !s.federation.Withdrawn(a) {
			continue
		}
		if err := s.local.Put(ctx, bucketLeaving, string(a), []byte("1"), time.Time{}); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// finishEvery is how soon a key is destroyed that another site has made for an erased person.
const finishEvery = 5 * time.Second

// finishErasures destroys keys that came to light after their person had been erased.
func (s *Site) finishErasures(ctx context.Context) {
	every(ctx, finishEvery, func() {
		for _, a := range s.federation.AuthorityIDs() {
			if _, err := s.directory.FinishErasures(ctx, a); err != nil && ctx.Err() == nil {
				s.logger.Warn("the erasure of a person is not finished; it is tried again", "authority", a, "error", err)
			}
		}
	})
}
