// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func TestASecretIsReadInEachOfItsForms(t *testing.T) {
	want := random(48)
	for name, content := range map[string][]byte{
		"raw":            want,
		"hex":            []byte(hex.EncodeToString(want)),
		"HEX":            []byte(strings.ToUpper(hex.EncodeToString(want)) + "\r\n"),
		"base64":         []byte(base64.StdEncoding.EncodeToString(want) + "\n"),
		"base64, broken": []byte(base64.StdEncoding.EncodeToString(want)[:40] + "\n" + base64.StdEncoding.EncodeToString(want)[40:] + "\n"),
		"base64url":      []byte(base64.RawURLEncoding.EncodeToString(want)),
	} {
		got, err := ParseSecret(content)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b := random(47); !bytes.Equal(decoded([]byte(base64.URLEncoding.EncodeToString(b))), b) {
		t.Error("padded base64url is not read")
	}
}

func TestWhatIsNoSecretIsRefused(t *testing.T) {
	for name, content := range map[string][]byte{
		"none":            nil,
		"short raw":       random(31),
		"short hex":       []byte(hex.EncodeToString(random(31))),
		"short base64":    []byte(base64.StdEncoding.EncodeToString(random(31))),
		"a passphrase":    []byte("correct horse battery staple, and then some more of them!"),
		"zeros":           make([]byte, 64),
		"hex zeros":       []byte(strings.Repeat("0", 128)),
		"more than bound": random(MaxSecretBytes + 1),
	} {
		if got, err := ParseSecret(content); !errors.Is(err, ErrSecret) || got != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The expected key was calculated with another implementation (Python, hmac). Keys are part of stored forms: another derivation would lock everybody out.
func TestKeysAreDerivedTheSameWayForEver(t *testing.T) {
	k := DeriveKey(bytes.Repeat([]byte{0x42}, 32), "test")
	if got := hex.EncodeToString(k[:]); got != "79d4e6d9acf389c1f7232a22c3b38e34f126bae08dbdb86d34363011d5052fcb" {
		t.Error(got)
	}
	secret := random(32)
	if DeriveKey(secret, "a") == DeriveKey(secret, "b") || DeriveKey(secret, "a") == DeriveKey(random(33), "a") {
		t.Error("two purposes or secrets share a key")
	}
	defer func() {
		if recover() == nil {
			t.Error("a short secret gave a key")
		}
	}()
	DeriveKey(secret[:31], "a")
}

func TestASecretIsNotPrinted(t *testing.T) {
	s := Secret(random(32))
	for _, verb := range []string{"%v", "%s", "%x", "%+v", "%#v", "%q", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "[secret]" {
			t.Errorf("%s shows %s", verb, got)
		}
	}
}

func TestASealedIdentityOpensWithItsKeyOnly(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	id, err := NewIdentity(r)
	if err != nil {
		t.Fatal(err)
	}
	k, other := Key(random(32)), Key{1}
	b, err := id.SealedPEM(r, k)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte("-----BEGIN HOLDFAST SEALED SITE KEY-----\n")) {
		t.Errorf("%s", b)
	}
	got, err := ParseSealedIdentity(b, k)
	if err != nil || got.Site() != id.Site() {
		t.Errorf("it does not come back: %v", err)
	}
	if _, err := ParseSealedIdentity(b, other); !errors.Is(err, ErrOpen) {
		t.Error(err)
	}
	if _, err := ParseSealedIdentity(id.PEM(), k); !errors.Is(err, ErrPlain) {
		t.Error(err)
	}
	if _, err := ParseIdentity(b); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
	if _, err := ParseSealedIdentity([]byte("nonsense"), k); err == nil {
		t.Error("nonsense is a key")
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add([]byte("00ff"))
	f.Add(random(40))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSecret(b)
		if (err == nil) != (s != nil) || s != nil && (len(s) < MinSecretBytes || len(s) > MaxSecretBytes) {
			t.Errorf("%d bytes, %v", len(s), err)
		}
	})
}
