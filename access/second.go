// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// NeedsSecond reports whether the deed takes a second person: its permission is marked in the policy, or it is an alarm of the
// policy's size or more. The console is exempt, because whoever holds the machine can do anything to it; its deeds are in the
// audit. It returns ErrNoAuthority as Judge does, and ErrDeed.
func (s *Service) NeedsSecond(ctx context.Context, p Principal, authority event.AuthorityID, d Deed, size int) (bool, error) {
	authority, err := s.gate(p, authority)
	if err != nil {
		return false, err
	}
	if d.Permission() == "" {
		return false, ErrDeed
	}
	if p.Kind == Console {
		return false, nil
	}
	policy, err := s.Policy(ctx, authority)
	return policy.takesTwo(d, size), err
}

// takesTwo is the rule of which deeds take two people.
func (p Policy) takesTwo(d Deed, size int) bool {
	return slices.Contains(p.TwoPersons, d.Permission()) || d == DeedRaiseAlarm && p.MassAlarmFrom > 0 && size >= p.MassAlarmFrom
}

// takesSecond returns ErrNeedsSecond unless the deed takes one person only, or an approval of just that is being carried out.
func (s *Service) takesSecond(ctx context.Context, by Principal, authority event.AuthorityID, d Deed, args json.RawMessage) error {
	needs, err := s.NeedsSecond(ctx, by, authority, d, 0)
	if err == nil && needs && !s.carried.has(authority, sameness(d, args)) {
		err = ErrNeedsSecond
	}
	return err
}

// Ask asks for a second person. It takes the deed's permission. The arguments are JSON of at most MaxArgs bytes; they go into
// the log in clear, so they name people by id and hold no personal data. A life of 0 is DefaultLife. It returns the refusals of
// judging, ErrDeed, ErrArgs, ErrLife, ErrAsked or ErrTooManyPending.
func (s *Service) Ask(ctx context.Context, p Principal, authority event.AuthorityID, d Deed, args json.RawMessage, size int, life time.Duration) (Approval, eventlog.Receipt, error) {
	fact, v, err := s.asking(ctx, p, authority, d, args, size, life)
	if err != nil {
		return Approval{}, eventlog.Receipt{}, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.roomToAsk(ctx, p, authority, fact); err != nil {
		return Approval{}, eventlog.Receipt{}, err
	}
	id, err := event.NewID(s.cfg.Rand)
	if err != nil {
		return Approval{}, eventlog.Receipt{}, deed(err, "ask for an approval")
	}
	r, err := s.append(ctx, authority, event.Operations, event.Draft{
		Subject: approvalSubject(string(id)), Kind: KindApprovalAsked, Actor: p.Actor(), Grant: v.Grant, Data: fact})
	if err != nil {
		return Approval{}, r, deed(err, "ask for an approval")
	}
	a, err := s.Approval(ctx, authority, string(id))
	return a, r, err
}

// asking judges and checks a request and returns its fact.
func (s *Service) asking(ctx context.Context, p Principal, authority event.AuthorityID, d Deed, args json.RawMessage, size int, life time.Duration) (f ApprovalAsked, v Verdict, err error) {
	if life == 0 {
		life = DefaultLife
	}
	if _, err = s.gate(p, authority); err != nil {
		return f, v, err
	}
	if d.Permission() == "" {
		return f, v, ErrDeed
	}
	if v, err = s.judgeThere(ctx, p, authority, d.Permission()); err != nil {
		return f, v, err
	}
	if life < 0 || life > MaxLife {
		return f, v, ErrLife
	}
	if args, err = canonical(args); err != nil {
		return f, v, err
	}
	f = ApprovalAsked{Deed: d, Args: args, Size: max(size, 0), Expires: s.cfg.Now().Add(life).UnixMilli(), Units: v.Units}
	if p.Kind == Program {
		f.Maker = p.Maker
	}
	if p.Kind == Program && p.Owner != "" {
		f.Behind = string(Person) + "/" + p.Owner
	}
	return f, v, nil
}

// roomToAsk refuses what the asker has pending already, and one request too many.
func (s *Service) roomToAsk(ctx context.Context, p Principal, authority event.AuthorityID, f ApprovalAsked) error {
	now := s.cfg.Now()
	var pending, own int
	var alike []Approval
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		if pending, own, err = countPending(ctx, q, authority, p.Actor(), now); err != nil {
			return err
		}
		alike, err = alikeApprovals(ctx, q, authority, sameness(f.Deed, f.Args), now)
		return err
	})
	switch {
	case err != nil:
		return deed(err, "ask for an approval")
	case slices.ContainsFunc(alike, func(a Approval) bool { return a.State == Pending && a.AskedBy == p.Actor() }):
		return ErrAsked
	case pending >= MaxPending || own >= MaxPendingEach:
		return ErrTooManyPending
	}
	return nil
}

// Approve is what the second person does: it carries the deed out, here and now, and then writes down that it was approved.
// It takes the deed's permission, for the asker's scope; the asker must have it still. carry runs in the caller's goroutine,
// while no other approval of the same request runs at this site; its error comes back unchanged, and then nothing is approved.
// After it has returned, the approval is written even if ctx ends.
//
// Nothing is ever carried out by a merge: a request that is approved on two sides of a cut was done twice, and shows it.
//
// It returns the refusals of judging, ErrApprovalUnknown, ErrDecided, ErrExpired, ErrSamePerson, ErrAskerMayNot, ErrInHand, or
// ErrNotRecorded.
func (s *Service) Approve(ctx context.Context, p Principal, authority event.AuthorityID, id string,
	carry func(ctx context.Context, a Approval) (result string, err error)) (Approval, eventlog.Receipt, error) {
	if _, err := s.gate(p, authority); err != nil {
		return Approval{}, eventlog.Receipt{}, err
	}
	key := carriedKey{authority, id}
	if !s.carried.begin(key) {
		return Approval{}, eventlog.Receipt{}, ErrInHand
	}
	defer s.carried.end(key)
	a, v, err := s.toDecide(ctx, p, authority, id)
	if err != nil {
		return Approval{}, eventlog.Receipt{}, err
	}
	if err := s.isSecond(ctx, p, authority, a); err != nil {
		return Approval{}, eventlog.Receipt{}, err
	}
	s.carried.allow(key, sameness(a.Deed, a.Args))
	result, err := carry(ctx, a)
	if err != nil {
		return Approval{}, eventlog.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	r, err := s.append(ctx, authority, event.Operations, event.Draft{Subject: approvalSubject(id), Kind: KindApproved, Actor: p.Actor(), Grant: v.Grant,
		Data: Approved{Result: strings.ToValidUTF8(result[:min(len(result), maxResult)], "")}})
	if err != nil && len(r.Events) == 0 {
		return a, r, ErrNotRecorded.With(err)
	}
	if err != nil {
		return a, r, deed(err, "approve a request")
	}
	a, err = s.Approval(ctx, authority, id)
	return a, r, err
}

// toDecide returns a pending request and what allows p to decide about it.
func (s *Service) toDecide(ctx context.Context, p Principal, authority event.AuthorityID, id string) (Approval, Verdict, error) {
	a, err := s.Approval(ctx, authority, id)
	if err != nil {
		return a, Verdict{}, err
	}
	v, err := s.judgeThere(ctx, p, authority, a.Deed.Permission())
	if err != nil {
		return a, v, err
	}
	covered, err := s.coversScope(ctx, authority, v, a)
	switch {
	case err != nil:
		return a, v, err
	case !covered:
		return a, v, ErrForbidden
	case a.State == HasExpired:
		return a, v, ErrExpired
	case a.State != Pending:
		return a, v, ErrDecided
	}
	return a, v, nil
}

// coversScope reports whether a verdict reaches as far as the asker's did.
func (s *Service) coversScope(ctx context.Context, authority event.AuthorityID, v Verdict, a Approval) (bool, error) {
	if len(a.Units) == 0 {
		return s.Covers(ctx, authority, v, "")
	}
	return s.Covers(ctx, authority, v, a.Units...)
}

// isSecond looks whether two people stand behind the deed: p, and an asker who may still do it. Of a program without an owner
// only the scopes at the time of asking are known.
func (s *Service) isSecond(ctx context.Context, p Principal, authority event.AuthorityID, a Approval) error {
	if p.Kind == Program || p.Kind == Visitor || slices.Contains([]string{a.AskedBy, a.Behind, a.Maker}, p.Actor()) {
		return ErrSamePerson
	}
	if p.Borrowed() {
		return ErrOwnKey // whoever has taken over the identity provider could be everybody
	}
	asker, ok := strings.CutPrefix(a.AskedBy, string(Person)+"/")
	if behind, isBehind := strings.CutPrefix(a.Behind, string(Person)+"/"); isBehind {
		asker, ok = behind, true
	}
	if !ok {
		return nil
	}
	v, err := s.Judge(ctx, Principal{Kind: Person, Authority: authority, ID: asker}, authority, a.Deed.Permission())
	if errors.Is(err, ErrForbidden) {
		return ErrAskerMayNot
	}
	if err != nil {
		return err
	}
	covered, err := s.coversScope(ctx, authority, v, a)
	if err == nil && !covered {
		err = ErrAskerMayNot
	}
	return err
}

// Refuse ends a pending request; by its asker, it withdraws it. It takes the deed's permission. It returns the refusals of
// judging, ErrApprovalUnknown, ErrDecided, ErrExpired or ErrInHand.
func (s *Service) Refuse(ctx context.Context, p Principal, authority event.AuthorityID, id string) (eventlog.Receipt, error) {
	if _, err := s.gate(p, authority); err != nil {
		return eventlog.Receipt{}, err
	}
	key := carriedKey{authority, id}
	if !s.carried.begin(key) {
		return eventlog.Receipt{}, ErrInHand
	}
	defer s.carried.end(key)
	a, v, err := s.toDecide(ctx, p, authority, id)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	d := event.Draft{Subject: approvalSubject(id), Kind: KindRefused, Actor: p.Actor(), Grant: v.Grant, Data: Refused{}}
	if p.Actor() == a.AskedBy {
		d.Kind, d.Data = KindApprovalWithdrawn, ApprovalWithdrawn{}
	}
	r, err := s.append(ctx, authority, event.Operations, d)
	return r, deed(err, "refuse a request")
}

// Approvals returns the authority's requests: pending ones first, each the youngest first, at most MaxListed.
func (s *Service) Approvals(ctx context.Context, authority event.AuthorityID) (list []Approval, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		list, err = listApprovals(ctx, q, authority, s.cfg.Now())
		return err
	})
	return list, deed(err, "list approvals")
}

// Approval returns one request, or ErrApprovalUnknown.
func (s *Service) Approval(ctx context.Context, authority event.AuthorityID, id string) (a Approval, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		a, err = oneApproval(ctx, q, authority, id, s.cfg.Now())
		return err
	})
	return a, deed(err, "look up an approval")
}

// carrying knows which requests are being decided at this site, and which deeds may be done by that.
type carrying struct {
	mu  sync.Mutex
	now map[carriedKey]string // the deed's sameness, "" until it may be done
}

type carriedKey struct {
	authority event.AuthorityID
	id        string
}

// begin takes a request in hand, or reports that somebody has it.
func (c *carrying) begin(k carriedKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, busy := c.now[k]; busy {
		return false
	}
	c.now[k] = ""
	return true
}

func (c *carrying) allow(k carriedKey, same string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now[k] = same
}

func (c *carrying) end(k carriedKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, k)
}

// has reports whether a deed is being carried out now.
func (c *carrying) has(authority event.AuthorityID, same string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range c.now {
		if k.authority == authority && v == same {
			return true
		}
	}
	return false
}
