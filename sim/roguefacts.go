// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"crypto/ed25519"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
)

// floodSize is how many facts the rogue writes at once, mostFlooded how many in a world.
const (
	floodSize   = 120
	mostFlooded = 360
	// scattered is how many logs the rogue begins at once.
	scattered = 100
	// margin is how many facts about members a site may have in the folded state besides the different ones of a flood.
	margin = 40
)

// flood writes the same few facts again and again, or many that differ.
func (r *rogue) flood(ctx context.Context) error {
	if r.flooded >= mostFlooded {
		return nil
	}
	target := r.w.nodes[r.rnd.IntN(len(r.w.nodes))].site
	differ := r.rnd.IntN(4) == 0
	events := make([]event.Event, 0, floodSize)
	for range floodSize {
		if differ {
			target = seal.SiteOf(ed25519.PublicKey(r.bytes(ed25519.PublicKeySize)))
		}
		r.said[string(target)] = true
		events = append(events, r.event(site.SubjectMembers, site.KindEndorsed, r.now(), site.Endorsed{Site: target}))
	}
	r.flooded += floodSize
	r.w.logf("the rogue floods the members' facts; different ones: %v", differ)
	_, err := r.publish(ctx, r.someLog(event.Federation, event.Register), events...)
	return err
}

// scatter begins a hundred logs of one page each, once in a world.
func (r *rogue) scatter(ctx context.Context) error {
	held := r.mayHold()
	if len(held) == 0 || r.logs >= scattered {
		return nil
	}
	id := held[r.rnd.IntN(len(held))]
	r.w.logf("the rogue begins %d logs of %s", scattered, id)
	for range scattered {
		begun := eventlog.Head{Branch: eventlog.Branch{LogID: r.freshLog(id, event.Operations)}}
		if _, err := r.publish(ctx, begun, r.event("rogue/1", "rogue.Noted", r.now(), 1)); err != nil {
			return err
		}
	}
	return nil
}

// dateBack proposes the stranger as if the second operator had not been there yet.
func (r *rogue) dateBack(ctx context.Context) error {
	at := event.StampAt(r.w.founded.Add(time.Second / 2))
	to := r.someLog(event.Federation, event.Register)
	r.w.logf("the rogue dates a proposal back, in incarnation %s", to.Branch.Incarnation)
	_, err := r.publish(ctx, to, r.event(site.SubjectMembers, site.KindProposed, at, r.proposal))
	return err
}

// allowItself says that an authority that has forbidden it had allowed it again before.
func (r *rogue) allowItself(ctx context.Context) error {
	for _, a := range r.w.authorities {
		if !a.forbidden[r.site] {
			continue
		}
		at := event.StampAt(start.Add(time.Duration(r.rnd.Int64N(int64(r.w.now.Sub(start))))))
		to := r.someLog(event.Federation, event.Register)
		r.w.logf("the rogue allows itself to hold %s, dated back", a.id)
		if _, err := r.publish(ctx, to, r.event(site.SubjectOf(a.id), site.KindAllowed, at, site.Allowed{Site: r.site})); err != nil {
			return err
		}
	}
	return nil
}

// contradict signs two first pages of one log.
func (r *rogue) contradict(ctx context.Context) error {
	held := r.mayHold()
	if len(held) == 0 {
		return nil
	}
	begun := eventlog.Head{Branch: eventlog.Branch{LogID: r.freshLog(held[r.rnd.IntN(len(held))], event.Record)}}
	r.w.logf("the rogue signs two pages of one number")
	for i := range 2 {
		if _, err := r.publish(ctx, begun, r.event("rogue/1", "rogue.Noted", r.now(), i)); err != nil {
			return err
		}
	}
	return nil
}

// shutOut reports whether a site was forbidden by one that was never forbidden itself, and nobody has let it in again. What a site
// that was forbidden has said counts only if whoever forbade it had heard of it, so that its own forbidding need not. Who was
// removed is no member, and asked about as such. What was decided on a disk that is gone, a clone's for one, may never have left it.
func (w *World) shutOut(site event.SiteID, a *authority) bool {
	counts := func(d decision) bool {
		return !a.forbidden[d.by] && !w.node(d.by).gone && !slices.Contains(w.lost, d.disk)
	}
	return !a.reallowed[site] && slices.ContainsFunc(a.forbade[site], counts)
}

// checkRogue: nobody has joined by the rogue's word alone, it may not hold what forbids it, and what it has said fills no tables.
func (w *World) checkRogue(ctx context.Context) error {
	r := w.rogue
	if r == nil {
		return nil
	}
	for _, n := range w.honest() {
		if n.fed.Member(r.stranger.Site()) {
			w.violate("%v takes the stranger for a member, whom one operator has proposed", n)
		}
		for _, a := range w.authorities {
			if w.shutOut(r.site, a) && n.fed.Allowed(r.site, a.id) {
				w.violate("%v lets the rogue hold %s, which has forbidden it", n, a.id)
			}
		}
		var s site.Membership
		if _, err := n.model.State(ctx, event.Federation, site.SubjectMembers, &s); err != nil {
			return err
		}
		said := 0
		for log, l := range s.Said {
			if strings.HasPrefix(string(log), string(r.site)) {
				said += len(l.Facts)
			}
		}
		if most := len(r.said) + margin; said > most {
			w.violate("%v folds %d facts about members again and again that the rogue has said, want at most %d", n, said, most)
		}
	}
	return nil
}
