// SPDX-License-Identifier: EUPL-1.2

package secretcode

import (
	"strings"

	"golang.org/x/crypto/argon2"
)

// Alphabet is Crockford's: no I, L, O, U.
const Alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// maxTyped bounds what somebody may type, blanks and hyphens included.
const maxTyped = 80

// Spell returns n characters for the first 5n bits of b, which has as many.
func Spell(b []byte, n int) string {
	out := make([]byte, n)
	for i := range out {
		bit := 5 * i
		window := uint16(b[bit/8]) << 8
		if bit/8+1 < len(b) {
			window |= uint16(b[bit/8+1])
		}
		out[i] = Alphabet[window>>(11-bit%8)&31]
	}
	return string(out)
}

// Valid reports whether s has n characters of the alphabet.
func Valid(s string, n int) bool {
	return len(s) == n && strings.Trim(s, Alphabet) == ""
}

// Normal returns what somebody typed or scanned as n characters of the alphabet, false if it is none: case, blanks, hyphens and
// the usual mistakes (O for 0, I and L for 1) do not matter.
func Normal(typed string, n int) (string, bool) {
	if len(typed) > maxTyped {
		return "", false
	}
	s := strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t', '\n', '\r', '.', '\u00a0', '\u2010', '\u2011', '\u2013':
			return -1
		case 'O', 'o':
			return '0'
		case 'I', 'i', 'L', 'l':
			return '1'
		}
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, typed)
	return s, Valid(s, n)
}

// Grouped puts hyphens between groups of four.
func Grouped(code string) string {
	var b strings.Builder
	for i, c := range code {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// The lengths of a hash and of its salt, in bytes.
const (
	HashLen = 32
	SaltLen = 16
)

// argon2id as the OWASP Password Storage Cheat Sheet has it: some 20 ms.
const (
	argonTime   = 2
	argonMemory = 19 << 10 // KiB
)

// Hash returns what is stored of a secret. It takes some 20 ms and 19 MiB: compute it behind a Gate.
func Hash(secret, salt []byte) []byte {
	return argon2.IDKey(secret, salt, argonTime, argonMemory, 1, HashLen)
}
