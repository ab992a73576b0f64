// SPDX-License-Identifier: EUPL-1.2

// Package seal keeps things readable only for whom they are meant, and says who wrote them.
//
// # Terms
//
//   - A Key is 32 random bytes for AES-256-GCM. Sealing with a Key needs context ("associated data") that must be the
//     same on opening, so that a sealed value cannot be moved to another person or field.
//   - An Identity is a site's Ed25519 key (signing: the site *is* this key) and its X25519 key (others seal to it, HPKE
//     base mode, RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). The Ed25519 key certifies the X25519 one.
//   - A Secret is what all keys for data at rest on one machine are derived from, one key for each purpose (HKDF-SHA256).
//
// # Formats
//
//	sealed value:  0x01 | nonce (12) | ciphertext and tag
//	sealed to site: 0x01 | encapsulated key (32) | ciphertext and tag
//
// Everything here is a pure function of its inputs and the injected randomness, and safe for concurrent use.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base32"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
)

// ErrOpen is returned when a sealed value does not open: wrong key, wrong context, or damaged. It never says which.
var ErrOpen = errors.New("the sealed value does not open with this key and context")

const version = 0x01

// Key is a secret for AES-256-GCM.
type Key [32]byte

// NewKey reads a key from r. It returns r's error.
func NewKey(r io.Reader) (Key, error) {
	var k Key
	if _, err := io.ReadFull(r, k[:]); err != nil {
		return Key{}, fmt.Errorf("draw a key: %w", err)
	}
	return k, nil
}

// Format keeps keys out of logs whatever the verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[key]") }

func (k Key) aead() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // cannot happen: 32 bytes are a valid AES key
	}
	g, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // cannot happen: AES has a 16-byte block
	}
	return g
}

// Seal returns plaintext sealed with k for the given context, with a fresh nonce from r. With random 96-bit nonces one
// key may seal 2^32 values (NIST SP 800-38D, 8.3); ours seal a person's few fields.
func (k Key) Seal(r io.Reader, context string, plaintext []byte) ([]byte, error) {
	out := make([]byte, 13, 13+len(plaintext)+16)
	out[0] = version
	if _, err := io.ReadFull(r, out[1:13]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	return k.aead().Seal(out, out[1:13], plaintext, []byte(context)), nil
}

// Sealed reports whether b may come from Seal. Without the key nobody can say more.
func Sealed(b []byte) bool { return len(b) >= 13+16 && b[0] == version }

// Open returns what Seal sealed for the same context, or ErrOpen.
func (k Key) Open(context string, sealed []byte) ([]byte, error) {
	if !Sealed(sealed) {
		return nil, ErrOpen
	}
	plain, err := k.aead().Open(nil, sealed[1:13], sealed[13:], []byte(context))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// PublicKey is the X25519 key of a site, to which others seal.
type PublicKey []byte

// SealTo returns plaintext readable only by the holder of pub's private half, bound to the context. Its randomness is
// crypto/rand's, since HPKE does not take another source.
func SealTo(pub PublicKey, context string, plaintext []byte) ([]byte, error) {
	ec, err := ecdh.X25519().NewPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("read a site's sealing key: %w", err)
	}
	hp, err := hpke.NewDHKEMPublicKey(ec)
	if err != nil {
		return nil, fmt.Errorf("read a site's sealing key: %w", err)
	}
	box, err := hpke.Seal(hp, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(context), plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal to a site: %w", err)
	}
	return append([]byte{version}, box...), nil
}

// Identity is the pair of private keys that makes a site. Keep it in one file, readable by the site's process only.
type Identity struct {
	seed [32]byte
	sign ed25519.PrivateKey
	kem  *ecdh.PrivateKey
}

// NewIdentity draws a new identity from r.
func NewIdentity(r io.Reader) (*Identity, error) {
	var seed [32]byte
	if _, err := io.ReadFull(r, seed[:]); err != nil {
		return nil, fmt.Errorf("draw a site's key: %w", err)
	}
	return identityOf(seed)
}

// identityOf derives both keys from one seed, so that one file of 32 bytes is the whole site.
func identityOf(seed [32]byte) (*Identity, error) {
	kemSeed := sha256.Sum256(append([]byte("holdfast x25519 v1\x00"), seed[:]...))
	kem, err := ecdh.X25519().NewPrivateKey(kemSeed[:])
	if err != nil {
		return nil, fmt.Errorf("derive a site's sealing key: %w", err)
	}
	return &Identity{seed: seed, sign: ed25519.NewKeyFromSeed(seed[:]), kem: kem}, nil
}

const pemType = "HOLDFAST SITE KEY"

// PEM returns the identity as a PEM block. Whoever reads it can act as the site.
func (id *Identity) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: id.seed[:]})
}

// ParseIdentity reads what PEM wrote. The error says what was found instead.
func ParseIdentity(b []byte) (*Identity, error) {
	block, _ := pem.Decode(b)
	if block != nil && block.Type == sealedType {
		return nil, ErrSealed
	}
	if block == nil || block.Type != pemType || len(block.Bytes) != 32 {
		return nil, fmt.Errorf("this is not a site key: expected one PEM block %q of 32 bytes", pemType)
	}
	return identityOf([32]byte(block.Bytes))
}

// The type of the PEM block of a sealed identity, and the context that its seed is sealed for.
const (
	sealedType    = "HOLDFAST SEALED SITE KEY"
	sealedContext = "site.key"
)

// ErrSealed is returned for an identity that is sealed where a plain one was expected; ErrPlain for the reverse.
var (
	ErrSealed = errors.New("the site key is sealed")
	ErrPlain  = errors.New("the site key is not sealed")
)

// SealedPEM returns the identity as a PEM block that only the holder of k can read, with a fresh nonce from r.
func (id *Identity) SealedPEM(r io.Reader, k Key) ([]byte, error) {
	sealed, err := k.Seal(r, sealedContext, id.seed[:])
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: sealedType, Bytes: sealed}), nil
}

// ParseSealedIdentity reads what SealedPEM wrote. It returns ErrPlain for an identity that is not sealed, and ErrOpen for
// another key or a damaged block.
func ParseSealedIdentity(b []byte, k Key) (*Identity, error) {
	block, _ := pem.Decode(b)
	if block != nil && block.Type == pemType {
		return nil, ErrPlain
	}
	if block == nil || block.Type != sealedType {
		return nil, fmt.Errorf("this is not a sealed site key: expected one PEM block %q", sealedType)
	}
	seed, err := k.Open(sealedContext, block.Bytes)
	if err != nil {
		return nil, err
	}
	if len(seed) != 32 {
		return nil, ErrOpen
	}
	return identityOf([32]byte(seed))
}

// Format keeps the keys out of logs whatever the verb.
func (id *Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[identity]") }

// Site returns the id of the site that this identity is.
func (id *Identity) Site() event.SiteID { return SiteOf(id.sign.Public().(ed25519.PublicKey)) }

// Signer returns the Ed25519 private key, for TLS certificates between sites and for pages.
func (id *Identity) Signer() ed25519.PrivateKey { return id.sign }

// Sign signs message under a purpose, so that a signature made for one purpose is worthless for another.
func (id *Identity) Sign(purpose string, message []byte) []byte {
	return ed25519.Sign(id.sign, purposed(purpose, message))
}

// SealingKey returns the X25519 public key and the certification of it by the Ed25519 key.
func (id *Identity) SealingKey() (PublicKey, []byte) {
	pub := PublicKey(id.kem.PublicKey().Bytes())
	return pub, id.Sign("sealing-key", pub)
}

// Open returns what was sealed to this identity under the same context, or ErrOpen.
func (id *Identity) Open(context string, box []byte) ([]byte, error) {
	if len(box) < 1+32+16 || box[0] != version {
		return nil, ErrOpen
	}
	k, err := hpke.NewDHKEMPrivateKey(id.kem)
	if err != nil {
		return nil, fmt.Errorf("use the site's sealing key: %w", err)
	}
	plain, err := hpke.Open(k, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(context), box[1:])
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

var siteEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// SiteOf returns the id of the site whose Ed25519 public key is pub.
func SiteOf(pub ed25519.PublicKey) event.SiteID {
	return event.SiteID(strings.ToLower(siteEncoding.EncodeToString(pub)))
}

// KeyOf returns the public key that a site id is, or an error if it is none.
func KeyOf(site event.SiteID) (ed25519.PublicKey, error) {
	b, err := siteEncoding.DecodeString(strings.ToUpper(string(site)))
	if err != nil || len(b) != ed25519.PublicKeySize || string(site) != strings.ToLower(string(site)) {
		return nil, fmt.Errorf("%.60q is not a site's id (52 characters a-z and 2-7)", string(site))
	}
	return ed25519.PublicKey(b), nil
}

// Verify reports whether signature is site's signature of message under purpose. A malformed id is simply not true.
func Verify(site event.SiteID, purpose string, message, signature []byte) bool {
	pub, err := KeyOf(site)
	return err == nil && ed25519.Verify(pub, purposed(purpose, message), signature)
}

func purposed(purpose string, message []byte) []byte {
	b := make([]byte, 0, len("holdfast/")+len(purpose)+1+len(message))
	b = append(b, "holdfast/"...)
	b = append(b, purpose...)
	b = append(b, 0)
	return append(b, message...)
}
