// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Bounds of a Secret in bytes. Nothing stretches a secret, so it must be hard to guess by itself.
const (
	MinSecretBytes = 32
	MaxSecretBytes = 1024
)

// ErrSecret is returned for a secret from which no keys may be made. It never shows what was read.
var ErrSecret = errors.New("a secret is 32 to 1024 random bytes: raw, in hexadecimal, or in base64 (a passphrase is none); " +
	"make one with: openssl rand -base64 48")

// Secret is what an operator keeps in one file, or a secret store hands to the process, and what all keys for data at rest
// on this machine are derived from.
type Secret []byte

// Format keeps secrets out of logs whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// ParseSecret reads the content of a secret file. Printable text is hexadecimal or base64 (with either alphabet, padded or
// not, white space aside) of at least 32 bytes; anything else is the raw bytes themselves. Passphrases are refused: they would
// need stretching, and nobody has to type this. It returns ErrSecret.
func ParseSecret(content []byte) (Secret, error) {
	b := content
	if isText(content) {
		b = decoded(bytes.Join(bytes.Fields(content), nil))
	}
	if len(b) < MinSecretBytes || len(b) > MaxSecretBytes || distinct(b) < 8 {
		return nil, ErrSecret
	}
	return Secret(bytes.Clone(b)), nil
}

func isText(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x7f || r < ' ' && r != '\n' && r != '\r' && r != '\t' })
}

// decoded returns what the text stands for, nil for nothing. What can be read as hexadecimal is: as base64 it would be
// another secret.
func decoded(text []byte) []byte {
	if b, err := hex.DecodeString(string(text)); err == nil {
		return b
	}
	text = bytes.TrimRight(text, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(string(text)); err == nil {
			return b
		}
	}
	return nil
}

// distinct counts the different bytes: a file of zeros is no secret.
func distinct(b []byte) int {
	var seen [256]bool
	n := 0
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}

// DeriveKey returns the key that a secret gives for one purpose, by HKDF-SHA256 (RFC 5869) without a salt. Keys of different
// purposes tell nothing about each other or the secret. The same secret and purpose give the same key for ever: a purpose is
// part of stored forms. It panics for a secret of less than 32 bytes, see ParseSecret.
func DeriveKey(secret []byte, purpose string) Key {
	if len(secret) < MinSecretBytes {
		panic(ErrSecret)
	}
	b, err := hkdf.Key(sha256.New, secret, nil, "holdfast/"+purpose, len(Key{}))
	if err != nil {
		panic(err) // cannot happen: 32 bytes are far below the bound of HKDF
	}
	return Key(b)
}
