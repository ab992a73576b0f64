// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/secretcode"
)

func FuzzCode(f *testing.F) {
	f.Add("0123-4567-89AB-CDEF-GHJK-MNPQ")
	f.Add("oOiIlL uU")
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := secretcode.Normal(typed, codeLen)
		if !ok {
			return
		}
		if again, ok := secretcode.Normal(strings.ToLower(secretcode.Grouped(code)), codeLen); !ok || again != code {
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

// nobody is a directory and a federation of one site, without people.
type nobody struct{ self event.SiteID }

func (nobody) Held() []event.AuthorityID                             { return []event.AuthorityID{nordtal} }
func (n nobody) Member(site event.SiteID) bool                       { return site == n.self }
func (n nobody) Allowed(site event.SiteID, _ event.AuthorityID) bool { return site == n.self }
func (nobody) Person(context.Context, event.AuthorityID, directory.PersonID) (directory.Person, error) {
	return directory.Person{}, ErrPersonUnknown
}
func (nobody) People(context.Context, event.AuthorityID, directory.Search) ([]directory.Person, int, error) {
	return nil, 0, nil
}
func (nobody) Resolve(context.Context, event.AuthorityID, directory.Audience) ([]directory.Recipient, error) {
	return nil, nil
}

// Foreign answers neither panic nor pass.
func FuzzPasskeyAnswer(f *testing.F) {
	id, err := seal.NewIdentity(rand.Reader)
	ok(f, err)
	n := nobody{id.Site()}
	s := New(Config{Self: id.Site(), Identity: id, Federation: n, Directory: n, Names: func(event.AuthorityID) []string { return []string{nord} },
		Now: func() time.Time { return noon }, Rand: rand.Reader})
	phone, anna := authenticator.New(rand.Reader), user{handle: "lk-nordtal/0123456789abcdef", name: "Anna"}
	challenge, err := s.challenge(kindEnrol, enrolContext(nord, anna.handle))
	ok(f, err)
	created, err := phone.Create(atNord.URL, []byte(`{"publicKey":{"rp":{"id":"`+nord+`"},"user":{"id":"`+encode([]byte(anna.handle))+`"},"challenge":"`+encode(challenge)+`"}}`))
	ok(f, err)
	f.Add(created)
	options, err := s.BeginSignIn(f.Context(), atNord)
	ok(f, err)
	got, err := phone.Get(atNord.URL, options)
	ok(f, err)
	f.Add(got)
	f.Fuzz(func(t *testing.T, answer []byte) {
		if p, err := s.FinishSignIn(t.Context(), atNord, answer); err == nil || !p.IsZero() {
			t.Error("signed in although there is nobody")
		}
		_, _ = parseCreation(answer)
	})
}
