// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/seal"
)

// key is a key that an honest site has made for a fact, and that nobody has a reason to erase.
type key struct {
	authority event.AuthorityID
	id        event.KeyID
}

// sharedKeys are the names of the keys that an authority has from its founding.
var sharedKeys = []string{keyring.NameID, keyring.NameLink, keyring.NameRegister}

// absurdGeneration is one that no honest site reaches.
const absurdGeneration = 1 << 40

// noteKeys remembers keys that an honest site has made.
func (w *World) noteKeys(n *node, id event.AuthorityID, keys []event.KeyID) {
	for _, k := range keys {
		if !n.isRogue() {
			w.keys = append(w.keys, key{id, k})
		}
	}
}

// noteShared remembers which shared keys an authority was founded with.
func (w *World) noteShared(ctx context.Context, n *node, id event.AuthorityID) error {
	for _, name := range sharedKeys {
		k, err := n.ring.Named(ctx, id, name)
		if err != nil {
			return err
		}
		w.shared[string(id)+"/"+name] = k.ID
	}
	return nil
}

// plant makes up records of one kind for an authority that allows the rogue; it hands them out in the mood for that.
func (r *rogue) plant(ctx context.Context) error {
	held := r.mayHold()
	if len(held) == 0 {
		return nil
	}
	id := held[r.rnd.IntN(len(held))]
	records, _, _, err := r.ring.Changes(ctx, id, keyring.Cursor{}, 1<<20)
	if err != nil {
		return err
	}
	kinds := []struct {
		name string
		make func(event.AuthorityID, []keyring.Record) []keyring.Record
	}{
		{"boxes for those who may not have them yet", r.boxesAhead},
		{"a key of an absurd generation", r.absurdKey},
		{"keys under the ids of others", r.wrongKeys},
		{"erasure marks", r.marks},
		{"shared keys of its own", r.ownShared},
	}
	kind := kinds[r.rnd.IntN(len(kinds))]
	planted := kind.make(id, records)
	r.planted[id] = append(r.planted[id], planted...)
	r.moods[plantsKeys] = true
	r.w.logf("the rogue plants %d records in %s: %s", len(planted), id, kind.name)
	return nil
}

func (r *rogue) plantInto(answer []byte) []byte {
	var a struct {
		Given []struct {
			Authority event.AuthorityID `json:"authority"`
			Records   []keyring.Record  `json:"records,omitempty"`
			Next      keyring.Cursor    `json:"next"`
			More      bool              `json:"more,omitempty"`
			Refused   bool              `json:"refused,omitempty"`
		} `json:"given,omitempty"`
	}
	if json.Unmarshal(answer, &a) != nil {
		return answer
	}
	for i := range a.Given {
		g := &a.Given[i]
		g.Records = append(slices.Clone(r.planted[g.Authority]), g.Records...)
		g.Next.After += int64(len(r.planted[g.Authority])) // so that it is taken again when there is more
	}
	out, err := json.Marshal(a)
	if err != nil {
		return answer
	}
	return out
}

// boxesAhead are boxes that open nothing, for sites that the authority does not allow.
func (r *rogue) boxesAhead(id event.AuthorityID, records []keyring.Record) (out []keyring.Record) {
	for _, rec := range records {
		for _, n := range r.w.nodes {
			if rec.Site == r.site && !r.fed.Allowed(n.site, id) {
				out = append(out, keyring.Record{ID: rec.ID, Generation: rec.Generation, Site: n.site, Sealed: r.bytes(80)})
			}
		}
	}
	return out
}

// absurdKey is an authority key of a generation after which none can come, sealed to all as it should be.
func (r *rogue) absurdKey(id event.AuthorityID, _ []keyring.Record) (out []keyring.Record) {
	keyID, secret := event.KeyID(r.hex(8)), r.bytes(32)
	for _, n := range r.w.nodes {
		m, ok := r.fed.MemberOf(n.site)
		if !ok || !r.fed.Allowed(n.site, id) {
			continue
		}
		context := fmt.Sprintf("holdfast authority key %s %s %s", id, keyID, n.site)
		if sealed, err := seal.SealTo(m.SealKey, context, secret); err == nil {
			out = append(out, keyring.Record{ID: keyID, Generation: absurdGeneration, Site: n.site, Sealed: sealed})
		}
	}
	return out
}

// wrongKeys are keys under ids that are taken, which open to nothing.
func (r *rogue) wrongKeys(_ event.AuthorityID, records []keyring.Record) (out []keyring.Record) {
	for _, rec := range records {
		if rec.Site == "" && rec.Erased == 0 && len(out) < 10 {
			out = append(out, keyring.Record{ID: rec.ID, Name: rec.Name, By: rec.By, Sealed: r.bytes(len(rec.Sealed))})
		}
	}
	return out
}

// marks are erasure marks of keys that nobody has erased, the shared ones among them.
func (r *rogue) marks(_ event.AuthorityID, records []keyring.Record) (out []keyring.Record) {
	for _, rec := range records {
		if rec.Site == "" && rec.Erased == 0 && (rec.Name != "" || r.rnd.IntN(3) == 0) {
			out = append(out, keyring.Record{ID: rec.ID, Erased: r.clock().UnixMilli()})
		}
	}
	return out
}

// ownShared are shared keys that sort before the true ones.
func (r *rogue) ownShared(id event.AuthorityID, records []keyring.Record) (out []keyring.Record) {
	for _, rec := range records {
		if rec.Site != r.site {
			continue
		}
		plain, err := r.id.Open(fmt.Sprintf("holdfast authority key %s %s %s", id, rec.ID, r.site), rec.Sealed)
		if err != nil || len(plain) != len(seal.Key{}) {
			continue
		}
		r.named[id] = true
		for i, name := range sharedKeys {
			low := event.KeyID(fmt.Sprintf("%016x", i+1))
			sealed, err := seal.Key(plain).Seal(r.node.rnd, fmt.Sprintf("holdfast key %s %s %s", id, low, name), r.bytes(32))
			if err == nil {
				out = append(out, keyring.Record{ID: low, Name: name, By: rec.ID, Sealed: sealed})
			}
		}
		break
	}
	return out
}

// eraseAll marks every key of an authority that the rogue may hold, with the keyring that everybody has.
func (r *rogue) eraseAll(ctx context.Context) error {
	held := r.mayHold()
	if len(held) == 0 {
		return nil
	}
	id := held[r.rnd.IntN(len(held))]
	records, _, _, err := r.ring.Changes(ctx, id, keyring.Cursor{}, 1<<20)
	if err != nil {
		return err
	}
	var ids []event.KeyID
	for _, rec := range records {
		if rec.Site == "" && rec.Erased == 0 {
			ids = append(ids, rec.ID)
		}
	}
	err = r.ring.Erase(ctx, id, ids...)
	r.w.logf("the rogue erases all keys of %s: %s", id, outcome(err))
	return nil
}

// checkKeys: no key is destroyed without a reason, and the shared ones are those of the founding, or what all agree on where the
// rogue has made shared keys of its own: it may use the authority's key as all do who have it.
func (w *World) checkKeys(ctx context.Context, n *node) error {
	for _, k := range w.keys {
		if !w.Allowed(n.site, k.authority) {
			continue
		}
		if _, err := n.ring.Key(ctx, k.authority, k.id); errors.Is(err, keyring.ErrErased) {
			w.violate("%v has lost key %s of %s, which nobody had a reason to erase", n, k.id, k.authority)
		}
	}
	for _, a := range w.authorities {
		if !w.Allowed(n.site, a.id) {
			continue
		}
		for _, name := range sharedKeys {
			k, err := n.ring.Named(ctx, a.id, name)
			key := string(a.id) + "/" + name
			if w.rogue != nil && w.rogue.named[a.id] && err == nil && !w.agreed[key] {
				w.shared[key], w.agreed[key] = k.ID, true // of several the lowest id counts, whoever made it: all must agree on it
			}
			if want := w.shared[key]; err != nil || k.ID != want {
				w.violate("%v has %s as the shared key %q of %s (%v), want %s", n, k.ID, name, a.id, err, want)
			}
		}
		if err := w.checkContacts(ctx, n, a.id); err != nil {
			return err
		}
	}
	return nil
}

// checkContacts: nobody's contact is erased whom nobody wanted to erase.
func (w *World) checkContacts(ctx context.Context, n *node, id event.AuthorityID) error {
	list, err := n.people.directory.Resolve(ctx, id, directory.Audience{Everyone: true})
	if err != nil {
		return refusal(err)
	}
	for _, p := range list {
		c, err := n.people.directory.Contact(ctx, id, p.Person)
		if err == nil && c.Readable == directory.Erased && !slices.Contains(w.people.erasing, owner{id, p.Person}) {
			w.violate("%v has lost the keys of person %s of %s, whom nobody has erased", n, p.Person, id)
		}
	}
	return nil
}
