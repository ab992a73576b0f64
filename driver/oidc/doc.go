// SPDX-License-Identifier: EUPL-1.2

// Package oidc lets people of an authority sign in with the authority's own identity provider on normal days, by OpenID
// Connect (authorization code flow with PKCE, RFC 7636, and nonce).
//
// Nothing depends on it: discovery is lazy, so a site starts without the provider; every answer is bounded in size and
// time; and an administrator can switch the provider off. What comes out of it is one claim, an e-mail address or an
// employee number, that must belong to somebody who is enrolled. It brings no rights.
//
// Invariants: no token, code, secret or claim is logged or part of an error. Redirects are not followed. Issuer, audience,
// signature (RS256, PS256, ES256 and their longer kin, EdDSA), expiry and nonce are checked; "none" and HMACs are refused.
package oidc
