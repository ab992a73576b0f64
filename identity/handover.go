// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// maxHandOver bounds a token, in bytes of JSON.
const maxHandOver = 1 << 10

// handOver is what leads from name to name: JSON, a dot, the site's signature, both in base64url.
type handOver struct {
	Nonce []byte           `json:"n"`
	Who   access.Principal `json:"p"`
	// Host is the name that it leads to.
	Host    string       `json:"h"`
	Expires int64        `json:"e"` // seconds since 1970
	Site    event.SiteID `json:"s"`
}

// HandOver returns a token with which the principal goes on under another of the authority's names, because a passkey is
// bound to one: five minutes, once at each site. It returns ErrNotYours, ErrName and Standing's errors.
func (s *Service) HandOver(ctx context.Context, p access.Principal, name string) (token string, err error) {
	if _, err := s.own(ctx, p); err != nil {
		return "", err
	}
	if !slices.Contains(s.cfg.Names(p.Authority), name) {
		return "", ErrName
	}
	nonce, err := s.draw(nonceLen)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(handOver{Nonce: nonce, Who: p, Host: name, Expires: s.cfg.Now().Add(HandOverLife).Unix(), Site: s.cfg.Self})
	if err != nil {
		return "", err
	}
	return encode(b) + "." + encode(s.cfg.Identity.Sign(purposeHandOver, b)), nil
}

// readHandOver takes a token apart and checks that the site it names has signed it. Whether to believe that site is
// another question.
func readHandOver(token string) (h handOver, ok bool) {
	body, sig, _ := strings.Cut(token, ".")
	b, okBody := decode(body, maxHandOver)
	signature, okSig := decode(sig, ed25519.SignatureSize)
	if !okBody || !okSig || json.Unmarshal(b, &h) != nil || len(h.Nonce) != nonceLen {
		return handOver{}, false
	}
	return h, seal.Verify(h.Site, purposeHandOver, b, signature)
}

// TakeHandOver returns who goes on under the name in o: with the same session, and Limited to enrolment, whatever they could
// do before: a token in an address must not be worth more than that. It returns ErrHandOver for everything that is wrong
// with the token, ErrName, and Standing's errors.
func (s *Service) TakeHandOver(ctx context.Context, token string, o Origin) (access.Principal, error) {
	h, ok := readHandOver(token)
	now := s.cfg.Now()
	expires := time.Unix(h.Expires, 0)
	if !ok || h.Host != o.Host || !now.Before(expires) || expires.Sub(now) > HandOverLife+event.MaxDrift ||
		h.Who.Kind != access.Person || !s.held(h.Who.Authority) ||
		!s.cfg.Federation.Member(h.Site) || !s.cfg.Federation.Allowed(h.Site, h.Who.Authority) {
		return access.Principal{}, ErrHandOver
	}
	if err := checkOrigin(o, s.cfg.Names(h.Who.Authority)); err != nil {
		return access.Principal{}, err
	}
	if _, err := s.own(ctx, h.Who); err != nil {
		return access.Principal{}, err
	}
	if err := s.once(ctx, h.Nonce, expires, ErrHandOver); err != nil {
		return access.Principal{}, err
	}
	h.Who.Limited = true
	return h.Who, nil
}
