// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"cmp"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// A log has one giver at a time, so that two peers do not send the same bytes over a slow line. But anybody may say that they
// have a log, and then give it by drops, or nothing of use, again and again. So a turn keeps another peer out for a bounded time:
//
//   - Who was refused gets a turn beside the other as soon as what came meanwhile is much less than its own line carries, and
//     again at once as long as the other one has that same turn and has brought no whole page.
//   - On the urgent way bytes of which no page has become whole count for two seconds, or for four if the page says that it is
//     whole by then: they may be garbage, and an alarm must not wait until that shows. But each giver takes its part of the
//     line, so they count longer the more give already.
//   - There it is looked after a second; a second later only while what was asked for can still be on the line.
//   - After a turn that brought no whole page the next one is kept a moment for who has waited longest. What has come of the
//     page is gone on with.
//   - A peer that may not know the authority keeps nobody out. It is still asked: it may have to hand over what it holds.
const (
	waitUrgent     = time.Second
	waitOperations = 2 * time.Second
	waitBulk       = 10 * time.Second
	turnKept       = pushInterval
	// believed is how long bytes of no whole page count against a second giver on the urgent way; believedOfTwo against a
	// third one, twice that against a fourth one, and so on.
	believed      = 2 * time.Second
	believedOfTwo = 32 * time.Second
)

// waiting is a peer that was refused a turn at a log.
type waiting struct {
	first time.Time // when it was refused first
	since time.Time // since when what the others give is counted
	came  int       // what they have given since, in bytes
	left  int       // what the last who gave has left to give of its page, as the page says
	dry   time.Time // since when they have given no whole page
	kept  time.Time // until when the next turn is kept for this peer; zero if it is not
}

// patience is how long a peer that was refused waits on that way before it looks what came meanwhile, and which part of
// what its line carries was to come.
func (w way) patience() (wait time.Duration, part float64) {
	switch w {
	case urgentWay:
		return waitUrgent, 0.5
	case operationsWay:
		return waitOperations, 0.25 // people wait for receipts
	}
	return waitBulk, 0.25
}

// believes reports whether bytes count of which no page has become whole for so long, from so many givers, if the page would be
// whole after so much more.
func (w way) believes(dry, more time.Duration, givers int) bool {
	switch {
	case w != urgentWay:
		return true
	case givers > 1:
		return dry < believedOfTwo<<min(givers-2, 10)
	}
	return dry < believed || dry+more < 2*believed
}

// claim gives the peer a turn at a log, unless another one is to give it now.
func (r *Replicator) claim(peer event.SiteID, id LogID, w way) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.busy[id], peer) {
		return false // another branch of it is coming
	}
	s, now := r.peer(peer), r.steady()
	if r.taken(peer, id, now) && !s.comesBeside(id, r.busy[id]) {
		if !s.waited(id, w, now, len(r.busy[id]), r.underWay(id, w)) {
			return false
		}
		s.noteSlow(id, r.busy[id])
		if w == urgentWay {
			r.waitAnew(s.waits[id], id, now)
		}
	}
	delete(s.waits, id)
	for _, o := range r.peers {
		if q := o.waits[id]; q != nil && !q.kept.IsZero() && !now.Before(q.kept) {
			delete(o.waits, id) // it did not come
		}
	}
	r.busy[id] = append(r.busy[id], peer)
	return true
}

// waitAnew makes those look anew, and later, who wait for a log that another one has just come in at beside a first giver: its
// first answer comes behind what is under way, and until then nothing may come at all. Who has waited longer does not
// wait for it. The caller holds r.mu.
func (r *Replicator) waitAnew(came *waiting, id LogID, now time.Time) {
	for _, s := range r.peers {
		if q := s.waits[id]; q != nil && q != came && came != nil && !q.first.Before(came.first) {
			q.since, q.came = now.Add(waitUrgent), 0
		}
	}
}

// taken reports whether another peer has a turn at the log, or the next one is kept for it. The caller holds r.mu.
func (r *Replicator) taken(peer event.SiteID, id LogID, now time.Time) bool {
	known := r.mayKnow(peer, id.Authority)
	counts := func(other event.SiteID) bool { return !known || r.mayKnow(other, id.Authority) }
	if slices.ContainsFunc(r.busy[id], counts) {
		return true
	}
	for other, s := range r.peers {
		if q := s.waits[id]; other != peer && q != nil && now.Before(q.kept) && counts(other) {
			return true
		}
	}
	return false
}

// comesBeside reports whether all who give the log have given little in the turns that they have now, while the peer waited.
// The caller holds Replicator.mu.
func (s *peerState) comesBeside(id LogID, givers []event.SiteID) bool {
	slow := s.slow[id]
	return len(givers) > 0 && !slices.ContainsFunc(givers, func(g event.SiteID) bool { return !slices.Contains(slow, g) })
}

// noteSlow notes that those who give the log have given little while the peer waited. The caller holds Replicator.mu.
func (s *peerState) noteSlow(id LogID, givers []event.SiteID) {
	if len(givers) == 0 {
		return
	}
	if s.slow == nil {
		s.slow = make(map[LogID][]event.SiteID)
	}
	s.slow[id] = slices.Clone(givers)
}

// forgetSlow forgets that the giver has given little: its turn has ended, or has brought a page. The caller holds r.mu.
func (r *Replicator) forgetSlow(giver event.SiteID, id LogID) {
	for _, s := range r.peers {
		slow, ok := s.slow[id]
		if !ok {
			continue
		}
		if slow = slices.DeleteFunc(slow, func(o event.SiteID) bool { return o == giver }); len(slow) == 0 {
			delete(s.slow, id)
			continue
		}
		s.slow[id] = slow
	}
}

// underWay returns how much longer than else to wait for those who give the log: what was asked of them at once takes its time
// on a slow line. The caller holds r.mu.
func (r *Replicator) underWay(id LogID, w way) (longer time.Duration) {
	if w != urgentWay {
		return 0 // the others wait longer than that
	}
	for _, giver := range r.busy[id] {
		if s := r.peers[giver]; s != nil {
			longer = max(longer, s.down.underWay())
		}
	}
	return min(longer, waitUrgent)
}

// waited reports whether the peer has waited long enough for others, so many, that give little; it begins to wait if it did
// not yet. As long as nothing has come, longer is added to how long that is. The caller holds Replicator.mu.
func (s *peerState) waited(id LogID, w way, now time.Time, givers int, longer time.Duration) bool {
	q := s.waits[id]
	if q == nil {
		if s.waits == nil {
			s.waits = make(map[LogID]*waiting)
		}
		s.waits[id] = &waiting{first: now, since: now, dry: now}
		return false
	}
	wait, part := w.patience()
	took := now.Sub(q.since)
	if took < wait || q.came == 0 && took < wait+longer {
		return false
	}
	rate := s.down.carries()
	if rate == 0 {
		rate = assumedRate
	}
	more := time.Duration(float64(took) * float64(q.left) / float64(max(q.came, 1)))
	if !w.believes(now.Sub(q.dry), more, givers) || float64(q.came) < part*rate*took.Seconds() {
		return true
	}
	q.since, q.came = now, 0
	return false
}

// unclaim ends a peer's turn. If it brought no whole page, who has waited longest is next.
func (r *Replicator) unclaim(peer event.SiteID, id LogID, w way, whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[id] = slices.DeleteFunc(r.busy[id], func(o event.SiteID) bool { return o == peer })
	r.forgetSlow(peer, id)
	if len(r.busy[id]) > 0 {
		return
	}
	delete(r.busy, id)
	if next := r.longestWaiting(peer, id); next != "" && !whole {
		r.peers[next].waits[id].kept = r.steady().Add(turnKept)
		if l := r.loops[next]; l != nil {
			signal(l.pull[w])
		}
	}
}

// longestWaiting returns who waits longest for a turn at the log, besides the peer that has just had one; "" if nobody
// does. The caller holds r.mu.
func (r *Replicator) longestWaiting(but event.SiteID, id LogID) (next event.SiteID) {
	for peer, s := range r.peers {
		if peer == but || s.waits[id] == nil {
			continue
		}
		if next == "" || cmp.Or(s.waits[id].first.Compare(r.peers[next].waits[id].first), cmp.Compare(peer, next)) < 0 {
			next = peer
		}
	}
	return next
}

// noteGiven counts what a peer has given of a log, for those that wait for a turn at it, and what it has left to give of its
// page; what turns out to be of no use is taken back.
func (r *Replicator) noteGiven(peer event.SiteID, id LogID, bytes, left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, s := range r.peers {
		if q := s.waits[id]; q != nil && other != peer {
			q.came, q.left = max(0, q.came+bytes), left
		}
	}
}

// noteWhole notes that a peer has given whole pages of a log.
func (r *Replicator) noteWhole(peer event.SiteID, id LogID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.steady()
	for other, s := range r.peers {
		if q := s.waits[id]; q != nil && other != peer {
			q.dry = now
		}
	}
	r.forgetSlow(peer, id)
}

// stopWaiting forgets that the peer waits for logs of that way that are not wanted of it any more. The caller holds
// Replicator.mu.
func (s *peerState) stopWaiting(w way, wanted []Head) {
	for id := range s.waits {
		still := func(h Head) bool { return h.Branch.LogID == id }
		if wayOf(Branch{LogID: id}) == w && !slices.ContainsFunc(wanted, still) {
			delete(s.waits, id)
		}
	}
}
