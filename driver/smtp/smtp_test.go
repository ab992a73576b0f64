// SPDX-License-Identifier: EUPL-1.2

package smtp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/alarm/channeltest"
	"codeberg.org/holdfast/holdfast/event"
)

// fakeRelay is a mail relay that keeps what it takes.
type fakeRelay struct {
	mu       sync.Mutex
	answer   channeltest.Answer
	refusal  *gosmtp.SMTPError // of RCPT, if set
	got      []channeltest.Delivery
	raw      []string
	sessions int
	logins   []string
	listener net.Listener
	done     chan struct{}
}

type session struct {
	relay *fakeRelay
	conn  *gosmtp.Conn
	to    string
}

func (r *fakeRelay) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions++
	return &session{relay: r, conn: c}, nil
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.relay.mu.Lock()
		defer s.relay.mu.Unlock()
		s.relay.logins = append(s.relay.logins, user+":"+password)
		if password != "s3cret" {
			return gosmtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *session) Mail(string, *gosmtp.MailOptions) error { return nil }
func (s *session) Reset()                                 {}
func (s *session) Logout() error                          { return nil }

func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.to = to
	s.relay.mu.Lock()
	answer, refusal := s.relay.answer, s.relay.refusal
	s.relay.mu.Unlock()
	switch answer {
	case channeltest.NotNow:
		return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "not now for " + to}
	case channeltest.Never:
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox: " + to}
	case channeltest.Break:
		_ = s.conn.Close()
	case channeltest.Hang:
		<-s.relay.done
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := mail.ReadMessage(strings.NewReader(string(b)))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return err
	}
	text := strings.TrimSuffix(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n")
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	s.relay.raw = append(s.relay.raw, string(b))
	s.relay.got = append(s.relay.got, channeltest.Delivery{To: s.to, Subject: subject, Text: text, Key: m.Header.Get("Message-ID")})
	return nil
}

func (r *fakeRelay) received() []channeltest.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]channeltest.Delivery(nil), r.got...)
}

// start starts a relay and a channel to it.
func start(t *testing.T, server func(*gosmtp.Server), client func(*Config)) (*fakeRelay, *gosmtp.Server, *Relay) {
	t.Helper()
	r := &fakeRelay{done: make(chan struct{})}
	srv := gosmtp.NewServer(r)
	srv.AllowInsecureAuth = true
	srv.ErrorLog = log.New(io.Discard, "", 0)
	if server != nil {
		server(srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.listener = l
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { close(r.done); _ = srv.Close() })
	c := Config{Address: l.Addr().String(), From: "Leitstelle Nordtal <alarm@nordtal.example>"}
	if client != nil {
		client(&c)
	}
	ch, err := New(c, func(string) (string, error) { return "s3cret\n", nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ch.Close)
	return r, srv, ch
}

func TestConformance(t *testing.T) {
	server, client := certificates(t)
	for name, security := range map[string]Security{"plain": Plain, "encrypted when offered": Offered} {
		t.Run(name, func(t *testing.T) {
			channeltest.Run(t, func(t *testing.T) channeltest.Fixture {
				r, srv, ch := start(t, func(s *gosmtp.Server) { s.TLSConfig = server }, func(c *Config) {
					c.Security, c.TLS = security, client
				})
				return channeltest.Fixture{
					Channel:  ch,
					To:       func(n int) string { return fmt.Sprintf("person.%d@nordtal.example", n) },
					Bad:      []string{"a@b.example>\r\nRCPT TO:<c@d.example", "a@b.example,c@d.example", "", "+491711234567", "A <a@b.example>"},
					Answer:   func(a channeltest.Answer) { r.mu.Lock(); r.answer = a; r.mu.Unlock() },
					Received: r.received,
					Stop:     func() { _ = r.listener.Close(); _ = srv.Close() },
				}
			})
		})
	}
}

func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}
}

func message() alarm.Message {
	return alarm.Message{IdempotencyKey: "k", To: "a@b.example", Subject: "Ü", Text: "x", Mode: event.Actual}
}

func TestConnectionsAreKept(t *testing.T) {
	r, _, ch := start(t, nil, func(c *Config) { c.Security = Plain })
	for range 20 {
		if _, err := ch.Send(t.Context(), message()); err != nil {
			t.Fatal(err)
		}
	}
	if r.sessions != 1 {
		t.Errorf("got %d connections for 20 mails, want 1", r.sessions)
	}
}

func TestADeadKeptConnectionIsReplaced(t *testing.T) {
	r, _, ch := start(t, nil, func(c *Config) { c.Security = Plain })
	if _, err := ch.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	_ = ch.pool.idle[0].net.Close()
	if _, err := ch.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if got := r.received(); len(got) != 2 || got[0].Key != got[1].Key || r.sessions != 2 {
		t.Errorf("got %v over %d connections", got, r.sessions)
	}
}

func TestPasswordIsSentOverTLSOnly(t *testing.T) {
	server, client := certificates(t)
	login := func(c *Config) { c.User, c.Secret, c.TLS = "alarm", "ref", client }
	r, _, ch := start(t, nil, login)
	if _, err := ch.Send(t.Context(), message()); err == nil || errors.Is(err, alarm.ErrFinal) || len(r.logins) > 0 {
		t.Errorf("without encryption: got %v, logins %v", err, r.logins)
	}
	r, _, ch = start(t, func(s *gosmtp.Server) { s.TLSConfig = server }, login)
	if _, err := ch.Send(t.Context(), message()); err != nil || len(r.logins) != 1 || r.logins[0] != "alarm:s3cret" {
		t.Errorf("with encryption: got %v, logins %v", err, r.logins)
	}
}

func TestEncryptionOfferedOnceIsInsistedOn(t *testing.T) {
	server, client := certificates(t)
	_, srv, ch := start(t, func(s *gosmtp.Server) { s.TLSConfig = server }, func(c *Config) { c.TLS = client })
	if _, err := ch.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	ch.Close()
	srv.TLSConfig = nil
	_, err := ch.Send(t.Context(), message())
	if !errors.Is(err, errDowngraded) || errors.Is(err, alarm.ErrFinal) {
		t.Errorf("got %v, want it refused for now", err)
	}
}

func TestRefusalsAreSortedIntoFinalAndTemporary(t *testing.T) {
	for _, c := range []struct {
		code     int
		enhanced gosmtp.EnhancedCode
		final    bool
	}{
		{550, gosmtp.EnhancedCode{5, 1, 1}, true}, {552, gosmtp.EnhancedCode{5, 2, 2}, true}, {554, gosmtp.EnhancedCode{5, 6, 0}, true},
		{550, gosmtp.EnhancedCode{5, 7, 1}, false}, {530, gosmtp.EnhancedCode{5, 7, 0}, false}, {535, gosmtp.EnhancedCode{5, 7, 8}, false},
		{421, gosmtp.EnhancedCode{4, 4, 2}, false}, {452, gosmtp.EnhancedCode{4, 2, 2}, false},
	} {
		r, _, ch := start(t, nil, func(c *Config) { c.Security = Plain })
		r.refusal = &gosmtp.SMTPError{Code: c.code, EnhancedCode: c.enhanced, Message: "a@b.example"}
		_, err := ch.Send(t.Context(), message())
		if err == nil || errors.Is(err, alarm.ErrFinal) != c.final {
			t.Errorf("%d %v: got %v, want final %v", c.code, c.enhanced, err, c.final)
		}
	}
}

func TestFieldsAreEncoded(t *testing.T) {
	r, _, ch := start(t, nil, func(c *Config) { c.Security = Plain })
	m := message()
	m.Subject = "ÜBUNG: \r\nBcc: x@y.example " + strings.Repeat("Fluß ", 40)
	if _, err := ch.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(r.raw[0], "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if len(line) > 76 || strings.HasPrefix(line, "Bcc") || !ascii(line) {
			t.Errorf("a field's line is wrong: %q", line)
		}
	}
	if got, want := r.got[0].Subject, strings.Join(strings.Fields(m.Subject), " "); got != want {
		t.Errorf("got subject %q, want %q", got, want)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"address":  func(c *Config) { c.Address = "mail.example" },
		"from":     func(c *Config) { c.From = "nobody" },
		"security": func(c *Config) { c.Security = "ssl" },
		"secret":   func(c *Config) { c.User = "alarm" },
	} {
		c := Config{Address: "mail.example:587", From: "a@b.example"}
		change(&c)
		if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), "field "+field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
