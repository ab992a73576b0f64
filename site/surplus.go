// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
)

// maxFounded bounds the authorities that one site founds under one incarnation: every other member keeps a policy of
// each, and logs and keys where it is allowed.
const maxFounded = 256

// Surplus is foundings of authorities that do not count, because the site has founded too many.
type Surplus struct {
	Site        event.SiteID `json:"site"`
	Authorities int          `json:"authorities"`
}

// founding names one founding of an authority.
type founding struct {
	authority event.AuthorityID
	fact      *said[PolicyFact]
}

// withoutSurplus returns the states without the foundings beyond maxFounded, and whose they are, in order. The states
// themselves stay as they are. It is a pure function of the facts.
//
// It goes by the order in the founder's own log. Any other order could be dated back: a site that has founded all
// authorities of a state, and was broken into, would make them disappear by founding others before them.
func withoutSurplus(states map[event.AuthorityID]AuthorityState) (map[event.AuthorityID]AuthorityState, []Surplus) {
	beyond := make(map[*said[PolicyFact]]bool)
	counts := make(map[event.SiteID]int)
	for log, list := range foundings(states) {
		site, _ := log.split()
		for _, f := range list[min(len(list), maxFounded):] {
			beyond[f.fact] = true
			counts[site]++
		}
	}
	if len(beyond) == 0 {
		return states, nil
	}
	less := make(map[event.AuthorityID]AuthorityState, len(states))
	for id, s := range states {
		less[id] = s.without(beyond)
	}
	var sites []Surplus
	for _, site := range slices.Sorted(maps.Keys(counts)) {
		sites = append(sites, Surplus{site, counts[site]})
	}
	return less, sites
}

// without returns the state without some of its facts.
func (s AuthorityState) without(beyond map[*said[PolicyFact]]bool) AuthorityState {
	kept := AuthorityState{Said: make(saidBy[PolicyFact], len(s.Said))}
	for key, log := range s.Said {
		rest := &saidLog[PolicyFact]{Cut: log.Cut}
		for i := range log.Facts {
			if !beyond[&log.Facts[i]] {
				rest.Facts = append(rest.Facts, log.Facts[i])
			}
		}
		kept.Said[key] = rest
	}
	return kept
}

// foundings returns the foundings of each log in the order of the log.
func foundings(states map[event.AuthorityID]AuthorityState) map[logKey][]founding {
	logs := make(map[logKey][]founding)
	for id, s := range states {
		for key, log := range s.Said {
			for i := range log.Facts {
				if f := &log.Facts[i]; f.Fact.founds() {
					logs[key] = append(logs[key], founding{id, f})
				}
			}
		}
	}
	for _, list := range logs {
		slices.SortFunc(list, func(a, b founding) int {
			return cmp.Or(a.fact.compare(b.fact.mark), strings.Compare(string(a.authority), string(b.authority)))
		})
	}
	return logs
}

// Surplus returns which sites have founded more authorities than count, in order of their ids.
func (f *Federation) Surplus() []Surplus { return slices.Clone(f.snap.Load().surplus) }
