// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// Report is what came of a world.
type Report struct {
	Seed       uint64
	Violations []string
	Trace      []string
	// Facts, Acknowledged, Pages, Forks, Called and Rounds tell how much happened, so that a world in which nothing
	// happens is noticed.
	Facts, Acknowledged, Secured, Pages, Forks, Alarms, Called, Twice, Rounds int
	// Left counts how often a forbidden site has deleted what it held, Apart the logs of which pages are kept apart.
	Left, Apart int
	// Duels are alarms through an interruption of two sites that call; Doubled are the hand-overs that were made again after it,
	// at Changes of the caller. Forged events and Planted records are the rogue's.
	// Held is how often a site shows an alarm as held in the end.
	Duels, Doubled, Changes, Forged, Planted, Held int
	// Sessions began; Verified tokens were shown, Refused of them not accepted; Used secrets were accepted twice, Loose tokens of
	// those accepted in the end because a use was lost with its disk or set apart; Judged rights were asked for, Granted roles
	// given, Approved deeds of two people done, Lines of the audit acknowledged.
	Sessions, Verified, Refused, Used, Loose, Judged, Granted, Approved, Lines int
}

// String prints the seed, what is broken, and the end of the trace.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d promises broken; again with: make sim SEED=%d\n", r.Seed, len(r.Violations), r.Seed)
	for i, v := range r.Violations {
		if i == 20 {
			fmt.Fprintf(&b, "  and %d more\n", len(r.Violations)-i)
			break
		}
		fmt.Fprintf(&b, "  %s\n", v)
	}
	fmt.Fprintf(&b, "trace (the last of %d lines):\n", len(r.Trace))
	for _, line := range r.Trace[max(0, len(r.Trace)-120):] {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// maxRounds is how many rounds of steps everything may take to settle after healing. A round in which somebody is called
// who had not been does not count: a caller hands over callWindow messages in a round, so how many of these rounds there are
// follows from how much is due, which is a hundred hand-overs and more in some worlds. It ends, since nobody new is named.
const maxRounds = 60

// Run runs one world and reports what came of it. The error is about the simulator itself, not about promises.
func Run(ctx context.Context, o Options) (Report, error) {
	w, err := newWorld(ctx, o)
	defer w.close()
	if err != nil {
		return w.report(), fmt.Errorf("make world %d: %w", o.Seed, err)
	}
	steps := o.Steps
	if steps == 0 {
		steps = 120 + w.rnd.IntN(240)
	}
	w.logf("world %d: %d sites, %d authorities, %d steps", w.seed, len(w.nodes), len(w.authorities), steps)
	for range steps {
		if err := w.act(ctx); err != nil {
			return w.report(), fmt.Errorf("seed %d after %q: %w", o.Seed, w.trace[len(w.trace)-1], err)
		}
	}
	rounds, err := w.heal(ctx)
	if err != nil {
		return w.report(), fmt.Errorf("seed %d while healing: %w", o.Seed, err)
	}
	if err := w.check(ctx); err != nil {
		return w.report(), fmt.Errorf("seed %d while checking: %w", o.Seed, err)
	}
	r := w.report()
	r.Rounds = rounds
	return r, nil
}

// scrubRounds is after how many rounds no disk can have a damage that is not found: none comes while everything heals.
const scrubRounds = 2

func (w *World) scrubAll(ctx context.Context) error {
	for _, n := range w.living() {
		if err := n.scrub(ctx); err != nil {
			return err
		}
	}
	return nil
}

// waitRounds is after how many rounds time passes for logs that are not taken yet.
const waitRounds = 15

// heal mends everything and lets all sites step until nothing changes any more.
func (w *World) heal(ctx context.Context) (rounds int, err error) {
	if err := w.mendAll(ctx); err != nil {
		return 0, err
	}
	still, enough := 0, 3
	if w.slow {
		enough = 12 // a page may need several rounds
	}
	limit := maxRounds
	for rounds = 1; rounds <= limit; rounds++ {
		called := len(w.alarms.handovers)
		moved, err := w.round(ctx)
		if err == nil && rounds <= scrubRounds {
			err = w.scrubAll(ctx)
		}
		if err != nil {
			return rounds, err
		}
		if len(w.alarms.handovers) > called {
			limit++
		}
		if still++; moved {
			still = 0
		}
		// A log that waits is asked for again and again where lines are slow: that moves nothing, and only time helps.
		if wait := w.waiting() > 0 && rounds%waitRounds == 0; still < enough && !wait {
			continue
		}
		due, err := w.pending(ctx)
		if err != nil {
			return rounds, err
		}
		if due == 0 && w.waiting() == 0 {
			if moved, err = w.rest(ctx); err != nil || !moved {
				return rounds, err
			}
			still = 0
			continue
		}
		if due == 0 {
			w.now = w.now.Add(8 * 24 * time.Hour) // what is kept apart is taken as time passes
		}
	}
	due, err := w.pending(ctx)
	w.violate("after %d rounds the sites are still busy; %d hand-overs are due", limit, due)
	return rounds, err
}

// mendAll ends every trouble: cuts, clones, slow lines, wrong clocks, bad disks, sites that are down.
func (w *World) mendAll(ctx context.Context) error {
	w.logf("everything heals")
	w.net.HealAll()
	w.healed = true
	if err := w.endClones(ctx); err != nil {
		return err
	}
	w.mendLines()
	w.mendClocks()
	for _, n := range w.nodes {
		n.disk.mend()
		if !n.up && !n.gone {
			if err := n.restart(ctx); err != nil {
				return err
			}
		}
	}
	return errors.Join(w.finishErasing(ctx), w.signInFresh(ctx))
}

// restFor is longer than a site waits for another one's word.
const restFor = 31 * time.Second

// rest lets time pass without a word, and every site destroy the keys that its facts have made due meanwhile, as a real one looks
// every other second. In a round a site may wait for somebody's word each time it looks: on slow lines every exchange comes after a
// silence. It reports whether anything moved.
func (w *World) rest(ctx context.Context) (moved bool, err error) {
	w.now = w.now.Add(restFor)
	for _, n := range w.living() {
		erased, err := n.ring.Judge(ctx)
		if err != nil {
			return moved, err
		}
		if erased > 0 {
			moved = true
			n.log.Recheck(ctx)
		}
	}
	return moved, nil
}

func (w *World) endClones(ctx context.Context) error {
	for range w.nodes {
		if err := w.endClone(ctx); err != nil {
			return err
		}
	}
	return nil
}

// round lets everybody step with everybody once, and reports whether anything moved.
func (w *World) round(ctx context.Context) (moved bool, err error) {
	w.now = w.now.Add(10 * time.Second)
	written := len(w.ledger.facts)
	for _, a := range w.living() {
		a.reconcile(ctx)
		for _, b := range w.nodes { // who has vanished is asked, too, in vain
			if a == b {
				continue
			}
			moved = w.step(ctx, a, b) > 0 || moved
			changed, err := a.syncer.Step(ctx, b.site)
			if err != nil && !b.gone {
				w.logf("keys of %v from %v: %v", a, b, err)
			}
			if changed > 0 {
				moved = true
				a.log.Recheck(ctx)
			}
		}
		folded, err := a.fold(ctx)
		if err != nil {
			return moved, err
		}
		a.awaitFresh()
		if _, err := a.domainStep(ctx); err != nil {
			return moved, err
		}
		moved = moved || folded > 0
	}
	return moved || len(w.ledger.facts) > written, nil
}

// awaitFresh lets time pass until the site has caught up, as a caller does with whom something is due: it looks every second at
// least, and what nobody waits for is not waited for in vain. A round looks once, and on slow lines lasts minutes.
func (n *node) awaitFresh() {
	for range int(restFor / time.Second) {
		if n.rep.CaughtUp() {
			return
		}
		n.w.now = n.w.now.Add(time.Second)
	}
}

func (w *World) report() Report {
	r := Report{Seed: w.seed, Violations: w.violations, Trace: w.trace, Facts: len(w.ledger.facts)}
	for _, f := range w.ledger.facts {
		if f.fate == mustBe {
			r.Acknowledged++
		}
		if f.secured {
			r.Secured++
		}
	}
	for _, n := range w.living() {
		for _, h := range n.log.Heads() {
			r.Pages += int(h.Page)
		}
		r.Forks = max(r.Forks, len(n.log.Forks()))
	}
	r.Alarms, r.Called, r.Twice = w.alarms.count()
	r.Left = w.left
	r.Held = w.held
	r.Duels, r.Doubled, r.Changes = w.duels, w.doubled, w.changes
	if w.rogue != nil {
		r.Forged = w.rogue.forged
		for _, records := range w.rogue.planted {
			r.Planted += len(records)
		}
	}
	r.Sessions, r.Verified, r.Refused, r.Used = len(w.people.sessions), w.people.verified, w.people.refused, w.people.twice
	r.Loose, r.Judged, r.Granted, r.Approved, r.Lines = w.people.loose, w.people.judged, w.people.grants, w.people.approved, len(w.people.lines)
	for _, n := range w.living() {
		r.Apart = max(r.Apart, len(eventlog.Counted{Log: n.log}.Apart()))
	}
	return r
}
