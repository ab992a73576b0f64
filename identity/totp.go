// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// totpBytes is the length that RFC 4226, 4 recommends for HMAC-SHA-1; every app knows SHA-1 and 30 seconds, and not every
// app knows more.
const (
	totpBytes  = 20
	totpPeriod = 30
	totpDigits = 6
)

func totpContext(person directory.PersonID) string {
	return "identity/account/" + string(person) + "/totp"
}

// BeginTOTP draws a secret for an app that shows one-time passwords, and the URI for its QR code. Nothing is stored until
// ConfirmTOTP. It returns ErrNotYours and Standing's errors.
func (s *Service) BeginTOTP(ctx context.Context, p access.Principal) (secret, uri string, err error) {
	if _, err := s.changing(ctx, p); err != nil {
		return "", "", err
	}
	b, err := s.draw(totpBytes)
	if err != nil {
		return "", "", err
	}
	secret = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/Holdfast:" + string(p.Authority),
		RawQuery: url.Values{"secret": {secret}, "issuer": {"Holdfast"}}.Encode()}
	return secret, u.String(), nil
}

// ConfirmTOTP sets the secret once the person has typed what their app shows. From then on their recovery codes need the
// digits, too. It returns ErrTOTPSecret, ErrNotYours, Standing's errors, and those of keyring and log.
func (s *Service) ConfirmTOTP(ctx context.Context, p access.Principal, secret, passcode string) (eventlog.Receipt, error) {
	person, err := s.changing(ctx, p)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil || len(b) != totpBytes {
		return eventlog.Receipt{}, ErrTOTPSecret
	}
	if _, ok := totpStep(secret, passcode, s.cfg.Now()); !ok {
		return eventlog.Receipt{}, ErrTOTPSecret
	}
	st, err := s.state(ctx, p.Authority, person)
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("read an account: %w", err)
	}
	key, err := s.accountKey(ctx, p.Authority, st)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	sealed, err := key.Secret.Seal(s.random, totpContext(person), []byte(secret))
	if err != nil {
		return eventlog.Receipt{}, err
	}
	return s.appendFact(ctx, p.Authority, person, p.Actor(), KindTOTPSet, TOTPSet{Key: key.ID, Sealed: sealed, Session: p.Session}, key.ID)
}

// RemoveTOTP makes codes enough again: for one's own account, or for somebody else's if the caller has checked that by may.
// It returns ErrNotYours for a principal that may only enrol and somebody else's account, ErrPersonUnknown, and the log's errors.
func (s *Service) RemoveTOTP(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID) (eventlog.Receipt, error) {
	if err := s.mayChange(ctx, by, authority, person); err != nil {
		return eventlog.Receipt{}, err
	}
	return s.appendFact(ctx, authority, person, by.Actor(), KindTOTPRemoved, TOTPRemoved{})
}

// totpStep returns the 30 seconds for which the passcode is right: the present ones, those before or those after.
func totpStep(secret, passcode string, now time.Time) (step int64, ok bool) {
	if len(passcode) > 2*totpDigits {
		return 0, false
	}
	passcode, _ = digitsOf(passcode)
	for skew := int64(-1); skew <= 1; skew++ {
		n := now.Unix()/totpPeriod + skew
		want, err := totp.GenerateCodeCustom(secret, time.Unix(n*totpPeriod, 0), totp.ValidateOpts{
			Period: totpPeriod, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
		})
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(passcode)) == 1 {
			step, ok = n, true
		}
	}
	return step, ok
}

// digitsOf drops the blanks that apps show between digits.
func digitsOf(typed string) (string, bool) {
	out := make([]byte, 0, totpDigits)
	for _, c := range []byte(typed) {
		if c >= '0' && c <= '9' {
			out = append(out, c)
		} else if c != ' ' {
			return "", false
		}
	}
	return string(out), len(out) == totpDigits
}

// checkDigits judges the digits that go with a right code. Each is taken once at a site. The fifth wrong ones use the code up.
func (s *Service) checkDigits(ctx context.Context, c candidate, app totpState, passcode string) error {
	if passcode == "" {
		return ErrTOTP
	}
	o := c.owner
	account := string(o.authority) + "/" + string(o.person)
	if !s.digits.Allow(account, s.cfg.Now()) {
		return ErrThrottled
	}
	secret, err := s.totpSecret(ctx, o.authority, o.person, app)
	if err != nil {
		return ErrTOTP.With(err)
	}
	step, ok := totpStep(secret, passcode, s.cfg.Now())
	code := account + "/" + codeName(c.id, c.hash.ID)
	if !ok {
		if !s.wrong.Allow(code, s.cfg.Now()) {
			s.burn(ctx, c)
		}
		return ErrTOTP
	}
	if err := s.once(ctx, []byte("totp/"+account+"/"+strconv.FormatInt(step, 10)), s.cfg.Now().Add(time.Hour), ErrTOTP); err != nil {
		return err
	}
	s.digits.Forget(account)
	s.wrong.Forget(code)
	return nil
}

func (s *Service) totpSecret(ctx context.Context, authority event.AuthorityID, person directory.PersonID, app totpState) (string, error) {
	key, err := s.cfg.Keys.Key(ctx, authority, app.Key)
	if err != nil {
		return "", err
	}
	plain, err := key.Open(totpContext(person), app.Sealed)
	return string(plain), err
}
