// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"encoding/json"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
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

// mustJSON encodes what is known to have a JSON form.
func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null" // cannot happen: plain values only
	}
	return string(b)
}
