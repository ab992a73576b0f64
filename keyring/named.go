// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
)

// Bounds of keys that are asked for by name.
const (
	recordBytes  = 180 // about how long a key is in an answer
	minNamed     = 4
	maxNamed     = 1024
	roundsNamed  = 8
	namedRecords = 2 * maxNamed
)

// needed are keys of an authority that are asked for by name.
type needed struct {
	Authority event.AuthorityID `json:"authority"`
	IDs       []event.KeyID     `json:"ids"`
}

// Fetch asks a peer by name for the keys that alarms here wait for, with the boxes that open them, and has everything else
// pulled soon if Run is running. It returns how many records changed something here. It blocks for the link and the disk
// and does a bounded amount of work. A peer of an older version gives nothing by name; the keys then come in their turn.
func (s *Syncer) Fetch(ctx context.Context, peer event.SiteID) (changed int, err error) {
	s.wake(peer)
	if s.Urgent == nil || !s.Policy.Member(peer) {
		return 0, nil
	}
	for range roundsNamed {
		need, err := s.needs(ctx, peer)
		if err != nil || len(need) == 0 {
			return changed, err
		}
		a, err := s.ask(ctx, peer, true, func(size int) request {
			return request{Need: firstOf(need, min(max(size/recordBytes, minNamed), maxNamed))}
		})
		if errors.Is(err, ErrForbidden) {
			return changed, nil
		}
		if err != nil {
			return changed, fmt.Errorf("fetch keys from %s: %w", peer.Short(), err)
		}
		n, err := s.takeNamed(ctx, peer, need, a.Named)
		changed += n
		if err != nil || n == 0 {
			return changed, err // it has none of them, or none that help
		}
	}
	return changed, nil
}

// needs returns the urgent keys of the authorities that allow both sites.
func (s *Syncer) needs(ctx context.Context, peer event.SiteID) (need []needed, err error) {
	for _, a := range s.Authorities() {
		if !s.shared(peer, a) || len(need) == wantedAtOnce {
			continue
		}
		ids, err := s.Urgent(ctx, a)
		if err != nil {
			return nil, err
		}
		if len(ids) > 0 {
			need = append(need, needed{a, ids})
		}
	}
	return need, nil
}

// firstOf returns the first so many keys.
func firstOf(need []needed, most int) (out []needed) {
	for _, n := range need {
		n.IDs = n.IDs[:min(len(n.IDs), most)]
		if most -= len(n.IDs); len(n.IDs) > 0 {
			out = append(out, n)
		}
	}
	return out
}

// takeNamed merges what was asked for by name, of each authority once.
func (s *Syncer) takeNamed(ctx context.Context, peer event.SiteID, need []needed, named []given) (changed int,
	err error) {
	asked := make(map[event.AuthorityID]bool, len(need))
	for _, n := range need {
		asked[n.Authority] = true
	}
	for _, g := range named {
		if !asked[g.Authority] || !s.shared(peer, g.Authority) || len(g.Records) == 0 || len(g.Records) > namedRecords {
			continue
		}
		delete(asked, g.Authority)
		n, err := s.Ring.mergeApart(ctx, peer, g.Authority, g.Records)
		changed += n
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// giveNamed adds to the answer what the peer asks for by name and may have, as far as there is room.
func (s *Syncer) giveNamed(ctx context.Context, peer event.SiteID, need []needed, room *int, a *answer) error {
	for _, n := range need {
		if n.Authority == event.Federation || !s.Policy.Allowed(peer, n.Authority) || len(n.IDs) > maxNamed {
			continue
		}
		records, err := s.Ring.recordsOf(ctx, n.Authority, n.IDs, peer)
		if err != nil {
			return err
		}
		g := given{Authority: n.Authority}
		for _, rec := range records {
			if size := rec.size(); len(g.Records) == 0 || size <= *room {
				g.Records = append(g.Records, rec)
				*room -= size
			}
		}
		a.Named = append(a.Named, g)
	}
	return nil
}

// recordsOf returns the keys of those names that are here, or their marks, behind the boxes that open them for a site. What
// does not open here is handed on to nobody. It does not ask any policy.
func (r *Ring) recordsOf(ctx context.Context, authority event.AuthorityID, ids []event.KeyID, site event.SiteID) (records []Record, err error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("look for keys of %s: %w", authority, err)
	}
	rows, err := r.db.QueryContext(ctx, `
		WITH found AS (SELECT s.id, s.name, s.by, s.erased, s.slot, s.maker, s.signature FROM json_each(?1) j
			JOIN secret s ON s.authority = ?2 AND s.id = j.value AND s.giver = '')
		SELECT 0, b.id, '', '', 0, b.site, b.generation, v.sealed, b.maker, b.signature, b.origin, b.digest, b.birth
			FROM box b JOIN vault v ON v.slot = b.slot
			WHERE b.authority = ?2 AND b.site = ?3 AND b.id IN (SELECT by FROM found)
		UNION ALL
		SELECT 1, f.id, f.name, f.by, f.erased, '', 0, coalesce(v.sealed, x''), f.maker, f.signature, '', x'', x''
			FROM found f LEFT JOIN vault v ON v.slot = f.slot
		ORDER BY 1, 2`, string(list), authority, site)
	if err != nil {
		return nil, fmt.Errorf("look for keys of %s: %w", authority, err)
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		var rec Record
		var order int
		if err := rows.Scan(append([]any{&order}, rec.columns()...)...); err != nil {
			return nil, fmt.Errorf("read keys of %s: %w", authority, err)
		}
		records = append(records, rec)
	}
	return records, nil
}
