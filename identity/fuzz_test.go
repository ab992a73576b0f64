// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"crypto/rand"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/identity/authenticator"
	"codeberg.org/holdfast/holdfast/seal"
)

func FuzzCode(f *testing.F) {
	f.Add("0123-4567-89AB-CDEF-GHJK-MNPQ")
	f.Add("oOiIlL uU")
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := normal(typed, codeLen)
		if !ok {
			return
		}
		if again, ok := normal(strings.ToLower(grouped(code)), codeLen); !ok || again != code {
			t.Errorf("%q is %q, and then %q", typed, code, again)
		}
		tagFits(seal.Key{1}, code)
	})
}

func FuzzStamp(f *testing.F) {
	id, err := seal.NewIdentity(rand.Reader)
	ok(f, err)
	good := signStamp(id, purposePasskey, kindSignIn, make([]byte, nonceLen), noon, nord)
	f.Add(good, nord)
	f.Add(good[1:], "")
	f.Fuzz(func(t *testing.T, b []byte, context string) {
		c, ok := readStamp(b)
		if !ok {
			return
		}
		if c.genuine(purposePasskey, kindSignIn, context, noon, ChallengeLife) && c.site == id.Site() && (string(b) != string(good) || context != nord) {
			t.Error("a forged challenge")
		}
	})
}

func FuzzHandOver(f *testing.F) {
	f.Add("e30.AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if h, ok := readHandOver(token); ok && len(h.Nonce) != nonceLen {
			t.Error("a token without a nonce")
		}
	})
}

func FuzzHandle(f *testing.F) {
	f.Add([]byte("lk-nordtal/0123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, p, ok := readHandle(b); ok && handleOf(a, p) != string(b) {
			t.Errorf("%q is read as %q", b, handleOf(a, p))
		}
	})
}

// Foreign answers neither panic nor pass.
func FuzzPasskeyAnswer(f *testing.F) {
	w := newWorld(f, 1)
	a := w.sites[0]
	phone := authenticator.New(rand.Reader)
	p := a.begin("Anna")
	options, err := a.BeginPasskey(f.Context(), p, atNord)
	ok(f, err)
	created, err := phone.Create(atNord.URL, options)
	ok(f, err)
	f.Add(created)
	options, err = a.BeginSignIn(f.Context(), atNord)
	ok(f, err)
	got, err := phone.Get(atNord.URL, options)
	ok(f, err)
	f.Add(got)
	f.Fuzz(func(t *testing.T, answer []byte) {
		if in, err := a.FinishSignIn(t.Context(), atNord, answer); err == nil || !in.IsZero() {
			t.Error("signed in although nothing is enrolled")
		}
		_, _ = parseCreation(answer)
	})
}
