// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/localstore"
)

// The buckets of this package in the local store.
const (
	bucketSite       = "site"
	bucketPins       = "site.pin"
	bucketInvitation = "site.invitation"
	keyFounder       = "founder"
)

func (s *Service) loadPins(ctx context.Context) error {
	b, err := s.readPins(ctx)
	if err != nil {
		return err
	}
	s.refreshing.Lock()
	s.boot, s.known = b, folded{}
	s.refreshing.Unlock()
	return nil
}

func (s *Service) readPins(ctx context.Context) (bootstrap, error) {
	founder, err := s.Local.Get(ctx, bucketSite, keyFounder)
	if err != nil && !errors.Is(err, localstore.ErrNotFound) {
		return bootstrap{}, err
	}
	b := bootstrap{founder: event.SiteID(founder)}
	err = s.Local.Each(ctx, bucketPins, func(_ string, value []byte) error {
		var m Member
		if err := json.Unmarshal(value, &m); err != nil {
			return fmt.Errorf("read a pinned site: %w", err)
		}
		b.pins = append(b.pins, m)
		return nil
	})
	return b, err
}

func (s *Service) pin(ctx context.Context, founder event.SiteID, members []Member) error {
	if err := storePins(ctx, s.Local, founder, members); err != nil {
		return err
	}
	return s.loadPins(ctx)
}

func storePins(ctx context.Context, local *localstore.Store, founder event.SiteID, members []Member) error {
	for _, m := range members {
		m.Self = false
		if err := local.Put(ctx, bucketPins, string(m.Site), []byte(mustJSON(m)), time.Time{}); err != nil {
			return err
		}
	}
	// Last, so that a founder is only known together with its pins.
	return local.Put(ctx, bucketSite, keyFounder, []byte(founder), time.Time{})
}

// keepPins keeps whom the facts know as members pinned as they are now, and nobody whom they know as removed. So a site that
// loses its copies of the federation's logs still knows whom it can fetch them from. The caller holds refreshing.
func (s *Service) keepPins(ctx context.Context, snap *snapshot) error {
	if s.boot.founder == "" {
		return nil
	}
	pinned := make(map[event.SiteID]string, len(s.boot.pins))
	for _, m := range s.boot.pins {
		pinned[m.Site] = mustJSON(m)
	}
	var errs []error
	changed := false
	for _, m := range snap.roll.Members {
		m.Self = false
		if text := mustJSON(m); snap.folded[m.Site] && pinned[m.Site] != text {
			errs = append(errs, s.Local.Put(ctx, bucketPins, string(m.Site), []byte(text), time.Time{}))
			changed = true
		}
	}
	for site := range pinned {
		if snap.removed[site] != nil {
			errs = append(errs, s.Local.Delete(ctx, bucketPins, string(site)))
			changed = true
		}
	}
	if err := errors.Join(errs...); err != nil || !changed {
		return err
	}
	b, err := s.readPins(ctx)
	if err == nil {
		s.boot = b
	}
	return err
}
