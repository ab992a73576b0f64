// SPDX-License-Identifier: EUPL-1.2

package packed_test

import (
	"bytes"
	"testing"

	"codeberg.org/holdfast/holdfast/packed"
)

func TestWhatIsPackedComesBack(t *testing.T) {
	for _, b := range [][]byte{{}, []byte("a"), bytes.Repeat([]byte("receipt "), 1000)} {
		got, err := packed.Inflate(packed.Deflate(b), len(b))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes come back as %d: %v", len(b), len(got), err)
		}
	}
}

func TestUnpackingIsBounded(t *testing.T) {
	bomb := packed.Deflate(make([]byte, 64<<20))
	for name, b := range map[string][]byte{"longer than may be": bomb, "not packed": []byte("what is this"), "cut off": bomb[:100]} {
		if got, err := packed.Inflate(b, 1000); err == nil {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

func FuzzInflate(f *testing.F) {
	f.Add(packed.Deflate([]byte("a few words, a few words")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := packed.Inflate(b, 1000); err == nil && len(got) > 1000 {
			t.Errorf("%d bytes", len(got))
		}
	})
}
