// SPDX-License-Identifier: EUPL-1.2

package phones

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// Addresses tells where the gateways listen.
type Addresses struct {
	SMS  string `json:"sms"`  // URL that takes POST
	Mail string `json:"mail"` // host:port of the mail server
	Ask  string `json:"ask"`  // URL of the counts
}

// Serve listens on two ports of host that the kernel picks, calls ready with them, and serves until ctx ends.
func Serve(ctx context.Context, p *Phones, host string, ready func(Addresses)) error {
	web, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return fmt.Errorf("listen for the SMS gateway: %w", err)
	}
	post, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		_ = web.Close()
		return fmt.Errorf("listen for the mail server: %w", err)
	}
	hs := &http.Server{Handler: p.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: time.Minute}
	ms := p.mailServer()
	ended := make(chan error, 2)
	go func() { ended <- hs.Serve(web) }()
	go func() { ended <- ms.Serve(post) }()
	base := "http://" + web.Addr().String()
	ready(Addresses{SMS: base + "/sms", Mail: post.Addr().String(), Ask: base})
	select {
	case <-ctx.Done():
		err = nil
	case err = <-ended:
	}
	_ = hs.Close()
	_ = ms.Close()
	p.Close()
	return err
}

// sms is the request of our SMS gateway; the demonstration's sites are configured for it.
type sms struct {
	To   string `json:"to"`
	Text string `json:"text"`
	Key  string `json:"key"`
}

func (p *Phones) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sms", p.takeSMS)
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Count()) })
	mux.HandleFunc("GET /replies", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Replies()) })
	mux.HandleFunc("GET /handovers", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Handovers()) })
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Messages()) })
	return mux
}

func (p *Phones) takeSMS(w http.ResponseWriter, r *http.Request) {
	var m sms
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&m); err != nil || m.To == "" || m.Key == "" {
		http.Error(w, "expected {to, text, key}", http.StatusBadRequest)
		return
	}
	p.Receive(Handover{Key: m.Key, Channel: "sms", From: r.Header.Get("X-Sender"), At: time.Now()}, m.Text)
	w.WriteHeader(http.StatusAccepted)
	answer(w, map[string]string{"id": m.Key})
}

func answer(w http.ResponseWriter, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	_ = json.NewEncoder(w).Encode(v)
}

func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
}

func (p *Phones) mailServer() *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailbox{phones: p}, nil }))
	s.Domain = "mail.example"
	s.MaxMessageBytes = 1 << 20
	s.MaxRecipients = 10
	s.ReadTimeout = time.Minute
	s.WriteTimeout = time.Minute
	return s
}

// mailbox is one SMTP session.
type mailbox struct {
	phones *Phones
	from   string
}

func (m *mailbox) Reset()        { m.from = "" }
func (m *mailbox) Logout() error { return nil }

func (m *mailbox) Mail(from string, _ *smtp.MailOptions) error {
	m.from = from
	return nil
}

func (m *mailbox) Rcpt(string, *smtp.RcptOptions) error { return nil }

// Data takes the mail. The idempotency key comes in a header of its own; the sender's local part names the site.
func (m *mailbox) Data(r io.Reader) error {
	msg, err := mail.ReadMessage(io.LimitReader(r, 1<<20))
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: "not a mail"}
	}
	body, err := readBody(msg)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: "unreadable body"}
	}
	key := msg.Header.Get("X-Holdfast-Key")
	if key == "" {
		return &smtp.SMTPError{Code: 554, Message: "no X-Holdfast-Key"}
	}
	from, _, _ := strings.Cut(m.from, "@")
	m.phones.Receive(Handover{Key: key, Channel: "email", From: from, At: time.Now()}, body)
	return nil
}

func readBody(msg *mail.Message) (string, error) {
	body := msg.Body
	if strings.EqualFold(msg.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	b, err := io.ReadAll(body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	return string(b), nil
}
