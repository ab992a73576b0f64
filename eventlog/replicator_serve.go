// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
)

// spot is a page named by number and hash. The zero spot is before the first page.
type spot struct {
	Page uint64 `json:"page"`
	Hash Hash   `json:"hash"`
}

// pagesRequest asks for the pages between After and Target, whichever branch they are in at the holder.
type pagesRequest struct {
	Log      LogID `json:"log"`
	After    spot  `json:"after"`
	Target   spot  `json:"target"`
	MaxBytes int   `json:"maxBytes,omitempty"`
	// Stretch asks for MaxBytes bytes of the stretch behind After, from the byte From on, instead of whole pages. A version
	// that does not know it gives whole pages. Name asks for the hash of the page that the stretch begins with.
	Stretch bool `json:"stretch,omitempty"`
	From    int  `json:"from,omitempty"`
	Name    bool `json:"name,omitempty"`
	// Pack asks for that many bytes of the stretch instead, packed so that the answer has MaxBytes. A version that does not
	// know it gives MaxBytes as they are.
	Pack int `json:"pack,omitempty"`
}

// pagesAnswer is the head of an answer; the pages follow it, each with its length.
type pagesAnswer struct {
	// Gone: the holder does not have the target (any more).
	Gone bool `json:"gone,omitempty"`
	// Diverged: After is not on the way to the target; a common page must be found first.
	Diverged bool `json:"diverged,omitempty"`
	Count    int  `json:"count"`
	// Stretch: what follows is a part of a stretch. More: there is more behind it. First is the hash of the first page of
	// the stretch, nil if it was not asked for or there is no page.
	Stretch bool  `json:"stretch,omitempty"`
	More    bool  `json:"more,omitempty"`
	First   *Hash `json:"first,omitempty"`
	// Packed is how long the part is when it is unpacked; 0: it is not packed.
	Packed int `json:"packed,omitempty"`
}

// hashRequest asks for the hashes of some pages on the way to Target.
type hashRequest struct {
	Log    LogID    `json:"log"`
	Target spot     `json:"target"`
	Pages  []uint64 `json:"pages"`
}

type hashAnswer struct {
	Gone   bool   `json:"gone,omitempty"`
	Hashes []Hash `json:"hashes,omitempty"` // in the order of Pages; zero where there is no such page
}

// segment is a piece of the way to a target that lies in one branch: pages up to and including to.
type segment struct {
	branch Branch
	from   uint64
	to     uint64
}

// servePages answers with the pages that follow a page, as many as fit.
func (r *Replicator) servePages(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
	var q pagesRequest
	if err := json.Unmarshal(body, &q); err != nil || q.Log.Check() != nil || q.From < 0 || q.From > maxStretch {
		return nil, errRequest.Because("pages: %v", err)
	}
	if !r.mayKnow(peer, q.Log.Authority) {
		return nil, errNotAllowed
	}
	way, err := r.wayTo(ctx, q.Log, q.Target)
	if err != nil {
		return nil, err
	}
	if way == nil {
		return encodePages(pagesAnswer{Gone: true}, nil), nil
	}
	if on, err := r.onWay(ctx, way, q.After); err != nil || !on {
		return encodePages(pagesAnswer{Diverged: true}, nil), err
	}
	most := q.MaxBytes
	if most <= 0 || most > maxAnswerBytes {
		most = maxAnswerBytes
	}
	most = max(most, leastAnswer)
	release, err := r.roomToRead(ctx, peer, q.reads(most))
	if err != nil {
		return nil, err
	}
	defer release()
	if q.Stretch {
		return r.serveStretch(ctx, way, q, most)
	}
	pages, err := r.readWay(ctx, way, q.After.Page, most)
	if err != nil {
		return nil, err
	}
	return encodePages(pagesAnswer{}, pages), nil
}

// leastAnswer is what an answer may have however little is asked for: reading pages for less would cost too much.
const leastAnswer = 256

// raw is how many bytes of the stretch go into an answer that may have so many.
func (q pagesRequest) raw(most int) int {
	if q.Pack > 0 {
		return min(max(q.Pack, most), maxGain*most, maxAnswerBytes)
	}
	return most
}

// reads is how many bytes of pages are read for such an answer.
func (q pagesRequest) reads(most int) int {
	if q.Stretch {
		return q.From + q.raw(most)
	}
	return most
}

// serveStretch answers with a part of a stretch.
func (r *Replicator) serveStretch(ctx context.Context, way []segment, q pagesRequest, most int) ([]byte, error) {
	raw := q.raw(most)
	pages, err := r.readStretch(ctx, way, q.After.Page, q.From+raw)
	if err != nil {
		return nil, err
	}
	a := pagesAnswer{Stretch: true}
	if len(pages) == 0 {
		return encodePart(a, nil), nil
	}
	if q.Name {
		a.First = &pages[0].Hash
	}
	part, rest := cutPart(pages, q.From, raw)
	if q.Pack > 0 {
		body, shorter, used := packPart(part, most)
		if rest = rest || used < len(part); shorter {
			a.Packed = used
		}
		part = body
	}
	a.More = rest || pages[len(pages)-1].Number < way[len(way)-1].to
	return encodePart(a, part), nil
}

// Bounds of what is in memory of pages that are being read for answers: a short answer from far inside a stretch takes all
// that is before it. A peer has a part of it only, so that none waits for another one that asks for much and takes little.
const (
	maxReading       = 32 << 20
	maxReadingOfPeer = 8 << 20
)

// roomToRead waits, in the order in which they have come, until so many bytes of pages may be read for the peer, at
// most until ctx ends. The returned function gives the room back.
func (r *Replicator) roomToRead(ctx context.Context, peer event.SiteID, bytes int) (release func(), err error) {
	n := int64(bytes + MaxPageBytes) // pages are read whole
	r.mu.Lock()
	own := r.peer(peer).reading
	r.mu.Unlock()
	if err := own.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("wait for room to read pages: %w", err)
	}
	if err := r.reading.Acquire(ctx, n); err != nil {
		own.Release(n)
		return nil, fmt.Errorf("wait for room to read pages: %w", err)
	}
	return func() { r.reading.Release(n); own.Release(n) }, nil
}

// readStretch reads pages after a number until they make so many bytes, or there are no more.
func (r *Replicator) readStretch(ctx context.Context, way []segment, after uint64, most int) ([]*Page, error) {
	pages, err := r.readWay(ctx, way, after, most)
	if err != nil || len(pages) == 0 {
		return nil, err
	}
	for _, p := range pages {
		most -= 4 + len(p.Raw())
	}
	if most <= 0 {
		return pages, nil
	}
	// A store returns whole pages only, so the one that reaches beyond the bound is still to be read.
	next, err := r.readWay(ctx, way, pages[len(pages)-1].Number, 1)
	if err != nil {
		return pages, nil // the next answer says why
	}
	return append(pages, next...), nil
}

// cutPart returns the bytes from, and at most so many, of the stretch that the pages make, and whether there are more.
func cutPart(pages []*Page, from, most int) (part []byte, more bool) {
	part = make([]byte, 0, most)
	for _, p := range pages {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(p.Raw())))
		for _, b := range [][]byte{size[:], p.Raw()} {
			skip := min(from, len(b))
			from -= skip
			b = b[skip:]
			take := min(most-len(part), len(b))
			part = append(part, b[:take]...)
			more = more || take < len(b)
		}
	}
	return part, more
}

// readWay reads the pages after a number, about so many bytes, from the one segment that holds the next.
func (r *Replicator) readWay(ctx context.Context, way []segment, after uint64, most int) ([]*Page, error) {
	for _, s := range way {
		if after+1 < s.from || after+1 > s.to {
			continue
		}
		pages, err := r.cfg.Log.Read(ctx, s.branch, after, most)
		if err != nil {
			return nil, err
		}
		// The store may be a page ahead of the heads; only what the heads name has been acknowledged.
		for len(pages) > 0 && pages[len(pages)-1].Number > s.to {
			pages = pages[:len(pages)-1]
		}
		return pages, nil
	}
	return nil, nil
}

// serveHash answers with hashes of pages on the way to a target.
func (r *Replicator) serveHash(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
	var q hashRequest
	if err := json.Unmarshal(body, &q); err != nil || q.Log.Check() != nil || len(q.Pages) > maxProbes {
		return nil, errRequest.Because("hash: %v", err)
	}
	if !r.mayKnow(peer, q.Log.Authority) {
		return nil, errNotAllowed
	}
	way, err := r.wayTo(ctx, q.Log, q.Target)
	if err != nil {
		return nil, err
	}
	a := hashAnswer{Gone: way == nil}
	for _, n := range q.Pages {
		h, err := r.hashOnWay(ctx, way, n)
		if err != nil {
			return nil, err
		}
		a.Hashes = append(a.Hashes, h)
	}
	return json.Marshal(a)
}

// wayTo returns the segments from the first page to the target and on to the end of the target's branch, first segment
// first; nil if we do not have the target.
func (r *Replicator) wayTo(ctx context.Context, id LogID, target spot) ([]segment, error) {
	ours := r.cfg.Log.Branches(id) // before Holds: a head may only be older than what is held
	b, held, err := r.cfg.Log.Holds(ctx, id, target.Page, target.Hash)
	if err != nil || !held {
		return nil, err
	}
	way := []segment{{branch: b, to: max(target.Page, headOf(ours, b).Page)}}
	for range maxLineage {
		way[0].from = 1
		if way[0].branch.Fork == "" {
			return way, nil
		}
		first, err := r.cfg.Log.Read(ctx, way[0].branch, 0, 1)
		if err != nil || len(first) == 0 {
			return nil, err
		}
		if way[0].from = first[0].Number; way[0].from == 1 {
			return way, nil
		}
		parent, held, err := r.cfg.Log.Holds(ctx, id, first[0].Number-1, first[0].Prev)
		if err != nil || !held {
			return nil, err
		}
		way = append([]segment{{branch: parent, to: first[0].Number - 1}}, way...)
	}
	return nil, nil
}

func headOf(heads []Head, b Branch) Head {
	for _, h := range heads {
		if h.Branch == b {
			return h
		}
	}
	return Head{Branch: b}
}

// hashOnWay returns the hash of page n on the way, the zero hash if the way does not have it.
func (r *Replicator) hashOnWay(ctx context.Context, way []segment, n uint64) (Hash, error) {
	for _, s := range way {
		if n >= s.from && n <= s.to {
			return r.hashAt(ctx, s.branch, n)
		}
	}
	return Hash{}, nil
}

// hashAt returns the hash of a page. If its bytes are damaged, the page after it tells: what follows a damaged page must
// still reach the others, or the copy could never be given up.
func (r *Replicator) hashAt(ctx context.Context, b Branch, n uint64) (Hash, error) {
	h, _, err := r.cfg.Log.HashAt(ctx, b, n)
	if !errors.Is(err, ErrDamaged) {
		return h, err
	}
	next, nextErr := r.cfg.Log.Read(ctx, b, n, 1)
	if nextErr != nil || len(next) == 0 || next[0].Number != n+1 {
		return Hash{}, err
	}
	return next[0].Prev, nil
}

func (r *Replicator) onWay(ctx context.Context, way []segment, at spot) (bool, error) {
	if at.Page == 0 {
		return at.Hash == Hash{}, nil
	}
	h, err := r.hashOnWay(ctx, way, at.Page)
	return h == at.Hash && h != Hash{}, err
}

// encodePages writes u32 length | answer (JSON) | count x (u32 length, page), big-endian. Pages that do not fit are left
// out; one always fits.
func encodePages(a pagesAnswer, pages []*Page) []byte {
	size := 0
	for i, p := range pages {
		if size += 4 + len(p.Raw()); i > 0 && size > maxAnswerBytes {
			pages = pages[:i]
			break
		}
	}
	a.Count = len(pages)
	head, err := json.Marshal(a)
	if err != nil {
		head = []byte("{}") // cannot happen: two booleans and a number
	}
	out := appendSized(make([]byte, 0, 4+len(head)+size), head)
	for _, p := range pages {
		out = appendSized(out, p.Raw())
	}
	return out
}

// encodePart writes u32 length | answer (JSON) | the part.
func encodePart(a pagesAnswer, part []byte) []byte {
	head, err := json.Marshal(a)
	if err != nil {
		head = []byte("{}") // cannot happen: see encodePages
	}
	return append(appendSized(make([]byte, 0, 4+len(head)+len(part)), head), part...)
}

// decodePages reads what encodePages or encodePart wrote. The pages' bytes are not looked at.
func decodePages(b []byte) reply {
	var a pagesAnswer
	if len(b) > maxRequestBytes {
		return reply{err: errAnswer.Because("%d bytes", len(b))}
	}
	head, rest, ok := takeSized(b, maxHeaderBytes)
	if !ok {
		return reply{err: errAnswer.Because("pages: no head")}
	}
	if err := json.Unmarshal(head, &a); err != nil {
		return reply{err: errAnswer.With(err)}
	}
	if a.Stretch && a.Packed != 0 {
		part, err := unpack(rest, a.Packed)
		return reply{pagesAnswer: a, part: part, err: err}
	}
	if a.Stretch {
		return reply{pagesAnswer: a, part: rest}
	}
	var pages [][]byte
	for len(rest) > 0 {
		var page []byte
		if page, rest, ok = takeSized(rest, MaxPageBytes); !ok {
			return reply{err: errAnswer.Because("pages: page %d is cut off", len(pages))}
		}
		pages = append(pages, page)
	}
	if len(pages) != a.Count {
		return reply{err: errAnswer.Because("pages: %d instead of %d", len(pages), a.Count)}
	}
	return reply{pagesAnswer: a, pages: pages}
}
