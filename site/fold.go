// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// Membership is the folded state of SubjectMembers: the facts that count, in their order. What they mean is calculated
// from all of them (Roll), so that a late fact finds its place.
type Membership struct {
	Facts []MembershipFact `json:"facts"`
}

// MembershipFact is one fact with where it sorts and which site stated it. One of the pointers is set.
type MembershipFact struct {
	ID        event.ID     `json:"id"`
	Place     []byte       `json:"place"`
	By        event.SiteID `json:"by"`
	Founded   *Founded     `json:"founded,omitempty"`
	Proposed  *Proposed    `json:"proposed,omitempty"`
	Endorsed  *Endorsed    `json:"endorsed,omitempty"`
	Removed   *Removed     `json:"removed,omitempty"`
	Described *Described   `json:"described,omitempty"`
}

// AuthorityState is the folded state of an authority's subject.
type AuthorityState struct {
	// Founded says where the founding that gives the names sorts: of two the first one counts.
	Founded []byte `json:"founded,omitempty"`
	NameDE  string `json:"nameDe,omitempty"`
	NameEN  string `json:"nameEn,omitempty"`
	// Facts are what was allowed and withdrawn, in their order. What they come to is calculated from all of them (replay), so
	// that a late fact finds its place.
	Facts []PolicyFact `json:"facts,omitempty"`
	// Closings are by site where the logs of a site end that is not allowed any more.
	Closings map[event.SiteID][]eventlog.Head `json:"closings,omitempty"`
}

// PolicyFact is one fact about who may hold an authority's data. A founding allows all its sites under its own id.
type PolicyFact struct {
	ID     event.ID       `json:"id"`
	Place  []byte         `json:"place"`
	Allows []event.SiteID `json:"allows,omitempty"`
	// Forbids is the site whose allowances of the ids Withdraws are withdrawn; Closes is where its logs end.
	Forbids   event.SiteID    `json:"forbids,omitempty"`
	Withdraws []event.ID      `json:"withdraws,omitempty"`
	Closes    []eventlog.Head `json:"closes,omitempty"`
}

// parts are the two folds of the package, by the root that each owns.
var (
	memberPart = readmodel.Typed[Membership]{
		Label: "members", OwnedRoots: []string{"members"},
		KnownKinds: []event.Kind{KindFounded, KindProposed, KindEndorsed, KindRemoved, KindDescribed},
		ApplyFunc:  applyMembership,
	}
	authorityPart = readmodel.Typed[AuthorityState]{
		Label: "authority", OwnedRoots: []string{"authority"}, SQL: authoritySchema,
		KnownKinds: []event.Kind{KindAuthorityFounded, KindAllowed, KindForbidden},
		ApplyFunc:  applyAuthority,
		SaveFunc:   saveAuthority,
	}
)

// fold is both parts under one name.
type fold struct{}

// Fold returns the package's part of the read model.
func Fold() readmodel.Fold { return fold{} }

func part(subject event.Subject) readmodel.Fold {
	if subject.Root() == "members" {
		return memberPart
	}
	return authorityPart
}

// Name implements readmodel.Fold.
func (fold) Name() string { return "site" }

// Roots implements readmodel.Fold.
func (fold) Roots() []string { return slices.Concat(memberPart.Roots(), authorityPart.Roots()) }

// Kinds implements readmodel.Fold.
func (fold) Kinds() []event.Kind { return slices.Concat(memberPart.Kinds(), authorityPart.Kinds()) }

// Schema implements readmodel.Fold.
func (fold) Schema() string { return authorityPart.Schema() }

// Apply implements readmodel.Fold.
func (fold) Apply(state []byte, e readmodel.Entry) ([]byte, error) {
	return part(e.Subject).Apply(state, e)
}

// Save implements readmodel.Fold.
func (fold) Save(tx *readmodel.Tx, ref readmodel.Ref, old, new []byte) error {
	return part(ref.Subject).Save(tx, ref, old, new)
}

// trusted reports whether the fact is in a log where it may be. Only the origin of a log carries over its own facts, so
// one that claims another site's place is a forgery.
func trusted(e readmodel.Entry) bool {
	return e.Authority == event.Federation && e.Class == event.Register && e.Place.Site == e.Log.Site
}

// applyMembership puts a fact that is well-formed into its place. It does not judge who may state it; Roll does.
func applyMembership(m Membership, e readmodel.Entry) (Membership, error) {
	f := MembershipFact{ID: e.ID, Place: e.Place.Key(), By: e.Place.Site}
	if !trusted(e) || e.Subject != SubjectMembers || !f.decode(e.Event) {
		return m, nil
	}
	at, known := slices.BinarySearchFunc(m.Facts, f.Place, func(o MembershipFact, place []byte) int {
		return bytes.Compare(o.Place, place)
	})
	if known || slices.ContainsFunc(m.Facts, func(o MembershipFact) bool { return o.ID == f.ID && o.By == f.By }) {
		return m, nil
	}
	m.Facts = slices.Insert(m.Facts, at, f)
	if f.Described != nil {
		m.Facts = latestDescription(m.Facts, f.By)
	}
	return m, nil
}

// latestDescription keeps one description per site: the last in order.
func latestDescription(facts []MembershipFact, by event.SiteID) []MembershipFact {
	last := -1
	for i, f := range facts {
		if f.Described != nil && f.By == by {
			last = i
		}
	}
	i := -1
	return slices.DeleteFunc(facts, func(f MembershipFact) bool {
		i++
		return f.Described != nil && f.By == by && i != last
	})
}

// decode reads the fact's data and reports whether anybody should believe it.
func (f *MembershipFact) decode(e event.Event) bool {
	switch e.Kind {
	case KindFounded:
		f.Founded = new(Founded)
		return e.Decode(f.Founded) == nil && f.Founded.check() == nil
	case KindProposed:
		f.Proposed = new(Proposed)
		return e.Decode(f.Proposed) == nil && f.Proposed.check() == nil
	case KindEndorsed:
		f.Endorsed = new(Endorsed)
		return e.Decode(f.Endorsed) == nil && isSite(f.Endorsed.Site)
	case KindRemoved:
		f.Removed = new(Removed)
		return e.Decode(f.Removed) == nil && isSite(f.Removed.Site)
	case KindDescribed:
		f.Described = new(Described)
		return e.Decode(f.Described) == nil && f.Described.check() == nil
	}
	return false
}

func (p Proposed) check() error {
	if err := p.Profile.check(); err != nil {
		return err
	}
	if !seal.Verify(p.Site, "join", consent(p.Federation, p.Invitation, p.Profile), p.Consent) {
		return ErrConsent
	}
	return nil
}

func isSite(s event.SiteID) bool {
	_, err := seal.KeyOf(s)
	return err == nil
}

func (m Membership) descriptions() map[event.SiteID]Description {
	d := make(map[event.SiteID]Description)
	for _, f := range m.Facts {
		if f.Described != nil {
			d[f.By] = f.Described.Description
		}
	}
	return d
}

// applyAuthority puts a fact into its place and calculates anew what all of them come to.
func applyAuthority(s AuthorityState, e readmodel.Entry) (AuthorityState, error) {
	authority := event.AuthorityID(e.Subject.Part(1))
	if !trusted(e) || e.Subject != SubjectOf(authority) {
		return s, nil
	}
	f := PolicyFact{ID: e.ID, Place: e.Place.Key()}
	switch e.Kind {
	case KindAuthorityFounded:
		var in AuthorityFounded
		if e.Decode(&in) != nil || !plain(in.NameDE) || !plain(in.NameEN) || len(in.Sites) > maxSites {
			return s, nil
		}
		f.Allows = slices.DeleteFunc(in.Sites, func(site event.SiteID) bool { return !isSite(site) })
		if s.Founded == nil || bytes.Compare(f.Place, s.Founded) < 0 {
			s.Founded, s.NameDE, s.NameEN = f.Place, in.NameDE, in.NameEN
		}
	case KindAllowed:
		var in Allowed
		if e.Decode(&in) != nil || !isSite(in.Site) {
			return s, nil
		}
		f.Allows = []event.SiteID{in.Site}
	case KindForbidden:
		var in Forbidden
		if e.Decode(&in) != nil || !isSite(in.Site) {
			return s, nil
		}
		f.Forbids, f.Withdraws = in.Site, in.Withdraws
		f.Closes = slices.DeleteFunc(ofSite(in.Closes, in.Site), func(h eventlog.Head) bool { return h.Branch.Authority != authority })
	}
	at, known := slices.BinarySearchFunc(s.Facts, f.Place, func(o PolicyFact, place []byte) int { return bytes.Compare(o.Place, place) })
	if !known {
		s.Facts = slices.Insert(s.Facts, at, f)
		s.Closings = s.replay().closings
	}
	return s, nil
}

// standing is what an authority's facts come to.
type standing struct {
	live     map[event.SiteID][]event.ID // allowances by site that were not withdrawn
	closings map[event.SiteID][]eventlog.Head
}

// replay goes through the facts in their order. A withdrawal that would leave no site at all does not count, now or later:
// of sites that forbid each other while they are cut off from each other one must stay, or everything would be lost.
func (s AuthorityState) replay() standing {
	st := standing{live: make(map[event.SiteID][]event.ID), closings: make(map[event.SiteID][]eventlog.Head)}
	for _, f := range s.Facts {
		for _, site := range f.Allows {
			st.live[site] = append(st.live[site], f.ID)
			delete(st.closings, site)
		}
		if f.Forbids != "" {
			st.forbid(f)
		}
	}
	return st
}

func (st standing) forbid(f PolicyFact) {
	before, known := st.live[f.Forbids]
	if !known {
		return // never allowed, or only by a fact that sorts later: nothing to withdraw
	}
	left := slices.DeleteFunc(slices.Clone(before), func(id event.ID) bool { return slices.Contains(f.Withdraws, id) })
	others := func() bool {
		for site, ids := range st.live {
			if site != f.Forbids && len(ids) > 0 {
				return true
			}
		}
		return false
	}
	if len(left) == 0 && !others() {
		return
	}
	st.live[f.Forbids] = left
	if len(left) == 0 { // of two closings that were on their way at the same time the lower one counts
		st.closings[f.Forbids] = lowest(st.closings[f.Forbids], f.Closes)
	}
}

// Live returns the allowances of a site that were not withdrawn.
func (s AuthorityState) Live(site event.SiteID) []event.ID { return s.replay().live[site] }

// Sites returns the sites that the authority allows, in order. An authority that was not founded (yet) allows nobody.
func (s AuthorityState) Sites() []event.SiteID {
	if s.Founded == nil {
		return nil
	}
	return s.sitesBy(func(live []event.ID) bool { return len(live) > 0 })
}

// withdrawn returns the sites that were allowed once and are not any more, in order.
func (s AuthorityState) withdrawn() []event.SiteID {
	return s.sitesBy(func(live []event.ID) bool { return len(live) == 0 })
}

func (s AuthorityState) sitesBy(is func(live []event.ID) bool) []event.SiteID {
	live := s.replay().live
	return slices.DeleteFunc(slices.Sorted(maps.Keys(live)), func(site event.SiteID) bool { return !is(live[site]) })
}

// mustJSON encodes what is known to have a JSON form.
func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null" // cannot happen: plain values only
	}
	return string(b)
}
