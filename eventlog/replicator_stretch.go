// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// A stretch is the pages on the way from a spot to a target as one row of bytes: u32 length | page | u32 length | page ...
// Pages never change, so a stretch only grows, every holder has the same, and any part of it can be asked for: an answer
// is as large as the line takes, whatever the pages' sizes are, and what has come of a page stays when the line is cut.

// maxStretch bounds how far into a stretch may be asked: a page, and what may be under way behind it.
const maxStretch = MaxPageBytes + 4 + 3*maxAnswerBytes

// fetch is pages of one log coming in from one peer.
type fetch struct {
	piece
	own    piece // what the peer has given itself, to go back to if the piece is mixed and worth nothing
	behind piece // and what it has given behind a gap, see unmix
	peer   event.SiteID
	target Head
	way    way
	deep   bool // two questions may be under way, each in a goroutine
	brief  bool // others wait for a turn
	moved  bool // something has come
	more   bool // the last answer said that there is more
	ended  bool // there is nothing more to ask for now
	asked  []*question
	era    int   // counts how often we began anew; answers to older questions are of no use
	base   int64 // where in the era the piece begins
	next   int64 // where in the era the next question begins
}

// question is one question for a part of a stretch.
type question struct {
	era    int
	after  spot
	at     int64
	size   int // how much of the stretch was asked for
	answer chan reply
}

type reply struct {
	pagesAnswer
	pages [][]byte // whole pages, of an older version
	part  []byte   // a part of a stretch
	err   error
}

// begin makes the fetch go on after the spot, with nothing in hand.
func (f *fetch) begin(after spot) {
	f.piece = piece{after: after}
	f.more = false
	f.era++
	f.base, f.next = 0, 0
}

// end is where in the era the piece ends.
func (f *fetch) end() int64 { return f.base + int64(len(f.bytes)) }

// left returns how much of the page in hand is still to come, as its beginning says.
func (f *fetch) left() int {
	if len(f.bytes) < 4 {
		return MaxPageBytes
	}
	return max(0, 4+int(binary.BigEndian.Uint32(f.bytes))-len(f.bytes))
}

// goOn makes the fetch go on with a piece.
func (f *fetch) goOn(p piece) {
	f.begin(p.after)
	f.piece, f.next = p, int64(len(p.bytes))
}

// key says where the piece in hand is kept.
func (f *fetch) key() pieceKey { return pieceKey{f.target.Branch, f.peer, f.mixed()} }

// resume goes on with what has been kept of the log, if it follows the page that we have.
func (r *Replicator) resume(ctx context.Context, f *fetch) {
	after := r.begun(ctx, f)
	r.mu.Lock()
	s, now := r.peer(f.peer), r.steady()
	// An alarm is short, and must not wait until it is seen that its beginning is worth nothing.
	trusts := func(o event.SiteID) bool { return f.way != urgentWay && !now.Before(s.apart[o]) }
	own, best := r.pieces.find(f.target.Branch, f.peer, after, trusts)
	r.mu.Unlock()
	f.own = own
	f.goOn(best)
}

// begun returns the page behind which the peer has begun to give the branch. Where another branch has grown as long, our
// heads do not tell it.
func (r *Replicator) begun(ctx context.Context, f *fetch) spot {
	guess := r.firstGuess(f.target)
	r.mu.Lock()
	p := r.pieces.of[pieceKey{branch: f.target.Branch, giver: f.peer}]
	r.mu.Unlock()
	if p.after.Page <= guess.Page || p.after.Page >= f.target.Page {
		return guess
	}
	if _, held, err := r.cfg.Log.Holds(ctx, f.target.Branch.LogID, p.after.Page, p.after.Hash); err != nil || !held {
		return guess
	}
	return p.after
}

// keep keeps what is in hand, so that it can be gone on with, at any holder, even while this one is still giving.
func (r *Replicator) keep(f *fetch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pieces.put(f.key(), f.piece)
}

// apartFor is how long a peer does not go on with what another one has given, after the two did not fit.
const apartFor = 10 * time.Minute

// unmix goes back to what the peer has given itself, since that of others does not fit; what it gave behind theirs is joined
// to it again when the gap is filled. Nobody knows whose it was that was worth nothing; the two are not mixed again for a
// while. A piece that is the peer's own is begun anew.
func (r *Replicator) unmix(f *fetch) {
	own := piece{after: f.after}
	f.behind = piece{}
	if f.mixed() {
		own, f.behind = f.own, f.piece
	}
	r.mu.Lock()
	s := r.peer(f.peer)
	for _, o := range f.from {
		if s.apart == nil {
			s.apart = make(map[event.SiteID]time.Time)
		}
		s.apart[o] = r.steady().Add(apartFor)
	}
	r.pieces.drop(f.key())
	r.mu.Unlock()
	f.goOn(own)
}

// rejoin goes on behind what the peer has given before, once the gap in front of it is filled.
func (f *fetch) rejoin() {
	b := f.behind
	if b.after != f.after {
		f.behind = piece{}
		return
	}
	if n := len(f.bytes); n >= b.mine && n < len(b.bytes) {
		f.bytes = append(f.bytes, b.bytes[n:]...)
		f.next = f.end() // what is under way has come before
	}
}

// overtaken goes on behind what has come from another peer meanwhile.
func (r *Replicator) overtaken(ctx context.Context, f *fetch) {
	id := f.target.Branch.LogID
	if f.first == (Hash{}) {
		return
	}
	in, held, err := r.cfg.Log.Holds(ctx, id, f.after.Page+1, f.first)
	if err != nil || !held {
		return // the answers say why
	}
	if h := headOf(r.cfg.Log.Branches(id), in); h.Page > f.after.Page {
		f.begin(spot{h.Page, h.Hash})
		f.own = f.piece
		f.ended = h.Page >= f.target.Page
	}
}

// leave waits for the questions that are still under way and keeps what has come.
func (r *Replicator) leave(f *fetch) {
	for _, q := range f.asked {
		<-q.answer
	}
	r.keep(f)
}

// pullLog fetches pages on the way to one head of a peer, in bounded rounds.
func (r *Replicator) pullLog(ctx context.Context, f *fetch) (pulled int, err error) {
	// If these are pages of our own that we do not have, we were restored or cloned, and Accept gives the incarnation up. A
	// head alone does not: it is only a claim, and each would cost a new log of every authority.
	ctx, cancel := context.WithCancel(ctx)
	r.resume(ctx, f)
	defer r.leave(f)
	defer cancel() // what is still under way after an error is of no use
	rounds := maxRoundsPerLog
	switch {
	case f.brief:
		rounds = maxRoundsBrief
	case f.deep:
		rounds = maxRoundsDeep
	}
	for round := 0; ; round++ {
		if r.mustWait(f.target) {
			return pulled, nil // the logs before it have taken the room
		}
		r.overtaken(ctx, f)
		for round < rounds && !f.ended && f.mayAsk() {
			if asked, err := r.ask(ctx, f); err != nil {
				return pulled, err
			} else if !asked {
				break
			}
		}
		if len(f.asked) == 0 {
			return pulled, nil
		}
		n, err := r.arrive(ctx, f)
		pulled += n
		if (errors.Is(err, ErrTooManyLogs) || errors.Is(err, ErrShare)) && r.mustWait(f.target) {
			return pulled, nil // another pull was quicker; Waiting tells of it
		}
		if err != nil {
			return pulled, err
		}
	}
}

// mayAsk reports whether another question may be under way. A second one only follows an answer that said that there is
// more: most logs are a page behind, and one answer is all of it.
func (f *fetch) mayAsk() bool {
	return len(f.asked) == 0 || f.deep && f.more && len(f.asked) == 1 && f.next-f.base < maxStretch-maxAnswerBytes
}

// ask asks for the next part, and reports whether it did. It waits until the line has room for it, unless the answer to another
// question may be here before.
func (r *Replicator) ask(ctx context.Context, f *fetch) (asked bool, err error) {
	down, _ := r.paces(f.peer)
	a, _, ok := down.tryTake(f.way)
	if !ok && len(f.asked) > 0 {
		return false, nil
	}
	if !ok {
		if a, err = down.take(ctx, f.way); err != nil {
			return false, err
		}
	}
	if len(f.asked) == 0 {
		f.next = f.end()
	}
	q := &question{era: f.era, after: f.after, at: f.next, answer: make(chan reply, 1)}
	f.asked = append(f.asked, q)
	body := pagesRequest{
		Log: f.target.Branch.LogID, After: f.after, Target: spot{f.target.Page, f.target.Hash}, MaxBytes: a.size,
		Stretch: true, From: int(f.next - f.base), Name: f.first == Hash{} || f.mixed(),
	}
	if q.size = a.size; !down.fast() {
		q.size = r.worth(f.peer, f.way).raw(a.size)
		body.Pack = q.size
	}
	f.next += int64(q.size)
	send := func() {
		rep, n := r.requestPages(ctx, f.peer, r.link(f.way), body, down)
		a.whole = body.Pack > 0 && len(rep.part) >= body.Pack
		down.done(a, n, rep.err)
		if body.Pack > 0 {
			r.noteWorth(f.peer, f.way, a.size, n, len(rep.part))
		}
		q.answer <- rep
	}
	if f.deep {
		go send() // leave waits for it
	} else {
		send() // in the caller's goroutine, so that a simulation stays in order
	}
	return true, nil
}

func (r *Replicator) requestPages(ctx context.Context, peer event.SiteID, link Link, q pagesRequest, down *pacer) (rep reply, bytes int) {
	body, err := json.Marshal(q)
	if err != nil {
		return reply{err: err}, 0
	}
	asked := r.steady()
	answer, err := r.requestOn(ctx, link, peer, VerbPages, body, down.patience(q.MaxBytes))
	if err != nil {
		return reply{err: err}, 0
	}
	if rep = decodePages(answer); rep.err == nil {
		r.heard(peer, asked)
	}
	return rep, len(answer)
}

// worth returns what a byte of an answer with packed pages is worth on that way from the peer.
func (r *Replicator) worth(peer event.SiteID, w way) gain {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peer(peer).gains[w]
}

func (r *Replicator) noteWorth(peer event.SiteID, w way, asked, bytes, raw int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.peer(peer)
	s.gains[w] = s.gains[w].next(asked, bytes, raw)
}

// arrive takes the answer to the oldest question in.
func (r *Replicator) arrive(ctx context.Context, f *fetch) (pulled int, err error) {
	q := f.asked[0]
	f.asked = f.asked[1:]
	rep := <-q.answer
	switch {
	case rep.err != nil:
		return 0, rep.err
	case q.era != f.era:
		return 0, nil
	case rep.Gone:
		f.ended = true // it will be announced anew
		return 0, nil
	case rep.Diverged && q.after != f.after:
		return 0, nil
	case rep.Diverged:
		after, err := r.lastCommon(ctx, f.peer, f.target)
		f.begin(after)
		return 0, err
	case !rep.Stretch:
		return r.takePages(ctx, f, rep.pages)
	}
	return r.takePart(ctx, f, q, rep)
}

// takePages takes whole pages in, as an older version gives them.
func (r *Replicator) takePages(ctx context.Context, f *fetch, raw [][]byte) (pulled int, err error) {
	if len(raw) == 0 {
		f.ended = true
		return 0, nil
	}
	f.moved = true
	if pulled, err = r.cfg.Log.Accept(ctx, raw); err != nil {
		return pulled, err
	}
	if pulled > 0 {
		r.noteGiven(f.peer, f.target.Branch.LogID, lengthOf(raw), 0)
		r.noteWhole(f.peer, f.target.Branch.LogID)
	}
	f.begin(spot{f.after.Page + uint64(len(raw)), sha256.Sum256(raw[len(raw)-1])})
	f.ended = f.after.Page >= f.target.Page
	return pulled, nil
}

func lengthOf(pages [][]byte) (bytes int) {
	for _, p := range pages {
		bytes += len(p)
	}
	return bytes
}

// takePart adds a part to the piece and takes in the pages that are complete with it.
func (r *Replicator) takePart(ctx context.Context, f *fetch, q *question, rep reply) (pulled int, err error) {
	if q.after == f.after && rep.First != nil {
		if f.first != (Hash{}) && f.first != *rep.First {
			r.unmix(f) // who gave the beginning of it began another branch
			return 0, nil
		}
		f.first = *rep.First
	}
	if q.at != f.end() {
		return 0, nil // the answer before was shorter than asked for
	}
	f.more = rep.More
	if len(rep.part) == 0 {
		return 0, r.noMore(f, rep)
	}
	f.moved = true
	r.notePart(f.peer, f.target.Branch.LogID)
	f.bytes = append(f.bytes, rep.part...)
	r.noteGiven(f.peer, f.target.Branch.LogID, len(rep.part), f.left())
	if len(rep.part) < q.size {
		f.next = f.end() // the question that is under way leaves a gap
	}
	f.rejoin()
	if pulled, err = r.takeWhole(ctx, f); err != nil {
		kind := fault.KindOf(err)
		foreign := f.mixed() && (kind == fault.Invalid || kind == fault.Forbidden)
		r.noteGiven(f.peer, f.target.Branch.LogID, -len(f.bytes), MaxPageBytes)
		r.unmix(f) // these bytes are of no use and must not be kept
		if foreign {
			return pulled, nil // those of two holders do not fit; the one that is here now is asked for the rest of its own
		}
		return pulled, err
	}
	r.keep(f)
	f.ended = f.after.Page >= f.target.Page
	return pulled, r.noMore(f, rep)
}

// noMore ends the fetch if the peer has no more. A page is never half at who holds it, so what is in hand then does not
// fit.
func (r *Replicator) noMore(f *fetch, rep reply) error {
	switch {
	case rep.More:
		return nil
	case f.mixed():
		r.unmix(f)
		return nil
	case len(f.bytes) > 0:
		r.unmix(f)
		return errAnswer.Because("the page ends too early")
	}
	f.ended = true
	return nil
}

// takeWhole has the complete pages of the piece accepted; what is behind them stays.
func (r *Replicator) takeWhole(ctx context.Context, f *fetch) (pulled int, err error) {
	raw, rest, err := cutPages(f.bytes)
	if err != nil || len(raw) == 0 {
		return 0, err
	}
	if f.first != (Hash{}) && f.first != sha256.Sum256(raw[0]) {
		return 0, errAnswer.Because("the page is not the one that was named")
	}
	if pulled, err = r.cfg.Log.Accept(ctx, raw); err != nil {
		return pulled, err
	}
	r.mu.Lock()
	r.pieces.dropAll(f.target.Branch.LogID, f.after, sha256.Sum256(raw[0]))
	r.mu.Unlock()
	whole := len(f.bytes) - len(rest)
	if pulled > 0 {
		r.noteWhole(f.peer, f.target.Branch.LogID)
	}
	f.base += int64(whole)
	// A copy, since the log keeps the bytes that it has accepted. What is behind a page came from this peer.
	f.piece = piece{after: spot{f.after.Page + uint64(len(raw)), sha256.Sum256(raw[len(raw)-1])}, bytes: slices.Clone(rest)}
	return pulled, nil
}

// cutPages cuts the complete pages off the beginning of a stretch.
func cutPages(stretch []byte) (pages [][]byte, rest []byte, err error) {
	for rest = stretch; len(rest) >= 4; {
		if n := binary.BigEndian.Uint32(rest); n > MaxPageBytes {
			return nil, nil, errAnswer.Because("a page of %d bytes", n)
		}
		page, behind, whole := takeSized(rest, MaxPageBytes)
		if !whole {
			break
		}
		pages, rest = append(pages, page), behind
	}
	return pages, rest, nil
}
