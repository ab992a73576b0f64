// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"context"
	"errors"
	"maps"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// maxFounded bounds the authorities that one site founds in one branch of a log: every other member keeps a policy of
// each, and logs and keys where it is allowed.
//
// It goes by the order in the chain of the founder's own log. Any other order could be dated back: a site that has
// founded all authorities of a state, and was broken into, would make them disappear by founding others before them. So
// would a fork of its log, if the foundings of one branch counted in another one.
const maxFounded = 256

// Surplus is foundings of authorities that do not count, because the site has founded too many.
type Surplus struct {
	Site        event.SiteID `json:"site"`
	Authorities int          `json:"authorities"`
}

// foundingAt names one founding of an authority by where it is: log, page, and mark.key there.
type foundingAt struct {
	log   logKey
	page  eventlog.Head
	place string
}

// foundings returns where the foundings are that the state holds.
func (s AuthorityState) foundings() map[foundingAt]bool {
	found := make(map[foundingAt]bool)
	for key, foundings := range s.Founded {
		for _, f := range foundings {
			found[foundingAt{key, f.head(), f.key()}] = true
		}
	}
	return found
}

// saveFoundings keeps where the authority's foundings are. One can go again, when an earlier one in its chain comes.
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
	fork, err := tx.Chains().Fork(at.log.id(), at.page)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO site_founding (log, place, fork, authority) VALUES (?, ?, ?, ?)`,
		string(at.log), []byte(at.place), fork, authority); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO site_founder (log, foundings) VALUES (?, 1)
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
	// authorities are those with a founding among the first ones of its chain.
	authorities map[event.AuthorityID]bool
	// counted are the places of the foundings that count, of logs in which others do not.
	counted map[logKey]map[string]bool
	// beyond is how many do not count, by site.
	beyond map[event.SiteID]int
}

func newFounders() founders {
	return founders{
		authorities: make(map[event.AuthorityID]bool),
		counted:     make(map[logKey]map[string]bool),
		beyond:      make(map[event.SiteID]int),
	}
}

// add takes the foundings of one log that count, the first maxFounded along each of its chains, and how many there are.
func (f founders) add(log logKey, first []authorityAt, total int) {
	places := make(map[string]bool, len(first))
	for _, a := range first {
		f.authorities[a.id] = true
		places[a.place] = true
	}
	if total > len(first) {
		site, _ := log.split()
		f.counted[log] = places
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
	return maps.Equal(f.authorities, o.authorities) && maps.Equal(f.beyond, o.beyond) &&
		maps.EqualFunc(f.counted, o.counted, maps.Equal[map[string]bool, map[string]bool])
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
	if len(f.counted) == 0 {
		return s
	}
	kept := AuthorityState{Founded: make(map[logKey][]said[PolicyFact], len(s.Founded)), Said: s.Said}
	for key, foundings := range s.Founded {
		places, bounded := f.counted[key]
		kept.Founded[key] = slices.DeleteFunc(slices.Clone(foundings), func(fact said[PolicyFact]) bool {
			return bounded && !places[fact.key()]
		})
	}
	return kept
}

// readFounders reads as much of each log as counts, however much more there is.
func readFounders(ctx context.Context, q readmodel.Query, chains *readmodel.Chains) (founders, error) {
	f := newFounders()
	totals, err := readTotals(ctx, q)
	if err != nil {
		return f, err
	}
	for log, total := range totals {
		first, err := readCounted(ctx, q, log, total, chains)
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

// readCounted returns the foundings of a log that count: the first ones of each of its chains.
func readCounted(ctx context.Context, q readmodel.Query, log logKey, total int, chains *readmodel.Chains) (
	[]authorityAt, error) {
	var forked []readmodel.Chain
	if total > maxFounded {
		var err error
		if forked, err = chains.Forked(log.id()); err != nil {
			return nil, err
		}
	}
	if forked == nil {
		return readFirst(ctx, q, maxFounded, `log = ?`, string(log))
	}
	found := make(map[string]authorityAt)
	for _, chain := range forked {
		first, err := readChain(ctx, q, log, chain)
		if err != nil {
			return nil, err
		}
		for _, a := range first {
			found[a.place] = a
		}
	}
	return slices.Collect(maps.Values(found)), nil
}

// readChain returns the first foundings along a chain.
func readChain(ctx context.Context, q readmodel.Query, log logKey, chain readmodel.Chain) ([]authorityAt, error) {
	var first []authorityAt
	for _, s := range slices.Backward(chain) {
		more, err := readFirst(ctx, q, maxFounded-len(first), `log = ? AND fork = ? AND place >= ? AND place < ?`,
			string(log), s.Branch.Fork, firstKey(s.First), firstKey(s.Last+1))
		if err != nil {
			return nil, err
		}
		first = append(first, more...)
	}
	return first, nil
}

// readFirst returns the first foundings for which the condition holds, at most so many.
func readFirst(ctx context.Context, q readmodel.Query, most int, where string, args ...any) (
	first []authorityAt, err error) {
	query := `SELECT authority, place FROM site_founding WHERE ` + where + ` ORDER BY place LIMIT ?`
	rows, err := q.QueryContext(ctx, query, append(args, most)...)
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
