// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"errors"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// The figures belong to the machine; what is held here is that every measurement runs and reports what it promises.
func collect(t *testing.T, run func(report func(Metric)) error) map[string]Metric {
	t.Helper()
	got := make(map[string]Metric)
	if err := run(func(m Metric) {
		t.Logf("%-28s %12.1f %-9s %.1f", m.Name, m.Value, m.Unit, m.Ratio)
		got[m.Name] = m
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAppendIsMeasured(t *testing.T) {
	o := Options{Duration: 800 * time.Millisecond, Dir: t.TempDir()}
	got := collect(t, func(report func(Metric)) error { return Append(t.Context(), o, report) })
	if m := got["log_append"]; m.Value <= 0 || m.Ratio <= 0 || m.Against == "" {
		t.Errorf("log_append: %+v", m)
	}
}

func TestReplicationIsMeasured(t *testing.T) {
	o := Options{Duration: 500 * time.Millisecond, Dir: t.TempDir()}
	got := collect(t, func(report func(Metric)) error { return Replication(t.Context(), o, report) })
	for _, name := range []string{"replication_lag_p50", "replication_lag_p99", "replication_heal"} {
		if got[name].Value <= 0 {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
}

func TestFoldIsMeasured(t *testing.T) {
	o := Options{Duration: 500 * time.Millisecond, Dir: t.TempDir()}
	got := collect(t, func(report func(Metric)) error { return Fold(t.Context(), o, report) })
	if got["fold"].Value <= 0 {
		t.Errorf("fold: %+v", got["fold"])
	}
}

func TestUnknownSubject(t *testing.T) {
	err := Run(t.Context(), "weather", Options{}, func(Metric) {})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestSignInIsMeasured(t *testing.T) {
	o := Options{Duration: 800 * time.Millisecond, Dir: t.TempDir()}
	got := collect(t, func(report func(Metric)) error { return SignIn(t.Context(), o, report) })
	if got["signin_passkey"].Value <= 0 || got["signin_passkey_under_wrong_codes"].Ratio <= 0 || got["signin_wrong_codes"].Value < wrongCodes {
		t.Errorf("%+v", got)
	}
}

// What lines is compared with must work where it used to work: on a good line.
func TestReplicationAsItWasWorksOnAGoodLine(t *testing.T) {
	ctx := t.Context()
	s, err := newSlow(ctx, Options{Dir: t.TempDir()}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	const backlog = 1 << 20
	if err := errors.Join(s.fill(ctx, event.Operations, backlog, backlog/8), s.connect(ctx, 100_000)); err != nil {
		t.Fatal(err)
	}
	changed, unsubscribe := s.to.log.Subscribe()
	defer unsubscribe()
	draft := event.Draft{Subject: "alarm/7f3a", Kind: "bench.Noted", Mode: event.Test}
	r, err := s.from.log.Append(ctx, authority, event.Operations, draft)
	if err != nil {
		t.Fatal(err)
	}
	if err := arrive(ctx, s.to, changed, r); err != nil { // the last page of the log is stored after all others
		t.Fatal(err)
	}
}
