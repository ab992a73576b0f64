// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"bytes"
	"encoding/json"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// Membership is the folded state of SubjectMembers: the facts that count, by the log that they are in. What they mean is
// calculated from all of them (Roll), so that a late fact finds its place.
type Membership struct {
	// Founded is the first founding in each log. It is apart from the others so that no bound can leave it out.
	Founded map[logKey]said[MembershipFact] `json:"founded,omitempty"`
	Said    saidBy[MembershipFact]          `json:"said,omitempty"`
	// Described is what each site has said of itself last.
	Described map[event.SiteID]lastDescription `json:"described,omitempty"`
}

// MembershipFact is what one fact says. One of the pointers is set.
type MembershipFact struct {
	Founded  *Founded  `json:"founded,omitempty"`
	Proposed *Proposed `json:"proposed,omitempty"`
	Endorsed *Endorsed `json:"endorsed,omitempty"`
	Removed  *Removed  `json:"removed,omitempty"`
	Joined   *Joined   `json:"joined,omitempty"`
}

// lastDescription is a description with the key of its place.
type lastDescription struct {
	Place []byte `json:"place"`
	Description
}

// memberPart and authorityPart are the two folds of the package, by the root that each owns. Both take their entries in any
// order: one hostile site can make these subjects long, and each late fact would have them folded again from nothing.
var (
	memberPart = readmodel.Typed[Membership]{
		Label: "members", OwnedRoots: []string{"members"},
		KnownKinds: []event.Kind{KindFounded, KindProposed, KindEndorsed, KindRemoved, KindDescribed, KindJoined},
		ApplyFunc:  applyMembership,
		SaveFunc:   saveMembership,
		AnyOrder:   true,
	}
	authorityPart = readmodel.Typed[AuthorityState]{
		Label: "authority", OwnedRoots: []string{"authority"}, SQL: authoritySchema,
		KnownKinds: []event.Kind{KindAuthorityFounded, KindAllowed, KindForbidden},
		ApplyFunc:  applyAuthority,
		SaveFunc:   saveAuthority,
		AnyOrder:   true,
	}
)

// Fold returns the package's part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Group{Label: "site", Parts: []readmodel.Fold{memberPart, authorityPart}}
}

// trusted reports whether the fact is in a log where it may be. Only the origin of a log carries over its own facts, so
// one that claims another site's place is a forgery.
func trusted(e readmodel.Entry) bool {
	return e.Authority == event.Federation && e.Class == event.Register && e.Place.Site == e.Log.Site
}

// applyMembership takes a fact that is well-formed. It does not judge who may state it; Roll does.
func applyMembership(m Membership, e readmodel.Entry) (Membership, error) {
	if !trusted(e) || e.Subject != SubjectMembers {
		return m, nil
	}
	if e.Kind == KindDescribed {
		return m.describe(e), nil
	}
	var f MembershipFact
	if !f.decode(e.Event) {
		return m, nil
	}
	if f.Founded != nil {
		return m.found(e, f), nil
	}
	same := sameWords(e)
	if !m.Said.takes(e, same) || !f.checked() {
		return m, nil
	}
	if m.Said == nil {
		m.Said = make(saidBy[MembershipFact])
	}
	m.Said.put(e, same, f)
	return m, nil
}

// found keeps the first founding of a log.
func (m Membership) found(e readmodel.Entry, f MembershipFact) Membership {
	if f.Founded.check() != nil {
		return m
	}
	key, fact := logKeyOf(e.Place), said[MembershipFact]{mark: markOf(e.Place), Stamp: e.Place.Stamp, Bytes: len(e.Data), Fact: f}
	if first, known := m.Founded[key]; known && first.compare(fact.mark) <= 0 {
		return m
	}
	if m.Founded == nil {
		m.Founded = make(map[logKey]said[MembershipFact])
	}
	m.Founded[key] = fact
	return m
}

// describe keeps one description per site: the last in order.
func (m Membership) describe(e readmodel.Entry) Membership {
	var d Described
	if e.Decode(&d) != nil || d.check() != nil {
		return m
	}
	place := e.Place.Key()
	if last, known := m.Described[e.Place.Site]; known && bytes.Compare(last.Place, place) >= 0 {
		return m
	}
	if m.Described == nil {
		m.Described = make(map[event.SiteID]lastDescription)
	}
	m.Described[e.Place.Site] = lastDescription{place, d.Description}
	return m
}

// decode reads the fact's data and reports whether it has the form of a fact.
func (f *MembershipFact) decode(e event.Event) bool {
	switch e.Kind {
	case KindFounded:
		f.Founded = new(Founded)
		return e.Decode(f.Founded) == nil
	case KindProposed:
		f.Proposed = new(Proposed)
		return e.Decode(f.Proposed) == nil
	case KindEndorsed:
		f.Endorsed = new(Endorsed)
		return e.Decode(f.Endorsed) == nil
	case KindRemoved:
		f.Removed = new(Removed)
		return e.Decode(f.Removed) == nil
	case KindJoined:
		f.Joined = new(Joined)
		return e.Decode(f.Joined) == nil
	}
	return false
}

// checked reports whether anybody should believe the fact. It may check signatures.
func (f *MembershipFact) checked() bool {
	switch {
	case f.Proposed != nil:
		return f.Proposed.check() == nil
	case f.Endorsed != nil:
		return isSite(f.Endorsed.Site)
	case f.Removed != nil:
		return isSite(f.Removed.Site) && len(f.Removed.Heard) <= maxNamed
	case f.Joined != nil:
		return isSite(f.Joined.By) && len(f.Joined.Incarnation) <= maxText
	}
	return f.Founded != nil && f.Founded.check() == nil
}

func (p Proposed) check() error {
	if err := p.Profile.check(); err != nil {
		return err
	}
	if len(p.Heard) > maxNamed {
		return ErrProfile.Because("the proposal names %d facts, more than %d", len(p.Heard), maxNamed)
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

// mustJSON encodes what is known to have a JSON form.
func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null" // cannot happen: plain values only
	}
	return string(b)
}
