// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/packed"
)

// receipts is text such as a log of receipts has; noise is what nobody can pack.
func receipts(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"id":"%016x","subject":"alarm/0123456789abcdef/person/%016x","kind":"alarm.Accepted","actor":"site/abcd"}`, i*7919, i*104729)
	}
	return b.Bytes()
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestAPartIsPackedIntoTheAnswersSize(t *testing.T) {
	mixed := append(receipts(40), noise(20_000)...)
	for name, c := range map[string]struct {
		part []byte
		most int
		used int // at least
	}{
		"receipts fit":          {receipts(100), 4096, len(receipts(100))},
		"receipts beyond":       {receipts(1000), 4096, 3 * 4096},
		"noise":                 {noise(30_000), 4096, 4096},
		"dense, then noise":     {mixed, 4096, 4096},
		"noise, short":          {noise(100), 4096, 100},
		"a short one is no use": {receipts(2), 4096, len(receipts(2))},
		"nothing":               {nil, 4096, 0},
	} {
		body, shorter, used := packPart(c.part, c.most)
		if len(body) > c.most*5/4 || used < c.used || used > len(c.part) {
			t.Errorf("%s: %d bytes of at most %d for %d of a part, want at least %d", name, len(body), c.most, used, c.used)
		}
		got, err := body, error(nil)
		if shorter {
			got, err = unpack(body, used)
		}
		if err != nil || !bytes.Equal(got, c.part[:used]) {
			t.Errorf("%s: unpacked it is not the part: %v", name, err)
		}
	}
}

func TestAPackedPartIsBounded(t *testing.T) {
	bomb := packed.Deflate(make([]byte, 64<<20))
	for name, c := range map[string]struct {
		b      []byte
		length int
	}{
		"longer than it says":  {bomb, 1000},
		"longer than may be":   {bomb, 64 << 20},
		"shorter than it says": {packed.Deflate([]byte("short")), 10},
		"negative":             {bomb, -1},
		"no deflate":           {[]byte("what is this"), 12},
		"cut off":              {bomb[:100], maxAnswerBytes},
	} {
		if part, err := unpack(c.b, c.length); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %d bytes, %v", name, len(part), err)
		}
	}
}

func TestTheGainIsLearned(t *testing.T) {
	var g gain
	if g.raw(4096) != 4096 {
		t.Error("before anything is known, more is asked for than the line takes")
	}
	for range 12 {
		g = g.next(1200, 1000, 5000)
	}
	if raw := g.raw(4096); raw < 4*4096 || raw > 5*4096 {
		t.Errorf("after answers of a fifth %d are asked for", raw)
	}
	if g = g.next(4096, 4000, 4000); g.raw(4096) != 4096 {
		t.Error("what does not get shorter is asked for as if it did")
	}
	if g = gain(0).next(4096, 10, 700_000); g.raw(4096) > maxGain*4096 || g.raw(maxAnswerBytes) > maxAnswerBytes {
		t.Error("the gain is not bounded")
	}
	if g.next(4096, 0, 100_000) != g || g.next(4096, 10, 100) != g || g.next(4096, 430, 600) != g {
		t.Error("answers that say nothing change it")
	}
}

func FuzzDecodePages(f *testing.F) {
	f.Add(encodePart(pagesAnswer{Stretch: true, More: true}, []byte("part")))
	f.Add(encodePart(pagesAnswer{Stretch: true, Packed: 14600}, packed.Deflate(receipts(100))))
	f.Add(encodePages(pagesAnswer{Diverged: true}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r := decodePages(b); r.err == nil && len(r.part) > max(maxAnswerBytes, len(b)) {
			t.Errorf("a part of %d bytes", len(r.part))
		}
	})
}

// Two questions are under way. The answer to the first is shorter than asked for, so that to the second leaves a gap, and
// the third must begin where the first has ended: else there is a gap before every one that follows.
func TestAfterAShortAnswerTheNextQuestionLeavesNoGap(t *testing.T) {
	r := &Replicator{peers: make(map[event.SiteID]*peerState)}
	f := &fetch{deep: true, target: Head{Page: 9}}
	f.begin(spot{})
	first, second := &question{size: 5000}, &question{at: 5000, size: 5000}
	f.next = 10_000
	beginning := append([]byte{0, 1, 0, 0}, noise(2996)...) // of a page of 64 KiB
	if _, err := r.takePart(t.Context(), f, first, reply{pagesAnswer: pagesAnswer{More: true}, part: beginning}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.takePart(t.Context(), f, second, reply{pagesAnswer: pagesAnswer{More: true}, part: noise(5000)}); err != nil {
		t.Fatal(err)
	}
	if f.end() != 3000 || f.next != 3000 || f.ended {
		t.Errorf("%d bytes are here, the next question is from %d on, ended is %v", f.end(), f.next, f.ended)
	}
}
