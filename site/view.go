// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

//go:embed schema.sql
var authoritySchema string

func saveMembership(tx *readmodel.Tx, _ readmodel.Ref, _, m Membership) error {
	return keepApart(tx, m.Said.over())
}

func saveAuthority(tx *readmodel.Tx, ref readmodel.Ref, old, new AuthorityState) error {
	if err := saveFoundings(tx, ref.Subject.Part(1), old, new); err != nil {
		return err
	}
	return keepApart(tx, new.Said.over())
}

// keepApart tells which sites have said more in the subject than is taken.
func keepApart(tx *readmodel.Tx, over map[event.SiteID]bool) error {
	reasons := make(map[event.SiteID]string)
	for site := range over {
		reasons[site] = fmt.Sprintf("site %s says more there than is taken from one log of a site, %d facts that differ, %d KiB together; "+
			"what is behind that does not count", site.Short(), maxSaid, maxSaidBytes>>10)
	}
	return tx.KeepApart(reasons)
}

// folded is what the read model knows of the federation, at one moment.
type folded struct {
	members     Membership
	authorities map[event.AuthorityID]AuthorityState // those with a founding that counts
	founders    founders
	raw         map[event.Subject]string // the stored states that this was read from
}

// readFolded returns what the read model knows, and whether that differs from before. States that have not changed are not
// decoded again. Of authorities that nobody has founded, as far as it counts, nothing is read or kept: one site can make as many of
// them as it likes, and each look would cost as much as all of them.
func readFolded(ctx context.Context, m *readmodel.Model, before folded) (f folded, changed bool, err error) {
	f = folded{authorities: make(map[event.AuthorityID]AuthorityState), raw: make(map[event.Subject]string)}
	err = m.View(ctx, func(q readmodel.Query) error {
		f.members, err = readOne(ctx, q, SubjectMembers, f.raw, before.raw, before.members)
		if err != nil {
			return err
		}
		if f.founders, err = readFounders(ctx, q, m.Chains(ctx)); err != nil {
			return err
		}
		for id := range f.founders.authorities {
			f.authorities[id], err = readOne(ctx, q, SubjectOf(id), f.raw, before.raw, before.authorities[id])
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return folded{}, false, fmt.Errorf("read the federation: %w", err)
	}
	return f, !maps.Equal(f.raw, before.raw) || !f.founders.equal(before.founders), nil
}

// readOne reads one state, unless it is stored as it was before.
func readOne[S any](ctx context.Context, q readmodel.Query, subject event.Subject, raw, before map[event.Subject]string, was S) (is S, err error) {
	var stored []byte
	if _, err := q.State(ctx, event.Federation, subject, &stored); err != nil {
		return is, err
	}
	raw[subject] = string(stored)
	if text, known := before[subject]; known && text == raw[subject] {
		return was, nil
	}
	if len(stored) == 0 {
		return is, nil
	}
	if err := json.Unmarshal(stored, &is); err != nil {
		return is, fmt.Errorf("read the state of %s: %w", subject, err)
	}
	return is, nil
}
