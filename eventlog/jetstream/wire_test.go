// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/fault"
)

func insecure() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
}

func TestFaultOnWire(t *testing.T) {
	in := fault.New(fault.Conflict, "a.b", strings.Repeat("ä", 900), "do this").With(errors.New("secret"))
	out := decodeFault(encodeFault(in))
	if out.Kind != in.Kind || out.Code != in.Code || out.WayOut != in.WayOut || !strings.HasPrefix(in.Message, out.Message) {
		t.Errorf("got %v", out)
	}
	if strings.Contains(string(encodeFault(in)), "secret") {
		t.Error("the cause went over the wire")
	}
	if f := decodeFault([]byte(`{"kind":"newer","code":"c","message":"m"}`)); f.Kind != fault.Internal || f.Code != "c" {
		t.Errorf("an unknown kind: got %#v", f)
	}
}

// Whatever another site sends as a fault, we have a fault of a kind that we know, with bounded texts.
func FuzzFault(f *testing.F) {
	f.Add([]byte(`{"kind":"conflict","code":"a.b","message":"m","wayOut":"w"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := decodeFault(b)
		if !knownKinds[got.Kind] || got.Code == "" || got.Message == "" || len(got.Message) > 1000 || got.Err != nil {
			t.Fatalf("got %#v", got)
		}
	})
}

// A stream's name comes from the disk; only what streamOf makes is taken for a branch.
func FuzzBranchOf(f *testing.F) {
	f.Add("lk-nordtal_operations_aaaa_0123456789abcdef")
	f.Add("a_b_c_d_e")
	f.Fuzz(func(t *testing.T, name string) {
		if b, ok := branchOf(name); ok && streamOf(b) != name {
			t.Fatalf("%q is read as %v, which is %q", name, b, streamOf(b))
		}
	})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
