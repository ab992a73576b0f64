// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
)

// providerLife is how long somebody may take at their identity provider.
const providerLife = 10 * time.Minute

var errProvider = fault.New(fault.Unauthenticated, "portal.provider", "the identity provider's answer does not belong to this browser",
	"begin anew at /signin; if it happens again, use your passkey or a recovery code")

// providers returns the identity providers that may be used here, as links. One whose policy cannot be read is left out.
func (p *Portal) providers(r *http.Request) []linkView {
	var links []linkView
	for _, a := range p.heldAuthorities(p.texts(r)) {
		if _, err := p.provider(r.Context(), a.ID); err == nil {
			links = append(links, linkView{Name: a.Name, URL: "/signin/oidc/" + string(a.ID)})
		}
	}
	return links
}

// provider returns an authority's identity provider. An authority that has none, has switched it off or is not here gets the
// same answer.
func (p *Portal) provider(ctx context.Context, authority event.AuthorityID) (Provider, error) {
	provider, there := p.cfg.SignIn.Providers[authority]
	held := slices.ContainsFunc(p.cfg.Federation.Authorities(), func(a Authority) bool {
		return a.ID == authority && slices.Contains(a.Sites, p.self().ID)
	})
	if !there || !held {
		return nil, identity.ErrProviderOff
	}
	policy, err := p.cfg.Access.Policy(ctx, authority)
	if err != nil {
		return nil, err
	}
	if policy.ProviderOff {
		return nil, identity.ErrProviderOff
	}
	return provider, nil
}

// toProvider sends the browser to the authority's identity provider. What binds the answer to this browser is in a cookie: it
// needs no signature of ours, because nobody else can plant it (its prefix) and its owner may know it (it is theirs).
func (p *Portal) toProvider(w http.ResponseWriter, r *http.Request) error {
	authority := event.AuthorityID(r.PathValue("authority"))
	provider, err := p.provider(r.Context(), authority)
	if err != nil {
		return err
	}
	var secrets [3]string // state, nonce, verifier (RFC 7636: 43 characters at least)
	for i := range secrets {
		var b [32]byte
		if _, err := io.ReadFull(p.cfg.SignIn.Rand, b[:]); err != nil {
			return fmt.Errorf("begin at an identity provider: %w", err)
		}
		secrets[i] = base64.RawURLEncoding.EncodeToString(b[:])
	}
	to, err := provider.AuthURL(r.Context(), secrets[0], secrets[1], secrets[2], p.callback(r, authority))
	if err != nil {
		return err
	}
	p.setCookie(w, r, cookieProvider, string(authority)+"."+strings.Join(secrets[:], "."), providerLife)
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (p *Portal) callback(r *http.Request, authority event.AuthorityID) string {
	return p.origin(r).URL + "/signin/oidc/" + string(authority) + "/callback"
}

// fromProvider takes the browser back. It is a GET because providers redirect; it changes nothing without the cookie.
func (p *Portal) fromProvider(w http.ResponseWriter, r *http.Request) error {
	authority := event.AuthorityID(r.PathValue("authority"))
	provider, err := p.provider(r.Context(), authority)
	if err != nil {
		return err
	}
	kept := strings.Split(p.readCookie(r, cookieProvider), ".")
	p.setCookie(w, r, cookieProvider, "", 0)
	q := r.URL.Query()
	if len(kept) != 4 || kept[0] != string(authority) || q.Get("code") == "" ||
		subtle.ConstantTimeCompare([]byte(kept[1]), []byte(q.Get("state"))) != 1 {
		return p.turnedAway(r, access.ByOIDC, errProvider)
	}
	claim, err := provider.Exchange(r.Context(), q.Get("code"), kept[2], kept[3], p.callback(r, authority))
	if err != nil {
		return p.turnedAway(r, access.ByOIDC, err)
	}
	who, err := p.cfg.SignIn.Identity.OIDCSignIn(r.Context(), authority, claim)
	if err != nil {
		return p.turnedAway(r, access.ByOIDC, err)
	}
	return p.letIn(w, r, who)
}
