// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

//go:embed schema.sql
var schema string

// maxUnits bounds the units of one person, maxAssigned the people of one function: a fact has to fit into an event.
const (
	maxUnits    = 50
	maxAssigned = 1000
)

// state is what the fold keeps of one subject: a person, a unit, a function or who has confirmed an erasure. Personal fields stay sealed in it.
type state struct {
	Person   *personState   `json:"person,omitempty"`
	Unit     *unitState     `json:"unit,omitempty"`
	Function *functionState `json:"function,omitempty"`
	Erasure  *erasureState  `json:"erasure,omitempty"`
}

type personState struct {
	Key     event.KeyID `json:"key,omitempty"`
	Source  string      `json:"source,omitempty"`
	Sealed  []byte      `json:"sealed,omitempty"`
	Units   []UnitID    `json:"units,omitempty"`
	Removed bool        `json:"removed,omitempty"`
	Erased  bool        `json:"erased,omitempty"`
	// Keys are all keys that the person was ever sealed with: more than one if two sites recorded the person unaware of
	// each other. All of them are destroyed when the person is erased.
	Keys      []event.KeyID `json:"keys,omitempty"`
	Destroyed []event.KeyID `json:"destroyed,omitempty"`
	// ErasedAt is when the person was erased first, in milliseconds since 1970.
	ErasedAt int64 `json:"erased_at,omitempty"`
	// ErasedBy is the actor who did that; of two persons the one who approved.
	ErasedBy string `json:"erased_by,omitempty"`
	// ErasedFrom is the site whose fact that was.
	ErasedFrom event.SiteID `json:"erased_from,omitempty"`
}

// late returns the keys of an erased person that nobody has destroyed yet.
func (p *personState) late() []event.KeyID {
	if !p.Erased {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.Keys), func(k event.KeyID) bool { return slices.Contains(p.Destroyed, k) })
}

type unitState struct {
	UnitRecorded
	Removed bool `json:"removed,omitempty"`
}

type functionState struct {
	FunctionRecorded
	Removed bool `json:"removed,omitempty"`
}

// Fold returns the directory's part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[state]{
		Label:      "directory",
		OwnedRoots: []string{"person", "unit", "function", "erasure"},
		KnownKinds: []event.Kind{KindPersonRecorded, KindPersonRemoved, KindPersonErased, KindUnitRecorded, KindUnitRemoved,
			KindFunctionRecorded, KindFunctionRemoved, KindErasureConfirmed},
		SQL:       schema,
		ApplyFunc: apply,
		SaveFunc:  save,
	}
}

// rootOf tells under which subjects a kind of fact belongs.
var rootOf = map[event.Kind]string{
	KindPersonRecorded: "person", KindPersonRemoved: "person", KindPersonErased: "person",
	KindUnitRecorded: "unit", KindUnitRemoved: "unit", KindFunctionRecorded: "function", KindFunctionRemoved: "function",
	KindErasureConfirmed: "erasure",
}

func apply(s state, e readmodel.Entry) (state, error) {
	if rootOf[e.Kind] != e.Subject.Root() || !validID(e.Subject.Part(1)) || e.Subject.Part(2) != "" {
		return s, fmt.Errorf("%s does not belong into %s", e.Kind, e.Subject)
	}
	switch e.Subject.Root() {
	case "person":
		if s.Person == nil {
			s.Person = &personState{}
		}
		return s, s.Person.apply(e)
	case "unit":
		if s.Unit == nil {
			s.Unit = &unitState{}
		}
		return s, s.Unit.apply(e)
	case "erasure":
		if s.Erasure == nil {
			s.Erasure = &erasureState{}
		}
		return s, s.Erasure.apply(e)
	}
	if s.Function == nil {
		s.Function = &functionState{}
	}
	return s, s.Function.apply(e)
}

func (p *personState) apply(e readmodel.Entry) error {
	switch e.Kind {
	case KindPersonRecorded:
		var f PersonRecorded
		if err := e.Decode(&f); err != nil {
			return err
		}
		p.record(f)
	case KindPersonRemoved:
		p.Removed = true
	case KindPersonErased:
		var f PersonErased
		if err := e.Decode(&f); err != nil {
			return err
		}
		for _, k := range f.Keys {
			p.Destroyed = appendOnce(p.Destroyed, k)
		}
		if !p.Erased {
			p.ErasedAt, p.ErasedBy, p.ErasedFrom = e.Wall, e.Actor, e.Place.Site
		}
		p.Erased, p.Sealed, p.Units = true, nil, nil
	}
	return nil
}

// record takes a version over. Erasing is final: what comes after it, in time or only in order, changes nothing but the
// list of keys to destroy.
func (p *personState) record(f PersonRecorded) {
	p.Keys = appendOnce(p.Keys, f.Key)
	if p.Erased {
		return
	}
	p.Key, p.Source, p.Sealed, p.Removed = f.Key, f.Source, f.Sealed, false
	p.Units = f.Units[:min(len(f.Units), maxUnits)]
}

func (u *unitState) apply(e readmodel.Entry) error {
	if u.Removed = e.Kind == KindUnitRemoved; u.Removed {
		return nil
	}
	u.UnitRecorded = UnitRecorded{}
	return e.Decode(&u.UnitRecorded)
}

func (f *functionState) apply(e readmodel.Entry) error {
	if f.Removed = e.Kind == KindFunctionRemoved; f.Removed {
		return nil
	}
	f.FunctionRecorded = FunctionRecorded{}
	return e.Decode(&f.FunctionRecorded)
}

// save writes the rows of one subject. It may be called again for the same state when a key has come or gone.
func save(tx *readmodel.Tx, ref readmodel.Ref, was, is state) error {
	id := ref.Subject.Part(1)
	switch {
	case is.Person != nil:
		var before personState
		if was.Person != nil {
			before = *was.Person
		}
		return savePerson(tx, ref.Authority, PersonID(id), before, *is.Person)
	case is.Unit != nil:
		return saveUnit(tx, ref.Authority, UnitID(id), *is.Unit)
	case is.Function != nil:
		return saveFunction(tx, ref.Authority, FunctionID(id), *is.Function)
	case is.Erasure != nil:
		return saveErasure(tx, ref.Authority, PersonID(id), *is.Erasure)
	}
	return nil
}

// readable opens what is sealed and says how that went. Only a key that is there and does not fit is an error.
func readable(tx *readmodel.Tx, authority event.AuthorityID, key event.KeyID, context string, sealed []byte) ([]byte, Readability, error) {
	plain, err := tx.Open(authority, key, context, sealed)
	switch {
	case err == nil:
		return plain, Readable, nil
	case errors.Is(err, keyring.ErrErased):
		return nil, Erased, nil
	case errors.Is(err, keyring.ErrMissing), errors.Is(err, keyring.ErrNoAuthorityKey):
		return nil, NotYet, nil
	}
	return nil, NotYet, err
}
