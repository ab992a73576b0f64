// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"context"
	"errors"
	"maps"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// maxFounded bounds the authorities that one site founds under one incarnation: every other member keeps a policy of
// each, and logs and keys where it is allowed.
//
// It goes by the order in the founder's own log. Any other order could be dated back: a site that has founded all
// authorities of a state, and was broken into, would make them disappear by founding others before them.
const maxFounded = 256

// Surplus is foundings of authorities that do not count, because the site has founded too many.
type Surplus struct {
	Site        event.SiteID `json:"site"`
	Authorities int          `json:"authorities"`
}

// foundingAt names one founding of an authority by where it is: log, and mark.key there.
type foundingAt struct {
	log   logKey
	place string
}

// foundings returns where the foundings are that the state holds.
func (s AuthorityState) foundings() map[foundingAt]bool {
	found := make(map[foundingAt]bool)
	for key, l := range s.Said {
		for i := range l.Facts {
			if f := &l.Facts[i]; f.Fact.founds() {
				found[foundingAt{key, f.key()}] = true
			}
		}
	}
	return found
}

// saveFoundings keeps where the authority's foundings are. One can go again: an earlier fact may push it out of what is taken of
// its log.
func saveFoundings(tx *readmodel.Tx, authority string, old, new AuthorityState) error {
	before, now := old.foundings(), new.foundings()
	for at := range before {
		if !now[at] {
			if err := at.forget(tx); err != nil {
				return err
			}
		}
	}
	for at := range now {
		if !before[at] {
			if err := at.keep(tx, authority); err != nil {
				return err
			}
		}
	}
	return nil
}

func (at foundingAt) keep(tx *readmodel.Tx, authority string) error {
	if _, err := tx.Exec(`INSERT INTO site_founding (log, place, authority) VALUES (?, ?, ?)`, string(at.log), []byte(at.place), authority); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO site_founder (log, foundings) VALUES (?, 1)
		ON CONFLICT (log) DO UPDATE SET foundings = foundings + 1`, string(at.log))
	return err
}

func (at foundingAt) forget(tx *readmodel.Tx) error {
	if _, err := tx.Exec(`DELETE FROM site_founding WHERE log = ? AND place = ?`, string(at.log), []byte(at.place)); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE site_founder SET foundings = foundings - 1 WHERE log = ?`, string(at.log))
	return err
}

// founders is what is known of who has founded authorities, without reading what does not count.
type founders struct {
	// authorities are those with a founding among the first ones of its log.
	authorities map[event.AuthorityID]bool
	// last is the key of the last founding that counts, of logs with more than that.
	last map[logKey]string
	// beyond is how many do not count, by site.
	beyond map[event.SiteID]int
}

func newFounders() founders {
	return founders{
		authorities: make(map[event.AuthorityID]bool),
		last:        make(map[logKey]string),
		beyond:      make(map[event.SiteID]int),
	}
}

// add takes the foundings of one log: the first maxFounded of them, along its chain, and how many there are.
func (f founders) add(log logKey, first []authorityAt, total int) {
	for _, a := range first {
		f.authorities[a.id] = true
	}
	if total > len(first) {
		site, _ := log.split()
		f.last[log] = first[len(first)-1].place
		f.beyond[site] += total - len(first)
	}
}

// authorityAt is one founding in a log.
type authorityAt struct {
	id    event.AuthorityID
	place string
}

// equal reports whether the same foundings count, and as many do not.
func (f founders) equal(o founders) bool {
	return maps.Equal(f.authorities, o.authorities) && maps.Equal(f.last, o.last) && maps.Equal(f.beyond, o.beyond)
}

// surplus returns whose foundings do not count, in order of the sites' ids.
func (f founders) surplus() (list []Surplus) {
	for _, site := range slices.Sorted(maps.Keys(f.beyond)) {
		list = append(list, Surplus{site, f.beyond[site]})
	}
	return list
}

// without returns the state without the foundings that do not count. The state itself stays as it is.
func (f founders) without(s AuthorityState) AuthorityState {
	if len(f.last) == 0 {
		return s
	}
	kept := AuthorityState{Said: make(saidBy[PolicyFact], len(s.Said))}
	for key, log := range s.Said {
		rest := &saidLog[PolicyFact]{Cut: log.Cut}
		last, bounded := f.last[key]
		for i := range log.Facts {
			if fact := &log.Facts[i]; !bounded || !fact.Fact.founds() || fact.key() <= last {
				rest.Facts = append(rest.Facts, *fact)
			}
		}
		kept.Said[key] = rest
	}
	return kept
}

// readFounders reads as much of each log as counts, however much more there is.
func readFounders(ctx context.Context, q readmodel.Query) (founders, error) {
	f := newFounders()
	totals, err := readTotals(ctx, q)
	if err != nil {
		return f, err
	}
	for log, total := range totals {
		first, err := readFirst(ctx, q, log)
		if err != nil {
			return f, err
		}
		f.add(log, first, total)
	}
	return f, nil
}

// readTotals returns how many foundings are in each log.
func readTotals(ctx context.Context, q readmodel.Query) (totals map[logKey]int, err error) {
	rows, err := q.QueryContext(ctx, `SELECT log, foundings FROM site_founder WHERE foundings > 0`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	totals = make(map[logKey]int)
	for rows.Next() {
		var log logKey
		var n int
		if err := rows.Scan(&log, &n); err != nil {
			return nil, err
		}
		totals[log] = n
	}
	return totals, nil
}

// readFirst returns the foundings of a log that count, along its chain.
func readFirst(ctx context.Context, q readmodel.Query, log logKey) (first []authorityAt, err error) {
	rows, err := q.QueryContext(ctx, `SELECT authority, place FROM site_founding WHERE log = ? ORDER BY place LIMIT ?`, string(log), maxFounded)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var a authorityAt
		if err := rows.Scan(&a.id, &a.place); err != nil {
			return nil, err
		}
		first = append(first, a)
	}
	return first, nil
}

// Surplus returns which sites have founded more authorities than count, in order of their ids.
func (f *Federation) Surplus() []Surplus { return slices.Clone(f.snap.Load().surplus) }
