// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"crypto/ed25519"
	"encoding/binary"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// Nothing is stored for a challenge or a ticket: whoever gets it back can tell from the bytes alone which member site made
// it, for what, and when.
//
//	kind (1) | nonce (16) | milliseconds since 1970 (8) | site's Ed25519 key (32) | signature (64)
//
// The signature is over kind, nonce, time and what the bytes were made for (a host, whose account), which is not in them.
const (
	nonceLen  = 16
	stampHead = 1 + nonceLen + 8
	stampLen  = stampHead + ed25519.PublicKeySize + ed25519.SignatureSize
)

// The kinds of signed bytes, and under which purpose sites sign them.
const (
	kindSignIn byte = 1
	kindEnrol  byte = 2
	kindTicket byte = 3

	purposePasskey  = "passkey"
	purposeVouching = "vouching"
	purposeHandOver = "handover"
)

// stamped is a challenge or ticket that was read, and not yet believed.
type stamped struct {
	raw  []byte
	kind byte
	at   time.Time
	site event.SiteID
}

func (c stamped) nonce() []byte { return c.raw[1 : 1+nonceLen] }

// signStamp makes a challenge or ticket for a context.
func signStamp(id *seal.Identity, purpose string, kind byte, nonce []byte, at time.Time, context string) []byte {
	b := append([]byte{kind}, nonce...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMilli()))
	key, _ := seal.KeyOf(id.Site())
	sig := id.Sign(purpose, append(b[:len(b):len(b)], context...))
	return append(append(b, key...), sig...)
}

// readStamp takes foreign bytes apart. It says nothing about whether they are genuine.
func readStamp(b []byte) (stamped, bool) {
	if len(b) != stampLen {
		return stamped{}, false
	}
	key := ed25519.PublicKey(b[stampHead : stampHead+ed25519.PublicKeySize])
	return stamped{
		raw: b, kind: b[0], site: seal.SiteOf(key),
		at: time.UnixMilli(int64(binary.BigEndian.Uint64(b[1+nonceLen:]) & (1<<48 - 1))),
	}, true
}

// genuine reports whether the site named in it signed it for the kind and the context, and whether it is of its age. A site's
// clock may be ahead by the drift that logs allow.
func (c stamped) genuine(purpose string, kind byte, context string, now time.Time, life time.Duration) bool {
	age := now.Sub(c.at)
	if c.kind != kind || age < -event.MaxDrift || age >= life {
		return false
	}
	message := append(c.raw[:stampHead:stampHead], context...)
	return seal.Verify(c.site, purpose, message, c.raw[len(c.raw)-ed25519.SignatureSize:])
}

// enrolContext binds a challenge for a new passkey to the name and to whom it will belong.
func enrolContext(host, handle string) string { return host + "\x00" + handle }
