// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
)

// MaxConnections bounds how many clients one listener serves at a time; more wait in the kernel's queue.
const MaxConnections = 4096

// ListenConfig says where to listen. CertFile and KeyFile are PEM files; without them the port is plain HTTP, which is
// allowed on a loopback address, and elsewhere only when PlainAllowed says that a proxy in front does TLS.
type ListenConfig struct {
	Address      string
	CertFile     string
	KeyFile      string
	PlainAllowed bool
}

// ErrPlain is returned for a plain port that the world could reach.
var ErrPlain = fault.New(fault.Invalid, "web.plain", "the portal's port would be reachable without TLS",
	"set certificate and key (PEM files), listen on a loopback address, or say that a proxy in front does TLS")

// ErrPort is returned when the address cannot be listened on.
var ErrPort = fault.New(fault.Invalid, "web.port", "the portal's address cannot be listened on",
	"another program uses the port, or the address is not this machine's: choose another one in the configuration")

// Listen opens the port. It reports whether browsers reach it safely (TLS here or in front), which decides about the
// cookies. The caller closes the listener, or hands it to Serve.
func Listen(ctx context.Context, c ListenConfig) (ln net.Listener, secure bool, err error) {
	withTLS := c.CertFile != "" || c.KeyFile != ""
	if !withTLS && !c.PlainAllowed && !loopback(c.Address) {
		return nil, false, ErrPlain.Because("%s", c.Address)
	}
	var cert tls.Certificate
	if withTLS {
		if cert, err = tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
			return nil, false, fault.New(fault.Invalid, "web.certificate", "the portal's certificate cannot be read",
				"check the two PEM files and their rights").With(err)
		}
	}
	var lc net.ListenConfig
	if ln, err = lc.Listen(ctx, "tcp", c.Address); err != nil {
		return nil, false, ErrPort.With(err)
	}
	ln = limit(ln, MaxConnections)
	if withTLS {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
			CipherSuites: suites, NextProtos: []string{"h2", "http/1.1"}})
	}
	return ln, withTLS || c.PlainAllowed, nil
}

// suites are what TLS 1.2 may use: forward secrecy and authenticated encryption, nothing else (BSI TR-02102-2, 3.3). TLS 1.3 has no
// others.
var suites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Serve answers requests until ctx ends, then gives those under way five seconds (live streams end at once, because
// their contexts end). It owns ln and returns nil after an orderly end.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, logger *slog.Logger) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		WriteTimeout:      2 * time.Minute, // live streams move their own deadline before every event
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		_ = srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// limited hands out at most cap(slots) connections at a time.
type limited struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

func limit(ln net.Listener, n int) net.Listener {
	return &limited{Listener: ln, slots: make(chan struct{}, n), done: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type slotConn struct {
	net.Conn
	release func()
}

func (c *slotConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
