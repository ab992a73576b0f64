// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// MaxTokenBytes bounds a token's text, so that it fits into a cookie beside others.
const MaxTokenBytes = 1500

// purpose is what sites sign tokens under.
const purpose = "session"

// tokenVersion is the form of the payload. A site refuses forms and fields that it does not know: a new field may restrict.
const tokenVersion = 1

// signIn is the way out of every refusal of a token.
const signIn = "sign in again"

// The refusals of a token; all are of kind Unauthenticated.
var (
	ErrNone      = fault.New(fault.Unauthenticated, "session.none", "nobody is signed in", "sign in")
	ErrMalformed = fault.New(fault.Unauthenticated, "session.malformed", "this is no sign-in that we have given out", signIn)
	ErrExpired   = fault.New(fault.Unauthenticated, "session.expired", "the sign-in has expired", signIn)
	ErrEnded     = fault.New(fault.Unauthenticated, "session.ended", "the sign-in was ended", signIn)
	ErrElsewhere = fault.New(fault.Unauthenticated, "session.elsewhere", "the sign-in was given out by a site that does not count here", signIn)
	ErrNotHere   = fault.New(fault.Unauthenticated, "session.not_here", "this site does not serve your authority",
		"go to one of your authority's own sites")
	ErrClock = fault.New(fault.Unauthenticated, "session.clock", "the sign-in comes from the future: the clocks of two sites differ by more than five minutes",
		"sign in again; tell the operator that a clock is wrong")
)

// claims is the payload of a token.
type claims struct {
	Version   int              `json:"v"`
	Principal access.Principal `json:"p"`
	// Issuer is the site that signed this token: the one where the session began, or one that renewed it.
	Issuer event.SiteID `json:"by"`
	// Issued and Expires are in seconds since 1970, by the issuer's clock.
	Issued  int64 `json:"iat"`
	Expires int64 `json:"exp"`
}

var tokenEncoding = base64.RawURLEncoding.Strict()

// sign returns the token's text. It returns an Invalid fault if it would be too long for a cookie.
func (c claims) sign(id *seal.Identity) (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write a session: %w", err)
	}
	text := tokenEncoding.EncodeToString(b) + "." + tokenEncoding.EncodeToString(id.Sign(purpose, b))
	if len(text) > MaxTokenBytes {
		return "", errPrincipal.Because("it is too long for a token")
	}
	return text, nil
}

// parse reads a token. It returns ErrNone for none and ErrMalformed for what is none or not signed by the site it names. It
// says nothing about whether that site or the session counts.
func parse(token string) (claims, error) {
	switch {
	case token == "":
		return claims{}, ErrNone
	case len(token) > MaxTokenBytes || strings.ContainsAny(token, "\r\n"): // the decoder passes over line breaks
		return claims{}, ErrMalformed
	}
	payload, signature, _ := strings.Cut(token, ".")
	b, err := tokenEncoding.DecodeString(payload)
	sig, err2 := tokenEncoding.DecodeString(signature)
	if err != nil || err2 != nil {
		return claims{}, ErrMalformed
	}
	c, err := decode(b)
	if err != nil || c.wellFormed() != nil || !seal.Verify(c.Issuer, purpose, b, sig) {
		return claims{}, ErrMalformed
	}
	return c, nil
}

func decode(b []byte) (claims, error) {
	var c claims
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, errors.New("something follows the payload")
	}
	return c, nil
}

// wellFormed returns an error for claims that no site of ours would have made. The issuer's id is checked with the signature.
func (c claims) wellFormed() error {
	if c.Version != tokenVersion || c.Issued <= 0 || c.Expires <= c.Issued || c.Expires > lastSecond {
		return errors.New("version or times make no sense")
	}
	return check(c.Principal)
}

// lastSecond is the end of the year 9999: what JSON can say of a time.
const lastSecond = 253402300799

var errPrincipal = fault.New(fault.Invalid, "session.principal", "no session can be made of this principal", "use a way in that leads to a session")

var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// check returns errPrincipal for somebody who cannot have a session.
func check(p access.Principal) error {
	console := p.Kind == access.Console
	switch {
	case !console && p.Kind != access.Person && p.Kind != access.Visitor:
		return errPrincipal.Because("it is neither a person nor a guest nor the console")
	case console && (p.Authority != "" || p.ID != ""):
		return errPrincipal.Because("the console belongs to no authority")
	case !console && (!p.Authority.Valid() || p.Authority == event.Federation || !idPattern.MatchString(p.ID)):
		return errPrincipal.Because("it has no authority or no id")
	case !validID(p.Session) || p.Way == "" || p.Site == "" || p.Begun.Unix() <= 0 || p.Begun.Unix() > lastSecond:
		return errPrincipal.Because("its session is incomplete")
	}
	return nil
}

// validID reports whether s can be a session's id.
func validID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 16 && strings.ToLower(s) == s
}

// NewID returns a fresh session id of 32 hexadecimal characters. It returns r's error.
func NewID(r io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", fmt.Errorf("draw a session id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// limits are how long a verifying site lets tokens and sessions last.
type limits struct{ life, max time.Duration }

// ends returns when the token ends: when its issuer said, but not later than this site would have said itself.
func (c claims) ends(l limits) time.Time {
	end := time.Unix(c.Expires, 0)
	for _, bound := range []time.Time{time.Unix(c.Issued, 0).Add(l.life), c.Principal.Begun.Add(l.max)} {
		if bound.Before(end) {
			end = bound
		}
	}
	return end
}

// inTime returns ErrExpired from the token's end on, and ErrClock for one that was issued or begun in the future.
func (c claims) inTime(now time.Time, l limits) error {
	soon := now.Add(MaxSkew)
	switch {
	case time.Unix(c.Issued, 0).After(soon) || c.Principal.Begun.After(soon):
		return ErrClock
	case !now.Before(c.ends(l)):
		return ErrExpired
	}
	return nil
}

// due reports whether half of the token's life is over and a renewed one would last longer.
func (c claims) due(now time.Time, l limits) bool {
	end := c.ends(l)
	return end.Sub(now) <= l.life/2 && end.Before(c.Principal.Begun.Add(l.max))
}
