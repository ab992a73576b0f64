// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
)

// engineVersion changes whenever this package stores something else than before; read models are then rebuilt.
const engineVersion = "2"

// owner is a fold as the engine uses it.
type owner struct {
	Fold
	kinds map[event.Kind]bool
	// run applies many events with one decoding and one encoding; nil where the fold offers nothing of the kind.
	run func(state []byte, entries []Entry) (next []byte, done int, err error)
}

// registry knows which fold owns which root.
type registry struct {
	owners  []*owner // by name
	byRoot  map[string]*owner
	version string
}

func newRegistry(folds []Fold) (*registry, error) {
	r := &registry{byRoot: make(map[string]*owner)}
	names := make(map[string]bool)
	for _, f := range folds {
		if f.Name() == "" || names[f.Name()] {
			return nil, fmt.Errorf("the name %q of a fold is empty or taken", f.Name())
		}
		names[f.Name()] = true
		o := newOwner(f)
		r.owners = append(r.owners, o)
		for _, root := range f.Roots() {
			if other := r.byRoot[root]; other != nil {
				return nil, fmt.Errorf("the folds %s and %s both own the root %q", other.Name(), f.Name(), root)
			}
			r.byRoot[root] = o
		}
	}
	if len(folds) == 0 {
		return nil, errors.New("a read model needs at least one fold")
	}
	slices.SortFunc(r.owners, func(a, b *owner) int { return compare(a.Name(), b.Name()) })
	r.version = r.hash()
	return r, nil
}

func newOwner(f Fold) *owner {
	o := &owner{Fold: f, kinds: make(map[event.Kind]bool)}
	for _, k := range f.Kinds() {
		o.kinds[k] = true
	}
	t := reflect.TypeOf(f)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	// A struct that embeds a Typed and has an Apply of its own also has applyAll; it must be asked by its own Apply.
	if runner, ok := f.(interface {
		applyAll([]byte, []Entry) ([]byte, int, error)
	}); ok && t.PkgPath() == reflect.TypeFor[Ref]().PkgPath() && strings.HasPrefix(t.Name(), "Typed[") {
		o.run = runner.applyAll
	}
	return o
}

// hash covers everything whose change makes the stored rows worthless.
func (r *registry) hash() string {
	h := sha256.New()
	part := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	part(engineVersion)
	for _, o := range r.owners {
		part(o.Name())
		roots, kinds := slices.Sorted(slices.Values(o.Roots())), slices.Sorted(slices.Values(o.Kinds()))
		part(fmt.Sprint(len(roots), len(kinds)))
		for _, root := range roots {
			part(root)
		}
		for _, k := range kinds {
			part(string(k))
		}
		part(o.Schema())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// apply folds entries, which are in order, into state. On an error it returns the state before the event that failed and
// how many were applied; so a subject's state depends on its events only, not on how they were cut into batches.
func (o *owner) apply(state []byte, entries []Entry) (next []byte, done int, err error) {
	if o.run == nil {
		return o.applyEach(state, entries)
	}
	if len(entries) == 0 {
		return state, 0, nil
	}
	next, done, err = o.run(state, entries)
	if err == nil {
		return next, done, nil
	}
	if done == 0 {
		return state, 0, err
	}
	before, _, again := o.run(state, entries[:done])
	if again != nil {
		return state, 0, again
	}
	return before, done, err
}

func (o *owner) applyEach(state []byte, entries []Entry) ([]byte, int, error) {
	for i := range entries {
		next, err := o.applyOne(state, entries[i])
		if err == nil && len(next) == 0 && len(state) != 0 {
			err = errors.New("the fold returned no state where there was one")
		}
		if err != nil {
			return state, i, err
		}
		if len(next) != 0 {
			state = next
		}
	}
	return state, len(entries), nil
}

func (o *owner) applyOne(state []byte, e Entry) (next []byte, err error) {
	defer recovered(&err)
	return o.Apply(state, e)
}

func compare[T ~string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
