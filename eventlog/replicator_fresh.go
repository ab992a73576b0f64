// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"maps"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// # Catching up after a silence
//
// Whoever acts on what other sites have done (calls people whom nobody has called) must know what they did while this site
// heard nothing of them. A catch-up is the time between a silence and that knowledge. It begins for one peer when
//
//   - the process has just started, or the peer has just become known;
//   - the peer is heard again after heardLately without a word, of whatever kind (a cut, a line too slow to carry a word), or tells
//     its heads again after an exchange failed, or after headsLately: other words say that it is there, not what it did;
//   - this process stood still (SIGSTOP, a suspended or migrated machine), then for all peers: see beat;
//   - Refresh asks for it.
//
// It ends when an exchange that began after that has been answered, and the operations logs that the peer named in it are
// here up to the pages named, and folded, as far as they count (see Counted) and the peer can give them. What the peer writes after that is everyday lag
// and holds nobody up. On a slow line the answer itself may be late; then what the peer has named before counts as well, as long
// as it keeps coming.
//
// Each wait is bounded, because a double alarm beats no alarm: a peer that does not answer is waited for askWithin (that is the
// usual delay of a takeover: whoever else lives has taken over by then), one of whose pages it gives no part, and nobody a whole
// one, stallWithin, and one that lags catchUpWithin in all. The last is long enough for some thousand receipts on a line of
// 64 kbit/s, and short against the time in which people act on an alarm. Before a takeover, when nobody calls, refreshWithin is
// enough. What one peer can make us wait by being silent again and again is bounded too: see "Who may make us wait".
//
// Most of the time there is no alarm and nobody asks. A catch-up must end all the same, since the next silence begins another one,
// with all of its time: so Beat looks too, and so does whoever would begin the next one.
const (
	askWithin     = 5 * time.Second
	refreshWithin = 2 * time.Second
	stallWithin   = 10 * time.Second
	catchUpWithin = 30 * time.Second
	// beatEvery is how often Run notes that the process runs; pauseAfter is how long it may not have noted that. A pause
	// taken for a busy machine costs one exchange with every peer.
	beatEvery  = 250 * time.Millisecond
	pauseAfter = 1500 * time.Millisecond
	// headsLately is how old a peer's heads may be while other words of it come: on a slow line an exchange takes seconds, and
	// the next one begins maxPause after it. Whoever writes operations tells its heads at once, so older ones hide nothing.
	headsLately = 2 * maxPause
	// lookEvery bounds how often the heads of all logs are compared while a catch-up is open, lookAnyway how often that is done
	// while nobody asks.
	lookEvery  = 20 * time.Millisecond
	lookAnyway = time.Second
)

// contact is what is kept of the words exchanged with one peer. Times are readings of the steady clock. Guarded by
// Replicator.mu.
type contact struct {
	known    bool      // the catch-up of a new peer has begun
	heard    time.Time // of whatever kind
	told     time.Time // when its heads last came
	measured bool      // peerState.offset is a measurement by our present clock
	// unreached: the last exchange of heads that we began failed, and none of its heads were heard since. Pages that do not come
	// do not count: on a slow line that happens every day, and the peer is there.
	unreached bool
	catch     *catchUp
	// rested: the peer has held us up for catchUpWithin; until then its silences do not hold us up again.
	rested time.Time
	debt   debt
	vain   int // catch-ups with it that ended in vain since one that did not
}

// catchUp is one wait for what one peer has.
type catchUp struct {
	began time.Time
	since time.Time // when the last silence ended; what the peer says after that counts
	// patient: a request that fails does not end the wait before askWithin, since lines come back up one after the other.
	patient  bool
	charged  bool // what it holds us up is the peer's doing
	answered bool
	targets  []Head // what the peer has named and we do not have folded yet
	missing  uint64 // pages of them at the last look
	moved    time.Time
	came     time.Time     // when pages of them last came, or parts from the peer
	held     time.Duration // how long somebody has waited for it
	owed     time.Duration // how much of that is the peer's doing
}

// pulse notes that the process runs. Guarded by Replicator.mu.
type pulse struct {
	watched bool // somebody beats; else nobody looks for pauses
	last    time.Time
	wall    time.Time // what the wall clock showed then
	looked  time.Time // when catch-ups were last looked at
	asked   time.Time // when somebody last asked whether we are fresh
	counted time.Time // up to when waiting was counted
}

// steady reads the clock that nobody sets.
func (r *Replicator) steady() time.Time {
	if r.cfg.Steady != nil {
		return r.cfg.Steady()
	}
	return r.cfg.Now()
}

// Fresh reports whether this site has folded what the other sites had of the authority's operations logs when they were
// last silent, or has waited for it in vain: see "Catching up after a silence". It notices by itself that the process stood
// still, so a doer asks directly before it does something. It does not block.
func (r *Replicator) Fresh(authority event.AuthorityID) bool {
	_, stale := r.StaleSince(authority)
	return !stale
}

// StaleSince reports that Fresh does not hold, and when, by the steady clock, the youngest of the catch-ups began that are waited for. It
// does not block.
func (r *Replicator) StaleSince(authority event.AuthorityID) (since time.Time, stale bool) {
	for _, c := range r.catchUps(authority) {
		if !c.answered || slices.ContainsFunc(c.targets, func(h Head) bool { return h.Branch.Authority == authority }) {
			stale = true
			if c.since.After(since) {
				since = c.since
			}
		}
	}
	return since, stale
}

// CaughtUp reports whether Fresh holds for all authorities. It does not block.
func (r *Replicator) CaughtUp() bool { return len(r.catchUps("")) == 0 }

// Refresh makes Fresh false until the peers that were heard lately and may hold the authority's logs have been asked again: before
// a site does what another one was expected to do. It does not block.
func (r *Replicator) Refresh(authority event.AuthorityID) {
	peers := r.others()
	r.mu.Lock()
	defer r.mu.Unlock()
	now, ours := r.steady(), r.operationsHeads()
	r.noteWaiting(now)
	for _, id := range peers {
		s := r.peer(id)
		r.lookAt(id, s, ours, now)
		// One that is open goes on, and ends when it would have: else a site that gives always a little more, and takes
		// every minute another alarm to be taken over, would hold this one up for ever.
		if s.catch != nil || !r.mayKnow(id, authority) || s.unreached || s.silent(now) || s.holdsUp(now) {
			continue
		}
		r.beginCatchUp(id, s, now, false)
		s.catch.charged = true
	}
}

// catchUps returns copies of the open catch-ups with the peers that may hold the authority's logs, "" for all peers.
func (r *Replicator) catchUps(authority event.AuthorityID) (open []catchUp) {
	peers := r.others()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.steady()
	r.beat(now)
	r.beginNew(peers, now)
	r.noteWaiting(now)
	r.pulse.asked = now
	r.lookAtCatchUps(now, lookEvery)
	for _, id := range peers {
		if c := r.peer(id).catch; c != nil && (authority == "" || r.mayKnow(id, authority)) {
			open = append(open, catchUp{since: c.since, answered: c.answered, targets: slices.Clone(c.targets)})
		}
	}
	return open
}

// beginNew begins with the peers that have just become known. The caller holds r.mu.
func (r *Replicator) beginNew(peers []event.SiteID, now time.Time) {
	for _, id := range peers {
		if s := r.peer(id); !s.known {
			s.known = true
			r.beginCatchUp(id, s, now, true)
		}
	}
}

// silent reports whether nothing was heard of the peer for so long that it counts as out of reach.
func (s *peerState) silent(now time.Time) bool {
	return s.heard.IsZero() || now.Sub(s.heard) >= heardLately
}

// beginCatchUp opens a catch-up with a peer and asks it at once. The caller holds r.mu.
func (r *Replicator) beginCatchUp(peer event.SiteID, s *peerState, now time.Time, patient bool) {
	s.catch = &catchUp{began: now, since: now, moved: now, patient: patient}
	s.catch.aim(r, s, r.operationsHeads())
	r.askAtOnce(peer)
}

// askAtOnce makes the peer's loop exchange heads, if Run is running; on a slow line that would be seconds away. The caller holds r.mu.
func (r *Replicator) askAtOnce(peer event.SiteID) {
	if l := r.loops[peer]; l != nil {
		signal(l.push)
		signal(l.hurry)
	}
}

// noteWord notes that the peer was there at a time. If that is heardLately ago, it may be silent again since. The caller holds
// r.mu.
func (r *Replicator) noteWord(peer event.SiteID, s *peerState, at time.Time) {
	now := r.steady()
	if now.Sub(at) >= heardLately || !at.After(s.heard) {
		return
	}
	if s.silent(now) {
		r.endSilence(peer, s, now)
	}
	s.heard = at
}

// noteHeads notes that the peer's heads have come. The caller holds r.mu.
func (r *Replicator) noteHeads(peer event.SiteID, s *peerState) {
	now := r.steady()
	untold := now.Sub(s.told)
	if s.silent(now) || untold >= headsLately || s.unreached && untold >= heardLately {
		r.endSilence(peer, s, now)
	}
	s.heard, s.told, s.unreached = now, now, false
}

// endSilence opens a catch-up with a peer that was silent, unless it, or all together, have made us wait too much already. One
// that is open asks again, if the silence began after it; the time in which nobody waited for it does not count. The caller
// holds r.mu.
func (r *Replicator) endSilence(peer event.SiteID, s *peerState, now time.Time) {
	if s.catch != nil { // whose end nobody may have seen
		r.noteWaiting(now)
		r.lookAt(peer, s, r.operationsHeads(), now)
	}
	switch c := s.catch; {
	case c != nil && c.answered && !s.heard.Before(c.since):
		c.since, c.patient, c.answered, c.charged = now, true, false, true
		c.began = now.Add(-c.held)
		r.askAtOnce(peer)
	case c != nil && !s.heard.Before(c.since): // what answers now may have been sent before the silence
		c.since, c.patient, c.charged = now, true, true
		r.askAtOnce(peer)
	case c == nil && s.known && !s.holdsUp(now) && r.waited.owes(now, paybackAll) < mayOwe:
		r.beginCatchUp(peer, s, now, true)
		s.catch.charged = true
	}
}

// unheard returns for how long nothing was heard of the peer.
func (r *Replicator) unheard(peer event.SiteID) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.steady().Sub(r.peer(peer).heard)
}

// noteExchange notes how an exchange ended that we began at the given time, and what the peer has named by then. With more it
// has not named everything yet: the next exchange goes on.
func (r *Replicator) noteExchange(peer event.SiteID, began time.Time, more bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	s.measured, s.unreached = s.measured || err == nil, err != nil
	if !s.known { // nobody has asked yet whether we are fresh
		s.known, s.catch = true, &catchUp{began: began, since: began, moved: began, patient: true}
	}
	c := s.catch
	if c == nil || c.answered || began.Before(c.since) {
		return
	}
	if err != nil {
		if !c.patient && len(c.targets) == 0 {
			s.catch = nil
		}
		return
	}
	if more {
		return
	}
	c.answered, c.moved = true, r.steady()
	c.aim(r, s, r.operationsHeads())
}

// aim makes targets of what the peer is known to have of operations logs and we lack.
func (c *catchUp) aim(r *Replicator, s *peerState, ours map[LogID][]Head) {
	c.targets, c.missing = nil, 0
	for _, h := range s.heads {
		if h.Branch.Class == event.Operations && h.Page > 0 && h.relation != refusedHead && r.mayTake(h.Branch.LogID) {
			if n := r.lacks(h.Head, ours); n > 0 {
				c.targets = append(c.targets, h.Head)
				c.missing += n
			}
		}
	}
}

// operationsHeads returns our heads of all operations logs, by log.
func (r *Replicator) operationsHeads() map[LogID][]Head {
	ours := make(map[LogID][]Head)
	for _, h := range r.cfg.Log.Heads() {
		if h.Branch.Class == event.Operations {
			ours[h.Branch.LogID] = append(ours[h.Branch.LogID], h)
		}
	}
	return ours
}

// lacks returns how many pages up to the head are not here and folded. Of a forked log the longest branch counts: the wait
// for the other one is not worth a late alarm.
func (r *Replicator) lacks(target Head, ours map[LogID][]Head) uint64 {
	var done uint64
	wanted := r.counting(target)
	for _, h := range ours[target.Branch.LogID] {
		page := h.Page
		if r.cfg.Folded != nil {
			page = min(page, r.cfg.Folded(h.Branch))
		}
		done = max(done, page)
	}
	return wanted - min(done, wanted)
}

// counting returns how many pages up to the head can count. What a closed log has behind its end is kept apart and never
// folded (see Counted), so whoever waited for it would wait in vain after each silence, for as long as the log is closed.
func (r *Replicator) counting(h Head) uint64 {
	last, closed := closingOf(r.cfg.Policy, h.Branch.LogID)
	switch {
	case !closed || !beyond(h, last):
		return h.Page
	case h.Page == last.Page:
		return last.Page - min(1, last.Page) // another page than the one that was named
	}
	return last.Page
}

// shrink drops the targets that are reached, and those that the peer cannot give, and notes whether anything has moved.
func (c *catchUp) shrink(r *Replicator, s *peerState, ours map[LogID][]Head) {
	var missing uint64
	c.targets = slices.DeleteFunc(c.targets, func(h Head) bool {
		n := r.lacks(h, ours)
		if n == 0 || s.cannotGive(h, c.since) {
			return true
		}
		missing += n
		return false
	})
	if missing < c.missing {
		c.moved = r.steady()
		c.came = c.moved
	}
	c.missing = missing
}

// cannotGive reports whether a page of the log was damaged when the peer was asked for it, after the given time. It may be damaged for
// ever, so whoever waited for it would wait in vain after each silence, and soon not for the peer at all. What was so before
// the silence may be mended.
func (s *peerState) cannotGive(h Head, since time.Time) bool {
	f, failed := s.failures[h.Branch]
	return failed && !f.damaged.Before(since)
}

// notePart notes that bytes of a log have come from the peer: a page that comes in parts for longer than stallWithin gets on.
// What others give counts for the peer as whole pages only, see shrink: anybody can give a few bytes now and then, which may be
// worth nothing, and the peer would have to answer for the wait.
func (r *Replicator) notePart(peer event.SiteID, id LogID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peers[peer]
	if s == nil || s.catch == nil {
		return
	}
	c := s.catch
	if slices.ContainsFunc(c.targets, func(h Head) bool { return h.Branch.LogID == id }) {
		c.moved = r.steady()
		c.came = c.moved
	}
}

// lookAtCatchUps looks at all of them, unless that was done just before. The caller holds r.mu.
func (r *Replicator) lookAtCatchUps(now time.Time, every time.Duration) {
	gap := now.Sub(r.pulse.looked)
	if gap >= 0 && gap < every || !r.catchingUp() {
		return
	}
	r.pulse.looked = now
	ours := r.operationsHeads()
	for _, id := range slices.Sorted(maps.Keys(r.peers)) { // in order, so that a simulation runs the same way again
		r.lookAt(id, r.peers[id], ours, now)
	}
}

// lookAt ends the catch-up with a peer if it has what it waited for, or has waited long enough. The caller holds r.mu and has
// noted the waiting.
func (r *Replicator) lookAt(peer event.SiteID, s *peerState, ours map[LogID][]Head, now time.Time) {
	c := s.catch
	if c == nil {
		return
	}
	if c.shrink(r, s, ours); c.waits(now) {
		return
	}
	s.endCatchUp(now)
	if c.missing > 0 && c.held > 0 {
		r.logger.Warn("goes on without having all that another site has", "peer", peer.Short(), "pages", c.missing)
	}
}

// endCatchUp ends the wait for the peer. Whom hardly anybody has waited for has held nobody up. The caller holds r.mu.
func (s *peerState) endCatchUp(now time.Time) {
	c := s.catch
	s.catch = nil
	s.charge(c, now)
	if c.missing > 0 && now.Sub(c.began) >= catchUpWithin && c.held >= catchUpWithin/2 {
		s.rested = now.Add(catchUpWithin)
	}
}

// catchingUp reports whether any catch-up is open. The caller holds r.mu.
func (r *Replicator) catchingUp() bool {
	for _, s := range r.peers {
		if s.catch != nil {
			return true
		}
	}
	return false
}

// waits reports whether the catch-up goes on.
func (c *catchUp) waits(now time.Time) bool {
	comes := len(c.targets) > 0 && now.Sub(c.moved) < stallWithin
	switch {
	case now.Sub(c.began) >= catchUpWithin:
		return false // it may have been silent again and again
	case c.answered:
		return comes
	case c.patient && now.Sub(c.since) < askWithin, now.Sub(c.since) < refreshWithin:
		return true
	}
	return comes && c.moved.After(c.since)
}

// beat notes that the process runs now. If it has not for a while, all that it knows of the others may be old. Both clocks
// are asked, since the steady one stands still while a machine is suspended. A clock that is merely set costs one exchange
// with every peer, which also compares the clocks anew. The caller holds r.mu.
func (r *Replicator) beat(now time.Time) {
	last, lastWall := r.pulse.last, r.pulse.wall
	wall := r.cfg.Now().Round(0) // without the monotonic reading, so that a jump shows
	r.pulse.last, r.pulse.wall = now, wall
	if !r.pulse.watched || last.IsZero() {
		return
	}
	ran, showed := now.Sub(last), wall.Sub(lastWall)
	jumped := (showed - ran).Abs() > pauseAfter
	if ran < pauseAfter && !jumped {
		return
	}
	for id, s := range r.peers {
		r.beginCatchUp(id, s, now, true)
		if jumped {
			s.measured = false // our clock was set: the offsets were measured by the old one
		}
	}
}

// Beat notes that the process runs, and ends the catch-ups that are over although nobody asks. From the first call on, a longer
// time without one counts as a pause. Run does it by itself; whoever steps by hand may leave it, and is then not told of pauses.
func (r *Replicator) Beat() {
	peers := r.others()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulse.watched = true
	now := r.steady()
	r.beat(now)
	r.beginNew(peers, now)
	r.noteWaiting(now)
	r.lookAtCatchUps(now, lookAnyway)
}

// keepBeating beats until ctx ends. Run owns it.
func (r *Replicator) keepBeating(ctx context.Context) {
	defer r.stopBeating()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		r.Beat()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *Replicator) stopBeating() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulse = pulse{}
}

// Clock returns how far the wall clock of a member site, or our own, is ahead of the time that most sites show, and false if its
// clock was never measured. Of an even number of clocks our own decides, as far as it lies between the two in the middle: two
// sites that differ each blame the other. A lying minority cannot move the result by more than honest clocks differ. It does not
// block.
func (r *Replicator) Clock(site event.SiteID) (ahead time.Duration, known bool) {
	peers := r.others()
	r.mu.Lock()
	defer r.mu.Unlock()
	clocks := []time.Duration{0}
	for _, id := range peers {
		if s := r.peer(id); s.measured {
			clocks = append(clocks, s.offset)
		}
	}
	slices.Sort(clocks)
	right := min(max(0, clocks[(len(clocks)-1)/2]), clocks[len(clocks)/2])
	if site == r.cfg.Self {
		return -right, len(clocks) > 1
	}
	s := r.peers[site]
	if s == nil || !s.measured {
		return 0, false
	}
	return s.offset - right, true
}
