// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// action is one thing that may happen. It does nothing where it does not fit the moment.
type action struct {
	weight int
	do     func(w *World, ctx context.Context) error
}

// actions is everything that may happen, and how often.
var actions = []action{
	{30, (*World).write},
	{40, (*World).stepSome},
	{10, (*World).foldSome},
	{6, (*World).syncSome},
	{5, (*World).cutSome},
	{4, (*World).healSome},
	{1, (*World).partition},
	{2, (*World).loseSome},
	{3, (*World).crashSome},
	{5, (*World).restartSome},
	{3, (*World).slowDisk},
	{1, (*World).fillDisk},
	{3, (*World).turnClock},
	{4, (*World).slowLine},
	{1, (*World).writeBulk},
	{4, (*World).backUp},
	{1, (*World).putBack},
	{2, (*World).clone},
	{2, (*World).snapshotAndClone},
	{2, (*World).endClone},
	{1, (*World).allowMore},
	{2, (*World).forbidSome},
	{1, (*World).rebuild},
	{6, (*World).checkSecured},
	{1, (*World).vanish},
	{2, (*World).rot},
	{3, (*World).scrubSome},
	{30, (*World).domainAction},
	{80, (*World).peopleAction},
	{20, (*World).misbehave},
	{3, (*World).callThroughCut},
	{1, (*World).removeRogue},
	{2, (*World).orderSome},
}

// act lets one thing happen and time pass.
func (w *World) act(ctx context.Context) error {
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	dice := w.rnd.IntN(total)
	w.now = w.now.Add(time.Duration(1+w.rnd.IntN(1500)) * time.Millisecond)
	if w.rnd.IntN(60) == 0 {
		w.now = w.now.Add(time.Duration(w.rnd.IntN(60)) * time.Minute)
	}
	for _, a := range actions {
		if dice -= a.weight; dice < 0 {
			return a.do(w, ctx)
		}
	}
	return nil
}

// someone returns a node that is up, nil if all are down.
func (w *World) someone() *node {
	l := w.living()
	if len(l) == 0 {
		return nil
	}
	return l[w.rnd.IntN(len(l))]
}

// pair returns two different nodes, up or not.
func (w *World) pair() (a, b *node) {
	i := w.rnd.IntN(len(w.nodes))
	j := (i + 1 + w.rnd.IntN(len(w.nodes)-1)) % len(w.nodes)
	return w.nodes[i], w.nodes[j]
}

var classes = []event.Class{event.Register, event.Operations, event.Operations, event.Record}

// write appends a few facts at a site, some of them needing a key.
func (w *World) write(ctx context.Context) error {
	if n := w.someone(); n != nil {
		w.writeAt(ctx, n)
	}
	return nil
}

func (w *World) writeAt(ctx context.Context, n *node) {
	held := n.mayHold()
	if len(held) == 0 {
		return
	}
	id := held[w.rnd.IntN(len(held))]
	keys := w.newKeys(ctx, n, id)
	w.noteKeys(n, id, keys)
	drafts := make([]event.Draft, 1+w.rnd.IntN(4))
	facts := make([]*fact, len(drafts))
	for i := range drafts {
		facts[i] = w.ledger.add(id, n)
		drafts[i] = event.Draft{
			Subject: event.Subject(fmt.Sprintf("note/n%d", w.rnd.IntN(5))), Kind: noteKind, Actor: "operator", Mode: event.Test,
			Keys: keys, Data: note{Token: facts[i].token},
		}
	}
	r, err := n.log.Append(ctx, id, classes[w.rnd.IntN(len(classes))], drafts...)
	w.logf("%v writes %d..%d to %s: %s", n, facts[0].token, facts[len(facts)-1].token, id, outcome(err))
	if err != nil {
		return // whatever the reason: what is stored nevertheless may appear
	}
	for i, f := range facts {
		f.fate, f.log, f.at = mustBe, r.Log, eventlog.Position{Page: r.Last.Page, Index: uint32(i)}
	}
}

func (w *World) newKeys(ctx context.Context, n *node, id event.AuthorityID) []event.KeyID {
	if w.rnd.IntN(3) > 0 {
		return nil
	}
	keys, err := n.ring.NewKeys(ctx, id, 1)
	if err != nil {
		return nil // the authority's key has not arrived here yet
	}
	return []event.KeyID{keys[0].ID}
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// stepSome lets one site exchange with one or all others.
func (w *World) stepSome(ctx context.Context) error {
	a, b := w.pair()
	if !a.up {
		return nil
	}
	if w.rnd.IntN(4) > 0 {
		w.step(ctx, a, b)
		return nil
	}
	for _, b := range w.nodes {
		if a != b {
			w.step(ctx, a, b)
		}
	}
	return nil
}

func (w *World) step(ctx context.Context, a, b *node) int {
	pulled, err := a.rep.Step(ctx, b.site)
	if pulled > 0 || (err != nil && fault.KindOf(err) != fault.Unavailable) {
		w.logf("%v pulls %d pages from %v: %s", a, pulled, b, outcome(err))
	}
	return pulled
}

func (w *World) foldSome(ctx context.Context) error {
	n := w.someone()
	if n == nil {
		return nil
	}
	_, err := n.fold(ctx)
	return err
}

func (w *World) syncSome(ctx context.Context) error {
	a, b := w.pair()
	if !a.up {
		return nil
	}
	a.reconcile(ctx)
	if _, err := a.syncer.Step(ctx, b.site); err != nil && fault.KindOf(err) != fault.Unavailable && !b.isRogue() {
		return fmt.Errorf("keys of %v from %v: %w", a, b, err)
	}
	return nil
}

func (w *World) cutSome(context.Context) error {
	a, b := w.pair()
	w.net.Cut(a.site, b.site)
	w.logf("%v and %v are cut", a, b)
	return nil
}

func (w *World) healSome(context.Context) error {
	if w.rnd.IntN(5) == 0 {
		w.net.HealAll()
		w.logf("all links are well")
		return nil
	}
	a, b := w.pair()
	w.net.Heal(a.site, b.site)
	w.logf("%v and %v see each other", a, b)
	return nil
}

func (w *World) partition(context.Context) error {
	half := w.rnd.Uint32()
	for i, a := range w.nodes {
		for j, b := range w.nodes {
			if i < j && half>>i&1 != half>>j&1 {
				w.net.Cut(a.site, b.site)
			}
		}
	}
	w.logf("the sites are split by %b", half&(1<<len(w.nodes)-1))
	return nil
}

func (w *World) loseSome(context.Context) error {
	share := float64(w.rnd.IntN(4)) / 10
	w.net.Lose(share)
	w.logf("%.0f %% of messages get lost", share*100)
	return nil
}

func (w *World) crashSome(context.Context) error {
	if n := w.someone(); n != nil {
		n.stop(true)
		w.logf("%v crashes", n)
	}
	return nil
}

func (w *World) restartSome(ctx context.Context) error {
	for _, n := range w.nodes {
		if !n.up && !n.gone && w.rnd.IntN(2) == 0 {
			if err := n.restart(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *node) restart(ctx context.Context) error {
	before := n.incarnation
	if err := n.start(ctx, true); err != nil {
		return err
	}
	n.w.logf("%v starts; incarnation %s", n, map[bool]string{true: "kept", false: "given up"}[n.incarnation == before])
	return nil
}

func (w *World) slowDisk(context.Context) error {
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	for range 1 + w.rnd.IntN(3) {
		n.disk.troubles = append(n.disk.troubles, trouble(w.rnd.IntN(3)))
	}
	w.logf("the disk of %v is slow: %v", n, n.disk.troubles)
	return nil
}

func (w *World) fillDisk(context.Context) error {
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	n.disk.full = !n.disk.full
	w.logf("the disk of %v is full: %v", n, n.disk.full)
	return nil
}

func (w *World) rebuild(ctx context.Context) error {
	n := w.someone()
	if n == nil {
		return nil
	}
	w.logf("%v rebuilds its read model", n)
	return n.model.Rebuild(ctx)
}

// checkSecured asks a site whether a fact of its own is secured, and remembers it if so.
func (w *World) checkSecured(context.Context) error {
	if len(w.ledger.facts) == 0 {
		return nil
	}
	for range 5 {
		f := w.ledger.facts[w.rnd.IntN(len(w.ledger.facts))]
		n := w.node(f.site)
		// A clone is not asked about what the original wrote: its page of that number may be another one.
		if f.fate == mustBe && !f.secured && n.up && f.disk == n.memory && len(n.rep.Secured(f.log, f.at)) >= 2 {
			f.secured = true
			w.logf("fact %d is secured", f.token)
		}
	}
	return nil
}

// rot flips a bit of a page that other operators have, too. Only the unlucky operator's disks rot, so that two rotten
// copies are never all there are.
func (w *World) rot(ctx context.Context) error {
	n := w.lossy()
	if n == nil || !n.up || n.twin != nil {
		return nil
	}
	heads := n.log.Heads()
	if len(heads) == 0 {
		return nil
	}
	h := heads[w.rnd.IntN(len(heads))]
	page := 1 + w.rnd.Uint64N(h.Page)
	if h.Branch.Fork != "" || len(n.rep.Secured(h.Branch.LogID, eventlog.Position{Page: h.Page})) < 2 {
		return nil
	}
	n.memory.Flip(h.Branch, page)
	n.rotten = true
	w.logf("page %d of %s rots at %v", page, h.Branch, n)
	return nil
}

func (w *World) scrubSome(ctx context.Context) error {
	if n := w.someone(); n != nil {
		return n.scrub(ctx)
	}
	return nil
}

func (n *node) scrub(ctx context.Context) error {
	found, err := n.log.Scrub(ctx)
	for _, d := range found {
		n.w.logf("%v finds page %d of %s damaged; deleted: %v", n, d.Page, d.Branch, d.Deleted)
	}
	return err
}

// lossy returns a node that may lose its disk, nil if none.
func (w *World) lossy() *node {
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	if n.operator != w.unlucky || n.gone || n.memory == nil {
		return nil
	}
	return n
}

func (w *World) backUp(context.Context) error {
	if n := w.lossy(); n != nil && n.twin == nil {
		n.image = &image{n.memory.Snapshot(), n.incarnation}
		w.logf("%v is backed up", n)
	}
	return nil
}

// putBack restores a backup in place of the disk.
func (w *World) putBack(ctx context.Context) error {
	n := w.lossy()
	if n == nil || n.image == nil || n.twin != nil {
		return nil
	}
	n.stop(true)
	w.logf("%v gets its backup back", n)
	lost := n.memory
	n.newMemory(n.image)
	w.forgive(ctx, lost)
	return nil
}

// clone starts a copy of a site from its backup while the original sleeps. Half of them are resumed from a snapshot of
// the memory, too: they do not know that they should ask, and write before they have heard anything.
func (w *World) clone(ctx context.Context) error {
	n := w.lossy()
	if n == nil || n.image == nil || n.twin != nil {
		return nil
	}
	return w.cloneOf(ctx, n, w.rnd.IntN(2) == 0)
}

// snapshotAndClone backs a site up, lets it go on for a moment, and then runs a clone of it that does not ask.
func (w *World) snapshotAndClone(ctx context.Context) error {
	n := w.lossy()
	if n == nil || n.twin != nil || !n.up {
		return nil
	}
	n.image = &image{n.memory.Snapshot(), n.incarnation}
	w.logf("%v is backed up", n)
	w.writeAndShow(ctx, n)
	return w.cloneOf(ctx, n, false)
}

func (w *World) writeAndShow(ctx context.Context, n *node) {
	for range 1 + w.rnd.IntN(4) {
		w.writeAt(ctx, n)
	}
	if other := w.someone(); other != n {
		w.step(ctx, other, n)
	}
}

func (w *World) cloneOf(ctx context.Context, n *node, asks bool) error {
	n.stop(false)
	n.twin = &twin{n.memory, n.incarnation}
	n.newMemory(n.image)
	w.logf("a clone of %v runs in its place; it asks first: %v", n, asks)
	if err := n.start(ctx, asks); err != nil || asks {
		return err
	}
	w.writeAndShow(ctx, n)
	return nil
}

// newMemory gives the node another disk with the content of a backup.
func (n *node) newMemory(from *image) {
	n.memory = eventlog.NewMemory(n.clock)
	n.memory.Restore(from.disk)
	n.memory.LieAboutSync(n.w.plant.Lying)
	n.disk.Store, n.incarnation, n.disks = n.memory, from.incarnation, n.disks+1
}

// endClone ends the clone and lets the original go on where it was.
func (w *World) endClone(ctx context.Context) error {
	for _, n := range w.nodes {
		if n.twin == nil || n.gone {
			continue
		}
		n.stop(false)
		lost := n.memory
		n.memory, n.incarnation = n.twin.memory, n.twin.incarnation
		n.disk.Store, n.twin, n.disks = n.memory, nil, n.disks+1
		w.forgive(ctx, lost)
		w.logf("the clone of %v is gone, the original goes on", n)
		return n.start(ctx, w.rnd.IntN(2) == 0)
	}
	return nil
}

// vanish takes a site away for good, at most one in a world.
func (w *World) vanish(ctx context.Context) error {
	n := w.lossy()
	if n == nil || n.twin != nil || len(w.nodes) < 4 || !w.mayGo(n) {
		return nil
	}
	for _, other := range w.nodes {
		if other.gone {
			return nil
		}
	}
	n.stop(false)
	n.gone = true
	w.logf("%v vanishes", n)
	w.forgive(ctx, n.memory)
	return nil
}

// forgive lets facts off that were acknowledged on a disk that is lost and are nowhere else. A secured one is never let
// off, but for one whose only other copy is the rogue's: two have failed then, and the rogue hands it out or keeps it as it
// likes. It still has to be at all sites if it is at one.
func (w *World) forgive(ctx context.Context, lost *eventlog.Memory) {
	w.lost = append(w.lost, lost)
	there, atRogue := make(map[int]bool), make(map[int]bool)
	for _, n := range w.nodes {
		if n.gone {
			continue
		}
		found := there
		if n.isRogue() {
			found = atRogue
		}
		for token := range w.tokensAt(ctx, n) {
			found[token] = true
		}
	}
	for _, f := range w.ledger.facts {
		switch {
		case f.fate != mustBe || there[f.token] || !slices.Contains(w.lost, f.disk):
		case f.secured && !atRogue[f.token]:
			w.violate("fact %d of %v was said to be secured and is on no other disk", f.token, w.node(f.site))
		default:
			f.fate = mayBe
		}
	}
}

// tokensAt counts the tokens of facts on a site's disk.
func (w *World) tokensAt(ctx context.Context, n *node) map[int]int {
	seen := make(map[int]int)
	for _, e := range w.entriesAt(ctx, n) {
		var d note
		if e.event.Kind == noteKind && e.event.Decode(&d) == nil {
			seen[d.Token]++
		} else if f := w.ledger.events[e.event.ID]; f != nil {
			seen[f.token]++
		}
	}
	return seen
}

// located is an event with its place.
type located struct {
	event     event.Event
	authority event.AuthorityID
	place     event.Place
}

// entriesAt reads every event on a site's disk.
func (w *World) entriesAt(ctx context.Context, n *node) []located {
	return w.entriesOf(ctx, n, func(*eventlog.Page) bool { return true })
}

// countedAt reads every event on a site's disk but those behind the end of a closed log.
func (w *World) countedAt(ctx context.Context, n *node) []located {
	return w.entriesOf(ctx, n, func(p *eventlog.Page) bool {
		end, closed := n.fed.Closing(p.Log)
		return !closed || p.Number < end.Page || p.Number == end.Page && p.Hash == end.Hash
	})
}

func (w *World) entriesOf(ctx context.Context, n *node, counts func(*eventlog.Page) bool) []located {
	var out []located
	for _, p := range w.pagesAt(ctx, n) {
		if !counts(p) {
			continue
		}
		for i, e := range p.Events {
			out = append(out, located{e, p.Log.Authority, p.PlaceOf(i)})
		}
	}
	return out
}

// pagesAt reads every page on a site's disk, bypassing everything that may be planted.
func (w *World) pagesAt(ctx context.Context, n *node) []*eventlog.Page {
	heads, err := n.disk.Heads(ctx)
	if err != nil {
		w.violate("the disk of %v: %v", n, err)
	}
	var out []*eventlog.Page
	for _, h := range heads {
		for after := uint64(0); after < h.Page; {
			pages, err := n.disk.Read(ctx, h.Branch, after, 8<<20)
			if err != nil && !w.checking {
				w.unread = true
				break // rotten, and not found yet
			}
			if err != nil || len(pages) == 0 {
				w.violate("page %d of %s at %v: %v", after+1, h.Branch, n, errors.Join(err))
				break
			}
			out = append(out, pages...)
			after = pages[len(pages)-1].Number
		}
	}
	return out
}
