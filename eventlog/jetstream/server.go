// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/synced"
)

// Role is what a site is to us when it connects.
type Role string

// The roles. Any other value is refused at the door.
const (
	Member   Role = "member"   // may use every verb
	Stranger Role = "stranger" // may only ask to join
	Refused  Role = "refused"  // may not even connect
)

// The defaults of a Config.
const (
	DefaultReserve  = 256 << 20
	DefaultMaxStore = 1 << 40
)

// Config is what a Server needs. Identity, Dir, Rand, Now and Logger are required.
type Config struct {
	Identity *seal.Identity
	// Dir holds the streams; it is made if it is missing, and one process uses it at a time.
	Dir string
	// Listen is where peers connect, "host:port"; port 0 lets the kernel pick one, see Addr. "" means that no peer can.
	Listen string
	// Admit tells what a site is to us. It is asked at every connect and by Refresh, and must not block. Nil refuses all.
	Admit func(event.SiteID) Role
	// Free tells the bytes that are free for the logs; nil asks the disk that Dir is on.
	Free func() (uint64, error)
	// Reserve is how many free bytes are never written into; 0 means DefaultReserve.
	Reserve uint64
	// MaxStore bounds the bytes of all streams; 0 means DefaultMaxStore.
	MaxStore int64
	// CipherKey encrypts the streams on the disk; nil leaves them in the clear. A directory is one or the other from its first
	// stream on.
	CipherKey *seal.Key
	// Patience is how long a page may take to reach the disk before the engine counts as stuck; 0 means ten seconds.
	Patience time.Duration
	Rand     io.Reader
	Now      func() time.Time
	Logger   *slog.Logger

	// For this package's tests: what is synced, and how often the server is tended (0 means tendInterval).
	disk      synced.Disk
	tendEvery time.Duration
}

// Server is the embedded nats-server of this site with its streams and its door for peers. It is safe for concurrent use.
type Server struct {
	cfg    Config
	lock   *os.File
	tls    *tls.Config
	token  string // lets this process, and nobody else, into its own server
	admits *admission
	desk   *desk
	store  *Store

	mu     sync.RWMutex // held for writing while the engine is exchanged
	engine *engine
	addr   string
	closed bool

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// Start brings the server up and reads how far every branch goes. It blocks until all of that is done: about a second for
// a thousand branches. A used port, a directory in use and unreadable files are faults that name the way out, and so are a
// missing or wrong CipherKey (ErrCipherMissing, ErrCipherKey) and one for streams in the clear (ErrCipherPlain). The caller closes
// the Server.
func Start(cfg Config) (*Server, error) {
	if cfg.Free == nil {
		cfg.Free = FreeOf(cfg.Dir)
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = DefaultReserve
	}
	if cfg.MaxStore == 0 {
		cfg.MaxStore = DefaultMaxStore
	}
	if cfg.Patience == 0 {
		cfg.Patience = 10 * time.Second
	}
	if cfg.tendEvery == 0 {
		cfg.tendEvery = tendInterval
	}
	if cfg.Admit == nil {
		cfg.Admit = func(event.SiteID) Role { return Refused }
	}
	var token [16]byte
	if _, err := io.ReadFull(cfg.Rand, token[:]); err != nil {
		return nil, fmt.Errorf("draw a token: %w", err)
	}
	lock, err := lockDir(cfg.disk, cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, lock: lock, token: hex.EncodeToString(token[:])}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open() error {
	var err error
	if s.tls, err = serverTLS(s.cfg.Identity, s.cfg.Now); err != nil {
		return err
	}
	s.admits = newAdmission(s.cfg.Admit, s.token)
	s.desk = newDesk(s.cfg.Logger)
	if s.addr, err = checkListen(s.cfg.Listen); err != nil {
		return err
	}
	if err := s.checkCipher(); err != nil {
		return err
	}
	if err := s.startEngine(); err != nil {
		return err
	}
	if s.store, err = openStore(s); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.stopped.Go(func() { s.tend(ctx) })
	return nil
}

// checkListen tries the address before the engine does, because the engine's own error names neither it nor a way out.
func checkListen(listen string) (string, error) {
	if listen == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(listen)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		return "", fault.New(fault.Invalid, "peer.listen", fmt.Sprintf("%q is not an address that peers can be listened for on", listen),
			"write host:port, for instance 0.0.0.0:7422").With(errors.Join(err, perr))
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return "", fault.New(fault.Conflict, "peer.listen", fmt.Sprintf("cannot listen for peers on %s", listen),
			"stop the program that uses this address, or set another one for peers in the configuration").With(err)
	}
	addr := net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	return addr, l.Close()
}

// Addr returns the address at which peers connect, with the port that the kernel picked, or "" if none can.
func (s *Server) Addr() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.addr
}

// Store returns the store of this server; always the same one.
func (s *Server) Store() *Store { return s.store }

// Handle has h answer a verb from now on. Handlers run concurrently: at most 64 for one peer and 256 in all, what comes
// beyond that is refused as exhausted. It returns an error for a malformed verb or one that has a handler.
func (s *Server) Handle(verb string, h Handler) error {
	if err := s.desk.add(verb, h); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.engine == nil {
		return nil // the next engine listens for it from its start
	}
	return s.engine.listen(verb, s.desk)
}

// Refresh asks Admit again about everybody who is connected and cuts those whose role has changed. Call it when somebody
// has been admitted or removed.
func (s *Server) Refresh() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.engine != nil {
		s.admits.refresh(s.engine.ns)
	}
}

// Peers returns the sites that are connected to us now, with their roles.
func (s *Server) Peers() map[event.SiteID]Role {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.engine == nil {
		return nil
	}
	return s.admits.present(s.engine.ns)
}

// tendInterval is how often strangers are counted out, a stuck engine is looked after, and the tails are written down.
const tendInterval = 2 * time.Second

func (s *Server) tend(ctx context.Context) {
	tick := time.NewTicker(s.cfg.tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.tendOnce(ctx)
		}
	}
}

func (s *Server) tendOnce(ctx context.Context) {
	s.mu.RLock()
	if s.engine != nil {
		s.admits.sweep(s.engine.ns)
	}
	s.mu.RUnlock()
	// Also without a writer: readers wait for a stuck engine too.
	if err := s.store.settle(ctx); err != nil {
		s.cfg.Logger.Debug("the log is still stuck", "error", err)
	}
	if err := s.store.keepTails(); err != nil {
		s.cfg.Logger.Debug("cannot write down the tails of the logs", "error", err)
	}
}

// Close stops the server and waits for it. What was acknowledged stays. Closing twice does nothing.
func (s *Server) Close() error {
	if s.stop != nil {
		s.stop()
		s.stopped.Wait()
	}
	closing, errs := s.shut()
	if !closing {
		return nil
	}
	// Not under the lock: a handler under way may be waiting for it, to be told that the engine is gone.
	if s.desk != nil {
		s.desk.close()
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// shut stops the engine for good. It returns false if somebody has done so before.
func (s *Server) shut() (closing bool, errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, nil
	}
	s.closed = true
	if s.store != nil {
		errs = append(errs, s.store.saveTails())
	}
	if s.engine != nil {
		s.engine.close()
		s.engine = nil
	}
	return true, errs
}

var errClosed = fault.New(fault.Unavailable, "log.closed", "the log of this site is shutting down", "try again in a moment")

// current returns the running engine and its generation; it waits while the engine is being exchanged.
func (s *Server) current() (*engine, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.engine == nil {
		return nil, errClosed
	}
	return s.engine, nil
}

// restart exchanges the engine old for a fresh one, unless somebody already has; it returns whether it did. Everything in
// flight on the old one is settled afterwards: it is on the disk or it never will be.
func (s *Server) restart(old *engine) (exchanged bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, errClosed
	}
	if s.engine != nil && s.engine != old {
		return false, nil
	}
	if s.engine != nil {
		s.cfg.Logger.Warn("the embedded nats-server is stuck and is started again")
		s.engine.close()
		s.engine = nil
	}
	return true, s.startEngine()
}
