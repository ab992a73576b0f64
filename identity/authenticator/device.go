// SPDX-License-Identifier: EUPL-1.2

package authenticator

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// The refusals of a device.
var (
	ErrKnown   = errors.New("the device holds an excluded credential")
	ErrNothing = errors.New("the device holds no credential for this relying party")
)

// The flags of authenticator data (WebAuthn 3, 6.1).
const (
	flagPresent  = 0x01
	flagVerified = 0x04
	flagEligible = 0x08
	flagBackedUp = 0x10
	flagAttested = 0x40
)

const coordinate = 32 // bytes of a coordinate of P-256

// Device is one phone or key.
type Device struct {
	// Rand is where ids come from; keys and signatures are drawn by crypto/ecdsa.
	Rand io.Reader
	// Unverified makes it answer without having asked for a PIN or a finger.
	Unverified bool
	// Synced marks its credentials as backed up by the maker's cloud.
	Synced bool
	// NoCounter keeps the signature counter at zero, as synchronised passkeys do.
	NoCounter bool

	mu   sync.Mutex
	held []*credential
}

type credential struct {
	id, handle []byte
	rp         string
	key        *ecdsa.PrivateKey
	counter    uint32
}

// New returns a device without credentials that verifies its user, counts, and is not synchronised.
func New(rand io.Reader) *Device { return &Device{Rand: rand} }

type raw []byte

// MarshalJSON writes base64url without padding.
func (r raw) MarshalJSON() ([]byte, error) {
	return json.Marshal(base64.RawURLEncoding.EncodeToString(r))
}

// UnmarshalJSON reads base64url, padded or not.
func (r *raw) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	out, err := base64.RawURLEncoding.DecodeString(string(bytes.TrimRight([]byte(s), "=")))
	*r = out
	return err
}

// options are those fields of both ceremonies' options that a device looks at.
type options struct {
	PublicKey struct {
		Challenge raw                 `json:"challenge"`
		RPID      string              `json:"rpId"`
		RP        struct{ ID string } `json:"rp"`
		User      struct{ ID raw }    `json:"user"`
		Exclude   []struct{ ID raw }  `json:"excludeCredentials"`
	} `json:"publicKey"`
}

type answer struct {
	ID         raw            `json:"id"`
	RawID      raw            `json:"rawId"`
	Type       string         `json:"type"`
	Response   response       `json:"response"`
	Extensions map[string]any `json:"clientExtensionResults"`
}

type response struct {
	ClientData  raw      `json:"clientDataJSON"`
	Attestation raw      `json:"attestationObject,omitempty"`
	Transports  []string `json:"transports,omitempty"`
	AuthData    raw      `json:"authenticatorData,omitempty"`
	Signature   raw      `json:"signature,omitempty"`
	UserHandle  raw      `json:"userHandle,omitempty"`
}

// Create answers the options of navigator.credentials.create on a page of the given origin ("https://host:port"). It
// returns ErrKnown if the options exclude a credential that the device holds.
func (d *Device) Create(origin string, opts []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var o options
	if err := json.Unmarshal(opts, &o); err != nil {
		return nil, err
	}
	for _, x := range o.PublicKey.Exclude {
		for _, c := range d.held {
			if bytes.Equal(c.id, x.ID) {
				return nil, ErrKnown
			}
		}
	}
	c, err := d.make(o.PublicKey.RP.ID, o.PublicKey.User.ID)
	if err != nil {
		return nil, err
	}
	auth, err := d.attested(c)
	if err != nil {
		return nil, err
	}
	attestation, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": auth})
	if err != nil {
		return nil, err
	}
	client, err := clientData("webauthn.create", origin, o.PublicKey.Challenge)
	if err != nil {
		return nil, err
	}
	d.held = append(d.held, c)
	return json.Marshal(answer{ID: c.id, RawID: c.id, Type: "public-key", Extensions: map[string]any{},
		Response: response{ClientData: client, Attestation: attestation, Transports: []string{"internal"}}})
}

// make draws a credential.
func (d *Device) make(rp string, handle []byte) (*credential, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), d.Rand)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 32)
	if _, err := io.ReadFull(d.Rand, id); err != nil {
		return nil, err
	}
	return &credential{id: id, handle: handle, rp: rp, key: key}, nil
}

// attested returns authenticator data with the new credential in it (WebAuthn 3, 6.5.1).
func (d *Device) attested(c *credential) ([]byte, error) {
	public, err := c.key.PublicKey.Bytes() // 0x04, x, y
	if err != nil || len(public) != 1+2*coordinate {
		return nil, fmt.Errorf("encode the public key: %w", err)
	}
	// RFC 9053, 7.1.1: kty EC2, alg ES256, crv P-256, x, y.
	cose, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: public[1 : 1+coordinate], -3: public[1+coordinate:]})
	if err != nil {
		return nil, err
	}
	auth := d.authData(c, flagAttested)
	auth = append(auth, make([]byte, 16)...) // AAGUID: unknown
	auth = binary.BigEndian.AppendUint16(auth, uint16(len(c.id)))
	auth = append(auth, c.id...)
	return append(auth, cose...), nil
}

func (d *Device) authData(c *credential, flags byte) []byte {
	flags |= flagPresent
	if !d.Unverified {
		flags |= flagVerified
	}
	if d.Synced {
		flags |= flagEligible | flagBackedUp
	}
	rp := sha256.Sum256([]byte(c.rp))
	return binary.BigEndian.AppendUint32(append(rp[:], flags), c.counter)
}

func clientData(kind, origin string, challenge []byte) ([]byte, error) {
	return json.Marshal(struct {
		Type        string `json:"type"`
		Challenge   raw    `json:"challenge"`
		Origin      string `json:"origin"`
		CrossOrigin bool   `json:"crossOrigin"`
	}{kind, challenge, origin, false})
}

// Get answers the options of navigator.credentials.get on a page of the given origin, with the youngest credential for its
// relying party. It returns ErrNothing if there is none.
func (d *Device) Get(origin string, opts []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var o options
	if err := json.Unmarshal(opts, &o); err != nil {
		return nil, err
	}
	c := d.find(o.PublicKey.RPID)
	if c == nil {
		return nil, ErrNothing
	}
	if !d.NoCounter {
		c.counter++
	}
	client, err := clientData("webauthn.get", origin, o.PublicKey.Challenge)
	if err != nil {
		return nil, err
	}
	auth := d.authData(c, 0)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(bytes.Clone(auth), hash[:]...))
	signature, err := ecdsa.SignASN1(d.Rand, c.key, digest[:])
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer{ID: c.id, RawID: c.id, Type: "public-key", Extensions: map[string]any{},
		Response: response{ClientData: client, AuthData: auth, Signature: signature, UserHandle: c.handle}})
}

func (d *Device) find(rp string) *credential {
	for i := len(d.held) - 1; i >= 0; i-- {
		if d.held[i].rp == rp {
			return d.held[i]
		}
	}
	return nil
}

// Wind sets every signature counter: a copy of a key counts on its own.
func (d *Device) Wind(counter uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.held {
		c.counter = counter
	}
}
