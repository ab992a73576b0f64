// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"io"
	"regexp"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
)

// secretBytes is 160 bits.
const secretBytes = 20

// tokenPrefix begins every token, so that scanners for leaked secrets know what they have found.
const tokenPrefix = "hf1_"

// letters is Crockford's base 32 in small letters.
var letters = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

var tokenPattern = regexp.MustCompile(`^hf1_([0-9a-f]{16})_([0-9a-hjkmnp-tv-z]{32})$`)

// maxTyped bounds what is looked at when somebody hands in a token.
const maxTyped = 128

// newSecret draws a secret.
func newSecret(r io.Reader) ([]byte, error) {
	b := make([]byte, secretBytes)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("draw a secret: %w", err)
	}
	return b, nil
}

// tokenOf returns the token that is shown.
func tokenOf(id ID, secret []byte) string {
	return tokenPrefix + string(id) + "_" + letters.EncodeToString(secret)
}

// parse reads a token; capitals and spaces around it, which phones add, do not matter.
func parse(token string) (id ID, secret []byte, ok bool) {
	if len(token) > maxTyped {
		return "", nil, false
	}
	m := tokenPattern.FindStringSubmatch(strings.ToLower(strings.TrimSpace(token)))
	if m == nil {
		return "", nil, false
	}
	secret, err := letters.DecodeString(m[2])
	return ID(m[1]), secret, err == nil
}

// hashOf returns what is stored of a secret. It is bound to authority and program, so that a hash is worth nothing elsewhere.
func hashOf(authority event.AuthorityID, id ID, secret []byte) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "holdfast program\x00%s\x00%s\x00", authority, id)
	h.Write(secret)
	h.Write([]byte{0})
	return h.Sum(nil)
}

// same compares in a time that does not depend on where a and b differ.
func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
