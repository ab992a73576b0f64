// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"golang.org/x/sync/semaphore"
)

// Bounds of replication. They keep every answer under the link's 768 KiB and every table finite.
const (
	maxAnswerBytes  = 700 << 10 // what we put into an answer; the rest is room for the frame
	maxRequestBytes = 768 << 10
	maxHeadsPerPart = 1500   // about 500 KiB of JSON
	maxHeadsPerPeer = 200000 // what one peer may make us remember, about 80 MB; what is beyond is counted and told
	maxLogsAtOnce   = 64
	maxRoundsPerLog = 12 // answers of pages taken from one log in one turn; a page of any size is whole after two turns
	maxRoundsBrief  = 4  // the same of an urgent log while others are wanted
	maxRoundsDeep   = 32 // the same on a slow line: between two turns the line idles for a moment
	maxPartsPerStep = 8  // parts of heads exchanged in one step
	maxProbes       = 16
	pushInterval    = time.Second
	fullHeadsEvery  = 60 * time.Second
	// fullHeadsAtLeast is the longest time between two times that all heads are asked for, however slow the line.
	fullHeadsAtLeast = time.Hour
	settleTimeout    = 2 * time.Second
	pullsUnderWay    = 4
	maxLineage       = 16 // forks of forks
)

// The verbs a Replicator serves. Each is a request to one peer with one answer.
const (
	VerbHeads = "heads" // push of heads; the answer is the other side's
	VerbPages = "pages" // pages of one log after a page
	VerbHash  = "hash"  // hashes of some pages of one log: how a fork's last common page is found
	VerbHeld  = "held"  // whether the other has certain pages: what a site asks before it deletes its copies
)

// Verbs are all verbs of a Replicator, for wiring them to a link.
func Verbs() []string { return []string{VerbHeads, VerbPages, VerbHash, VerbHeld} }

// Handler answers a peer's request. The link has made sure that the request is peer's. It returns a fault for what it
// refuses; the answer is at most 768 KiB.
type Handler func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error)

// Copies is the part of a Log that replication needs; *Log is one.
type Copies interface {
	// Heads returns the heads of all branches on this site's disk.
	Heads() []Head
	// Branches returns the heads of all branches of one log on this site's disk, the first branch first.
	Branches(id LogID) []Head
	// Durable returns the heads of what is on the disk together with its keys.
	Durable(ctx context.Context) []Head
	// Recheck looks again whether pages have become durable because keys have arrived.
	Recheck(ctx context.Context)
	// Read returns pages of a branch after the given number, see Store.Read.
	Read(ctx context.Context, branch Branch, after uint64, maxBytes int) ([]*Page, error)
	// HashAt returns the hash of a page, false if the branch itself does not have it (a fork has only what differs).
	HashAt(ctx context.Context, branch Branch, page uint64) (Hash, bool, error)
	// Holds returns the branch that has the page of this number and hash, false if none.
	Holds(ctx context.Context, id LogID, page uint64, hash Hash) (Branch, bool, error)
	// MayHold returns why this site may not hold a log, nil if it may.
	MayHold(id LogID) error
	// Room returns ErrTooManyLogs if a log that this site may hold must wait, because its origin has begun too many; vouched
	// says that a site of another operator holds it.
	Room(id LogID, vouched bool) error
	// Present notes which incarnation a site says is its present one.
	Present(site event.SiteID, incarnation string)
	// Accept verifies and stores pages of one log in order; what is there already is no error.
	Accept(ctx context.Context, raw [][]byte) (accepted int, err error)
	// Subscribe returns a channel that gets a value after heads have changed, and the function that ends it.
	Subscribe() (<-chan struct{}, func())
	// Incarnation is the one our own logs are appended under, "" if none has been taken yet.
	Incarnation() string
	// Reincarnate makes the next append to any of our logs start a new log.
	Reincarnate(reason string)
	// Hold makes appends wait until Release.
	Hold()
	Release()
}

// ReplicatorConfig is what a Replicator needs. Log, Link, Policy, Self, Peers and Now are required.
type ReplicatorConfig struct {
	Log  Copies
	Link Link
	// Bulk carries what can wait, so that it is not in front of what cannot: another connection over the same line. nil is
	// Link.
	Bulk   Link
	Policy Policy
	Self   event.SiteID
	// Peers returns the sites to exchange with: all other members. It must not block.
	Peers func() []event.SiteID
	// NeedKeys fetches from a peer keys that pages here wait for; see Log.MissingKeys. It is called when pages have been
	// accepted whose keys are missing, before they are announced as durable. May be nil.
	NeedKeys func(ctx context.Context, peer event.SiteID) error
	Now      func() time.Time
	// Steady is a clock that nobody sets, by which silences are measured; nil is Now, which is right for time.Now.
	Steady func() time.Time
	// Folded returns up to which page the read model has folded a branch of ours; nil: what is here counts as folded. It must
	// not block.
	Folded func(Branch) uint64
	// Rand names the session; nil is crypto/rand.
	Rand   io.Reader
	Logger *slog.Logger
}

// Replicator copies logs between sites: peers push each other their heads, and each pulls what it lacks. Its
// step method does one exchange with one peer; Run is the loop around it. It is safe for concurrent use.
//
// # What travels
//
// A message of heads carries those that changed since what the other side has confirmed, each with the number of its
// change; session and number say what is confirmed, so nothing is lost when a message is. Once a minute the receiver
// asks for everything again, by parts. Only logs whose authority allows the peer are named.
//
// A head says how far a branch goes on the site's disk, and how far it is durable: with all keys, or their marks. What is
// on the disk can be fetched, what is durable counts as secured.
//
// A peer may name a branch differently than we do; what counts is (log, page, hash). Whatever hash we do not have, we
// ask for: the holder returns the pages between the last common page and that hash, whichever branch they are in.
type Replicator struct {
	cfg     ReplicatorConfig
	session string
	logger  *slog.Logger

	mu      sync.Mutex
	version uint64               // number of the last change of our announced heads
	urgent  uint64               // number of the last one of a log that does not go the bulk way
	ours    map[Branch]announced // what we announce
	granted map[grantKey]bool    // which peers were allowed which authority when heads were last numbered
	peers   map[event.SiteID]*peerState
	busy    map[LogID][]event.SiteID // who is giving which log right now
	pieces  pieces                   // beginnings of pages, to be gone on with
	reading *semaphore.Weighted      // bytes of pages that are read for answers
	pulse   pulse
	waited  debt // what all catch-ups together have held us up
	inlet   *inlet
	changed chan struct{} // closed and replaced whenever something a Wait may wait for has changed
	loops   map[event.SiteID]*peerLoop
}

type grantKey struct {
	peer      event.SiteID
	authority event.AuthorityID
}

// NewReplicator returns a replicator that has exchanged nothing yet. It starts no goroutine. It returns the error of
// the source of randomness.
func NewReplicator(cfg ReplicatorConfig) (*Replicator, error) {
	source := cfg.Rand
	if source == nil {
		source = rand.Reader
	}
	var session [8]byte
	if _, err := io.ReadFull(source, session[:]); err != nil {
		return nil, fmt.Errorf("name a replication session: %w", err)
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Replicator{
		cfg: cfg, session: hex.EncodeToString(session[:]), logger: logger,
		ours: make(map[Branch]announced), granted: make(map[grantKey]bool),
		peers: make(map[event.SiteID]*peerState), busy: make(map[LogID][]event.SiteID),
		reading: semaphore.NewWeighted(maxReading),
		changed: make(chan struct{}), loops: make(map[event.SiteID]*peerLoop), inlet: newInlet(),
	}, nil
}

// Step exchanges heads with one peer and pulls what we lack of what we may hold: at most 64 logs on each way, a few MiB of
// each. It returns how many pages were stored, with one for each log of which only a part of a page came; a value above
// zero means there may be more. It returns a fault of kind Unavailable if the peer cannot be reached, and the first trouble
// otherwise, after doing what could be done. All of it happens in the caller's goroutine.
func (r *Replicator) Step(ctx context.Context, peer event.SiteID) (pulled int, err error) {
	if peer == r.cfg.Self {
		return 0, errOurselves
	}
	if _, err := r.exchange(ctx, peer); err != nil {
		return 0, fmt.Errorf("exchange heads with %s: %w", peer.Short(), err)
	}
	for w := range ways {
		n, pullErr := r.pull(ctx, peer, w, 0)
		pulled += n
		if err == nil {
			err = pullErr
		}
	}
	r.fetchKeys(ctx, peer)
	r.refresh(ctx)
	return pulled, err
}

// Serve returns the handler of one verb, nil for a verb that is not ours.
func (r *Replicator) Serve(verb string) Handler {
	switch verb {
	case VerbHeads:
		return r.guarded(r.serveHeads)
	case VerbPages:
		return r.guarded(r.servePages)
	case VerbHash:
		return r.guarded(r.serveHash)
	case VerbHeld:
		return r.guarded(r.serveHeld)
	}
	return nil
}

var (
	errNoMember = fault.New(fault.Forbidden, "replicate.no_member", "the site is not a member of this federation",
		"join with an invitation of a member, or ask a second operator to admit the site")
	errOurselves = fault.New(fault.Forbidden, "replicate.ourselves", "a site does not replicate with itself",
		"look whether another machine runs with this site's key, such as a copy of its disk, and end one of them")
	errNotAllowed = fault.New(fault.Forbidden, "replicate.not_allowed", "the authority does not allow this site to hold its logs",
		"the authority's policy decides; see 'holdfast authority'")
	errRequest = fault.New(fault.Invalid, "replicate.request", "the request of the other site cannot be read",
		"check that both sites run neighbouring versions")
	errAnswer = fault.New(fault.Invalid, "replicate.answer", "the answer of the other site cannot be used",
		"check that both sites run neighbouring versions; other holders are asked instead")
	errUnsecured = fault.New(fault.Unavailable, "replicate.unsecured", "stored here, but not yet at sites of enough operators",
		"nothing is lost; it is passed on as soon as another site can be reached")
)

// guarded refuses everybody who is no member, and bodies out of bounds, before anything is parsed. It refuses ourselves, too, which
// is a copy of our machine, or our own request come back: what is at this site is not safe at another because we say so.
func (r *Replicator) guarded(h Handler) Handler {
	return func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
		if peer == r.cfg.Self {
			return nil, errOurselves
		}
		if !r.cfg.Policy.Member(peer) {
			return nil, errNoMember
		}
		if len(body) > maxRequestBytes {
			return nil, errRequest.Because("%d bytes", len(body))
		}
		came := r.steady() // the answer may have to wait, and says nothing about the peer
		answer, err := h(ctx, peer, body)
		if err == nil {
			r.wasAsked(peer, came)
		}
		return answer, err
	}
}

// mayKnow is the one question that decides what a peer hears, asked anew for every request.
func (r *Replicator) mayKnow(peer event.SiteID, authority event.AuthorityID) bool {
	return r.cfg.Policy.Member(peer) && r.cfg.Policy.Allowed(peer, authority)
}

// others returns the peers that are members, without ourselves, in a fixed order.
func (r *Replicator) others() []event.SiteID {
	var out []event.SiteID
	for _, p := range r.cfg.Peers() {
		if p != r.cfg.Self && r.cfg.Policy.Member(p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// wakeWaiters lets every Wait look again. The caller holds r.mu.
func (r *Replicator) wakeWaiters() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// peer returns the state kept of a peer. The caller holds r.mu. Only members get here, so the table is bounded.
func (r *Replicator) peer(id event.SiteID) *peerState {
	s := r.peers[id]
	if s == nil {
		s = &peerState{
			heads: make(map[Branch]*peerHead), failures: make(map[Branch]pullFailure),
			reading: semaphore.NewWeighted(maxReadingOfPeer),
			down:    newPacer(r.cfg.Now, r.inlet), up: newPacer(r.cfg.Now, newInlet()),
		}
		r.peers[id] = s
	}
	return s
}
