// SPDX-License-Identifier: EUPL-1.2

package keyring

import "codeberg.org/holdfast/holdfast/packed"

// packedGain is how many times shorter an answer gets that is packed: in JSON the bytes of ids and keys stand as letters, and
// the same authority key seals one person's key after the other.
const packedGain = 2

// packedMark begins a packed answer. A plain one is JSON and begins with a brace.
const packedMark = 1

// maxPlain is how long an answer may be unpacked. Records are counted generously, but not exactly.
const maxPlain = 2 * answerBytes

// pack returns an answer packed, or as it is if that is not longer.
func pack(plain []byte) []byte {
	if short := packed.Deflate(plain); len(short)+1 < len(plain) {
		return append([]byte{packedMark}, short...)
	}
	return plain
}

// unpack returns the plain answer, and ErrRecord if it is none or too long.
func unpack(raw []byte) ([]byte, error) {
	if len(raw) == 0 || raw[0] != packedMark {
		return raw, nil
	}
	plain, err := packed.Inflate(raw[1:], maxPlain)
	if err != nil {
		return nil, ErrRecord.With(err)
	}
	return plain, nil
}
