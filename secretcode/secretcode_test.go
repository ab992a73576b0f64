// SPDX-License-Identifier: EUPL-1.2

package secretcode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWhatIsSpelledIsRead(t *testing.T) {
	for _, c := range []struct {
		bytes []byte
		n     int
		want  string
	}{{[]byte{0, 0, 0, 0, 0}, 8, "00000000"}, {[]byte{255, 255, 255, 255, 255}, 8, "ZZZZZZZZ"}, {[]byte{0x08, 0x42, 0x10, 0x84, 0x21}, 8, "11111111"},
		{[]byte{0xff, 0x00}, 2, "ZW"}} {
		if got := Spell(c.bytes, c.n); got != c.want {
			t.Errorf("%x is spelled %s, want %s", c.bytes, got, c.want)
		}
	}
	for typed, want := range map[string]string{"abcd-efgh": "ABCDEFGH", " o1il LO0.0 ": "01111000", "ab\u2011cd\u2013efgh": "ABCDEFGH",
		"ABCD-EFGU": "", "ABCD": "", "ABCDEFGHJ": "", strings.Repeat(" ", 200) + "ABCDEFGH": "", "ABCDEFG\u00e4": ""} {
		if got, ok := Normal(typed, 8); ok != (want != "") || ok && got != want {
			t.Errorf("%q is read as %q, %v", typed, got, ok)
		}
	}
	if got := Grouped("ABCDEFGHJK"); got != "ABCD-EFGH-JK" {
		t.Error(got)
	}
}

func FuzzNormal(f *testing.F) {
	f.Add("AB-cd o1")
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := Normal(typed, 8)
		if !ok {
			return
		}
		if again, ok := Normal(strings.ToLower(Grouped(code)), 8); !Valid(code, 8) || !ok || again != code {
			t.Errorf("%q became %q, then %q", typed, code, again)
		}
	})
}

func TestGateIsBounded(t *testing.T) {
	g := NewGate(1)
	if err := g.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range maxWaiting {
		go func() { done <- g.Enter(ctx) }()
	}
	for g.waiting.Load() < maxWaiting {
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	if err := g.Enter(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	cancel()
	for range maxWaiting {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	g.Leave()
	if err := g.Enter(t.Context()); err != nil || g.Entered() != 2 {
		t.Errorf("%v, %d turns", err, g.Entered())
	}
}

func TestThrottleIsBoundedAndForgets(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	th := NewThrottle(1, time.Minute)
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {59 * time.Second, false}, {time.Minute, true}, {61 * time.Second, false}} {
		if got := th.Allow("a", noon.Add(c.at)); got != c.want {
			t.Errorf("after %v: %v", c.at, got)
		}
	}
	th.Forget("a")
	if !th.Allow("a", noon.Add(62*time.Second)) {
		t.Error("what was forgotten counts")
	}
	for i := range 3 * maxCounts {
		th.Allow(string(rune(i)), noon)
	}
	if len(th.counts) > maxCounts {
		t.Errorf("%d counts", len(th.counts))
	}
}
