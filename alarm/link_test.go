// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"errors"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

var sample = Link{Authority: "lk-nordtal", Alarm: "00112233445566aa", Person: "ffeeddccbbaa0099", Expires: noon}

func tokenOf(t testing.TB, l Link, key seal.Key) string {
	t.Helper()
	token, err := l.Token(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestALinkOpensOnlyWithItsKeyAndAuthorityAndInTime(t *testing.T) {
	key := seal.Key{1, 2, 3}
	token := tokenOf(t, sample, key)
	if len(token) != tokenChars || strings.ContainsAny(token, "+/=") {
		t.Errorf("the token is not fit for an address: %q", token)
	}
	got, err := VerifyToken(token, sample.Authority, key)
	if err != nil || got != sample {
		t.Errorf("got %+v, %v, want %+v", got, err, sample)
	}
	other := []byte(token)
	other[20] ^= 1
	for name, c := range map[string]struct {
		token     string
		authority event.AuthorityID
		key       seal.Key
		want      error
	}{
		"ErrLink, another key":       {token, "lk-nordtal", seal.Key{9}, ErrLink},
		"ErrLink, another authority": {token, "lk-suedtal", key, ErrLink},
		"ErrLink, changed":           {string(other), "lk-nordtal", key, ErrLink},
		"ErrLink, cut off":           {token[:40], "lk-nordtal", key, ErrLink},
		"ErrLink, longer":            {token + "A", "lk-nordtal", key, ErrLink},
		"ErrLink, nothing":           {"", "lk-nordtal", key, ErrLink},
	} {
		if _, err := VerifyToken(c.token, c.authority, c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	w := newWorld(t, 1, "one")
	s := w.stations[0]
	w.run(1)
	a := s.raise(Draft{})
	w.run(1)
	shared, _ := w.Named(t.Context(), nordtal, linkKey)
	token = tokenOf(t, Link{Authority: nordtal, Alarm: a.ID, Person: w.order[0], Expires: time.Unix(a.Raised.LinkExpires, 0)}, shared.Secret)
	for _, c := range []struct {
		after time.Duration
		want  error
	}{{DefaultLinkValid - time.Minute, nil}, {2 * time.Minute, ErrLinkExpired}, {10 * year, ErrLinkExpired}} {
		w.now = w.now.Add(c.after)
		if _, err := s.service.OpenLink(t.Context(), token); !errors.Is(err, c.want) {
			t.Errorf("%v after it was raised: got %v, want %v", w.now.Sub(a.RaisedAt), err, c.want)
		}
	}
}

func TestATokenNeedsProperIDs(t *testing.T) {
	for _, l := range []Link{{Alarm: "12", Person: sample.Person}, {Alarm: sample.Alarm, Person: "zzzzzzzzzzzzzzzz"}} {
		if _, err := l.Token(seal.Key{}); err == nil {
			t.Errorf("%+v: got no error", l)
		}
	}
}

// FuzzLinkToken: whatever is not a token of ours is refused, and what is accepted is exactly what we would write.
func FuzzLinkToken(f *testing.F) {
	key := seal.Key{7}
	f.Add(tokenOf(f, sample, key))
	f.Add("")
	f.Add(strings.Repeat("A", tokenChars))
	f.Add(strings.Repeat("é", 24))
	f.Fuzz(func(t *testing.T, token string) {
		u, err := parseToken(token)
		if err != nil {
			if !errors.Is(err, ErrLink) {
				t.Fatalf("got %v", err)
			}
			return
		}
		l, err := VerifyToken(token, sample.Authority, key)
		if err != nil {
			return
		}
		if again := tokenOf(t, l, key); again != token {
			t.Fatalf("two tokens for one link: %q and %q", token, again)
		}
		if !l.Alarm.Valid() || !l.Person.Valid() || !u.meant(sample.Authority) {
			t.Fatalf("accepted %+v", l)
		}
	})
}
