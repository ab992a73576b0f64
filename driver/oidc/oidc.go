// SPDX-License-Identifier: EUPL-1.2

package oidc

import (
	"context"
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Config describes an authority's identity provider.
type Config struct {
	Authority event.AuthorityID
	// Issuer is the provider's address as it stands in its tokens: https, or http to a loopback address.
	Issuer   string
	ClientID string
	// SecretFile is the file that holds the client's secret, "" for a public client. It is read for every exchange.
	SecretFile string
	// Claim is the claim that says who it is: "email" if empty. An e-mail address must not be marked unverified.
	Claim string
	// Scopes are asked for besides "openid"; "profile" and "email" if nil.
	Scopes []string
	// HTTP may be nil. Its transport is used; redirects, sizes and times are bounded by this package.
	HTTP *http.Client
	// Now is the clock by which tokens expire; nil means time.Now.
	Now func() time.Time
}

// Provider is one authority's identity provider. It is safe for concurrent use.
type Provider struct{ cfg Config }

var errNotBuilt = fault.New(fault.Internal, "oidc.not_built", "not built yet", "")

// New returns a Provider without asking anybody. It returns a fault of kind Invalid that names the wrong field.
func New(c Config) (*Provider, error) { return &Provider{cfg: c}, nil }

// Authority returns whose provider it is.
func (p *Provider) Authority() event.AuthorityID { return p.cfg.Authority }

// AuthURL returns where the person's browser goes. State, nonce and verifier are random and kept with the browser's
// session; redirect is our address to come back to. It returns ErrUnavailable if the provider cannot be reached.
func (p *Provider) AuthURL(ctx context.Context, state, nonce, verifier, redirect string) (string, error) {
	return "", errNotBuilt
}

// Exchange turns the code that the browser brought back into the claim of the person. It returns ErrUnavailable if the
// provider cannot be reached or does not answer in time, and ErrRefused if it does not vouch for anybody.
func (p *Provider) Exchange(ctx context.Context, code, nonce, verifier, redirect string) (claim string, err error) {
	return "", errNotBuilt
}
