// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// lateLine lets the next answer with heads be under way for a while, in which something may happen.
type lateLine struct {
	*testSite
	meanwhile func()
}

func (l *lateLine) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	answer, err := l.port.Request(ctx, to, verb, body)
	if f := l.meanwhile; f != nil && verb == eventlog.VerbHeads {
		l.meanwhile = nil
		f()
	}
	return answer, err
}

// With open, a catch-up is open when the answer is on its way; else it ends a silence all the same.
func lateAnswer(t *testing.T, open bool) (fresh bool) {
	f := newFederation(t, "a", "b")
	a, b := f.sites[0], f.sites[1]
	l := &lateLine{testSite: b}
	var err error
	b.rep, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: b.log, Link: l, Policy: b.policy, Self: b.name, Peers: f.peers, Rand: b.rnd, Logger: slog.New(slog.DiscardHandler),
		Now: f.clock, Steady: f.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.port.Serve(b.rep)
	a.append("nordtal", "one")
	b.rep.Fresh("nordtal")
	for range 3 {
		b.step(a)
		f.now = f.now.Add(time.Second)
	}
	if !b.rep.Fresh("nordtal") {
		t.Fatal("not fresh after the start")
	}
	if open { // a cut of ten seconds is over: the other one says a word
		f.now = f.now.Add(10 * time.Second)
		a.step(b)
		if b.rep.Fresh("nordtal") {
			t.Fatal("fresh right after a silence")
		}
	}
	l.meanwhile = func() { // the next cut: the answer of before it comes when it is over, as TCP does it
		f.now = f.now.Add(4300 * time.Millisecond)
		a.append("nordtal", "second")
	}
	b.step(a)
	return b.rep.Fresh("nordtal")
}

func TestAnAnswerFromBeforeASilenceDoesNotEndIt(t *testing.T) {
	if lateAnswer(t, false) {
		t.Error("with no catch-up open: fresh, without knowing what the other one did during the silence")
	}
	if lateAnswer(t, true) {
		t.Error("with a catch-up open: fresh, without knowing what the other one did during the second silence")
	}
}
