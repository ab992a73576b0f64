// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

func TestHandshakesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn, began := newTurns(), time.Now()
		give := turn.take(nil)
		time.AfterFunc(time.Second, give)
		turn.take(nil)
		if took := time.Since(began); took != time.Second {
			t.Errorf("the second handshake began after %v, the first had ended after one second", took)
		}
		third := turn.take(nil) // the second one hangs
		if took := time.Since(began); took != time.Second+handshakeTurn {
			t.Errorf("behind one that hangs the next began after %v", took)
		}
		third()
		third()
		turn.take(nil)()
		if took := time.Since(began); took != time.Second+handshakeTurn {
			t.Errorf("behind one that has ended the next began after %v", took)
		}
		var nobody turns
		nobody.take(nil)()
	})
}

func TestBulkConnectsAfterTheOtherConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	up, gave, shaking := make(chan bool, 1000), 0, 0
	d := &dialer{
		turns: newTurns(), shaking: func(*shakingConn) { gave++ },
	}
	d.ready = func() bool {
		shaking = len(d.turns)
		return <-up
	}
	for range 3 {
		up <- false
	}
	up <- true
	conn, err := d.Dial("tcp", l.Addr().String())
	if err != nil || gave != 1 || len(up) != 0 {
		t.Fatalf("%v; %d handshakes have begun, asked %d times too few", err, gave, len(up))
	}
	if len(d.turns) != 1 {
		t.Error("the handshake has no turn")
	}
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || len(d.turns) != 0 {
		t.Errorf("%v: a handshake that failed keeps its turn", err)
	}
	up <- true
	if _, err = d.Dial("tcp", l.Addr().String()); err != nil || len(d.turns) != 1 {
		t.Fatalf("%v: the second handshake has no turn", err)
	}
	up <- true // NATS has given that one up, and left it open
	conn, err = d.Dial("tcp", l.Addr().String())
	if err != nil || shaking != 0 {
		t.Fatalf("%v: the third handshake waits for the second of the same connection", err)
	}
	if err := conn.Close(); err != nil || len(d.turns) != 0 {
		t.Errorf("%v: a connection that ended keeps its turn", err)
	}
	t.Run("NotForEver", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &dialer{ready: func() bool { return false }}
			if _, err := d.Dial("tcp", "127.0.0.1:1"); !errors.Is(err, errMainFirst) {
				t.Errorf("got %v", err)
			}
		})
	})
}

// Peers that accept and say nothing, as a process does that was stopped, must not make the end of this site wait for each of
// them in turn.
func TestClosingDoesNotWaitForHandshakes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	links := linksOf(t, logtest.Identity(t, 1), l.Addr().String())
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	for i := range 4 {
		go func() { _, _ = links.Request(t.Context(), logtest.Identity(t, byte(10+i)).Site(), "heads", nil) }()
	}
	for range 4 {
		defer (<-accepted).Close()
	}
	began := time.Now()
	if err := links.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > handshakeTimeout {
		t.Errorf("closing took %v", took)
	}
}
