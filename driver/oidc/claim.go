// SPDX-License-Identifier: EUPL-1.2

package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// claims are what a provider says of somebody, unread.
type claims map[string]json.RawMessage

// claim returns the configured claim from the ID token or, as many providers keep it there, from the userinfo endpoint.
func (p *Provider) claim(ctx context.Context, d *description, token *oauth2.Token, id *goidc.IDToken) (string, error) {
	var said claims
	if err := id.Claims(&said); err != nil {
		return "", ErrRefused.With(brief(err))
	}
	if _, found := said[p.cfg.Claim]; found {
		return said.read(p.cfg.Claim)
	}
	if address := d.provider.UserInfoEndpoint(); address == "" || !p.follows(address) {
		return "", ErrRefused.With(errors.New("the provider does not tell the claim"))
	}
	info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return "", ErrUnavailable.With(plain(err)) // the library's error repeats the answer, and that is about a person
	}
	// The answer could be about somebody else (OpenID Connect Core, 5.3.2).
	if info.Subject != id.Subject {
		return "", ErrRefused.With(errors.New("the userinfo is about somebody else"))
	}
	said = nil
	if err := info.Claims(&said); err != nil {
		return "", ErrRefused.With(brief(err))
	}
	return said.read(p.cfg.Claim)
}

// read returns a claim that is a text or a number. An e-mail address that the provider marks as unverified is refused: its
// users may enter any address. Providers that say nothing about it are believed.
func (c claims) read(name string) (string, error) {
	var text string
	raw := c[name]
	if err := json.Unmarshal(raw, &text); err != nil {
		var number json.Number
		if err := json.Unmarshal(raw, &number); err != nil {
			return "", ErrRefused.With(errors.New("the claim is neither text nor number"))
		}
		text = number.String()
	}
	if verified := strings.Trim(string(c["email_verified"]), `"`); name == "email" && verified != "" && verified != "true" {
		return "", ErrRefused.With(errors.New("the e-mail address is not verified"))
	}
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxClaim || strings.ContainsFunc(text, unprintable) {
		return "", ErrRefused.With(errors.New("the claim is empty, too long or not plain text"))
	}
	return text, nil
}

func unprintable(r rune) bool { return r < 0x20 || r == 0x7f || r == utf8.RuneError }
