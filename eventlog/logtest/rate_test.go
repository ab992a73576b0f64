// SPDX-License-Identifier: EUPL-1.2

package logtest_test

import (
	"context"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
)

// line is two sites on a network whose time is counted.
type line struct {
	net     *logtest.Network
	a, b    event.SiteID
	port    *logtest.Port
	passed  time.Duration
	handled int
}

func newLine(t *testing.T, answerBytes int) *line {
	l := &line{net: logtest.NewNetwork(1), a: logtest.Identity(t, 1).Site(), b: logtest.Identity(t, 2).Site()}
	l.net.Elapse(func(d time.Duration) { l.passed += d })
	l.port = l.net.Join(l.a)
	l.net.Join(l.b).Handle("echo", func(context.Context, event.SiteID, []byte) ([]byte, error) {
		l.handled++
		return make([]byte, answerBytes), nil
	})
	return l
}

func TestASlowLineTakesItsTimeInEachDirection(t *testing.T) {
	l := newLine(t, 4000)
	l.net.SetRate(l.a, l.b, 1000)
	l.net.SetRate(l.b, l.a, 2000)
	if _, err := l.port.Request(t.Context(), l.b, "echo", make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if want := 500*time.Millisecond + 2*time.Second; l.passed != want {
		t.Errorf("a request of 500 bytes at 1000 bytes/s and an answer of 4000 at 2000 took %v, want %v", l.passed, want)
	}
}

func TestARequestFailsAfterItsPatience(t *testing.T) {
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for name, test := range map[string]struct {
		ctx             context.Context
		request, answer int
		passed          time.Duration
		handled         int
	}{
		"the answer takes longer than 5 s":        {t.Context(), 0, 6000, logtest.DefaultPatience, 1},
		"the request takes longer than 5 s":       {t.Context(), 6000, 0, logtest.DefaultPatience, 0},
		"the answer comes after the deadline":     {short, 1000, 2500, 3 * time.Second, 1},
		"both together take longer than 5 s":      {t.Context(), 3000, 3000, logtest.DefaultPatience, 1},
		"the request comes after the deadline":    {short, 3500, 0, 3 * time.Second, 0},
		"what arrives at the last moment is late": {t.Context(), 2500, 2500, logtest.DefaultPatience, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLine(t, test.answer)
			l.net.SetRate(l.a, l.b, 1000)
			l.net.SetRate(l.b, l.a, 1000)
			_, err := l.port.Request(test.ctx, l.b, "echo", make([]byte, test.request))
			if fault.KindOf(err) != fault.Unavailable {
				t.Errorf("got %v, want that the site cannot be reached", err)
			}
			if l.passed != test.passed || l.handled != test.handled {
				t.Errorf("%v passed and %d were handled, want %v and %d", l.passed, l.handled, test.passed, test.handled)
			}
		})
	}
}

func TestACutOneWayLetsTheOtherWayThrough(t *testing.T) {
	l := newLine(t, 1)
	l.net.Join(l.a).Handle("echo", func(context.Context, event.SiteID, []byte) ([]byte, error) { return nil, nil })
	l.net.CutOneWay(l.a, l.b)
	if _, err := l.port.Request(t.Context(), l.b, "echo", nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want that the site cannot be reached", err)
	}
	if _, err := l.net.Join(l.b).Request(t.Context(), l.a, "echo", nil); err != nil {
		t.Errorf("the other way: %v", err)
	}
	l.net.Heal(l.a, l.b)
	if _, err := l.port.Request(t.Context(), l.b, "echo", nil); err != nil {
		t.Errorf("after healing: %v", err)
	}
}
