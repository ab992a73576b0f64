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
)

// secretBytes is how random the secret of an invitation or a link is: 144 bits, 24 characters.
const secretBytes = 18

// newSecret draws a secret, and what is kept of it.
func (s *Service) newSecret() (plain, id string, hash []byte, err error) {
	b, err := s.draw(secretBytes)
	if err != nil {
		return "", "", nil, err
	}
	id, err = s.drawHex(16)
	plain = encode(b)
	sum := sha256.Sum256([]byte(plain))
	return plain, id, sum[:], err
}

func lifeOf(life, standard, most time.Duration) (time.Duration, error) {
	if life == 0 {
		life = standard
	}
	if life < time.Minute || life > most {
		return 0, ErrLife.At(0, "life")
	}
	return life, nil
}

// Invite makes an invitation for each person, which replaces the one before. The path to it is "/enrol/" and the secret. life
// zero is DefaultInvitationLife. It returns ErrTooMany, ErrLife, ErrPersonUnknown if one of the people is not in the register
// (nobody is invited then), what MayManage says, and the log's errors. The caller has checked that by may.
func (s *Service) Invite(ctx context.Context, by access.Principal, authority event.AuthorityID, persons []directory.PersonID, life time.Duration) ([]Invitation, eventlog.Receipt, error) {
	life, err := lifeOf(life, DefaultInvitationLife, MaxInvitationLife)
	if err != nil {
		return nil, eventlog.Receipt{}, err
	}
	if len(persons) > MaxInvited {
		return nil, eventlog.Receipt{}, ErrTooMany
	}
	persons = slices.Compact(slices.Sorted(slices.Values(persons)))
	if err := s.mayManage(ctx, by, authority, persons...); err != nil {
		return nil, eventlog.Receipt{}, err
	}
	var list []Invitation
	var drafts []event.Draft
	for _, person := range persons {
		i, d, err := s.invite(ctx, by, authority, person, s.cfg.Now().Add(life).Truncate(time.Second))
		if err != nil {
			return nil, eventlog.Receipt{}, err
		}
		list, drafts = append(list, i), append(drafts, d)
	}
	if len(drafts) == 0 {
		return nil, eventlog.Receipt{}, nil
	}
	r, err := s.append(ctx, authority, drafts...)
	if err != nil {
		return nil, r, err
	}
	return list, r, nil
}

func (s *Service) invite(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, expires time.Time) (Invitation, event.Draft, error) {
	if _, err := s.person(ctx, authority, person); err != nil {
		return Invitation{}, event.Draft{}, err
	}
	if err := s.mayInvite(ctx, by, authority, person); err != nil {
		return Invitation{}, event.Draft{}, err
	}
	plain, id, hash, err := s.newSecret()
	if err != nil {
		return Invitation{}, event.Draft{}, err
	}
	d, err := s.draft(ctx, authority, person, by.Actor(), KindInvited, Invited{ID: id, Hash: hash, Expires: expires.Unix()})
	return Invitation{Person: person, Secret: plain, Expires: expires}, d, err
}

// mayInvite returns ErrInviteAbove for somebody enrolled through whose account the inviter could be a second person.
func (s *Service) mayInvite(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID) error {
	if by.Kind == access.Console || s.cfg.Protected == nil {
		return nil
	}
	protected, err := s.cfg.Protected(ctx, authority, person)
	if err != nil || !protected {
		return err
	}
	a, err := s.Account(ctx, authority, person)
	if err == nil && a.State == StateEnrolled {
		err = ErrInviteAbove
	}
	return err
}

// mayManage refuses what no grant allows: managing the accounts of another authority, or while one may only enrol, or those of
// people who have more rights.
func (s *Service) mayManage(ctx context.Context, by access.Principal, authority event.AuthorityID, persons ...directory.PersonID) error {
	switch {
	case !s.held(authority) || by.Kind != access.Console && by.Authority != authority:
		return ErrPersonUnknown
	case by.Kind == access.Console:
		return nil
	case by.Limited:
		return ErrNotYours
	}
	if err := s.Standing(ctx, by); err != nil || s.cfg.MayManage == nil || len(persons) == 0 {
		return err
	}
	for _, id := range persons {
		if _, err := s.person(ctx, authority, id); err != nil {
			return err
		}
	}
	return s.cfg.MayManage(ctx, by, persons)
}

// opened is a secret that may be used now.
type opened struct {
	owner
	secret secret
	person directory.Person
}

// lookUp finds what a secret opens. Everything that is wrong with it is refused.
func (s *Service) lookUp(ctx context.Context, what, plain string, refused error) (o opened, err error) {
	if b, ok := decode(plain, secretBytes); !ok || len(b) != secretBytes {
		return o, refused
	}
	sum := sha256.Sum256([]byte(plain))
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		own, found, err := findSecret(ctx, q, what, sum[:])
		if err != nil {
			return err
		}
		if !found || !s.held(own.authority) {
			return refused
		}
		st, err := readState(ctx, q, own.authority, own.person)
		if err != nil {
			return err
		}
		x := st.open(what, own.id, s.cfg.Now())
		if x == nil {
			return refused
		}
		o.owner, o.secret = own, *x
		return nil
	})
	if err != nil {
		return o, err
	}
	if o.person, err = s.person(ctx, o.authority, o.owner.person); errors.Is(err, ErrPersonUnknown) {
		err = refused
	}
	return o, err
}

// Invited returns what the page behind an invitation shows, and uses nothing up: mail programs open links, too. It returns
// ErrInvitation for everything that is wrong with the secret.
func (s *Service) Invited(ctx context.Context, secret string) (InvitationView, error) {
	o, err := s.lookUp(ctx, whatInvitation, secret, ErrInvitation)
	if err != nil {
		return InvitationView{}, err
	}
	return InvitationView{Authority: o.authority, Person: o.person, Expires: unix(o.secret.Expires)}, nil
}

// UseInvitation uses the invitation up and returns a principal that may enrol and do nothing else. A full one comes of
// signing in with what was enrolled. It returns ErrInvitation, and the log's errors.
func (s *Service) UseInvitation(ctx context.Context, secret string) (access.Principal, error) {
	o, session, err := s.useSecret(ctx, whatInvitation, secret, ErrInvitation, func(id, session string) (event.Kind, any) {
		return KindInvitationUsed, InvitationUsed{ID: id, Session: session}
	})
	if err != nil {
		return access.Principal{}, err
	}
	p := principal(o.authority, o.owner.person, access.ByInvitation, session)
	p.Limited = true
	return p, nil
}

func (s *Service) useSecret(ctx context.Context, what, plain string, refused error, fact func(id, session string) (event.Kind, any)) (o opened, session string, err error) {
	if o, err = s.lookUp(ctx, what, plain, refused); err != nil {
		return o, "", err
	}
	if session, err = s.drawHex(32); err != nil {
		return o, "", err
	}
	kind, f := fact(o.id, session)
	return o, session, s.use(ctx, o.owner, what+"/"+o.id, kind, f, refused)
}

// Link makes a one-time sign-in link for a person, which replaces the one before; life zero is DefaultLinkLife. Only the
// console may: it holds the keys anyway. It returns ErrConsole, ErrLife, ErrPersonUnknown, and the log's errors.
func (s *Service) Link(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, life time.Duration) (secret string, expires time.Time, err error) {
	if by.Kind != access.Console {
		return "", time.Time{}, ErrConsole
	}
	life, err = lifeOf(life, DefaultLinkLife, MaxLinkLife)
	if err != nil {
		return "", time.Time{}, err
	}
	if _, err := s.person(ctx, authority, person); err != nil {
		return "", time.Time{}, err
	}
	plain, id, hash, err := s.newSecret()
	if err != nil {
		return "", time.Time{}, err
	}
	expires = s.cfg.Now().Add(life).Truncate(time.Second)
	_, err = s.appendFact(ctx, authority, person, by.Actor(), KindLinkMade, LinkMade{ID: id, Hash: hash, Expires: expires.Unix()})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a sign-in link: %w", err)
	}
	return plain, expires, nil
}

// UseLink uses a sign-in link up and returns who comes in by it. It returns ErrLink for everything that is wrong with the
// secret, and the log's errors.
func (s *Service) UseLink(ctx context.Context, secret string) (access.Principal, error) {
	o, session, err := s.useSecret(ctx, whatLink, secret, ErrLink, func(id, session string) (event.Kind, any) {
		return KindLinkUsed, LinkUsed{ID: id, Session: session}
	})
	if err != nil {
		return access.Principal{}, err
	}
	return principal(o.authority, o.owner.person, access.ByLink, session), nil
}
