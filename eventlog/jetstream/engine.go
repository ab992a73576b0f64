// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	storeAccount  = "store"
	peersAccount  = "peers"
	maxPayload    = 1 << 20
	maxPeerConns  = 2 * 512 // each peer has two
	startPatience = 60 * time.Second
)

// engine is one run of the embedded nats-server with our two connections to it.
type engine struct {
	ns    *server.Server
	store *nats.Conn
	peers *nats.Conn
	js    natsjs.JetStream
}

// startEngine sets s.engine and the address with the port that the kernel picked. The caller holds s.mu or is alone.
func (s *Server) startEngine() error {
	opts, err := s.options()
	if err != nil {
		return err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("set up the embedded nats-server: %w", err)
	}
	log := &natsLog{logger: s.cfg.Logger, fatal: make(chan string, 1)}
	ns.SetLoggerV2(log, false, false, false)
	e := &engine{ns: ns}
	s.admits.begin(ns)
	if err := e.start(log.fatal); err != nil {
		e.close()
		return err
	}
	if err := s.connect(e); err != nil {
		e.close()
		return err
	}
	s.engine = e
	return nil
}

func (s *Server) options() (*server.Options, error) {
	opts := &server.Options{
		ServerName: string(s.cfg.Identity.Site()), NoLog: true, NoSigs: true, DontListen: s.addr == "",
		JetStream: true, StoreDir: s.cfg.Dir, SyncAlways: true, DisableJetStreamBanner: true,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: s.cfg.MaxStore,
		MaxPayload: maxPayload, MaxConn: maxPeerConns, MaxSubs: 256, MaxSubTokens: 8,
		PingInterval: pingInterval, MaxPingsOut: maxPingsOut, WriteDeadline: 10 * time.Second,
		TLSConfig: s.tls, TLSHandshakeFirst: true,
		TLSTimeout: handshakeTimeout.Seconds(), AuthTimeout: handshakeTimeout.Seconds(),
		CustomClientAuthentication: s.admits,
		Accounts:                   []*server.Account{server.NewAccount(storeAccount), server.NewAccount(peersAccount)},
	}
	encrypt(opts, s.cfg.CipherKey)
	if s.addr == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return nil, err
	}
	opts.Host = host
	if opts.Host == "" {
		opts.Host = "0.0.0.0"
	}
	opts.Port, err = strconv.Atoi(port)
	return opts, err
}

// start runs the server until it is ready, or says why it is not.
func (e *engine) start(fatal <-chan string) error {
	go e.ns.Start()
	end := time.After(startPatience)
	for {
		if e.ns.ReadyForConnections(50 * time.Millisecond) {
			break
		}
		select {
		case why := <-fatal:
			return fmt.Errorf("start the embedded nats-server: %s", why)
		case <-end:
			return fmt.Errorf("the embedded nats-server did not start within %s", startPatience)
		default:
		}
	}
	acc, err := e.ns.LookupAccount(storeAccount)
	if err != nil {
		return fmt.Errorf("find the account of the streams: %w", err)
	}
	if err := acc.EnableJetStream(nil, nil); err != nil {
		return fmt.Errorf("open the streams: %w", err)
	}
	return nil
}

// connect opens our two connections, with all handlers.
func (s *Server) connect(e *engine) error {
	var err error
	for account, nc := range map[string]**nats.Conn{storeAccount: &e.store, peersAccount: &e.peers} {
		*nc, err = nats.Connect("", nats.InProcessServer(e.ns), nats.UserInfo(account, s.token), nats.NoReconnect(),
			nats.Timeout(10*time.Second), nats.PingInterval(time.Hour), nats.NoEcho(),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				s.cfg.Logger.Warn("the embedded nats-server reports trouble", "account", account, "error", err)
			}))
		if err != nil {
			return fmt.Errorf("connect to the embedded nats-server: %w", err)
		}
	}
	if e.js, err = natsjs.New(e.store); err != nil {
		return fmt.Errorf("use the streams: %w", err)
	}
	for _, verb := range s.desk.verbs() {
		if err := e.listen(verb, s.desk); err != nil {
			return err
		}
	}
	return nil
}

// listen takes the questions of one verb from all peers.
func (e *engine) listen(verb string, d *desk) error {
	sub, err := e.peers.Subscribe(subjectRoot+".*."+verb, d.take)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", verb, err)
	}
	// The desk takes at once or refuses, so this queue stays short; the bound is for a flood.
	return errors.Join(sub.SetPendingLimits(4096, 64<<20), e.peers.Flush())
}

func (e *engine) close() {
	if e.store != nil {
		e.store.Close()
	}
	if e.peers != nil {
		e.peers.Close()
	}
	e.ns.Shutdown()
	e.ns.WaitForShutdown()
}

// streamDir is where the embedded server keeps a stream. It is needed for syncing the directory of a new stream, and for
// clearing away one that is too damaged for the server to open.
func (s *Server) streamDir(name string) string {
	return filepath.Join(s.cfg.Dir, server.JetStreamStoreDir, storeAccount, "streams", name)
}

// natsLog passes on what an operator would act on. The rest of nats-server's chatter is dropped.
type natsLog struct {
	logger *slog.Logger
	fatal  chan string
}

func (l *natsLog) Noticef(string, ...any) {}
func (l *natsLog) Debugf(string, ...any)  {}
func (l *natsLog) Tracef(string, ...any)  {}

func (l *natsLog) Warnf(format string, v ...any) {
	l.logger.Debug("nats-server warns", "text", fmt.Sprintf(format, v...))
}

func (l *natsLog) Errorf(format string, v ...any) {
	l.logger.Warn("nats-server reports an error", "text", fmt.Sprintf(format, v...))
}

// Fatalf must not end the process: it is our server in our process, and start returns what it says.
func (l *natsLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}
