// SPDX-License-Identifier: EUPL-1.2

package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

func newKey(t *testing.T) seal.Key {
	t.Helper()
	k, err := seal.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newIdentity(t *testing.T) *seal.Identity {
	t.Helper()
	id, err := seal.NewIdentity(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestASealedValueOpensOnlyWithItsKeyAndContext(t *testing.T) {
	k := newKey(t)
	box, err := k.Seal(rand.Reader, "directory/person/12", []byte("Müller"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := k.Open("directory/person/12", box); err != nil || string(plain) != "Müller" {
		t.Fatalf("got %q, %v", plain, err)
	}
	if bytes.Contains(box, []byte("Müller")) {
		t.Error("the sealed value shows what it seals")
	}
	damaged := bytes.Clone(box)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another person": func() ([]byte, error) { return k.Open("directory/person/13", box) },
		"another key":    func() ([]byte, error) { return newKey(t).Open("directory/person/12", box) },
		"a flipped bit":  func() ([]byte, error) { return k.Open("directory/person/12", damaged) },
		"nothing":        func() ([]byte, error) { return k.Open("directory/person/12", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := open(); !errors.Is(err, seal.ErrOpen) {
				t.Errorf("got %v, want ErrOpen", err)
			}
		})
	}
}

func TestWhatIsSealedToASiteOpensThereAlone(t *testing.T) {
	to, other := newIdentity(t), newIdentity(t)
	pub, cert := to.SealingKey()
	if !seal.Verify(to.Site(), "sealing-key", pub, cert) {
		t.Error("the site's certification of its sealing key does not verify")
	}
	if seal.Verify(other.Site(), "sealing-key", pub, cert) {
		t.Error("another site's key verifies the certification")
	}
	box, err := seal.SealTo(pub, "authority key", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := to.Open("authority key", box); err != nil || string(plain) != "secret" {
		t.Errorf("got %q, %v", plain, err)
	}
	if _, err := other.Open("authority key", box); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("another site: got %v, want ErrOpen", err)
	}
	if _, err := to.Open("another context", box); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("another context: got %v, want ErrOpen", err)
	}
}

func TestASignatureServesOnePurposeOnly(t *testing.T) {
	id := newIdentity(t)
	sig := id.Sign("page", []byte("x"))
	if !seal.Verify(id.Site(), "page", []byte("x"), sig) {
		t.Error("a good signature does not verify")
	}
	if seal.Verify(id.Site(), "invitation", []byte("x"), sig) {
		t.Error("a signature of a page verifies as one of an invitation")
	}
	if seal.Verify("not-a-site", "page", []byte("x"), sig) {
		t.Error("a malformed id verifies")
	}
}

func TestAnIdentityIsTheSameAfterItsFile(t *testing.T) {
	id := newIdentity(t)
	again, err := seal.ParseIdentity(id.PEM())
	if err != nil || again.Site() != id.Site() {
		t.Fatalf("got %v, %v", again, err)
	}
	pub, _ := id.SealingKey()
	pub2, _ := again.SealingKey()
	if !bytes.Equal(pub, pub2) {
		t.Error("the sealing key differs")
	}
	if _, err := seal.ParseIdentity([]byte("-----BEGIN RSA PRIVATE KEY-----")); err == nil || !strings.Contains(err.Error(), "not a site key") {
		t.Errorf("a foreign file: got %v", err)
	}
}

func TestASiteIDIsItsKeyInOneSpelling(t *testing.T) {
	site := newIdentity(t).Site()
	pub, err := seal.KeyOf(site)
	if err != nil || seal.SiteOf(pub) != site {
		t.Errorf("got %v, %v", seal.SiteOf(pub), err)
	}
	for _, bad := range []string{"", "abc", strings.ToUpper(string(site)), string(site) + "a", strings.Repeat("1", 52)} {
		if _, err := seal.KeyOf(event.SiteID(bad)); err == nil {
			t.Errorf("%q is taken for a site's id", bad)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k, id := newKey(t), newIdentity(t)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "identity", id)
	for _, printed := range []string{fmt.Sprint(k, id), fmt.Sprintf("%x %v %+v %#v %s", k, k, k, k, k), fmt.Sprintf("%x %v %+v %#v", id, id, id, id), log.String()} {
		if strings.Contains(printed, fmt.Sprintf("%x", k[:])) || strings.Contains(printed, fmt.Sprint(k[:4])) {
			t.Errorf("a secret was printed: %s", printed)
		}
	}
}
