// SPDX-License-Identifier: EUPL-1.2

package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// The bounds.
const (
	// answerTime bounds one question to the provider, callTime all of one call of ours.
	answerTime = 8 * time.Second
	callTime   = 20 * time.Second
	// rediscover is how long the provider's description is believed; if it cannot be fetched anew, the old one goes on.
	rediscover = 24 * time.Hour
	// pause is how long we do not ask again a provider that did not answer: the page of sign-in must not hang on it.
	pause     = 10 * time.Second
	maxSecret = 4 << 10
	maxClaim  = 254
	// maxExchanges bounds the exchanges under way: anybody can begin one, and each is a question to the provider.
	maxExchanges = 16
)

// algorithms are the signatures that are accepted: asymmetric ones only.
var algorithms = []string{goidc.RS256, goidc.RS384, goidc.RS512, goidc.PS256, goidc.PS384, goidc.PS512, goidc.ES256, goidc.ES384, goidc.ES512, goidc.EdDSA}

// The refusals.
var (
	// ErrUnavailable is returned when the provider cannot be asked.
	ErrUnavailable = fault.New(fault.Unavailable, "oidc.unavailable", "your authority's sign-in service does not answer",
		"sign in with your passkey or with a recovery code; neither needs that service")
	// ErrRefused is returned when the provider answers and does not vouch for anybody.
	ErrRefused = fault.New(fault.Unauthenticated, "oidc.refused", "your authority's sign-in service does not confirm who you are",
		"start again from the sign-in page, or use your passkey or a recovery code")
	// ErrSecret is returned when the client's secret cannot be read.
	ErrSecret = fault.New(fault.Unavailable, "oidc.secret", "this site cannot read its secret for your authority's sign-in service",
		"sign in with your passkey or with a recovery code, and tell the operator")
	errConfig = fault.New(fault.Invalid, "oidc.config", "the settings of the sign-in service are wrong", "compare with the provider's description and docs/operating.md")
	errCall   = fault.New(fault.Internal, "oidc.call", "state, nonce or verifier is too short", "this is a mistake in the program")
)

// Config describes an authority's identity provider.
type Config struct {
	Authority event.AuthorityID
	// Issuer is the provider's address as it stands in its tokens: https, or http to a loopback address.
	Issuer   string
	ClientID string
	// SecretFile is the file that holds the client's secret, "" for a public client. It is read for every exchange, so that a
	// changed secret takes effect at once.
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
type Provider struct {
	cfg       Config
	client    *http.Client
	exchanges chan struct{}

	// mu is held while the provider is asked for its description, so that one question serves all who wait.
	mu     sync.Mutex
	known  *description
	failed time.Time // when asking last failed
}

// description is what discovery has told.
type description struct {
	provider *goidc.Provider
	at       time.Time
	style    oauth2.AuthStyle
}

// New returns a Provider without asking anybody. It returns a fault of kind Invalid that names the wrong field.
func New(c Config) (*Provider, error) {
	if c.Claim == "" {
		c.Claim = "email"
	}
	if c.Scopes == nil {
		c.Scopes = []string{"profile", "email"}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case !c.Authority.Valid():
		return nil, errConfig.At(0, "authority")
	case !safe(c.Issuer):
		return nil, errConfig.Because("the issuer must be https, or http on this machine").At(0, "issuer")
	case c.ClientID == "" || len(c.ClientID) > 256:
		return nil, errConfig.At(0, "client")
	case len(c.Claim) > 64 || strings.ContainsAny(c.Claim, " \n\t"):
		return nil, errConfig.At(0, "claim")
	}
	return &Provider{cfg: c, client: bounded(c.HTTP, answerTime), exchanges: make(chan struct{}, maxExchanges)}, nil
}

// safe reports whether an address may be talked to: secrets travel in TLS, or not off this machine.
func safe(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(address) > 1000 {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (ip != nil && ip.IsLoopback() || u.Hostname() == "localhost")
}

// follows reports whether an address that the provider names may be talked to. Only a provider on this machine may name another
// service on this machine: one that has been seized must not make us knock at our own inner doors.
func (p *Provider) follows(address string) bool {
	return safe(address) && (strings.HasPrefix(address, "https:") || strings.HasPrefix(p.cfg.Issuer, "http:"))
}

// Authority returns whose provider it is.
func (p *Provider) Authority() event.AuthorityID { return p.cfg.Authority }

// AuthURL returns where the person's browser goes. State, nonce and verifier (43 to 128 characters, RFC 7636, 4.1) are random
// and kept with the browser's session; redirect is our address to come back to. It returns ErrUnavailable if the provider
// cannot be reached.
func (p *Provider) AuthURL(ctx context.Context, state, nonce, verifier, redirect string) (string, error) {
	if len(state) < 16 || len(nonce) < 16 || len(verifier) < 43 || len(verifier) > 128 {
		return "", errCall
	}
	d, err := p.describe(ctx)
	if err != nil {
		return "", err
	}
	return p.oauth(d, redirect, "").AuthCodeURL(state, goidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// Exchange turns the code that the browser brought back into the claim of the person. The caller has compared the state. It
// returns ErrUnavailable if the provider cannot be reached, does not answer in time or is asked too much at once, ErrSecret, and ErrRefused if the
// provider does not vouch for anybody.
func (p *Provider) Exchange(ctx context.Context, code, nonce, verifier, redirect string) (claim string, err error) {
	if len(nonce) < 16 || len(verifier) < 43 || len(verifier) > 128 {
		return "", errCall
	}
	if code == "" || len(code) > 4096 {
		return "", ErrRefused
	}
	select {
	case p.exchanges <- struct{}{}:
		defer func() { <-p.exchanges }()
	default:
		return "", ErrUnavailable.With(errors.New("too many exchanges are under way"))
	}
	ctx, cancel := context.WithTimeout(goidc.ClientContext(ctx, p.client), callTime)
	defer cancel()
	d, err := p.describe(ctx)
	if err != nil {
		return "", err
	}
	secret, err := p.secret()
	if err != nil {
		return "", err
	}
	token, err := p.oauth(d, redirect, secret).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return "", exchangeFault(err)
	}
	id, err := p.verify(ctx, d, token, nonce)
	if err != nil {
		return "", err
	}
	return p.claim(ctx, d, token, id)
}

// oauth returns the settings of one exchange.
func (p *Provider) oauth(d *description, redirect, secret string) *oauth2.Config {
	e := d.provider.Endpoint()
	e.AuthStyle = d.style
	if p.cfg.SecretFile == "" {
		e.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{ClientID: p.cfg.ClientID, ClientSecret: secret, Endpoint: e, RedirectURL: redirect,
		Scopes: append([]string{goidc.ScopeOpenID}, p.cfg.Scopes...)}
}

func (p *Provider) secret() (string, error) {
	if p.cfg.SecretFile == "" {
		return "", nil
	}
	f, err := os.Open(p.cfg.SecretFile)
	if err != nil {
		return "", ErrSecret.With(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", ErrSecret.With(err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" || len(b) > maxSecret {
		return "", ErrSecret.With(errors.New("the file is empty or too long"))
	}
	return secret, nil
}

// describe returns the provider's description, asking for it if need be. One question at a time; after one that failed
// nobody asks for a moment.
func (p *Provider) describe(ctx context.Context) (*description, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if p.known != nil && now.Sub(p.known.at) < rediscover {
		return p.known, nil
	}
	if now.Sub(p.failed) < pause {
		return p.old(ErrUnavailable)
	}
	d, err := p.discover(ctx)
	if err != nil {
		p.failed = p.cfg.Now()
		return p.old(ErrUnavailable.With(brief(err)))
	}
	p.known = d
	return d, nil
}

// old returns the description that is there, or the fault.
func (p *Provider) old(f *fault.Fault) (*description, error) {
	if p.known == nil {
		return nil, f
	}
	return p.known, nil
}

// discover asks for the description. It does not end with the one who asked, because others wait for the answer too.
func (p *Provider) discover(ctx context.Context) (*description, error) {
	ctx, cancel := context.WithTimeout(goidc.ClientContext(context.WithoutCancel(ctx), p.client), answerTime)
	defer cancel()
	provider, err := goidc.NewProvider(ctx, p.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		JWKS    string   `json:"jwks_uri"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, err
	}
	e := provider.Endpoint()
	for _, address := range []string{e.AuthURL, e.TokenURL, more.JWKS} {
		if !p.follows(address) {
			return nil, errors.New("the description names an address that is not https")
		}
	}
	d := &description{provider: provider, at: p.cfg.Now(), style: oauth2.AuthStyleInHeader}
	if len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") {
		d.style = oauth2.AuthStyleInParams
	}
	return d, nil
}

// verify checks the ID token (OpenID Connect Core, 3.1.3.7).
func (p *Provider) verify(ctx context.Context, d *description, token *oauth2.Token, nonce string) (*goidc.IDToken, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, ErrRefused.With(errors.New("the answer has no ID token"))
	}
	v := d.provider.Verifier(&goidc.Config{ClientID: p.cfg.ClientID, SupportedSigningAlgs: algorithms, Now: p.cfg.Now})
	id, err := v.Verify(ctx, raw)
	switch {
	case err != nil && strings.Contains(err.Error(), "fetching keys"):
		return nil, ErrUnavailable.With(brief(err))
	case err != nil:
		return nil, ErrRefused.With(brief(err))
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1:
		return nil, ErrRefused.With(errors.New("the nonce is another one"))
	}
	var party struct {
		Authorized string `json:"azp"`
	}
	if err := id.Claims(&party); err != nil || len(id.Audience) > 1 && party.Authorized != p.cfg.ClientID {
		return nil, ErrRefused.With(errors.New("the token was made for somebody else too"))
	}
	if id.AccessTokenHash != "" && id.VerifyAccessToken(token.AccessToken) != nil {
		return nil, ErrRefused.With(errors.New("access token and ID token do not belong together"))
	}
	return id, nil
}
