// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"maps"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// AuthorityState is the folded state of an authority's subject: what was said about who may hold its data, in order. What
// that comes to is calculated from all of it and from who was admitted when (stand), so that a late fact finds its place.
type AuthorityState struct {
	Facts []PolicyFact `json:"facts,omitempty"`
}

// PolicyFact is one fact about who may hold an authority's data, and which site stated it where.
type PolicyFact struct {
	ID          event.ID     `json:"id"`
	Place       []byte       `json:"place"`
	By          event.SiteID `json:"by"`
	Incarnation string       `json:"incarnation"`
	Page        uint64       `json:"page"`
	// NameDE and NameEN are set in a founding, which allows all its sites under its own id.
	NameDE string         `json:"nameDe,omitempty"`
	NameEN string         `json:"nameEn,omitempty"`
	Allows []event.SiteID `json:"allows,omitempty"`
	// Forbids is the site whose allowances of the ids Withdraws are withdrawn; Closes is where its logs end. What it has said
	// beyond Heard does not count; nil says nothing about that.
	Forbids   event.SiteID    `json:"forbids,omitempty"`
	Withdraws []event.ID      `json:"withdraws,omitempty"`
	Closes    []eventlog.Head `json:"closes,omitempty"`
	Heard     []Heard         `json:"heard,omitzero"`
}

// maxHeard bounds what a withdrawal says about incarnations of the site's log. Who makes more has something to hide.
const maxHeard = 256

// applyAuthority puts a fact that is well-formed into its place. It does not judge who may state it; stand does.
func applyAuthority(s AuthorityState, e readmodel.Entry) (AuthorityState, error) {
	authority := event.AuthorityID(e.Subject.Part(1))
	if !trusted(e) || e.Subject != SubjectOf(authority) {
		return s, nil
	}
	f := PolicyFact{ID: e.ID, Place: e.Place.Key(), By: e.Place.Site, Incarnation: e.Place.Incarnation, Page: e.Place.Page}
	if !f.decode(e.Event, authority) {
		return s, nil
	}
	at, known := slices.BinarySearchFunc(s.Facts, f.Place, func(o PolicyFact, place []byte) int { return bytes.Compare(o.Place, place) })
	if !known {
		s.Facts = slices.Insert(s.Facts, at, f)
	}
	return s, nil
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
		if e.Decode(&in) != nil || !isSite(in.Site) || len(in.Heard) > maxHeard {
			return false
		}
		f.Forbids, f.Withdraws, f.Heard = in.Site, in.Withdraws, in.Heard
		f.Closes = slices.DeleteFunc(ofSite(in.Closes, in.Site), func(h eventlog.Head) bool { return h.Branch.Authority != authority })
		return true
	}
	return false
}

func (f *PolicyFact) founds() bool { return f.NameDE != "" }

// standing is what an authority's facts come to.
type standing struct {
	founding *PolicyFact                      // nil: not founded, as far as is known
	live     map[event.SiteID][]event.ID      // allowances by site that were not withdrawn
	closings map[event.SiteID][]eventlog.Head // where the logs end of a site that is not allowed any more
}

// stand goes through the facts in their order. Only what a site says counts that the authority allows at that place: who is
// allowed nowhere cannot let itself in. The founding that counts comes before everything. rank tells which of two sites was
// admitted to the federation first (lower).
//
// A withdrawal that would leave no site at all does not count, now or later: of sites that forbid each other while they are cut
// off from each other one must stay, or everything would be lost. And who is forbidden cannot undo it by dating back: what the
// site has said by then, and the one that forbade it had not heard, is left out, and everything is calculated again without it.
func (s AuthorityState) stand(rank func(event.SiteID) int) standing {
	founding := s.founding(rank)
	if founding == nil {
		return standing{}
	}
	void := make([]bool, len(s.Facts))
	for {
		st, again := s.pass(founding, void)
		if !again {
			return st
		}
	}
}

// founding returns the founding that counts: of two, that of the site which was admitted first. The order of their places does
// not decide, unless one site has founded twice: anybody could date back and take an authority over.
func (s AuthorityState) founding(rank func(event.SiteID) int) (first *PolicyFact) {
	for i := range s.Facts {
		if f := &s.Facts[i]; f.founds() && (first == nil || rank(f.By) < rank(first.By)) {
			first = f
		}
	}
	return first
}

// pass goes through the facts once, without those that are void. If it finds more that are, it marks them and asks for another
// pass; there are at most as many passes as facts.
func (s AuthorityState) pass(founding *PolicyFact, void []bool) (st standing, again bool) {
	st = standing{founding: founding, live: make(map[event.SiteID][]event.ID), closings: make(map[event.SiteID][]eventlog.Head)}
	st.allow(founding)
	for i := range s.Facts {
		f := &s.Facts[i]
		if f == founding || void[i] || len(st.live[f.By]) == 0 {
			st.mention(f)
			continue
		}
		if f.Forbids == "" {
			st.allow(f)
			continue
		}
		if st.withdraws(f) && s.unheard(f, i, founding, void) {
			return st, true
		}
		st.forbid(f)
	}
	return st, false
}

// unheard marks what the forbidden site has said before, by its own dates, and the one that forbade it had not heard.
func (s AuthorityState) unheard(forbids *PolicyFact, before int, founding *PolicyFact, void []bool) (found bool) {
	if forbids.Heard == nil {
		return false
	}
	for i := range s.Facts[:before] {
		f := &s.Facts[i]
		if f.By == forbids.Forbids && f != founding && !void[i] && !forbids.heard(f) {
			void[i], found = true, true
		}
	}
	return found
}

func (f *PolicyFact) heard(o *PolicyFact) bool {
	return slices.ContainsFunc(f.Heard, func(h Heard) bool { return h.Incarnation == o.Incarnation && o.Page <= h.Page })
}

// allow lets in whom the fact names.
func (st standing) allow(f *PolicyFact) {
	for _, site := range f.Allows {
		st.live[site] = append(st.live[site], f.ID)
		delete(st.closings, site)
	}
}

// mention remembers whom a fact names that does not count any more: the site may have believed it for a while, and has to go
// again. What a site says that nobody is known to have allowed ever is not worth that; the facts may not all be here yet.
func (st standing) mention(f *PolicyFact) {
	if _, known := st.live[f.By]; !known {
		return
	}
	for _, site := range f.Allows {
		if _, known := st.live[site]; !known {
			st.live[site] = nil
		}
	}
}

// withdraws reports whether the fact takes an allowance from the site that it forbids, and leaves somebody.
func (st standing) withdraws(f *PolicyFact) bool {
	left := f.left(st.live[f.Forbids])
	return len(left) < len(st.live[f.Forbids]) && (len(left) > 0 || st.others(f.Forbids))
}

// left returns what is left of a site's allowances.
func (f *PolicyFact) left(live []event.ID) []event.ID {
	return slices.DeleteFunc(slices.Clone(live), func(id event.ID) bool { return slices.Contains(f.Withdraws, id) })
}

// forbid withdraws. Of two closings that were on their way at the same time the lower one counts.
func (st standing) forbid(f *PolicyFact) {
	if st.withdraws(f) {
		st.live[f.Forbids] = f.left(st.live[f.Forbids])
		if len(st.live[f.Forbids]) == 0 {
			st.closings[f.Forbids] = lowest(nil, f.Closes)
		}
		return
	}
	if closed, was := st.closings[f.Forbids]; was {
		st.closings[f.Forbids] = lowest(closed, f.Closes)
	}
}

// others reports whether anybody but the site is allowed.
func (st standing) others(but event.SiteID) bool {
	for site, ids := range st.live {
		if site != but && len(ids) > 0 {
			return true
		}
	}
	return false
}

// sites returns the sites that the authority allows, in order.
func (st standing) sites() []event.SiteID {
	return st.sitesBy(func(live []event.ID) bool { return len(live) > 0 })
}

// withdrawn returns the sites that were allowed once, or thought so, and are not any more, in order.
func (st standing) withdrawn() []event.SiteID {
	return st.sitesBy(func(live []event.ID) bool { return len(live) == 0 })
}

func (st standing) sitesBy(is func(live []event.ID) bool) []event.SiteID {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(st.live)), func(site event.SiteID) bool { return !is(st.live[site]) })
}

// heardOf returns what a site has said about the authority, as far as it is known here, for a withdrawal. It is never nil.
func (s AuthorityState) heardOf(site event.SiteID) []Heard {
	pages := make(map[string]uint64)
	for _, f := range s.Facts {
		if f.By == site {
			pages[f.Incarnation] = max(pages[f.Incarnation], f.Page)
		}
	}
	list := []Heard{}
	for _, incarnation := range slices.Sorted(maps.Keys(pages)) {
		list = append(list, Heard{incarnation, pages[incarnation]})
	}
	return list[:min(len(list), maxHeard)]
}
