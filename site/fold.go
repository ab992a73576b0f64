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
	// Allowances are by site the ids of the facts that allow it; a founding allows all its sites under its own id.
	Allowances map[event.SiteID][]event.ID `json:"allowances,omitempty"`
	// Withdrawals are by site the allowances that were withdrawn, known here or not.
	Withdrawals map[event.SiteID][]event.ID      `json:"withdrawals,omitempty"`
	Closings    map[event.SiteID][]eventlog.Head `json:"closings,omitempty"`
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
	if known || slices.ContainsFunc(m.Facts, func(o MembershipFact) bool { return o.ID == f.ID }) {
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

// applyAuthority gathers allowances and withdrawals: sets that only grow, so that their order does not matter.
func applyAuthority(s AuthorityState, e readmodel.Entry) (AuthorityState, error) {
	if !trusted(e) || e.Subject != SubjectOf(event.AuthorityID(e.Subject.Part(1))) {
		return s, nil
	}
	switch e.Kind {
	case KindAuthorityFounded:
		var f AuthorityFounded
		if e.Decode(&f) == nil && plain(f.NameDE) && plain(f.NameEN) && len(f.Sites) <= maxSites {
			s.founded(e, f)
		}
	case KindAllowed:
		var f Allowed
		if e.Decode(&f) == nil && isSite(f.Site) {
			s.Allowances = add(s.Allowances, f.Site, e.ID)
		}
	case KindForbidden:
		var f Forbidden
		if e.Decode(&f) == nil && isSite(f.Site) {
			s.Withdrawals = add(s.Withdrawals, f.Site, f.Withdraws...)
			s.close(f.Site, f.Closes, event.AuthorityID(e.Subject.Part(1)))
		}
	}
	return s, nil
}

func (s *AuthorityState) founded(e readmodel.Entry, f AuthorityFounded) {
	for _, site := range f.Sites {
		if isSite(site) {
			s.Allowances = add(s.Allowances, site, e.ID)
		}
	}
	place := e.Place.Key()
	if s.Founded == nil || bytes.Compare(place, s.Founded) < 0 {
		s.Founded, s.NameDE, s.NameEN = place, f.NameDE, f.NameEN
	}
}

func (s *AuthorityState) close(site event.SiteID, heads []eventlog.Head, authority event.AuthorityID) {
	heads = slices.DeleteFunc(ofSite(heads, site), func(h eventlog.Head) bool { return h.Branch.Authority != authority })
	if s.Closings == nil {
		s.Closings = make(map[event.SiteID][]eventlog.Head)
	}
	s.Closings[site] = lowest(s.Closings[site], heads)
}

// add puts ids into a sorted set.
func add(sets map[event.SiteID][]event.ID, site event.SiteID, ids ...event.ID) map[event.SiteID][]event.ID {
	if sets == nil {
		sets = make(map[event.SiteID][]event.ID)
	}
	set := append(slices.Clone(sets[site]), ids...)
	slices.Sort(set)
	sets[site] = slices.Compact(set)
	return sets
}

// Live returns the allowances of a site that were not withdrawn.
func (s AuthorityState) Live(site event.SiteID) []event.ID {
	return slices.DeleteFunc(slices.Clone(s.Allowances[site]), func(id event.ID) bool {
		return slices.Contains(s.Withdrawals[site], id)
	})
}

// Sites returns the sites that the authority allows, in order. An authority that was not founded (yet) allows nobody.
func (s AuthorityState) Sites() []event.SiteID {
	if s.Founded == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.Allowances)), func(site event.SiteID) bool { return len(s.Live(site)) == 0 })
}

// withdrawn returns the sites that were allowed once and are not any more, in order.
func (s AuthorityState) withdrawn() []event.SiteID {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.Withdrawals)), func(site event.SiteID) bool {
		return len(s.Allowances[site]) == 0 || len(s.Live(site)) > 0
	})
}

// mustJSON encodes what is known to have a JSON form.
func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null" // cannot happen: plain values only
	}
	return string(b)
}
