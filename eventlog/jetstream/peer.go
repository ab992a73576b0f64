// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Peer is a connection to one site. It reconnects for ever until it is closed. It is safe for concurrent use.
type Peer struct {
	self, site event.SiteID
	addresses  []string

	first chan struct{} // closed after the first attempt
	other atomic.Bool   // another site answered at the last attempt

	// mu is never held while NATS is called: NATS holds a lock of its own while it calls us.
	mu   sync.Mutex
	nc   *nats.Conn      // nil until the first attempt has ended
	last error           // why the last attempt or connection failed
	life context.Context // ends, with the reason, when those who wait for an answer will not get one
	end  context.CancelCauseFunc
	// up is our own note of whether the connection works: NATS's IsConnected waits while NATS dials, which it does for
	// seconds when packets are swallowed. It is changed by NATS's calls, in their order, and once by connect.
	up      bool
	changes int
	closed  bool
	shaken  *shakingConn  // of the last handshake
	done    chan struct{} // closed by Close
}

const (
	dialTimeout = 4 * time.Second
	// handshakeTimeout is for all that comes before the first request: on a line of 16 kbit/s the handshakes of three sites
	// at once take five seconds, what is under way besides another four, and the turn may have to be waited for.
	handshakeTimeout = 20 * time.Second
	reconnectWait    = 150 * time.Millisecond
	// A peer that swallows everything is noticed after nine to twelve seconds. With less, pings that wait behind what is
	// under way on a slow line would end connections that work.
	pingInterval = 3 * time.Second
	maxPingsOut  = 3
)

// newPeer begins to connect and returns at once. It connects when ready says so; nil is always.
func newPeer(cfg LinksConfig, site event.SiteID, addresses []string, turns turns, ready func() bool) (*Peer, error) {
	tlsConfig, err := clientTLS(cfg.Identity, site, cfg.Now)
	if err != nil {
		return nil, err
	}
	local, err := localAddr(cfg.LocalAddr)
	if err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, errNoAddress.Because("%s", site.Short())
	}
	p := &Peer{
		self: cfg.Identity.Site(), site: site, addresses: addresses,
		first: make(chan struct{}), done: make(chan struct{}),
	}
	p.life, p.end = context.WithCancelCause(context.Background())
	opts := nats.GetDefaultOptions()
	for _, a := range addresses {
		opts.Servers = append(opts.Servers, "tls://"+a)
	}
	opts.Secure, opts.TLSConfig, opts.TLSHandshakeFirst = true, tlsConfig, true
	opts.CustomDialer = &dialer{
		Dialer: net.Dialer{Timeout: dialTimeout, LocalAddr: local, KeepAlive: 5 * time.Second},
		turns:  turns, ready: ready, shaking: p.shake, done: p.done,
	}
	opts.Timeout = handshakeTimeout
	opts.InboxPrefix = inboxOf(p.self)
	opts.MaxReconnect, opts.ReconnectWait, opts.ReconnectJitter, opts.ReconnectJitterTLS = -1, reconnectWait, 20*time.Millisecond, 20*time.Millisecond
	opts.PingInterval, opts.MaxPingsOut = pingInterval, maxPingsOut
	opts.RetryOnFailedConnect, opts.IgnoreAuthErrorAbort, opts.IgnoreDiscoveredServers = true, true, true
	opts.ReconnectBufSize = -1 // what cannot be sent now fails now
	opts.NoEcho = true
	opts.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) { p.trouble(err, false) }
	opts.DisconnectedErrCB = func(_ *nats.Conn, err error) { p.setUp(false); p.trouble(err, true) }
	opts.ConnectedCB = func(*nats.Conn) {
		p.setUp(true)
		if cfg.OnUp != nil {
			cfg.OnUp(site)
		}
	}
	opts.ReconnectedCB = opts.ConnectedCB
	opts.ReconnectErrCB = func(_ *nats.Conn, err error) { p.trouble(err, false) }
	pinned := tlsConfig.VerifyConnection
	tlsConfig.VerifyConnection = func(cs tls.ConnectionState) error {
		err := pinned(cs)
		p.other.Store(errors.Is(err, errOtherSite)) // no lock here: NATS holds its own
		return err
	}
	go p.connect(opts)
	return p, nil
}

func (p *Peer) connect(opts nats.Options) {
	defer close(p.first)
	nc, err := opts.Connect()
	works := err == nil && nc.IsConnected()
	p.mu.Lock()
	closed := p.closed
	if err != nil {
		p.last = err
	} else {
		p.nc = nc
	}
	if works && p.shaken != nil {
		p.shaken.give()
	}
	if p.changes == 0 { // NATS's own calls come later; if one has come, it knows better
		p.up = works
	}
	p.mu.Unlock()
	if err == nil && closed {
		nc.Close()
	}
}

// shake notes the connection on which a handshake begins now.
func (p *Peer) shake(c *shakingConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shaken = c; p.closed {
		_ = c.Close()
	}
}

func (p *Peer) setUp(up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up && p.shaken != nil {
		p.shaken.give()
	}
	p.up = up
	p.changes++
}

// trouble remembers why. If the line is cut or the other side says that we may not, those who wait are told at once.
func (p *Peer) trouble(err error, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.last = err
	}
	refused := errors.Is(err, nats.ErrPermissionViolation)
	if !cut && !refused {
		return
	}
	cause := error(errRefused)
	if !refused {
		cause = errCut
	}
	p.end(cause)
	p.life, p.end = context.WithCancelCause(context.Background())
}

var (
	errCut       = errors.New("the connection was cut")
	errMainFirst = errors.New("the first connection to the site is not there yet")
)

// Connected reports whether the connection works now, as far as we know.
func (p *Peer) Connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up && !p.closed
}

// ready waits for the first attempt to end.
func (p *Peer) ready(ctx context.Context) error {
	select {
	case <-p.first:
	case <-ctx.Done():
		return p.unreachable(context.Cause(ctx))
	}
	if !p.Connected() {
		p.mu.Lock()
		err := p.last
		p.mu.Unlock()
		return p.unreachable(err)
	}
	return nil
}

func (p *Peer) unreachable(err error) *fault.Fault {
	if p.other.Load() {
		return fault.New(fault.Unavailable, "peer.other_site", "another site answers at the address of site "+p.site.Short(),
			"check the addresses of the site; if they are right, somebody else is using them").With(err)
	}
	return fault.New(fault.Unavailable, "peer.unreachable", "site "+p.site.Short()+" cannot be reached",
		"nothing has to be done: it is tried again and again").With(err)
}

// Request asks the site and waits for its answer until ctx ends; without a deadline at most 30 seconds. See Links.Request
// for its errors.
func (p *Peer) Request(ctx context.Context, verb string, body []byte) ([]byte, error) {
	if err := checkBody(body); err != nil {
		return nil, err
	}
	if err := p.ready(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxHandling)
	defer cancel()
	p.mu.Lock()
	nc, life := p.nc, p.life
	p.mu.Unlock()
	m := nats.NewMsg(subjectOf(p.self, verb))
	m.Data = body
	if end, ok := ctx.Deadline(); ok {
		m.Header.Set(waitHeader, strconv.FormatInt(max(1, time.Until(end).Milliseconds()), 10))
	}
	ctx, tell := context.WithCancelCause(ctx)
	defer tell(nil)
	defer context.AfterFunc(life, func() { tell(context.Cause(life)) })()
	answer, err := nc.RequestMsgWithContext(ctx, m)
	if err == nil {
		return answerOf(answer)
	}
	return nil, p.failed(ctx, err)
}

var errRefused = fault.New(fault.Forbidden, "peer.refused", "the other site does not count this site as a member",
	"wait until it has been admitted there, 'holdfast status' at the other site shows who is waiting; if it was a member, it has been removed")

func (p *Peer) failed(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errRefused) {
		return errRefused
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return fault.New(fault.Unavailable, "peer.no_answer", "site "+p.site.Short()+" does not answer this kind of question yet",
			"nothing has to be done while it starts; if it stays, it may run an older version").With(err)
	}
	return p.unreachable(err)
}

// Close ends the connection. Requests under way fail. A connection that is being made is given up at once: NATS holds its lock
// meanwhile.
func (p *Peer) Close() {
	p.mu.Lock()
	if !p.closed {
		close(p.done)
	}
	p.closed = true
	p.end(errCut)
	if !p.up && p.shaken != nil {
		_ = p.shaken.Close()
	}
	nc := p.nc
	p.mu.Unlock()
	if nc != nil {
		nc.Close()
	}
}
