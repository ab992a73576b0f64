// SPDX-License-Identifier: EUPL-1.2

// Package channeltest is what every alarm.Channel must pass. A driver's test hands Run a channel together with the
// gateway it talks to: a real server in the test's process, told how to answer.
package channeltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/event"
)

// Answer is how the gateway treats what comes next.
type Answer int

// The answers.
const (
	Take   Answer = iota // take it
	NotNow               // refuse it for now: HTTP 503, SMTP 451
	Never                // refuse it for good: HTTP 400, SMTP 550
	Hang                 // do not answer until the other side gives up
	Break                // break the connection without an answer
)

// Delivery is what the gateway got and took.
type Delivery struct {
	To, Subject, Text string
	// Key is what the gateway can tell repeated messages by.
	Key string
}

// Fixture is a channel and its gateway.
type Fixture struct {
	Channel alarm.Channel
	// To makes an address that is valid for the channel, another one for each n.
	To func(n int) string
	// Bad are addresses that a careless driver would let out of their place in the protocol, such as with line ends.
	Bad []string
	// Answer tells the gateway how to answer from now on.
	Answer func(Answer)
	// Received returns what the gateway has taken, in order.
	Received func() []Delivery
	// Stop makes the gateway unreachable.
	Stop func()
}

const text = "ÜBUNG / EXERCISE: Hochwasser am Fluß – Pegel \"Nordtal\" über 5 m.\nKommen Sie zum Stabsraum {{.Key}} <3>\n.\n" +
	"Antwort: https://a.example/r/AbC_-123 oder https://b.example/r/AbC_-123"

// Run runs the suite. make is called once for every test.
func Run(t *testing.T, make func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"a message arrives unchanged":                        unchanged,
		"a long message arrives whole":                       long,
		"the same key again is the same for the gateway":     sameKey,
		"different keys are different for the gateway":       differentKeys,
		"not now is temporary":                               temporary,
		"never is final":                                     final,
		"a broken connection is temporary":                   broken,
		"an absent gateway is temporary":                     absent,
		"it goes on after the gateway has come back":         recovers,
		"a gateway that hangs is left when the context ends": hangs,
		"many at one time all arrive":                        many,
		"an address cannot break out of its place":           injection,
		"errors hold neither the address nor the text":       discreet,
		"it has a kind":                                      kind,
	} {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

func message(f Fixture, n int) alarm.Message {
	return alarm.Message{
		IdempotencyKey: fmt.Sprintf("lk-nordtal/00112233445566aa/%016x/%s/0", n, f.Channel.Kind()),
		To:             f.To(n), Subject: "ÜBUNG / EXERCISE: Hochwasser am Fluß", Text: text, Mode: event.Exercise,
	}
}

func send(t *testing.T, f Fixture, m alarm.Message) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := f.Channel.Send(ctx, m)
	return err
}

func mustSend(t *testing.T, f Fixture, m alarm.Message) {
	t.Helper()
	if err := send(t, f, m); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func unchanged(t *testing.T, f Fixture) {
	m := message(f, 1)
	mustSend(t, f, m)
	got := f.Received()
	if len(got) != 1 {
		t.Fatalf("got %d deliveries, want 1", len(got))
	}
	if got[0].To != m.To || got[0].Text != m.Text {
		t.Errorf("got %q to %q,\nwant %q to %q", got[0].Text, got[0].To, m.Text, m.To)
	}
	if got[0].Subject != "" && got[0].Subject != m.Subject {
		t.Errorf("got subject %q, want %q", got[0].Subject, m.Subject)
	}
	if got[0].Key == "" {
		t.Error("the gateway cannot tell repeated messages")
	}
}

func long(t *testing.T, f Fixture) {
	m := message(f, 1)
	m.Text = strings.Repeat("Überschwemmung = überall. ", 300) + strings.Repeat("x", 3000) + "\nEnde"
	mustSend(t, f, m)
	if got := f.Received(); len(got) != 1 || got[0].Text != m.Text {
		t.Errorf("the long text did not arrive unchanged (%d deliveries)", len(got))
	}
}

func sameKey(t *testing.T, f Fixture) {
	m := message(f, 1)
	mustSend(t, f, m)
	mustSend(t, f, m)
	if got := f.Received(); len(got) != 2 || got[0].Key != got[1].Key {
		t.Errorf("got %v, want twice the same key", got)
	}
}

func differentKeys(t *testing.T, f Fixture) {
	mustSend(t, f, message(f, 1))
	mustSend(t, f, message(f, 2))
	if got := f.Received(); len(got) != 2 || got[0].Key == got[1].Key {
		t.Errorf("got %v, want two keys", got)
	}
}

// refusedAs checks an error's finality and that its code can be stored.
func refusedAs(t *testing.T, err error, wantFinal bool) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error")
	}
	if got := errors.Is(err, alarm.ErrFinal); got != wantFinal {
		t.Errorf("final: got %v, want %v (%v)", got, wantFinal, err)
	}
	if e, ok := errors.AsType[*alarm.SendError](err); !ok || e.Code == "" {
		t.Errorf("got %T without a code: %v", err, err)
	}
}

func temporary(t *testing.T, f Fixture) {
	f.Answer(NotNow)
	refusedAs(t, send(t, f, message(f, 1)), false)
	if n := len(f.Received()); n != 0 {
		t.Errorf("got %d deliveries, want none", n)
	}
}

func final(t *testing.T, f Fixture) {
	f.Answer(Never)
	refusedAs(t, send(t, f, message(f, 1)), true)
}

func broken(t *testing.T, f Fixture) {
	f.Answer(Break)
	refusedAs(t, send(t, f, message(f, 1)), false)
}

func absent(t *testing.T, f Fixture) {
	f.Stop()
	refusedAs(t, send(t, f, message(f, 1)), false)
}

func recovers(t *testing.T, f Fixture) {
	for _, a := range []Answer{NotNow, Never, Break} {
		f.Answer(a)
		if err := send(t, f, message(f, 1)); err == nil {
			t.Fatal("got no error")
		}
		f.Answer(Take)
		mustSend(t, f, message(f, 1))
	}
	if n := len(f.Received()); n != 3 {
		t.Errorf("got %d deliveries, want 3", n)
	}
}

func hangs(t *testing.T, f Fixture) {
	f.Answer(Hang)
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := f.Channel.Send(ctx, message(f, 1))
	refusedAs(t, err, false)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to give up", took)
	}
}

func many(t *testing.T, f Fixture) {
	const n = 200
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { _, errs[i] = f.Channel.Send(t.Context(), message(f, i)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, d := range f.Received() {
		seen[d.To+" "+d.Key] = true
	}
	if len(seen) != n {
		t.Errorf("got %d different deliveries, want %d", len(seen), n)
	}
}

func injection(t *testing.T, f Fixture) {
	for i, bad := range f.Bad {
		m := message(f, i)
		m.To = bad
		before := len(f.Received())
		err := send(t, f, m)
		got := f.Received()[before:]
		if err != nil {
			if !errors.Is(err, alarm.ErrFinal) || len(got) > 0 {
				t.Errorf("%q: got %v with %d deliveries, want it refused for good", bad, err, len(got))
			}
			continue
		}
		if len(got) != 1 || got[0].To != bad || got[0].Text != m.Text {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func discreet(t *testing.T, f Fixture) {
	for _, a := range []Answer{NotNow, Never, Break} {
		f.Answer(a)
		m := message(f, 7)
		err := send(t, f, m)
		if err == nil {
			t.Fatal("got no error")
		}
		if strings.Contains(err.Error(), m.To) || strings.Contains(err.Error(), "Hochwasser") {
			t.Errorf("the error tells too much: %v", err)
		}
	}
}

func kind(t *testing.T, f Fixture) {
	if f.Channel.Kind() == "" {
		t.Error("the channel has no kind")
	}
}
