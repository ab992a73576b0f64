// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Verb is the name under which a Syncer serves other sites.
const Verb = "keys"

// Bounds of one exchange. Answers between sites stay under 768 KiB; records are counted generously.
const (
	answerBytes  = 500 << 10
	requestBytes = 64 << 10
	wantedAtOnce = 128
	roundsAStep  = 64
	patience     = 5 * time.Second // how long to wait for an answer of a line of which nothing is known
)

// Link carries requests to other sites, see eventlog.Link.
type Link interface {
	Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error)
}

// Policy says who may hold what. It is asked for every request; it must not block.
type Policy interface {
	// Member reports whether the site is admitted and not removed.
	Member(site event.SiteID) bool
	// Allowed reports whether the site may hold the authority's logs and keys.
	Allowed(site event.SiteID, authority event.AuthorityID) bool
}

// ErrForbidden is the answer to who may not have any of the keys it asks for. It is the same for authorities that exist
// and those that do not.
var ErrForbidden = fault.New(fault.Forbidden, "keyring.forbidden", "this site may not hold the keys it asks for",
	"an operator can allow the site for the authority, at one of the authority's sites")

// Syncer exchanges keys with other sites. Fill Ring, Link, Policy and Authorities; it is safe for concurrent use.
type Syncer struct {
	Ring   *Ring
	Link   Link
	Policy Policy
	// Authorities returns the authorities known now.
	Authorities func() []event.AuthorityID
	// Needed returns the keys of an authority that pages on this site's disk wait for. These alone are also taken from a
	// member that the authority does not allow, with the authority keys that seal them, these for reading only: what such a
	// site wrote before it heard that it is forbidden can be read only with them.
	// nil takes nothing from such a site.
	Needed func(context.Context, event.AuthorityID) ([]event.KeyID, error)
	// Urgent returns the keys that alarms on this site's disk wait for; Fetch asks for them by name. nil is none.
	Urgent func(context.Context, event.AuthorityID) ([]event.KeyID, error)
	// Bulk carries the exchange of all keys, so that it is not in front of what is urgent; nil is Link.
	Bulk Link
	// Paced runs ask when the line to the peer has room for another answer, with how many bytes that may have; what is urgent
	// does not wait. See eventlog.Replicator.Paced. nil asks at once for as much as an answer may have.
	Paced func(ctx context.Context, peer event.SiteID, urgent bool, ask func(ctx context.Context, size int) (bytes int, err error)) error

	mu    sync.Mutex
	loops map[event.SiteID]*peerLoop // while Run is running
}

type wanted struct {
	Authority event.AuthorityID `json:"authority"`
	Cursor
}

type request struct {
	Want []wanted `json:"want,omitempty"`
	// Need asks for keys by name. A version that does not know it gives none.
	Need []needed `json:"need,omitempty"`
	// MaxBytes is about how long the answer may be, since the line is slow; 0 is as long as it can be.
	MaxBytes int `json:"maxBytes,omitempty"`
	// Pack says that the answer may be packed, see pack. A version that does not know it answers plainly.
	Pack bool `json:"pack,omitempty"`
	// Hint tells that the asking site has something new itself.
	Hint bool `json:"hint,omitempty"`
}

type given struct {
	Authority event.AuthorityID `json:"authority"`
	Records   []Record          `json:"records,omitempty"`
	Next      Cursor            `json:"next"`
	More      bool              `json:"more,omitempty"`
	Refused   bool              `json:"refused,omitempty"`
}

type answer struct {
	Given []given `json:"given,omitempty"`
	Named []given `json:"named,omitempty"` // what was asked for by name; Next and More mean nothing
}

// check returns ErrRecord for an answer that has more than was asked for. Packed, it may be some thousand entries on
// a line that takes a few kilobytes, and each of them costs a synced transaction of its own.
func (a answer) check(req request) error {
	if len(a.Given) > len(req.Want) || len(a.Named) > len(req.Need) {
		return ErrRecord.Because("more authorities than were asked for")
	}
	for _, g := range a.Given {
		if len(g.Records) > recordsAtOnce {
			return ErrRecord.Because("%d records at once", len(g.Records))
		}
	}
	return nil
}

// Step pulls from one peer what it has and we lack, of every authority that allows both of us, and returns how many
// records changed something here. It blocks for the link and the disk and does a bounded amount of work; what is left
// over comes with the next step.
func (s *Syncer) Step(ctx context.Context, peer event.SiteID) (changed int, err error) {
	want, err := s.wants(ctx, peer)
	if err != nil {
		return 0, err
	}
	for len(want) > 0 {
		batch := want[:min(len(want), wantedAtOnce)]
		want = want[len(batch):]
		n, err := s.pull(ctx, peer, batch)
		changed += n
		if err != nil {
			return changed, fmt.Errorf("pull keys from %s: %w", peer.Short(), err)
		}
	}
	n, err := s.rescue(ctx, peer)
	return changed + n, err
}

func (s *Syncer) wants(ctx context.Context, peer event.SiteID) ([]wanted, error) {
	if !s.Policy.Member(peer) {
		return nil, nil
	}
	var want []wanted
	for _, a := range s.Authorities() {
		if !s.shared(peer, a) {
			continue
		}
		c, err := s.Ring.Cursor(ctx, peer, a)
		if err != nil {
			return nil, err
		}
		want = append(want, wanted{a, c})
	}
	return want, nil
}

// shared reports whether both sites may hold the authority's keys.
func (s *Syncer) shared(peer event.SiteID, authority event.AuthorityID) bool {
	return authority != event.Federation && s.Policy.Allowed(peer, authority) && s.Policy.Allowed(s.Ring.Self(), authority)
}

// pull asks for a batch again and again until there is nothing more, or the step has done enough.
func (s *Syncer) pull(ctx context.Context, peer event.SiteID, batch []wanted) (changed int, err error) {
	for range roundsAStep {
		answer, err := s.ask(ctx, peer, false, func(int) request { return request{Want: batch} })
		if errors.Is(err, ErrForbidden) {
			return changed, nil // it does not know yet that we are allowed
		}
		if err != nil {
			return changed, err
		}
		asked := make(map[event.AuthorityID]Cursor, len(batch))
		for _, w := range batch {
			asked[w.Authority] = w.Cursor
		}
		batch = nil
		for _, g := range answer.Given {
			from, ok := asked[g.Authority]
			if !ok || g.Refused || !s.shared(peer, g.Authority) {
				continue
			}
			delete(asked, g.Authority) // it is taken once, however often the answer names it
			n, err := s.take(ctx, peer, from, g)
			changed += n
			if err != nil {
				return changed, err
			}
			if c, err := s.Ring.Cursor(ctx, peer, g.Authority); err != nil {
				return changed, err
			} else if g.More || c != g.Next {
				batch = append(batch, wanted{g.Authority, c})
			}
		}
		if len(batch) == 0 {
			return changed, nil
		}
	}
	return changed, nil
}

// take merges what was asked for from a cursor on.
func (s *Syncer) take(ctx context.Context, peer event.SiteID, from Cursor, g given) (int, error) {
	if len(g.Records) == 0 {
		if c, err := s.Ring.Cursor(ctx, peer, g.Authority); err != nil || c == g.Next {
			return 0, err // nothing new costs no write
		}
	}
	return s.Ring.Merge(ctx, peer, g.Authority, g.Records, from, g.Next)
}

// ask sends a request that fits the line and waits for its answer. build is told how many bytes the answer may have.
func (s *Syncer) ask(ctx context.Context, peer event.SiteID, urgent bool, build func(size int) request) (a answer, err error) {
	link := s.Link
	if !urgent && s.Bulk != nil {
		link = s.Bulk
	}
	err = s.paced(ctx, peer, urgent, func(ctx context.Context, size int) (int, error) {
		req := build(size)
		req.MaxBytes, req.Pack = min(size, answerBytes), size < answerBytes
		body, err := json.Marshal(req)
		if err != nil {
			return 0, err
		}
		raw, err := link.Request(ctx, peer, Verb, body)
		if err != nil {
			return 0, err
		}
		plain, err := unpack(raw)
		if err != nil {
			return 0, err
		}
		if err := json.Unmarshal(plain, &a); err != nil {
			return 0, ErrRecord.With(err)
		}
		return len(raw), a.check(req)
	})
	return a, err
}

func (s *Syncer) paced(ctx context.Context, peer event.SiteID, urgent bool, ask func(context.Context, int) (int, error)) error {
	if s.Paced != nil {
		return s.Paced(ctx, peer, urgent, ask)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := ask(ctx, answerBytes)
	return err
}

// Serve answers a peer's request for keys. It returns ErrForbidden if the peer is no member or may have none of what it
// asks for, and a fault of kind Invalid for a request that is none.
func (s *Syncer) Serve(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
	if !s.Policy.Member(peer) {
		return nil, ErrForbidden
	}
	var req request
	if len(body) > requestBytes || json.Unmarshal(body, &req) != nil || len(req.Want) > wantedAtOnce || len(req.Need) > wantedAtOnce {
		return nil, fault.New(fault.Invalid, "keyring.request", "the request for keys is malformed or too long",
			"compare the versions of the two sites")
	}
	if req.Hint {
		s.wake(peer)
	}
	var a answer
	room, refused := req.room(), 0
	if err := s.giveNamed(ctx, peer, req.Need, &room, &a); err != nil {
		return nil, err
	}
	for _, w := range req.Want {
		g, err := s.give(ctx, peer, w, room)
		if err != nil {
			return nil, err
		}
		if g.Refused {
			refused++
		}
		for _, rec := range g.Records {
			room -= rec.size()
		}
		a.Given = append(a.Given, g)
	}
	if refused > 0 && refused == len(req.Want) {
		return nil, ErrForbidden
	}
	plain, err := json.Marshal(a)
	if err != nil || !req.Pack {
		return plain, err
	}
	return pack(plain), nil
}

// room returns how many bytes the answer may have before it is packed.
func (req request) room() int {
	switch {
	case req.MaxBytes <= 0:
		return answerBytes
	case req.Pack:
		return min(answerBytes, packedGain*req.MaxBytes)
	}
	return min(answerBytes, req.MaxBytes)
}

func (s *Syncer) give(ctx context.Context, peer event.SiteID, w wanted, room int) (given, error) {
	// Whether we are allowed is no question: what is here while it is being handed over belongs to the other.
	if w.Authority == event.Federation || !s.Policy.Allowed(peer, w.Authority) {
		return given{Authority: w.Authority, Refused: true}, nil
	}
	if room <= 0 {
		return given{Authority: w.Authority, Next: w.Cursor, More: true}, nil
	}
	records, next, more, err := s.Ring.Changes(ctx, w.Authority, w.Cursor, room)
	return given{Authority: w.Authority, Records: records, Next: next, More: more}, err
}
