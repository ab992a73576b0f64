// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// pacedLine is a line that is always full of answers as large as they may be, by a clock of its own.
type pacedLine struct {
	p     *pacer
	now   time.Time
	rate  float64 // bytes per second
	delay time.Duration
	free  time.Time // when the line has carried all that was asked for
	out   []flight
	bytes int
}

type flight struct {
	asking
	at time.Time
}

func newPacedLine(rate float64, delay time.Duration) *pacedLine {
	l := &pacedLine{now: time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC), rate: rate, delay: delay}
	l.p = newPacer(func() time.Time { return l.now }, newInlet())
	return l
}

// send asks for one more answer, if the pacer lets it.
func (l *pacedLine) send(w way) bool {
	a, _, ok := l.p.tryTake(w)
	if !ok {
		return false
	}
	begin := l.now.Add(l.delay)
	if l.free.After(begin) {
		begin = l.free
	}
	l.free = begin.Add(time.Duration(float64(a.size) / l.rate * float64(time.Second)))
	l.out = append(l.out, flight{a, l.free.Add(l.delay)})
	return true
}

// step asks for what may be asked for, at most two answers, and lets the next one arrive.
func (l *pacedLine) step() {
	for len(l.out) < 2 && l.send(bulkWay) {
		continue
	}
	f := l.out[0]
	l.out = l.out[1:]
	l.now = f.at
	l.bytes += f.size
	l.p.done(f.asking, f.size, nil)
}

func TestAnswersFillTheLineAndNoMore(t *testing.T) {
	for _, kbit := range []float64{16, 64, 256, 512, 2000, 100000} {
		for _, delay := range []time.Duration{time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond} {
			t.Run(fmt.Sprintf("%v kbit/s %v", kbit, delay), func(t *testing.T) {
				l := newPacedLine(kbit*125, delay)
				short := l.p.small()
				l.now = l.now.Add(2 * delay)
				l.p.done(short, 100, nil)
				for range 40 {
					l.step()
				}
				began, before := l.now, l.bytes
				for range 100 {
					l.step()
				}
				share := float64(l.bytes-before) / l.now.Sub(began).Seconds() / l.rate
				waits := float64(l.p.window) / l.rate
				bound := max(1.5, 6*delay.Seconds())
				if full := float64(2*maxAnswerBytes) / l.rate; share < 0.9 && full > 2*delay.Seconds() {
					t.Errorf("the line is used by %.0f %%", 100*share)
				}
				if waits > bound && l.p.window > minWindow {
					t.Errorf("what is urgent waits %.1f s behind what is under way, want at most %.1f s", waits, bound)
				}
			})
		}
	}
}

func TestAGoodLineHasFullAnswersAfterAFewRoundTrips(t *testing.T) {
	l := newPacedLine(100e6, time.Millisecond)
	for range 12 {
		l.step()
	}
	if got := l.p.size(); got != maxAnswerBytes {
		t.Errorf("after twelve answers one may have %d bytes, want %d", got, maxAnswerBytes)
	}
}

func TestALineThatGetsSlowIsFollowed(t *testing.T) {
	l := newPacedLine(125000, 30*time.Millisecond)
	for range 40 {
		l.step()
	}
	l.rate = 8000
	for range 20 {
		l.step()
	}
	if waits := float64(l.p.window) / l.rate; waits > 1.5 {
		t.Errorf("%.1f s of the slow line are under way", waits)
	}
	t.Run("AnswersStayOut", func(t *testing.T) {
		l := newPacedLine(1e6, time.Millisecond)
		for range 20 {
			l.step()
		}
		a, err := l.p.take(t.Context(), urgentWay)
		if err != nil {
			t.Fatal(err)
		}
		l.now = l.now.Add(l.p.patience(a.size))
		l.p.done(a, 0, context.DeadlineExceeded)
		if got := l.p.size(); got != minAnswerBytes {
			t.Errorf("the next answer may have %d bytes, want %d", got, minAnswerBytes)
		}
	})
	t.Run("CutAtOnce", func(t *testing.T) {
		l := newPacedLine(1e6, time.Millisecond)
		for range 20 {
			l.step()
		}
		before := l.p.size()
		a, err := l.p.take(t.Context(), urgentWay)
		if err != nil {
			t.Fatal(err)
		}
		l.p.done(a, 0, errors.New("the line is cut"))
		if got := l.p.size(); got != before {
			t.Errorf("a cut changes the size from %d to %d", before, got)
		}
	})
}

func TestALineThatAnswersNothingForLongIsTriedAsOneThatIsVerySlow(t *testing.T) {
	l := newPacedLine(100e3, 0)
	for range 20 {
		l.step()
	}
	for i := range 80 {
		a, _, _ := l.p.tryTake(urgentWay)
		patience := l.p.patience(a.size)
		if patience < minPatience || patience > maxPatience {
			t.Fatalf("after %d time-outs a question waits for %v", i, patience)
		}
		l.now = l.now.Add(patience)
		l.p.done(a, 0, context.DeadlineExceeded)
	}
	if l.p.rate < leastRate {
		t.Errorf("after 80 time-outs the line is taken to carry %g bytes a second", l.p.rate)
	}
	l.p.rate = 1e-6 // as measured
	if got := l.p.patience(maxAnswerBytes); got != maxPatience {
		t.Errorf("on a line that carries next to nothing a question waits for %v", got)
	}
}

func TestAllHeadsAreAskedForOnceAnHourOverAnyLine(t *testing.T) {
	for _, test := range []struct {
		heads int
		rate  float64
		want  time.Duration
	}{
		{heads: 100, want: fullHeadsEvery},
		{heads: 100, rate: 1e6, want: fullHeadsEvery},
		{heads: 100, rate: 8000, want: 218750 * time.Millisecond},
		{heads: 100, rate: 1, want: time.Hour},
		{heads: maxHeadsPerPeer, rate: 1e-6, want: time.Hour},
	} {
		if got := askAllEvery(test.heads, test.rate); got != test.want {
			t.Errorf("%d heads at %g bytes a second: every %v, want %v", test.heads, test.rate, got, test.want)
		}
	}
}

func TestBulkWaitsForRoomAndUrgentDoesNot(t *testing.T) {
	l := newPacedLine(8000, 0)
	for l.send(bulkWay) {
		continue
	}
	if l.p.flying > l.p.window*5/4 {
		t.Fatalf("%d bytes are under way, more than the window of %d", l.p.flying, l.p.window)
	}
	if !l.send(urgentWay) {
		t.Fatal("what is urgent was held back")
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, err := l.p.take(ctx, bulkWay)
		got <- err
	}()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("bulk went out beyond the window: %v", err)
	}
	go func() {
		_, err := l.p.take(t.Context(), bulkWay)
		got <- err
	}()
	for len(l.out) > 0 {
		f := l.out[0]
		l.out = l.out[1:]
		l.p.done(f.asking, f.size, nil)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestHeadsBeyondTheBoundAreCountedAndTold(t *testing.T) {
	s := &peerState{heads: make(map[Branch]*peerHead)}
	r := &Replicator{cfg: ReplicatorConfig{Log: anything{}}}
	id := LogID{Authority: "nordtal", Class: event.Record, Site: event.SiteID(strings.Repeat("a", 52))}
	head := func(i int) announced {
		id.Incarnation = fmt.Sprintf("%016x", i)
		return announced{Head: Head{Branch: Branch{LogID: id}, Page: 1}, Version: uint64(i + 1)}
	}
	for i := range maxHeadsPerPeer {
		r.recordHead(s, head(i))
	}
	if len(s.heads) != maxHeadsPerPeer || s.trouble() != "" {
		t.Fatalf("%d heads are kept, trouble %q", len(s.heads), s.trouble())
	}
	r.recordHead(s, head(maxHeadsPerPeer))
	if s.trouble() == "" {
		t.Error("a head was left out without a word")
	}
}

// anything is a log that may hold everything.
type anything struct{ Copies }

func (anything) MayHold(LogID) error { return nil }
