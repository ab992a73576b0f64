// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"maps"
	"math"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// AuthorityState is the folded state of an authority's subject: what was said about who may hold its data, by log. What
// that comes to is calculated from all of it and from who was admitted when (stand), so that a late fact finds its place.
type AuthorityState struct {
	// Founded are by log the first founding of each of its chains, in order. They are apart from the others so that no
	// bound can leave them out: there are at most as many of a log as it has branches.
	Founded map[logKey][]said[PolicyFact] `json:"founded,omitempty"`
	Said    saidBy[PolicyFact]            `json:"said,omitempty"`
}

// PolicyFact is what one fact says about who may hold an authority's data.
type PolicyFact struct {
	ID event.ID `json:"id"`
	// NameDE and NameEN are set in a founding, which allows all its sites under its own id.
	NameDE string         `json:"nameDe,omitempty"`
	NameEN string         `json:"nameEn,omitempty"`
	Allows []event.SiteID `json:"allows,omitempty"`
	// Forbids is the site whose allowances of the ids Withdraws are withdrawn; Closes is where its logs end. What it has said
	// beyond Named does not count, or where that is nil, beyond Heard; nil both say nothing about that.
	Forbids   event.SiteID    `json:"forbids,omitempty"`
	Withdraws []event.ID      `json:"withdraws,omitempty"`
	Closes    []eventlog.Head `json:"closes,omitempty"`
	Heard     []Heard         `json:"heard,omitzero"`
	Named     []string        `json:"named,omitzero"`
}

// ruling is a fact about an authority with who stated it where.
type ruling = told[PolicyFact]

// maxHeard bounds what a withdrawal says about incarnations of the site's log. Who makes more has something to hide.
const maxHeard = 256

// applyAuthority puts a fact that is well-formed into its place. It does not judge who may state it; stand does.
func applyAuthority(s AuthorityState, e readmodel.Entry) (AuthorityState, error) {
	authority := event.AuthorityID(e.Subject.Part(1))
	if !trusted(e) || e.Subject != SubjectOf(authority) {
		return s, nil
	}
	f := PolicyFact{ID: e.ID}
	if e.Kind == KindAuthorityFounded {
		if !f.decode(e.Event, authority) {
			return s, nil
		}
		return s.found(e, f)
	}
	if !s.Said.takes(e, "") || !f.decode(e.Event, authority) {
		return s, nil
	}
	if s.Said == nil {
		s.Said = make(saidBy[PolicyFact])
	}
	s.Said.put(e, "", f)
	return s, nil
}

// found keeps a founding unless an earlier one is in its chain, and drops those that it comes before in theirs. So a
// fork does not push out what another branch says. What is kept depends on the set of the foundings only: whether one
// comes before another is the same at every site, and what a dropped founding comes before, the one that dropped it
// comes before.
func (s AuthorityState) found(e readmodel.Entry, f PolicyFact) (AuthorityState, error) {
	key := logKeyOf(e.Place)
	is := said[PolicyFact]{mark: markOf(e.Place), Stamp: e.Place.Stamp, Bytes: len(e.Data), Fact: f}
	var kept []said[PolicyFact]
	for _, o := range s.Founded[key] {
		chained, err := inOneChain(e, o.mark)
		switch {
		case err != nil:
			return s, err
		case chained && o.compare(is.mark) <= 0:
			return s, nil
		case !chained:
			kept = append(kept, o)
		}
	}
	if s.Founded == nil {
		s.Founded = make(map[logKey][]said[PolicyFact])
	}
	kept = append(kept, is)
	slices.SortFunc(kept, func(a, b said[PolicyFact]) int { return a.compare(b.mark) })
	s.Founded[key] = kept
	return s, nil
}

// inOneChain reports whether a page of the entry's log is in one chain with the entry's own.
func inOneChain(e readmodel.Entry, o mark) (bool, error) {
	if o.Page == e.Place.Page && o.Hash == e.Place.Hash {
		return true, nil
	}
	return e.Chains.Together(e.Log, markOf(e.Place).head(), o.head())
}

// all returns what was said about the authority, the foundings among it.
func (s AuthorityState) all() saidBy[PolicyFact] {
	all := maps.Clone(s.Said)
	if all == nil {
		all = make(saidBy[PolicyFact])
	}
	for key, foundings := range s.Founded {
		l := &saidLog[PolicyFact]{Facts: slices.Clone(foundings)}
		if others := all[key]; others != nil {
			l.Facts = append(l.Facts, others.Facts...)
			slices.SortFunc(l.Facts, func(a, b said[PolicyFact]) int { return a.compare(b.mark) })
		}
		all[key] = l
	}
	return all
}

// decode reads the fact's data and reports whether it makes sense.
func (f *PolicyFact) decode(e event.Event, authority event.AuthorityID) bool {
	switch e.Kind {
	case KindAuthorityFounded:
		var in AuthorityFounded
		if e.Decode(&in) != nil || !plain(in.NameDE) || !plain(in.NameEN) || len(in.Sites) > maxSites {
			return false
		}
		f.NameDE, f.NameEN = in.NameDE, in.NameEN
		f.Allows = slices.DeleteFunc(in.Sites, func(site event.SiteID) bool { return !isSite(site) })
		return true
	case KindAllowed:
		var in Allowed
		f.Allows = []event.SiteID{""}
		if e.Decode(&in) != nil || !isSite(in.Site) {
			return false
		}
		f.Allows[0] = in.Site
		return true
	case KindForbidden:
		var in Forbidden
		if e.Decode(&in) != nil || !isSite(in.Site) || len(in.Heard) > maxHeard || len(in.Named) > maxNamedHere {
			return false
		}
		f.Forbids, f.Withdraws, f.Heard, f.Named = in.Site, in.Withdraws, in.Heard, in.Named
		f.Closes = slices.DeleteFunc(ofSite(in.Closes, in.Site), func(h eventlog.Head) bool { return h.Branch.Authority != authority })
		return true
	}
	return false
}

func (f *PolicyFact) founds() bool { return f.NameDE != "" }

// standing is what an authority's facts come to.
type standing struct {
	founding *PolicyFact                      // nil: not founded, as far as is known
	name     string                           // of the founding, see told.name
	live     map[event.SiteID][]allowance     // allowances by site that were not withdrawn; of sites mentioned, too
	was      map[event.SiteID]bool            // sites that were allowed at some place, by a fact that counts
	closings map[event.SiteID][]eventlog.Head // where the logs end of a site that is not allowed any more
}

// allowance is what lets a site in: the id of the fact, and who stated it.
type allowance struct {
	id event.ID
	by event.SiteID
}

// maxPasses bounds how often everything is calculated again because of what one site forbids.
const maxPasses = 64

// stand goes through the facts in their order. Only what a site says counts that the authority allows at that place: who is
// allowed nowhere cannot let itself in. The founding that counts comes before everything. rank tells which of two sites was
// admitted to the federation first (lower).
//
// A withdrawal that would leave no site at all does not count, now or later: of sites that forbid each other while they are cut
// off from each other one must stay, or everything would be lost. And who is forbidden cannot undo it by dating back: what the
// site has said by then, and the one that forbade it had not heard, is left out, and everything is calculated again without it.
// Each withdrawal does that once, and of one site at most maxPasses of them: the rest go by dates.
func (s AuthorityState) stand(rank func(event.SiteID) int) standing {
	list := s.all().inOrder()
	founding := foundingOf(list, rank)
	if founding == nil {
		return standing{}
	}
	p := newPasses(list, founding)
	for {
		if st, again := p.pass(); !again {
			return st
		}
	}
}

// foundingOf returns the founding that counts: of two, that of the site which was admitted first. The order of their
// places does not decide, unless one site has founded twice and no withdrawal of it tells them apart: anybody could
// date back and take an authority over.
func foundingOf(list []*ruling, rank func(event.SiteID) int) *ruling {
	var first []*ruling // all foundings of that site
	for _, f := range list {
		switch {
		case !f.Fact.founds():
		case len(first) == 0 || rank(f.by) < rank(first[0].by):
			first = []*ruling{f}
		case f.by == first[0].by:
			first = append(first, f)
		}
	}
	if len(first) == 0 {
		return nil
	}
	return first[firstHeard(first, list, rank)]
}

// firstHeard returns the index of that of several foundings by one site which the withdrawals of the site have heard:
// of two, the one that the site heard which was admitted first, of equal ones the first in order. Without it a founder
// that was forbidden could date back a founding that nobody has withdrawn. Its own withdrawals are asked last: it can
// date these back, too.
//
// All withdrawals are asked, not only those of sites that are allowed: who is allowed follows from the founding. Each
// is looked at once, whatever the number of foundings.
func firstHeard(foundings, list []*ruling, rank func(event.SiteID) int) (best int) {
	if len(foundings) == 1 {
		return 0
	}
	founder, least := foundings[0].by, math.MaxInt
	heard := hearing(foundings)
	for _, f := range list {
		if f.Fact.Forbids != founder {
			continue
		}
		by := rank(f.by)
		if f.by == founder {
			by = math.MaxInt - 1
		}
		if i, any := heard(&f.Fact); any && (by < least || by == least && i < best) {
			best, least = i, by
		}
	}
	return best
}

// hearing returns what tells which of the foundings, which are in order, is the first one that a withdrawal has heard.
func hearing(foundings []*ruling) func(*PolicyFact) (first int, any bool) {
	// Where page numbers tell what was heard, nothing later in a log was heard if its first founding was not.
	names, logs := make(map[string]int), make(map[string]int)
	for i, f := range slices.Backward(foundings) {
		names[f.name()], logs[f.incarnation] = i, i
	}
	return func(f *PolicyFact) (first int, any bool) {
		first = len(foundings)
		for _, name := range f.Named {
			if i, is := names[name]; is {
				first = min(first, i)
			}
		}
		for _, h := range f.Heard {
			if i, is := logs[h.Incarnation]; f.Named == nil && is && foundings[i].Page <= h.Page {
				first = min(first, i)
			}
		}
		return first, first < len(foundings)
	}
}

// passes is the calculation of a standing.
type passes struct {
	list     []*ruling
	founding *ruling
	void     []bool // facts that do not count
	looked   []bool // withdrawals for which it was looked what their site had not heard
	by       map[event.SiteID]int
}

func newPasses(list []*ruling, founding *ruling) *passes {
	return &passes{
		list:     list,
		founding: founding,
		void:     make([]bool, len(list)),
		looked:   make([]bool, len(list)),
		by:       make(map[event.SiteID]int),
	}
}

// pass goes through the facts once, without those that are void. If it finds more that are, it marks them and asks for another
// pass; there are at most as many passes as withdrawals, and at most maxPasses for those of one site.
func (p *passes) pass() (st standing, again bool) {
	st = standing{
		founding: &p.founding.Fact,
		name:     p.founding.name(),
		live:     make(map[event.SiteID][]allowance),
		was:      make(map[event.SiteID]bool),
		closings: make(map[event.SiteID][]eventlog.Head),
	}
	st.allow(p.founding)
	for i, f := range p.list {
		if f == p.founding || p.void[i] || len(st.live[f.by]) == 0 {
			st.mention(f)
			continue
		}
		if f.Fact.Forbids == "" {
			st.allow(f)
			continue
		}
		if st.withdraws(f) && p.unheard(i) {
			return st, true
		}
		st.forbid(f)
	}
	return st, false
}

// unheard marks what the forbidden site has said before, by its own dates, and the one that forbade it had not heard.
func (p *passes) unheard(at int) (found bool) {
	forbids := p.list[at]
	heard := forbids.Fact.hears()
	if heard == nil || p.looked[at] || p.by[forbids.by] >= maxPasses {
		return false
	}
	p.looked[at] = true
	for i, f := range p.list[:at] {
		if f.by == forbids.Fact.Forbids && f != p.founding && !p.void[i] && !heard(f) {
			p.void[i], found = true, true
		}
	}
	if found {
		p.by[forbids.by]++
	}
	return found
}

// hears returns what tells whether a withdrawal had heard a fact of its site; nil if it does not say.
func (f *PolicyFact) hears() func(*ruling) bool {
	switch {
	case f.Named != nil:
		names := make(map[string]bool, len(f.Named))
		for _, name := range f.Named {
			names[name] = true
		}
		return func(r *ruling) bool { return names[r.name()] }
	case f.Heard != nil:
		return func(r *ruling) bool {
			return slices.ContainsFunc(f.Heard, func(h Heard) bool { return h.Incarnation == r.incarnation && r.Page <= h.Page })
		}
	}
	return nil
}

// allow lets in whom the fact names. A site that lets in again whom its own allowance still lets in says nothing: so there are
// at most as many allowances to withdraw as sites that can give one.
func (st standing) allow(f *ruling) {
	for _, site := range f.Fact.Allows {
		if !slices.ContainsFunc(st.live[site], func(a allowance) bool { return a.by == f.by }) {
			st.live[site] = append(st.live[site], allowance{f.Fact.ID, f.by})
		}
		st.was[site] = true
		delete(st.closings, site)
	}
}

// mention remembers whom a fact names that does not count any more: the site may have believed it for a while, and has to go
// again. Nothing else comes of it: it was never allowed. What a site says that nobody is known to have allowed ever is not worth
// that; the facts may not all be here yet.
func (st standing) mention(f *ruling) {
	if _, known := st.live[f.by]; !known {
		return
	}
	for _, site := range f.Fact.Allows {
		if _, known := st.live[site]; !known {
			st.live[site] = nil
		}
	}
}

// withdraws reports whether the fact takes an allowance from the site that it forbids, and leaves somebody.
func (st standing) withdraws(f *ruling) bool {
	live := st.live[f.Fact.Forbids]
	left := f.Fact.left(live)
	return len(left) < len(live) && (len(left) > 0 || st.others(f.Fact.Forbids))
}

// left returns what is left of a site's allowances.
func (f *PolicyFact) left(live []allowance) []allowance {
	return slices.DeleteFunc(slices.Clone(live), func(a allowance) bool { return slices.Contains(f.Withdraws, a.id) })
}

// forbid withdraws. Of two closings that were on their way at the same time the lower one counts.
func (st standing) forbid(f *ruling) {
	site := f.Fact.Forbids
	if st.withdraws(f) {
		st.live[site] = f.Fact.left(st.live[site])
		if len(st.live[site]) == 0 {
			st.closings[site] = lowest(f.Fact.Closes)
		}
		return
	}
	if closed, was := st.closings[site]; was {
		st.closings[site] = lowest(closed, f.Fact.Closes)
	}
}

// others reports whether anybody but the site is allowed.
func (st standing) others(but event.SiteID) bool {
	for site, live := range st.live {
		if site != but && len(live) > 0 {
			return true
		}
	}
	return false
}

// sites returns the sites that the authority allows, in order.
func (st standing) sites() []event.SiteID {
	return st.sitesBy(func(live []allowance) bool { return len(live) > 0 })
}

// withdrawn returns the sites that were allowed once, or thought so, and are not any more, in order.
func (st standing) withdrawn() []event.SiteID {
	return st.sitesBy(func(live []allowance) bool { return len(live) == 0 })
}

func (st standing) sitesBy(is func(live []allowance) bool) []event.SiteID {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(st.live)), func(site event.SiteID) bool { return !is(st.live[site]) })
}

// heardOf returns what a site has said about the authority, as far as it is known here, for a withdrawal. It is never nil.
func (s AuthorityState) heardOf(site event.SiteID) []Heard {
	pages := make(map[string]uint64)
	for key, l := range s.all() {
		if by, incarnation := key.split(); by == site && len(l.Facts) > 0 {
			pages[incarnation] = l.Facts[len(l.Facts)-1].Page
		}
	}
	list := []Heard{}
	for _, incarnation := range slices.Sorted(maps.Keys(pages)) {
		list = append(list, Heard{incarnation, pages[incarnation]})
	}
	return list[:min(len(list), maxHeard)]
}

// namesOf returns the names of what a site has said about the authority, as far as it is known here, for a withdrawal:
// first the founding that counts, so that no other one of the site takes its place, then what still lets somebody in by
// one of the live allowances. It is never nil and holds at most maxNamedHere.
func (s AuthorityState) namesOf(site event.SiteID, st standing) []string {
	counts := make(map[event.ID]bool)
	for _, allowances := range st.live {
		for _, a := range allowances {
			counts[a.id] = counts[a.id] || a.by == site
		}
	}
	var names [3][]string
	for _, f := range s.all().inOrder() {
		switch name := f.name(); {
		case f.by != site:
		case name == st.name:
			names[0] = append(names[0], name)
		case counts[f.Fact.ID]:
			names[1] = append(names[1], name)
		default:
			names[2] = append(names[2], name)
		}
	}
	list := append([]string{}, slices.Concat(names[:]...)...)
	list = list[:min(len(list), maxNamedHere)]
	slices.Sort(list)
	return list
}
