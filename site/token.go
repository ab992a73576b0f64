// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// maxTokenBytes bounds a token's text. A shorter signature is one that was cut off in copying.
const (
	maxTokenBytes  = 4 << 10
	signatureBytes = 64
)

// The refusals of an invitation. Each has a code of its own, because each has a way out of its own.
var (
	ErrTokenMalformed = fault.New(fault.Invalid, "join.malformed", "this is not an invitation, or a part of it is missing",
		"copy the whole text that 'holdfast invite' printed, from its first character to its last")
	ErrTokenSignature = fault.New(fault.Forbidden, "join.signature", "the invitation was changed after it was written, or it is forged",
		"ask the inviting operator for a new one, by a way that you trust")
	ErrTokenExpired = fault.New(fault.Forbidden, "join.expired", "the invitation has expired",
		"ask the inviting operator for a new one ('holdfast invite')")
	ErrTokenUsed = fault.New(fault.Conflict, "join.used", "another site has already joined with this invitation",
		"if that was not you: tell the inviting operator at once, so that the other site is not admitted; then ask for a new one")
	ErrClock = fault.New(fault.Conflict, "join.clock", "the clocks of the two sites differ by more than five minutes",
		"compare both with a clock you trust, set the one that is wrong, and join again with the same invitation")
	ErrElsewhere = fault.New(fault.Invalid, "join.elsewhere", "this invitation was not given out by this site",
		"join at the site that the invitation names")
	ErrConsent = fault.New(fault.Forbidden, "join.consent", "the joining site did not prove that its key is its own",
		"join again from the machine that holds the key file; if it stays, make a new site key")
	ErrRemovedSite = fault.New(fault.Forbidden, "join.removed", "this site was removed from the federation; its key is not taken back",
		"make a new site with a new key ('holdfast join' into an empty data directory)")
)

// Token is an invitation, as the inviting site signed it.
type Token struct {
	// Federation is the founder's id.
	Federation event.SiteID `json:"federation"`
	Inviter    event.SiteID `json:"inviter"`
	// Addresses are where the inviter is reached.
	Addresses  []string `json:"addresses"`
	Invitation string   `json:"invitation"`
	Secret     []byte   `json:"secret"`
	// Name and Operator are how the joining site will be known.
	Name     string `json:"name"`
	Operator string `json:"operator"`
	// Expires is the moment from which on it is refused, in seconds since 1970, by the inviter's clock.
	Expires int64 `json:"expires"`
}

// ExpiresAt returns the moment from which on the invitation is refused.
func (t Token) ExpiresAt() time.Time { return time.Unix(t.Expires, 0).UTC() }

var tokenEncoding = base64.RawURLEncoding

// Sign returns the token's text, base64url(JSON) "." base64url(signature), signed by the inviter.
func (t Token) Sign(inviter *seal.Identity) (string, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	text := tokenEncoding.EncodeToString(b) + "." + tokenEncoding.EncodeToString(inviter.Sign("invitation", b))
	if len(text) > maxTokenBytes {
		return "", fault.New(fault.TooLarge, "join.too_long", "the invitation would be too long", "give the site fewer or shorter addresses")
	}
	return text, nil
}

// ParseToken reads a token's text, whatever spaces and line breaks copying has put into it, and checks the inviter's
// signature. It returns ErrTokenMalformed or ErrTokenSignature. Whether it has expired only the inviter can tell.
func ParseToken(text string) (Token, error) {
	if len(text) > 2*maxTokenBytes {
		return Token{}, ErrTokenMalformed
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	payload, signature, ok := strings.Cut(text, ".")
	if !ok || len(text) > maxTokenBytes {
		return Token{}, ErrTokenMalformed
	}
	b, err := tokenEncoding.DecodeString(payload)
	sig, err2 := tokenEncoding.DecodeString(signature)
	var t Token
	if err != nil || err2 != nil || len(sig) != signatureBytes || json.Unmarshal(b, &t) != nil || !t.wellFormed() {
		return Token{}, ErrTokenMalformed
	}
	if !seal.Verify(t.Inviter, "invitation", b, sig) {
		return Token{}, ErrTokenSignature
	}
	return t, nil
}

func (t Token) wellFormed() bool {
	d := Description{Name: t.Name, Kind: Provider, Addresses: t.Addresses}
	return isSite(t.Inviter) && isSite(t.Federation) && len(t.Invitation) == 16 && len(t.Secret) == 32 &&
		plain(t.Operator) && d.check() == nil && t.Expires > 0
}
