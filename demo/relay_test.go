// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo listens and sends everything back.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func ask(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestACutWireBreaksForOneSiteOnlyAndCanBeMended(t *testing.T) {
	r, err := newRelay("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	r.forward(echo(t))
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", r.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	one, other := dial("127.0.0.2"), dial("127.0.0.3")
	if err := ask(one); err != nil {
		t.Fatalf("before the cut: %v", err)
	}
	if err := ask(other); err != nil {
		t.Fatalf("before the cut: %v", err)
	}
	r.bar("127.0.0.2", true)
	if err := ask(one); err == nil {
		t.Error("a connection survived the cut")
	}
	if err := ask(dial("127.0.0.2")); err == nil {
		t.Error("a new connection got through the cut")
	}
	if err := ask(other); err != nil {
		t.Errorf("the cut hit another site: %v", err)
	}
	r.bar("127.0.0.2", false)
	if err := ask(dial("127.0.0.2")); err != nil {
		t.Errorf("after mending: %v", err)
	}
}
