// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// maxUser bounds a user's name (RFC 5321, 4.5.3.1.3, less the brackets).
const maxUser = 254

// Authenticate returns who a bearer token of kind API is, or ErrToken.
func (s *Service) Authenticate(ctx context.Context, token string) (access.Principal, error) {
	r, err := s.holder(ctx, API, token)
	if err != nil {
		return access.Principal{}, err
	}
	if r.state.Owner != "" {
		if _, err := s.owner(ctx, r); err != nil {
			return access.Principal{}, err
		}
	}
	return s.admit(ctx, r), nil
}

// AuthenticateAs returns who logs in to a protocol: user is the owner's e-mail address or id, password an app password of
// that kind. It returns ErrToken for everything else. The password is looked at first, so that nobody learns whether there
// is a user of that name.
func (s *Service) AuthenticateAs(ctx context.Context, kind Kind, user, password string) (access.Principal, error) {
	if !kind.AppPassword() {
		return access.Principal{}, ErrToken
	}
	r, err := s.holder(ctx, kind, password)
	if err != nil {
		return access.Principal{}, err
	}
	p, err := s.owner(ctx, r)
	if err != nil {
		return access.Principal{}, err
	}
	if !isUser(user, p) {
		return access.Principal{}, ErrToken
	}
	return s.admit(ctx, r), nil
}

// holder returns the living program of the kind whose token it is, or ErrToken. Whatever is wrong, one row is looked for and
// one hash is made.
func (s *Service) holder(ctx context.Context, kind Kind, token string) (row, error) {
	id, secret, ok := parse(token)
	if !ok {
		return row{}, ErrToken
	}
	var rows []row
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		rows, err = named(ctx, q, id)
		return err
	})
	if err != nil {
		return row{}, deed(err, "check a token")
	}
	if len(rows) == 0 {
		hashOf("", id, secret)
	}
	held := s.cfg.Federation.Held()
	for _, r := range rows {
		right := same(r.state.Hash, hashOf(r.authority, id, secret))
		if right && r.state.Kind == kind && r.state.works(s.cfg.Now()) && slices.Contains(held, r.authority) {
			return r, nil
		}
	}
	return row{}, ErrToken
}

// owner returns the owner of a program, or ErrToken if the register has them no more.
func (s *Service) owner(ctx context.Context, r row) (directory.Person, error) {
	p, err := s.cfg.Directory.Contact(ctx, r.authority, r.state.Owner)
	switch {
	case errors.Is(err, directory.ErrPersonUnknown), err == nil && p.Readable == directory.Erased:
		return directory.Person{}, ErrToken
	case err != nil:
		return directory.Person{}, deed(err, "look up the owner of a program")
	}
	return p, nil
}

// isUser reports whether the name is one of the person's: their id, or their e-mail address in whatever case.
func isUser(user string, p directory.Person) bool {
	user = strings.ToLower(strings.TrimSpace(user))
	if user == "" || len(user) > maxUser {
		return false
	}
	got := sha256.Sum256([]byte(user))
	id := sha256.Sum256([]byte(p.ID))
	mail := sha256.Sum256([]byte(strings.ToLower(p.Address(directory.Email))))
	byID, byMail := same(got[:], id[:]), same(got[:], mail[:])
	return byID || byMail
}

// admit returns the program's principal and notes the use.
func (s *Service) admit(ctx context.Context, r row) access.Principal {
	s.note(ctx, r)
	return access.Principal{Kind: access.Program, Authority: r.authority, ID: string(r.id), Way: access.ByToken, Begun: s.cfg.Now(),
		Site: s.cfg.Self, Scopes: r.state.Scopes, Owner: string(r.state.Owner), Maker: r.state.MadeBy}
}

// Standing returns nil if p is no program, or one that may go on, and otherwise ErrToken: what a connection that lasts asks
// before each thing it does.
func (s *Service) Standing(ctx context.Context, p access.Principal) error {
	if p.Kind != access.Program {
		return nil
	}
	if !idPattern.MatchString(p.ID) {
		return ErrToken
	}
	var st state
	found, err := s.cfg.Model.State(ctx, p.Authority, ID(p.ID).Subject(), &st)
	if err != nil {
		return deed(err, "look at a program's standing")
	}
	if !found || !st.works(s.cfg.Now()) {
		return ErrToken
	}
	return nil
}

// note remembers the use, and tells of it if nobody has for a day. Letting in does not fail for that: a full disk must not
// lock programs out that only read.
func (s *Service) note(ctx context.Context, r row) {
	now := s.cfg.Now()
	if !s.uses.note(r.authority, r.id, now, r.state.lastUse().At) {
		return
	}
	d := event.Draft{Subject: r.id.Subject(), Kind: KindUsed, Actor: "program/" + string(r.id), Data: Used{}}
	after, err := s.cfg.Model.LastStamp(ctx, r.authority, d.Subject)
	if err == nil {
		d.After = after
		_, err = s.cfg.Log.Append(ctx, r.authority, event.Register, d)
	}
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "a program's use could not be recorded", "program", r.id, "error", err)
	}
}

// maxUses bounds what is remembered of uses; beyond it the memory starts anew, and facts still tell the day.
const maxUses = 10_000

// uses remembers when programs came in at this site, and when it has told of it.
type uses struct {
	mu   sync.Mutex
	seen map[usedKey]seen
}

type usedKey struct {
	authority event.AuthorityID
	id        ID
}

type seen struct{ last, told time.Time }

func newUses() *uses { return &uses{seen: make(map[usedKey]seen)} }

func (u *uses) last(authority event.AuthorityID, id ID) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen[usedKey{authority, id}].last
}

// note remembers a use and reports whether to tell of it now. known is the youngest use that facts tell of. Of many uses at
// once one tells.
func (u *uses) note(authority event.AuthorityID, id ID, now, known time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.seen) >= maxUses {
		clear(u.seen)
	}
	k := usedKey{authority, id}
	s := u.seen[k]
	s.last = now
	tell := now.Sub(known) >= usedEvery && now.Sub(s.told) >= usedEvery
	if tell {
		s.told = now
	}
	u.seen[k] = s
	return tell
}
