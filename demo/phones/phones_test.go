// SPDX-License-Identifier: EUPL-1.2

package phones

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// serve runs phones on ports that the kernel picks.
func serve(t *testing.T, p *Phones) Addresses {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	addresses, ended := make(chan Addresses, 1), make(chan error, 1)
	go func() { ended <- Serve(ctx, p, "127.0.0.1", func(a Addresses) { addresses <- a }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return <-addresses
}

func TestGatewaysCountEveryHandoverAndHideNoDouble(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := New(ctx, 1, 0)
	a := serve(t, p)
	for range 2 {
		body, _ := json.Marshal(sms{To: "+491710000000", Text: "x", Key: "lk/a1/p1/sms/0"})
		req, _ := http.NewRequest(http.MethodPost, a.SMS, bytes.NewReader(body))
		req.Header.Set("X-Sender", "north")
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatalf("hand over an SMS: %v, %v", resp, err)
		}
		drain(resp)
	}
	mail := "X-Holdfast-Key: lk/a1/p1/email/0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
	if err := smtp.SendMail(a.Mail, nil, "south@alarm.example", []string{"p1@lk.example"}, []byte(mail)); err != nil {
		t.Fatal(err)
	}
	got := p.Count()
	if got.Handovers != 3 || got.Distinct != 2 || got.Duplicates != 1 || got.People != 1 {
		t.Errorf("got %+v, want 3 hand-overs, 2 distinct, 1 duplicate, 1 person", got)
	}
	if got.BySender["north"] != 2 || got.BySender["south"] != 1 || got.ByChannel["email"] != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestAPhoneTriesTheLinksInTurnAndRepliesOnce(t *testing.T) {
	var posts atomic.Int32
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
			if kind := r.FormValue("reply"); kind != "coming" && kind != "cannot" && kind != "safe" {
				t.Errorf("replied %q", kind)
			}
		}
	}))
	defer alive.Close()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p := New(ctx, 1, 1)
	text := fmt.Sprintf("%s/r/AAAA oder %s/r/AAAA", dead.URL, alive.URL)
	p.Receive(Handover{Key: "lk/a1/p1/sms/0", Channel: "sms"}, text)
	p.Receive(Handover{Key: "lk/a1/p1/email/0", Channel: "email"}, text)
	p.Close()
	replies := p.Replies()
	if posts.Load() != 1 || len(replies) != 1 || replies[0].Tries != 2 {
		t.Errorf("%d posts, replies %+v; want one, at the second link", posts.Load(), replies)
	}
}

func TestPeopleBehaveTheSameForTheSameSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := New(t.Context(), 7, 1), New(t.Context(), 7, 1)
		if a.habits("a1", "p1").Uint64() != b.habits("a1", "p1").Uint64() {
			t.Error("the same seed gives other habits")
		}
		if a.habits("a1", "p1").Uint64() == a.habits("a1", "p2").Uint64() {
			t.Error("two people have the same habits")
		}
	})
}
