// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/secretcode"
)

// spokenLen is how many characters somebody reads to their colleagues: 40 bits, good for ten minutes. They open nothing: who
// signs in needs the ticket that they were made of.
const spokenLen = 8

// ticketContext is what tickets are made for: anybody.
const ticketContext = ""

// AskVouching begins for somebody who has nothing to sign in with: the ticket stays in their browser, the eight spoken
// characters are read to two colleagues. Nothing is stored.
func (s *Service) AskVouching(context.Context) (ticket, spoken string, err error) {
	nonce, err := s.draw(nonceLen)
	if err != nil {
		return "", "", err
	}
	raw := signStamp(s.cfg.Identity, purposeVouching, kindTicket, nonce, s.cfg.Now(), ticketContext)
	return encode(raw), secretcode.Grouped(spokenOf(raw)), nil
}

// spokenOf derives the characters from a ticket; there is no way back.
func spokenOf(ticket []byte) string {
	sum := sha256.Sum256(append([]byte("holdfast spoken\x00"), ticket...))
	return secretcode.Spell(sum[:], spokenLen)
}

// ticketName is how facts name a ticket.
func ticketName(raw []byte) string {
	sum := sha256.Sum256(raw)
	return fmt.Sprintf("%x", sum[:16])
}

// readTicket believes a ticket that a member site made within the last ten minutes.
func (s *Service) readTicket(ticket string) (stamped, bool) {
	raw, ok := decode(ticket, stampLen)
	if !ok {
		return stamped{}, false
	}
	t, ok := readStamp(raw)
	return t, ok && s.cfg.Federation.Member(t.site) && t.genuine(purposeVouching, kindTicket, ticketContext, s.cfg.Now(), VouchingLife)
}

// Vouch records that by says: the one who read these characters to me is this person. Vouching twice for the same is once,
// and its receipt is zero the second time. It returns ErrSpoken, ErrSelf, ErrVoucher and access.ErrOwnKey for principals that
// cannot vouch, ErrVouchAbove, ErrVouchOften, ErrPersonUnknown, Standing's errors, and those of keyring and log.
func (s *Service) Vouch(ctx context.Context, by access.Principal, spoken string, person directory.PersonID) (eventlog.Receipt, error) {
	spoken, ok := secretcode.Normal(spoken, spokenLen)
	if !ok {
		return eventlog.Receipt{}, ErrSpoken.At(0, "spoken")
	}
	voucher, err := s.mayVouch(ctx, by, person)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	key, err := s.idKey(ctx, by.Authority)
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("vouch: %w", err)
	}
	f := Vouched{Spoken: spokenHash(key, spoken), By: voucher, Session: by.Session}
	st, err := s.state(ctx, by.Authority, person)
	if err != nil || st.hasVouched(f, s.cfg.Now()) {
		return eventlog.Receipt{}, err
	}
	if !s.words.Allow(string(by.Authority)+"/"+string(voucher), s.cfg.Now()) {
		return eventlog.Receipt{}, ErrVouchOften
	}
	return s.appendFact(ctx, by.Authority, person, by.Actor(), KindVouched, f)
}

func (s *Service) mayVouch(ctx context.Context, by access.Principal, person directory.PersonID) (directory.PersonID, error) {
	if by.Kind != access.Person || by.Limited || by.Way == access.ByVouching {
		return "", ErrVoucher
	}
	voucher, err := s.own(ctx, by)
	if err != nil {
		return "", err
	}
	if voucher == person {
		return "", ErrSelf
	}
	if _, err = s.person(ctx, by.Authority, person); err == nil && s.cfg.MayVouch != nil {
		err = s.cfg.MayVouch(ctx, by, person)
	}
	return voucher, err
}

// vouching is what is known here of one ticket.
type vouching struct {
	owner // for whom, if enough have vouched; id is the ticket's name
	by    []directory.PersonID
	most  int
}

// vouching gathers who has vouched for whom under a ticket's characters, at all authorities that this site holds.
func (s *Service) vouching(ctx context.Context, t stamped) (v vouching, err error) {
	spoken, expires := spokenOf(t.raw), t.at.Add(VouchingLife)
	clear := true
	for _, a := range s.cfg.Federation.Held() {
		key, err := s.idKey(ctx, a)
		if err != nil || !s.cfg.Federation.Allowed(t.site, a) {
			continue
		}
		found, err := s.vouchedAt(ctx, a, spokenHash(key, spoken), expires)
		if err != nil {
			return v, err
		}
		for _, o := range found {
			// Two people for one person and two for another: somebody is mistaken, and nobody comes in.
			clear = clear && (len(o.by) < 2 || len(v.by) < 2)
			if len(o.by) >= 2 {
				v.owner, v.by = o.owner, o.by
			}
			v.most = max(v.most, min(len(o.by), 2))
		}
	}
	if v.id = ticketName(t.raw); !clear {
		v.by = nil
	}
	return v, nil
}

// vouchedAt returns for whom somebody has vouched under the characters at one authority, and who of them may still vouch.
func (s *Service) vouchedAt(ctx context.Context, a event.AuthorityID, spoken string, expires time.Time) (list []vouching, err error) {
	var persons []directory.PersonID
	var states []state
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		states = nil
		if persons, err = findVouched(ctx, q, a, spoken); err != nil {
			return err
		}
		for _, p := range persons {
			st, err := readState(ctx, q, a, p)
			if err != nil {
				return err
			}
			states = append(states, st)
		}
		return nil
	})
	for i, p := range persons {
		if err != nil {
			return nil, err
		}
		v := vouching{owner: owner{authority: a, person: p}}
		for _, x := range states[i].vouchers(spoken, expires) {
			voucher := principal(a, x.By, access.ByPasskey, x.Session)
			if x.By != p && s.Standing(ctx, voucher) == nil {
				v.by = append(v.by, x.By)
			}
		}
		list = append(list, v)
	}
	return list, err
}

// VouchState returns how many have vouched so far. It returns ErrVouching for a ticket that is not genuine or too old.
func (s *Service) VouchState(ctx context.Context, ticket string) (VouchState, error) {
	t, ok := s.readTicket(ticket)
	if !ok {
		return VouchState{}, ErrVouching
	}
	v, err := s.vouching(ctx, t)
	if err != nil {
		return VouchState{}, fmt.Errorf("look for vouchers: %w", err)
	}
	return VouchState{Confirmed: v.most, Expires: t.at.Add(VouchingLife), Spoken: secretcode.Grouped(spokenOf(t.raw))}, nil
}

// TakeVouching lets in for whom two different people have vouched, at any site that knows of both, once. The session lasts
// for VouchedSession. It returns ErrVouching while that is not so, and the log's errors.
func (s *Service) TakeVouching(ctx context.Context, ticket string) (access.Principal, error) {
	t, ok := s.readTicket(ticket)
	if !ok {
		return access.Principal{}, ErrVouching
	}
	v, err := s.vouching(ctx, t)
	if err != nil {
		return access.Principal{}, fmt.Errorf("look for vouchers: %w", err)
	}
	if len(v.by) < 2 {
		return access.Principal{}, ErrVouching
	}
	if _, err := s.person(ctx, v.authority, v.person); errors.Is(err, ErrPersonUnknown) {
		return access.Principal{}, ErrVouching
	} else if err != nil {
		return access.Principal{}, err
	}
	session, err := s.drawHex(32)
	if err != nil {
		return access.Principal{}, err
	}
	slices.Sort(v.by)
	used := VouchingUsed{Ticket: v.id, By: v.by[:min(len(v.by), 10)], Session: session}
	if err := s.use(ctx, v.owner, whatVouching+"/"+v.id, KindVouchingUsed, used, ErrVouching); err != nil {
		return access.Principal{}, err
	}
	return principal(v.authority, v.person, access.ByVouching, session), nil
}
