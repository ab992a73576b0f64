// SPDX-License-Identifier: EUPL-1.2

package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/fault"
)

// Security says how connections are encrypted. See the package comment.
type Security string

// The kinds of security.
const (
	Offered  Security = ""         // STARTTLS when offered
	StartTLS Security = "starttls" // STARTTLS or nothing
	TLS      Security = "tls"      // from the first byte, port 465
	Plain    Security = "plain"    // never
)

// Config describes a relay.
type Config struct {
	// Address is host:port.
	Address  string
	Security Security
	// From is the sender, "alarm@behoerde.example" or "Alarm <alarm@behoerde.example>".
	From string
	// Hello is how we introduce ourselves, "localhost" if empty.
	Hello string
	// User and Secret authenticate us; Secret is a reference that the reader of secrets understands. Both or none.
	User, Secret string
	// TLS is the base of the TLS settings; nil means the system's certificates. The server's name is filled in.
	TLS *tls.Config
	// Connections bounds the connections at one time; zero means 8.
	Connections int
	// Now is read for the Date field and for the age of connections; nil means time.Now.
	Now func() time.Time
}

// Relay is an alarm.Channel of kind Email. It is safe for concurrent use. Close it to end its connections.
type Relay struct {
	cfg    Config
	from   *mail.Address
	domain string
	pool   *pool
}

var _ alarm.Channel = (*Relay)(nil)

// New returns a relay; it connects when there is something to send. readSecret returns what a reference refers to. New
// returns a fault of kind Invalid that names the wrong field.
func New(c Config, readSecret func(ref string) (string, error)) (*Relay, error) {
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" {
		return nil, invalid("address", "%.60q is not host:port", c.Address)
	}
	from, err := mail.ParseAddress(c.From)
	if err != nil || !sound(from.Address) {
		return nil, invalid("from", "%.60q is not an e-mail address", c.From)
	}
	switch c.Security {
	case Offered, StartTLS, TLS, Plain:
	default:
		return nil, invalid("security", "%.20q is none of starttls, tls, plain", string(c.Security))
	}
	if (c.User == "") != (c.Secret == "") {
		return nil, invalid("secret", "user and secret belong together")
	}
	if c.Hello == "" {
		c.Hello = "localhost"
	}
	if c.Connections <= 0 {
		c.Connections = 8
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	return &Relay{cfg: c, from: from, domain: domain, pool: newPool(c, host, readSecret)}, nil
}

func invalid(field, format string, args ...any) error {
	return fault.New(fault.Invalid, "smtp.config", "the mail relay's settings are wrong: "+fmt.Sprintf(format, args...),
		"compare with the relay's description and docs/operating.md").At(0, field)
}

// Close ends the connections that are idle. Messages under way go on.
func (r *Relay) Close() { r.pool.close() }

// Kind returns directory.Email.
func (r *Relay) Kind() directory.ChannelKind { return directory.Email }

// Send hands one message over. See the package comment for what is final and what is temporary. A connection that was
// kept and turns out to be dead is replaced once, which cannot deliver twice, as the message was not complete.
func (r *Relay) Send(ctx context.Context, m alarm.Message) (alarm.SendResult, error) {
	if !sound(m.To) {
		return alarm.SendResult{}, &alarm.SendError{Code: "smtp.address", Final: true}
	}
	body, err := compose(r.from, r.domain, m, r.cfg.Now())
	if err != nil {
		return alarm.SendResult{}, &alarm.SendError{Code: "smtp.compose", Final: true}
	}
	for {
		c, err := r.pool.get(ctx)
		if err != nil {
			return alarm.SendResult{}, sendError("connect", err)
		}
		stage, err := r.deliver(ctx, c, m.To, body)
		r.pool.put(c, err == nil)
		if err == nil {
			return alarm.SendResult{Ref: messageID(m.IdempotencyKey, r.domain)}, nil
		}
		if c.reused && stage == "mail" && !refused(err) && ctx.Err() == nil {
			continue // the dead connection is gone from the pool, so this ends with a new one
		}
		return alarm.SendResult{}, sendError(stage, err)
	}
}

// sound reports whether an address is one plain address: nothing that could leave its place in a command or a field.
func sound(address string) bool {
	if len(address) > 254 || strings.ContainsAny(address, " <>\r\n\t\"\\,;:()[]") {
		return false
	}
	a, err := mail.ParseAddress(address)
	return err == nil && a.Address == address
}

// deliver makes one mail transaction. It returns how far it came.
func (r *Relay) deliver(ctx context.Context, c *conn, to string, body []byte) (stage string, err error) {
	// The client knows timeouts but no contexts: closing the connection is what ends it.
	stop := context.AfterFunc(ctx, func() { _ = c.net.Close() })
	defer stop()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	var opts *gosmtp.MailOptions
	if !ascii(to) {
		if ok, _ := c.Extension("SMTPUTF8"); !ok {
			return "rcpt", &gosmtp.SMTPError{Code: 553, EnhancedCode: gosmtp.EnhancedCode{5, 6, 7}}
		}
		opts = &gosmtp.MailOptions{UTF8: true}
	}
	if err := c.Mail(r.from.Address, opts); err != nil {
		return "mail", err
	}
	if err := c.Rcpt(to, nil); err != nil {
		return "rcpt", err
	}
	w, err := c.Data()
	if err != nil {
		return "data", err
	}
	if _, err := w.Write(body); err != nil {
		return "data", err
	}
	return "data", w.Close()
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// refused reports whether the relay said no, as opposed to a connection that is broken or being closed (421).
func refused(err error) bool {
	e, ok := errors.AsType[*gosmtp.SMTPError](err)
	return ok && e.Code != 421
}

// sendError sorts an error. The relay's text is left out, since it often repeats the address.
func sendError(stage string, err error) *alarm.SendError {
	e, ok := errors.AsType[*gosmtp.SMTPError](err)
	if !ok {
		return &alarm.SendError{Code: "smtp." + stage + "_broken", Err: discreet(err)}
	}
	out := &alarm.SendError{Code: fmt.Sprintf("smtp.%s_%d", stage, e.Code)}
	if x := e.EnhancedCode; x[0] > 0 {
		out.Code += fmt.Sprintf("_%d.%d.%d", x[0], x[1], x[2])
	}
	out.Final = (stage == "rcpt" || stage == "data") && e.Code >= 500 && e.Code < 600 && !aboutUs(e)
	return out
}

// aboutUs reports whether a refusal speaks about our rights rather than about the recipient.
func aboutUs(e *gosmtp.SMTPError) bool {
	switch e.Code {
	case 502, 503, 504, 530, 534, 535, 538:
		return true
	}
	return e.EnhancedCode[0] == 5 && e.EnhancedCode[1] == 7
}

// discreet keeps the errors that cannot hold an address: those of the network, of TLS and of the context.
func discreet(err error) error {
	var n net.Error
	if errors.As(err, &n) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, errAuthUnsafe) || errors.Is(err, errSecret) || errors.Is(err, errDowngraded) {
		return err
	}
	return errors.New("the connection broke")
}
