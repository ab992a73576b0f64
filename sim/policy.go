// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
)

// allowMore lets another site hold an authority's logs, or one that was forbidden hold them again. Who decides it knows it
// at once; the others hear of it. Only a site that the authority allows can decide it. One that was ever forbidden does not:
// what it says, not having heard of that, does not count in the end.
func (w *World) allowMore(ctx context.Context) error {
	a := w.authorities[w.rnd.IntN(len(w.authorities))]
	n, by := w.nodes[w.rnd.IntN(len(w.nodes))], w.someone()
	if by == nil || w.Allowed(n.site, a.id) && !a.forbidden[n.site] || n.gone || !by.decides(a) {
		return nil
	}
	// Allowed from now on for all that the simulator watches: even if the disk cannot tell, the fact may be there.
	if !slices.Contains(a.allowed, n.site) {
		a.allowed = append(a.allowed, n.site)
	}
	if a.forbidden[n.site] {
		if a.reallowed == nil {
			a.reallowed = make(map[event.SiteID]bool)
		}
		a.reallowed[n.site] = true
	}
	err := by.sites.Allow(ctx, a.id, n.site)
	w.logf("%v lets %v hold %s: %s", by, n, a.id, outcome(err))
	return unexpected(err)
}

// forbidSome withdraws what lets a site hold an authority's logs, wherever the deciding site is, and whatever it has heard of
// the other's log.
func (w *World) forbidSome(ctx context.Context) error {
	a, by := w.authorities[w.rnd.IntN(len(w.authorities))], w.someone()
	if by == nil {
		return nil
	}
	return w.forbid(ctx, by, w.nodes[w.rnd.IntN(len(w.nodes))], a)
}

func (w *World) forbid(ctx context.Context, by, n *node, a *authority) error {
	if n.gone || !w.Allowed(n.site, a.id) || w.steady(a, n) < 2 || !by.decides(a) {
		return nil
	}
	if a.forbidden == nil {
		a.forbidden = make(map[event.SiteID]bool)
	}
	a.forbidden[n.site] = true
	made := decision{by.site, by.memory}
	err := by.sites.Forbid(ctx, a.id, n.site)
	w.logf("%v forbids %v to hold %s: %s", by, n, a.id, outcome(err))
	if err == nil {
		if a.forbade == nil {
			a.forbade = make(map[event.SiteID][]decision)
		}
		a.forbade[n.site] = append(a.forbade[n.site], made)
	}
	return unexpected(err)
}

// decides reports whether what the site says about the authority's sites counts.
func (n *node) decides(a *authority) bool { return n.fed.Allowed(n.site, a.id) && !a.forbidden[n.site] }

// steady counts the operators of the sites, without one, that are there and that nobody has ever forbidden to hold the
// authority's logs. Two of them are never touched, so that what was secured stays so.
func (w *World) steady(a *authority, without *node) int {
	operators := make(map[string]bool)
	for _, n := range w.nodes {
		if n != without && !n.gone && slices.Contains(a.founding, n.site) && !a.forbidden[n.site] {
			operators[n.operator] = true
		}
	}
	return len(operators)
}

// mayGo reports whether a site may vanish: not if an authority that has forbidden others would have one operator left.
func (w *World) mayGo(n *node) bool {
	for _, a := range w.authorities {
		if len(a.forbidden) > 0 && w.steady(a, n) < 2 {
			return false
		}
	}
	return true
}

// leave takes away what the site holds of authorities that no longer allow it, when others have it, as a real site does.
func (n *node) leave(ctx context.Context) (left bool, err error) {
	for _, a := range n.w.authorities {
		if !n.fed.Withdrawn(a.id) {
			continue
		}
		if here, err := n.holds(ctx, a.id); err != nil || !here {
			if err != nil {
				return left, err
			}
			continue
		}
		if done, _ := n.rep.HandedOver(ctx, a.id); !done {
			continue
		}
		if err := n.ring.Drop(ctx, a.id); err != nil {
			return left, err
		}
		if err := n.log.Drop(ctx, a.id); err != nil {
			return left, fmt.Errorf("delete %s at %v: %w", a.id, n, err)
		}
		if err := n.model.Rebuild(ctx); err != nil {
			return left, err
		}
		n.w.logf("%v has deleted what it held of %s", n, a.id)
		left = true
		n.w.left++
	}
	return left, nil
}

// holds reports whether anything of the authority is on the site's disks.
func (n *node) holds(ctx context.Context, id event.AuthorityID) (bool, error) {
	for _, h := range n.log.Heads() {
		if h.Branch.Authority == id {
			return true, nil
		}
	}
	held, err := n.ring.Authorities(ctx)
	return slices.Contains(held, id), err
}

// checkPolicies: all sites agree on who may hold what. From here on that is what counts: a decision that was lost with
// the only disk it was on was never made.
func (w *World) checkPolicies() {
	living := w.honest()
	for _, a := range w.authorities {
		var want []event.SiteID
		for i, n := range living {
			known, _ := n.fed.Authority(a.id)
			got := slices.Sorted(slices.Values(known.Sites))
			if i == 0 {
				want = got
			} else if !slices.Equal(got, want) {
				w.violate("%v and %v do not agree on who may hold %s", living[0], n, a.id)
			}
		}
		for _, s := range want {
			if !slices.Contains(a.allowed, s) {
				w.violate("%s allows %v, which nobody decided", a.id, w.node(s))
			}
		}
		for _, s := range a.allowed {
			if !slices.Contains(want, s) && !a.forbidden[s] && slices.Contains(a.founding, s) {
				w.violate("%s does not allow %v any more, which nobody decided", a.id, w.node(s))
			}
		}
		a.allowed = want
	}
	for _, n := range living {
		want := len(w.nodes)
		if w.rogue != nil && !living[0].fed.Member(w.rogue.site) {
			want--
		}
		if got := len(n.fed.Members()); got != want {
			w.violate("%v knows %d members, want %d", n, got, want)
		}
	}
}
