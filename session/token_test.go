// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
)

func TestATokenThatWasTouchedIsNone(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	token, p := a.enter(person())
	payload, signature, _ := strings.Cut(token, ".")
	text, err := tokenEncoding.DecodeString(payload)
	ok(t, err)
	resigned := func(change func(string) string) string {
		b := []byte(change(string(text)))
		return tokenEncoding.EncodeToString(b) + "." + tokenEncoding.EncodeToString(a.id.Sign(purpose, b))
	}
	for name, bad := range map[string]string{
		"cut":             token[:len(token)-1],
		"longer":          token + "A",
		"no signature":    payload + ".",
		"no payload":      "." + signature,
		"other purpose":   payload + "." + tokenEncoding.EncodeToString(a.id.Sign("invitation", text)),
		"other signer":    payload + "." + tokenEncoding.EncodeToString(b.id.Sign(purpose, text)),
		"other person":    tokenEncoding.EncodeToString([]byte(strings.Replace(string(text), p.ID, "12c0ffee12c0ffef", 1))) + "." + signature,
		"padding":         payload + "=." + signature,
		"line break":      payload + "\n." + signature,
		"too long":        strings.Repeat("A", MaxTokenBytes+1),
		"version":         resigned(func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) }),
		"unknown field":   resigned(func(s string) string { return strings.Replace(s, `"v":1`, `"v":1,"new":1`, 1) }),
		"unknown limit":   resigned(func(s string) string { return strings.Replace(s, `"way"`, `"only":"x","way"`, 1) }),
		"trailing":        resigned(func(s string) string { return s + "{}" }),
		"a program":       resigned(func(s string) string { return strings.Replace(s, `"person"`, `"program"`, 1) }),
		"a console":       resigned(func(s string) string { return strings.Replace(s, `"person"`, `"console"`, 1) }),
		"no session":      resigned(func(s string) string { return strings.Replace(s, p.Session, "", 1) }),
		"upper case":      resigned(func(s string) string { return strings.Replace(s, p.Session, strings.ToUpper(p.Session), 1) }),
		"expires at once": resigned(func(s string) string { return strings.Replace(s, `"exp":1`, `"exp":-1`, 1) }),
	} {
		if _, _, err := b.Verify(t.Context(), bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.wants("", ErrNone)
	b.wants(token, nil)
}

func FuzzParse(f *testing.F) {
	a := newWorld(f, 1).sites[0]
	token, _ := a.enter(person())
	console, _ := a.enter(operator())
	for _, seed := range []string{token, console, "", ".", "e30.e30", token[:50], strings.Repeat("A", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNone) {
				t.Errorf("%v", err)
			}
			return
		}
		if text != token && text != console {
			t.Errorf("a forged token was taken: %q, %+v", text, c)
		}
	})
}

// FuzzClaims takes the signature out of the way: whatever a member site may sign, the claims that get through are usable.
func FuzzClaims(f *testing.F) {
	for _, c := range golden() {
		b, _ := json.Marshal(c)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil || c.wellFormed() != nil {
			return
		}
		l := limits{DefaultLife, DefaultMax}
		if c.inTime(morning, l) == nil && (c.Principal.Begun.After(morning.Add(MaxSkew)) || !morning.Before(c.Principal.Begun.Add(l.max))) {
			t.Errorf("a session begun at %v counts at %v", c.Principal.Begun, morning)
		}
		if c.Principal.Kind != access.Console && !SubjectOf(c.Principal.ID).Valid() {
			t.Errorf("%q makes no subject", c.Principal.ID)
		}
		_ = c.due(morning.Add(time.Hour), l)
	})
}
