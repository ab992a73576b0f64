// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/secretcode"
)

// A code is twelve characters of Crockford's base 32: ten drawn, two of tag.
const (
	drawnChars = 10 // 50 bits
	tagChars   = 2  // 10 bits
	codeChars  = drawnChars + tagChars
)

// drawCode returns ten random characters.
func drawCode(r io.Reader) (string, error) {
	b := make([]byte, (drawnChars*5+7)/8)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("draw a code: %w", err)
	}
	return secretcode.Spell(b, drawnChars), nil
}

// keyed returns the HMAC of a code for one of three purposes. The authority is part of it, so that no two authorities
// share a code even if they shared a key.
func keyed(key seal.Key, purpose string, authority event.AuthorityID, drawn string) []byte {
	h := hmac.New(sha256.New, key[:])
	fmt.Fprintf(h, "holdfast guest %s\x00%s\x00%s", purpose, authority, drawn)
	return h.Sum(nil)
}

// tagOf returns the two characters behind the ten: they tell a code of ours from one that somebody has made up.
func tagOf(key seal.Key, authority event.AuthorityID, drawn string) string {
	sum := keyed(key, "tag", authority, drawn)
	return string([]byte{secretcode.Alphabet[sum[0]&31], secretcode.Alphabet[sum[1]&31]})
}

// markOf returns the 16 bits by which a code is found. They leave 34 bits open to whoever knows the key; argon2 guards those.
func markOf(key seal.Key, authority event.AuthorityID, drawn string) string {
	return hex.EncodeToString(keyed(key, "mark", authority, drawn)[:2])
}

// hashOf returns what is stored of a code. It takes some 20 ms and 19 MiB.
func hashOf(key seal.Key, authority event.AuthorityID, drawn string, salt []byte) []byte {
	return secretcode.Hash(keyed(key, "code", authority, drawn), salt)
}

// newCode draws a code and returns it as it is spoken, with what is kept of it. The mark is none of those taken.
func newCode(r io.Reader, key seal.Key, authority event.AuthorityID, taken map[string]bool) (spoken string, c Code, err error) {
	if c.ID, err = event.NewID(r); err != nil {
		return "", Code{}, err
	}
	c.Salt = make([]byte, secretcode.SaltLen)
	if _, err := io.ReadFull(r, c.Salt); err != nil {
		return "", Code{}, fmt.Errorf("draw a salt: %w", err)
	}
	var drawn string
	for tries := 0; tries == 0 || taken[c.Mark] && tries < 100; tries++ {
		if drawn, err = drawCode(r); err != nil {
			return "", Code{}, err
		}
		c.Mark = markOf(key, authority, drawn)
	}
	c.Hash = hashOf(key, authority, drawn, c.Salt)
	return secretcode.Grouped(drawn + tagOf(key, authority, drawn)), c, nil
}

// readCode returns the twelve characters of what somebody has typed, or false.
func readCode(typed string) (string, bool) { return secretcode.Normal(typed, codeChars) }

// tagged reports whether the code's tag is the authority's.
func tagged(key seal.Key, authority event.AuthorityID, code string) bool {
	want := tagOf(key, authority, code[:drawnChars])
	return subtle.ConstantTimeCompare([]byte(want), []byte(code[drawnChars:])) == 1
}

// matches reports whether the code is the one that c is kept of. It costs an argon2.
func (c Code) matches(key seal.Key, authority event.AuthorityID, code string) bool {
	got := hashOf(key, authority, code[:drawnChars], c.Salt)
	return subtle.ConstantTimeCompare(got, c.Hash) == 1
}
