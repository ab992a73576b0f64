// SPDX-License-Identifier: EUPL-1.2

package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
)

const (
	// idleFor is how long a connection is kept; relays close theirs after one to five minutes.
	idleFor = 30 * time.Second
	// perConnection bounds the mails over one connection; relays have such a bound too.
	perConnection = 200
	dialTimeout   = 10 * time.Second
	answerTimeout = 60 * time.Second
)

var (
	errAuthUnsafe = errors.New("the relay does not encrypt, so the password is not sent")
	errDowngraded = errors.New("the relay no longer offers encryption")
	errSecret     = errors.New("the secret cannot be read")
)

// conn is one connection to the relay, owned by one Send at a time.
type conn struct {
	*gosmtp.Client
	net    net.Conn
	sent   int
	since  time.Time // when it was last used
	reused bool
}

// pool bounds the connections and keeps idle ones.
type pool struct {
	cfg    Config
	host   string
	secret func(string) (string, error)
	slots  chan struct{}

	mu       sync.Mutex
	idle     []*conn
	closed   bool
	startTLS bool // the relay has offered it once
}

func newPool(c Config, host string, secret func(string) (string, error)) *pool {
	return &pool{cfg: c, host: host, secret: secret, slots: make(chan struct{}, c.Connections), startTLS: c.Security == StartTLS}
}

// get returns an idle connection, or a new one as soon as the bound allows. Hand it back with put.
func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := p.takeIdle(); c != nil {
		return c, nil
	}
	c, err := p.dial(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

// takeIdle returns the connection used last, and ends those that have been idle for too long.
func (p *pool) takeIdle() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if p.cfg.Now().Sub(c.since) < idleFor {
			c.reused = true
			return c
		}
		_ = c.Close()
	}
	return nil
}

// put takes a connection back. A good one is kept.
func (p *pool) put(c *conn, good bool) {
	defer func() { <-p.slots }()
	c.sent++
	c.since = p.cfg.Now()
	p.mu.Lock()
	keep := good && !p.closed && c.sent < perConnection
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		_ = c.Close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		_ = c.Close()
	}
	p.idle = nil
}

// dial connects, encrypts and authenticates.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	insist := p.startTLS
	p.mu.Unlock()
	c, encrypted, err := p.connect(ctx, insist)
	if err != nil {
		return nil, err
	}
	if !encrypted && p.cfg.Security == Offered {
		if offered, _ := c.Extension("STARTTLS"); offered {
			_ = c.Close()
			p.mu.Lock()
			p.startTLS = true
			p.mu.Unlock()
			if c, encrypted, err = p.connect(ctx, true); err != nil {
				return nil, err
			}
		}
	}
	if err := p.authenticate(ctx, c, encrypted); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connect opens one connection and introduces us.
func (p *pool) connect(ctx context.Context, startTLS bool) (c *conn, encrypted bool, err error) {
	d := net.Dialer{Timeout: dialTimeout}
	raw, err := d.DialContext(ctx, "tcp", p.cfg.Address)
	if err != nil {
		return nil, false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	c = &conn{net: raw}
	switch {
	case p.cfg.Security == TLS:
		c.Client, encrypted = gosmtp.NewClient(tls.Client(raw, p.tls())), true
	case startTLS:
		// NewClientStartTLS waits by its own long timeout; ours is shorter.
		_ = raw.SetDeadline(time.Now().Add(answerTimeout))
		c.Client, err = gosmtp.NewClientStartTLS(raw, p.tls())
		encrypted = true
	default:
		c.Client = gosmtp.NewClient(raw)
	}
	if err == nil {
		c.CommandTimeout, c.SubmissionTimeout = answerTimeout, answerTimeout
		err = c.Hello(p.cfg.Hello)
	}
	if err != nil {
		_ = raw.Close()
		if startTLS && strings.Contains(err.Error(), "doesn't support STARTTLS") {
			err = errDowngraded
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, false, err
	}
	return c, encrypted, nil
}

func (p *pool) tls() *tls.Config {
	c := &tls.Config{}
	if p.cfg.TLS != nil {
		c = p.cfg.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = p.host
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

// authenticate proves who we are, if we have a user.
func (p *pool) authenticate(ctx context.Context, c *conn, encrypted bool) error {
	if p.cfg.User == "" {
		return nil
	}
	if !encrypted && p.cfg.Security != Plain {
		return errAuthUnsafe
	}
	secret, err := p.secret(p.cfg.Secret)
	if err != nil {
		return fmt.Errorf("%w: %v", errSecret, err)
	}
	secret = strings.TrimSpace(secret)
	stop := context.AfterFunc(ctx, func() { _ = c.net.Close() })
	defer stop()
	if c.SupportsAuth(sasl.Plain) || !c.SupportsAuth(sasl.Login) {
		return c.Auth(sasl.NewPlainClient("", p.cfg.User, secret))
	}
	return c.Auth(sasl.NewLoginClient(p.cfg.User, secret))
}
