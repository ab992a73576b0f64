// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/secretcode"
)

// Enter lets in whoever has a code, once. The principal's session is new; its incident is the guest's. Spaces, hyphens and
// case do not matter, and O, I and L are read as 0 and 1. It returns ErrCode, ErrBusy, or the errors of keyring and log.
func (s *Service) Enter(ctx context.Context, typed string) (access.Principal, error) {
	code, ok := readCode(typed)
	if !ok {
		return access.Principal{}, ErrCode
	}
	for _, authority := range s.cfg.Federation.Held() {
		key, err := s.cfg.Keys.Named(ctx, authority, keyring.NameID)
		if notHere(err) {
			continue
		}
		if err != nil {
			return access.Principal{}, deed(err, "check a code")
		}
		if !tagged(key.Secret, authority, code) {
			continue
		}
		if !s.tries.Allow(string(authority)+"/"+markOf(key.Secret, authority, code[:drawnChars]), s.cfg.Now()) {
			return access.Principal{}, ErrBusy
		}
		id, codeID, err := s.holder(ctx, key.Secret, authority, code)
		if err != nil {
			return access.Principal{}, deed(err, "check a code")
		}
		if id != "" {
			return s.admit(ctx, authority, id, codeID)
		}
	}
	return access.Principal{}, ErrCode
}

// holder returns whose code it is, "" for nobody's. It costs at least one argon2, so that the time it takes does not tell
// whether somebody has a code like this one.
func (s *Service) holder(ctx context.Context, key seal.Key, authority event.AuthorityID, code string) (ID, event.ID, error) {
	var rows []row
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		rows, err = byMark(ctx, q, authority, markOf(key, authority, code[:drawnChars]), s.cfg.Now())
		return err
	})
	if err != nil {
		return "", "", err
	}
	if len(rows) == 0 {
		rows = []row{{state: state{Code: Code{Salt: make([]byte, secretcode.SaltLen)}}}}
	}
	for _, r := range rows {
		matches, err := s.matches(ctx, r.state.Code, key, authority, code)
		if err != nil {
			return "", "", err
		}
		if matches {
			return r.id, r.state.Code.ID, nil
		}
	}
	return "", "", nil
}

// matches waits for its turn to compute an argon2.
func (s *Service) matches(ctx context.Context, c Code, key seal.Key, authority event.AuthorityID, code string) (bool, error) {
	err := s.hashing.Enter(ctx)
	if errors.Is(err, secretcode.ErrBusy) {
		return false, ErrBusy
	}
	if err != nil {
		return false, err
	}
	defer s.hashing.Leave()
	return c.matches(key, authority, code), nil
}

// admit records that the code was used. It looks at the guest once more, because somebody else may have been faster.
func (s *Service) admit(ctx context.Context, authority event.AuthorityID, id ID, code event.ID) (access.Principal, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	var st state
	found, err := s.cfg.Model.State(ctx, authority, id.Subject(), &st)
	if err != nil {
		return access.Principal{}, deed(err, "let a guest in")
	}
	if !found || st.Code.ID != code || !st.admits(s.cfg.Now()) {
		return access.Principal{}, ErrCode
	}
	session, err := newSession(s.cfg.Rand, code)
	if err != nil {
		return access.Principal{}, err
	}
	p := access.Principal{Kind: access.Visitor, Authority: authority, ID: string(id), Session: session, Way: access.ByGuestCode, Incident: st.Incident}
	_, err = s.append(ctx, authority, event.Draft{Subject: id.Subject(), Kind: KindEntered, Actor: p.Actor(), Data: Entered{Code: code, Session: session}})
	if err != nil {
		return access.Principal{}, deed(err, "let a guest in")
	}
	return p, nil
}

// newSession returns the code's id and 16 drawn characters.
func newSession(r io.Reader, code event.ID) (string, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", fmt.Errorf("draw a session: %w", err)
	}
	return string(code) + hex.EncodeToString(b[:]), nil
}

// Standing returns nil if p is no guest, or one who may go on, and otherwise ErrEnded or ErrTwice. It is asked for every
// request and reads one row.
func (s *Service) Standing(ctx context.Context, p access.Principal) error {
	if p.Kind != access.Visitor {
		return nil
	}
	if !idPattern.MatchString(p.ID) {
		return ErrEnded
	}
	var st state
	found, err := s.cfg.Model.State(ctx, p.Authority, ID(p.ID).Subject(), &st)
	switch {
	case err != nil:
		return deed(err, "look at a guest's standing")
	case !found || st.Incident != p.Incident:
		return ErrEnded
	}
	return st.standing(p.Session, s.cfg.Now())
}
