// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"fmt"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// maxClaim bounds what an identity provider says of somebody, in bytes (RFC 5321, 4.5.3.1.3).
const maxClaim = 254

// OIDCSignIn lets in whom the authority's own identity provider has vouched for. The claim is an e-mail address, or the key
// under which the authority's source knows people; it has to lead to one person who has enrolled, so that nobody comes in
// by the provider who could not come in without it. It returns ErrProviderOff, and ErrOIDC for everything else.
func (s *Service) OIDCSignIn(ctx context.Context, authority event.AuthorityID, claim string) (access.Principal, error) {
	if !s.held(authority) {
		return access.Principal{}, ErrOIDC
	}
	if err := s.providerOn(ctx, authority); err != nil {
		return access.Principal{}, err
	}
	person, err := s.claimed(ctx, authority, strings.TrimSpace(claim))
	if err != nil {
		return access.Principal{}, err
	}
	st, err := s.state(ctx, authority, person)
	if err != nil {
		return access.Principal{}, fmt.Errorf("read an account: %w", err)
	}
	if v := st.void(); len(st.good(v)) == 0 && st.codesLeft(v) == 0 {
		return access.Principal{}, ErrOIDC
	}
	session, err := s.drawHex(32)
	if err != nil {
		return access.Principal{}, err
	}
	s.signedIn(ctx, authority, person, st, SignedIn{Way: access.ByOIDC})
	return principal(authority, person, access.ByOIDC, session), nil
}

// providerOn returns ErrProviderOff if the authority has switched its identity provider off.
func (s *Service) providerOn(ctx context.Context, authority event.AuthorityID) error {
	if s.cfg.ProviderOff == nil {
		return nil
	}
	off, err := s.cfg.ProviderOff(ctx, authority)
	if err != nil {
		return fmt.Errorf("read the policy: %w", err)
	}
	if off {
		return ErrProviderOff
	}
	return nil
}

// claimed finds the one person of the register whom a claim means.
func (s *Service) claimed(ctx context.Context, authority event.AuthorityID, claim string) (directory.PersonID, error) {
	if claim == "" || len(claim) > maxClaim {
		return "", ErrOIDC
	}
	if !strings.Contains(claim, "@") {
		return s.claimedKey(ctx, authority, claim)
	}
	people, _, err := s.cfg.Directory.People(ctx, authority, directory.Search{Text: claim, Limit: directory.MaxLimit})
	if err != nil {
		return "", fmt.Errorf("find whom a claim means: %w", err)
	}
	var found directory.PersonID
	for _, p := range people {
		if p.Readable != directory.Readable || !strings.EqualFold(p.Address(directory.Email), claim) {
			continue
		}
		if found != "" {
			return "", ErrOIDC.Because("two people have this address")
		}
		found = p.ID
	}
	if found == "" {
		return "", ErrOIDC
	}
	return found, nil
}

func (s *Service) claimedKey(ctx context.Context, authority event.AuthorityID, key string) (directory.PersonID, error) {
	if s.cfg.ByKey == nil {
		return "", ErrOIDC
	}
	id, err := s.cfg.ByKey(ctx, authority, key)
	if err != nil {
		return "", ErrOIDC.With(err)
	}
	if _, err := s.person(ctx, authority, id); err != nil {
		return "", ErrOIDC.With(err)
	}
	return id, nil
}
