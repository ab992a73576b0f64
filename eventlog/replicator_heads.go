// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"golang.org/x/sync/semaphore"
)

// announced is one of a site's heads and the number of its last change. Page 0 says that the branch is gone.
type announced struct {
	Head
	// Durable is up to which page the site also holds all keys, or their marks. Pages after it can be fetched from the
	// site, so that no page is stuck where a key was lost with the site that made it, but they do not count as secured.
	Durable uint64 `json:"durable"`
	Version uint64 `json:"version"`
}

// headsMessage travels in both directions of the verb "heads".
type headsMessage struct {
	Session string      `json:"session"`
	Wall    int64       `json:"wall"` // the sender's clock in milliseconds, so that a wrong one is noticed
	Since   uint64      `json:"since"`
	UpTo    uint64      `json:"upTo"`
	Heads   []announced `json:"heads,omitempty"`
	More    bool        `json:"more,omitempty"` // there are changes after UpTo
	// Seen is what the sender has of the receiver's changes.
	Seen seenMark `json:"seen"`
	// Present is the incarnation of the sender's own logs, so that they are taken before those that it has given up.
	Present string `json:"present,omitempty"`
	// Most is how many heads the sender wants in the answer at most, since its line is slow; 0 is as many as fit.
	Most int `json:"most,omitempty"`
	// Origin turns a request into a plain question: all heads on your disk of this site's logs, durable or not; with
	// Incarnation of that one and of the urgent logs that go with it, with After of those behind that branch, in the order of their names. The answer says
	// Complete if none is left out.
	Origin      event.SiteID `json:"origin,omitempty"`
	Incarnation string       `json:"incarnation,omitempty"`
	After       *Branch      `json:"after,omitempty"`
	Complete    bool         `json:"complete,omitempty"`
}

// headBytes is about how long a head is in a message.
const headBytes = 350

// minHeadsPerPart is how many heads travel at once on the slowest line.
const minHeadsPerPart = 6

type seenMark struct {
	Session string `json:"session"`
	Version uint64 `json:"version"`
}

// peerState is what we know of a peer. Guarded by Replicator.mu.
type peerState struct {
	session   string // the peer's session whose changes we have
	have      uint64 // up to this change
	fullSince time.Time
	passed    map[LogID]bool // see passOver
	leftOut   int            // heads since fullSince that were beyond what we keep of one peer
	acked     uint64         // the peer has our changes up to this one
	heads     map[Branch]*peerHead
	failures  map[Branch]pullFailure
	waits     map[LogID]*waiting         // logs at which another peer has the turn
	served    map[event.SiteID]uint64    // which turn of the peer the last one of a log of the origin was
	turns     uint64                     // how many turns logs have had at the peer
	slow      map[LogID][]event.SiteID   // who has given little of a log, in a turn that is not over, while this peer waited
	apart     map[event.SiteID]time.Time // until when it does not go on with what these have given
	reading   *semaphore.Weighted        // bytes of pages that are read for answers to it
	lastHeard time.Time
	down, up  *pacer // what the line carries from the peer, and to it
	gains     [ways]gain
	offset    time.Duration
	lastError string
	contact
}

// peerHead is a head of a peer and what it means to us.
type peerHead struct {
	announced
	relation relation
	in       Branch // which of our branches has it, if one does
}

// relation says how a peer's head relates to our branches.
type relation int

const (
	unknownHead relation = iota // not looked at yet
	lackedHead                  // we do not have this page
	heldHead                    // we have it
	refusedHead                 // its pages were refused; tried again when it changes, and once a minute
)

// refresh numbers what has changed in our heads since last time.
func (r *Replicator) refresh(ctx context.Context) {
	durable := make(map[Branch]uint64)
	for _, h := range r.cfg.Log.Durable(ctx) {
		durable[h.Branch] = h.Page
	}
	heads := r.cfg.Log.Heads() // after Durable, so that no head is behind what is durable
	slices.SortFunc(heads, func(a, b Head) int { return compareBranches(a.Branch, b.Branch) })
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.version
	there := make(map[Branch]bool, len(heads))
	for _, h := range heads {
		there[h.Branch] = true
		old, next := r.ours[h.Branch], announced{Head: h, Durable: durable[h.Branch]}
		if next.Version = old.Version; h.Page > 0 && old != next {
			r.version++
			next.Version = r.version
			r.ours[h.Branch] = next
			if wayOf(h.Branch) != bulkWay {
				r.urgent = r.version
			}
			if next.Page < old.Page {
				r.forgetRelations(h.Branch.LogID) // a damaged copy is being fetched again
			}
		}
	}
	r.retire(there)
	r.regrant()
	if r.version != before {
		r.wakeWaiters()
	}
}

// retire numbers branches that are gone: a damaged copy was deleted, or the authority forbids us.
func (r *Replicator) retire(there map[Branch]bool) {
	var gone []Branch
	for b, a := range r.ours {
		if !there[b] && a.Page > 0 {
			gone = append(gone, b)
		}
	}
	slices.SortFunc(gone, func(a, b Branch) int { return compareBranches(a, b) })
	for _, b := range gone {
		r.version++
		r.ours[b] = announced{Head: Head{Branch: b}, Version: r.version}
		r.forgetRelations(b.LogID)
	}
}

// forgetRelations makes us compare the peers' heads of a log again, since our own branches of it are no longer the same.
func (r *Replicator) forgetRelations(id LogID) {
	for _, s := range r.peers {
		for b, h := range s.heads {
			if b.LogID == id {
				h.relation = unknownHead
			}
		}
	}
}

// regrant numbers an authority's heads anew when a peer has become allowed to know them: it has missed their numbers.
func (r *Replicator) regrant() {
	renumber := make(map[event.AuthorityID]bool)
	seen := make(map[event.AuthorityID]bool)
	for b := range r.ours {
		seen[b.Authority] = true
	}
	for peer, s := range r.peers {
		for authority := range seen {
			k := grantKey{peer, authority}
			now := r.mayKnow(peer, authority)
			if now && !r.granted[k] && s.acked > 0 {
				renumber[authority] = true
			}
			r.granted[k] = now
		}
	}
	if len(renumber) == 0 {
		return
	}
	for _, a := range r.inOrder(func(a announced) bool { return renumber[a.Branch.Authority] }) {
		r.version++
		a.Version = r.version
		r.ours[a.Branch] = a
	}
}

// inOrder returns our announced heads that keep says yes to, by number of change.
func (r *Replicator) inOrder(keep func(announced) bool) []announced {
	var out []announced
	for _, a := range r.ours {
		if keep(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b announced) int { return cmp.Compare(a.Version, b.Version) })
	return out
}

// message returns our changes that the peer may know and has not confirmed, at most so many. Parts go in the order of the
// changes, since that is how they are confirmed; the newest changes of what is urgent come along with every part.
func (r *Replicator) message(peer event.SiteID, most int) headsMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	m := headsMessage{Session: r.session, Wall: r.cfg.Now().UnixMilli(), Since: s.acked, UpTo: r.version,
		Present: r.cfg.Log.Incarnation()}
	m.Heads = r.inOrder(func(a announced) bool {
		return a.Version > s.acked && r.mayKnow(peer, a.Branch.Authority)
	})
	if most = min(max(most, minHeadsPerPart), maxHeadsPerPart); len(m.Heads) > most {
		cut := most - urgentHeads
		later := m.Heads[cut:]
		m.UpTo, m.More = m.Heads[cut-1].Version, true
		m.Heads = append(slices.Clip(m.Heads[:cut]), newestUrgent(later)...)
	}
	m.Seen = seenMark{s.session, s.have}
	return m
}

// urgentHeads is how many changes of urgent logs come before their turn.
const urgentHeads = 3

// newestUrgent returns the last few heads of urgent logs, and then of operations.
func newestUrgent(heads []announced) (newest []announced) {
	for _, w := range []way{urgentWay, operationsWay} {
		for _, a := range slices.Backward(heads) {
			if wayOf(a.Branch) == w && len(newest) < urgentHeads {
				newest = append(newest, a)
			}
		}
	}
	return newest
}

// record takes a peer's message in. Changes after a part that we missed are used, but not confirmed.
func (r *Replicator) record(peer event.SiteID, m headsMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	r.noteHeads(peer, s)
	s.lastHeard, s.lastError = r.cfg.Now(), ""
	r.cfg.Log.Present(peer, m.Present)
	s.acked = 0
	if m.Seen.Session == r.session {
		s.acked = min(m.Seen.Version, r.version)
	}
	if m.Session != s.session {
		s.session, s.have, s.heads, s.leftOut = m.Session, 0, make(map[Branch]*peerHead), 0
		s.fullSince = r.cfg.Now()
	}
	for _, a := range m.Heads {
		r.recordHead(s, a)
	}
	if m.Since <= s.have {
		s.have = max(s.have, m.UpTo)
	}
	if len(m.Heads) > 0 {
		r.wakeWaiters()
	}
}

func (r *Replicator) recordHead(s *peerState, a announced) {
	old := s.heads[a.Branch]
	if old != nil && old.Version > a.Version {
		return // an older message came late
	}
	if a.Branch.Check() != nil || !forkOK(a.Branch.Fork) {
		return
	}
	if r.cfg.Log.MayHold(a.Branch.LogID) != nil {
		s.passOver(a.Branch.LogID)
		return
	}
	a.Durable = min(a.Durable, a.Page)
	switch {
	case old != nil && old.Head == a.Head:
		old.announced = a // what it means to us stays
	case old == nil && len(s.heads) >= maxHeadsPerPeer:
		s.leftOut++ // said by trouble until it has told all its heads again
	default: // page 0 is kept too: it remembers the number of the change that took the branch away
		s.heads[a.Branch] = &peerHead{announced: a}
	}
}

// passOver remembers that a head was told that we may not hold: the peer may have heard of our being allowed, or of the
// origin's being admitted, before we have, and does not tell twice. What is beyond the bound comes within the minute.
func (s *peerState) passOver(id LogID) {
	if s.passed == nil {
		s.passed = make(map[LogID]bool)
	}
	if len(s.passed) < maxPassed {
		s.passed[id] = true
	}
}

const maxPassed = 4096

// missed reports whether heads were passed over that we may hold by now, and forgets them.
func (s *peerState) missed(mayHold func(LogID) error) bool {
	missed := false
	for id := range s.passed {
		if mayHold(id) == nil {
			delete(s.passed, id)
			missed = true
		}
	}
	return missed
}

func forkOK(fork string) bool {
	b, err := hex.DecodeString(fork)
	return err == nil && (len(b) == 0 || len(b) == 8)
}

// askAllAgain forgets that we have a peer's heads when we have become allowed to hold some that we passed over, and once a
// minute, so that a mistake of either side mends itself; less often on a line on which that would take more than a
// fiftieth of the time, but once an hour even if the line is taken to carry next to nothing.
func (r *Replicator) askAllAgain(peer event.SiteID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	if s.missed(r.cfg.Log.MayHold) {
		s.have = 0
	}
	every := askAllEvery(len(s.heads), s.down.carries())
	if now := r.cfg.Now(); now.Sub(s.fullSince) >= every || now.Before(s.fullSince) {
		s.fullSince, s.have, s.leftOut = now, 0, 0
		for _, h := range s.heads {
			if h.relation == refusedHead {
				h.relation = unknownHead
			}
		}
	}
}

// askAllEvery returns how often a peer is asked for all its heads, over a line that carries so many bytes per second; 0 is unknown.
func askAllEvery(heads int, rate float64) time.Duration {
	if rate <= 0 {
		return fullHeadsEvery
	}
	share := 50 * float64(heads*headBytes) / rate * float64(time.Second)
	return max(fullHeadsEvery, time.Duration(min(share, float64(fullHeadsAtLeast))))
}

// exchange pushes our changes to a peer and takes its changes, until neither has more or the bound of a step is reached:
// then it reports that there are more.
func (r *Replicator) exchange(ctx context.Context, peer event.SiteID) (more bool, err error) {
	began := r.steady()
	defer func() { r.noteExchange(peer, began, more, err) }()
	r.refresh(ctx)
	r.askAllAgain(peer)
	for range maxPartsPerStep {
		if more, err = r.exchangePart(ctx, peer); err != nil {
			r.failed(peer, err)
			return false, err
		}
		if !more {
			break
		}
	}
	r.relate(ctx, peer)
	return more, nil
}

// exchangePart exchanges one message each way, each as long as its direction of the line takes. It reports whether either
// side has more.
func (r *Replicator) exchangePart(ctx context.Context, peer event.SiteID) (more bool, err error) {
	down, up := r.paces(peer)
	there, back := up.small(), down.small()
	mine := r.message(peer, there.size/headBytes)
	mine.Most = max(back.size/headBytes, minHeadsPerPart)
	body, err := json.Marshal(mine)
	if err != nil {
		return false, err
	}
	sent := r.cfg.Now()
	answer, err := r.request(ctx, peer, VerbHeads, body)
	up.done(there, len(body), err)
	down.done(back, len(answer), err)
	if err != nil {
		return false, err
	}
	middle := sent.Add(r.cfg.Now().Sub(sent) / 2)
	var theirs headsMessage
	if err := json.Unmarshal(answer, &theirs); err != nil {
		return false, errAnswer.With(err)
	}
	r.record(peer, theirs)
	r.mu.Lock()
	r.peer(peer).offset = time.UnixMilli(theirs.Wall).Sub(middle)
	r.mu.Unlock()
	return mine.More || theirs.More, nil
}

func (r *Replicator) failed(peer event.SiteID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peer(peer).lastError = err.Error()
}

// serveHeads answers a push: it takes the peer's changes and returns ours.
func (r *Replicator) serveHeads(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
	var m headsMessage
	if err := json.Unmarshal(body, &m); err != nil || len(m.Heads) > maxHeadsPerPart {
		return nil, errRequest.Because("heads: %v", err)
	}
	if m.Origin != "" {
		return r.headsOf(peer, m)
	}
	r.record(peer, m)
	r.refresh(ctx)
	if r.relate(ctx, peer) {
		r.wakePull(peer)
	}
	most := m.Most
	if most <= 0 {
		most = maxHeadsPerPart
	}
	return json.Marshal(r.message(peer, most))
}

// relate works out what the peer's heads mean to us. It reports whether there is something that we lack.
func (r *Replicator) relate(ctx context.Context, peer event.SiteID) (lacking bool) {
	for _, h := range r.unrelated(peer) {
		in, held, err := r.cfg.Log.Holds(ctx, h.Branch.LogID, h.Page, h.Hash)
		if err != nil {
			r.logger.Warn("cannot compare a peer's head with our pages", "log", h.Branch.String(), "page", h.Page, "error", err)
			continue
		}
		r.noteRelation(peer, h.Head, in, held)
		lacking = lacking || !held
	}
	return lacking
}

// unrelated returns copies of the peer's heads that may relate differently than we know, in a fixed order.
func (r *Replicator) unrelated(peer event.SiteID) []announced {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []announced
	for _, h := range r.peer(peer).heads {
		if h.Page > 0 && (h.relation == unknownHead || h.relation == lackedHead) {
			out = append(out, h.announced)
		}
	}
	slices.SortFunc(out, func(a, b announced) int { return compareBranches(a.Branch, b.Branch) })
	return out
}

// noteRelation keeps what a peer's head means to us, if it still is the peer's head.
func (r *Replicator) noteRelation(peer event.SiteID, h Head, in Branch, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.peer(peer).heads[h.Branch]
	switch {
	case now == nil || now.Head != h:
	case held:
		now.relation, now.in = heldHead, in
		r.wakeWaiters()
	default:
		now.relation = lackedHead
	}
}
