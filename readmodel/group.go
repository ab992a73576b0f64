// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"fmt"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
)

// Group is several folds under one name, for a domain whose subjects have states of different types. Each part owns its roots
// and knows its kinds; the model folds a subject by the part that owns its root, in runs if that is a Typed.
type Group struct {
	Label string
	Parts []Fold
}

// Name returns the label.
func (g Group) Name() string { return g.Label }

// Roots returns the roots of all parts.
func (g Group) Roots() (roots []string) {
	for _, p := range g.Parts {
		roots = append(roots, p.Roots()...)
	}
	return roots
}

// Kinds returns the kinds of all parts.
func (g Group) Kinds() (kinds []event.Kind) {
	for _, p := range g.Parts {
		kinds = append(kinds, p.Kinds()...)
	}
	return kinds
}

// Schema returns the SQL of all parts.
func (g Group) Schema() string {
	var all []string
	for _, p := range g.Parts {
		if s := p.Schema(); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, ";\n")
}

// Apply lets the part that owns the subject's root apply the event. It returns an error if there is none.
func (g Group) Apply(state []byte, e Entry) ([]byte, error) {
	p, err := g.part(e.Subject)
	if err != nil {
		return nil, err
	}
	return p.Apply(state, e)
}

// Save lets the part that owns the subject's root save. It returns an error if there is none.
func (g Group) Save(tx *Tx, ref Ref, old, new []byte) error {
	p, err := g.part(ref.Subject)
	if err != nil {
		return err
	}
	return p.Save(tx, ref, old, new)
}

func (g Group) part(subject event.Subject) (Fold, error) {
	for _, p := range g.Parts {
		if slices.Contains(p.Roots(), subject.Root()) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no part of the fold %s owns the root %q", g.Label, subject.Root())
}
