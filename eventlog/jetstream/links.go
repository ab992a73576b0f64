// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// LinksConfig is what Links need. Identity, Addresses, Now and Logger are required.
type LinksConfig struct {
	Identity *seal.Identity
	// Addresses tells where a site listens for peers, "host:port" each. It is asked before every request, and must not
	// block; a connection that is down is made anew when the addresses have changed.
	Addresses func(event.SiteID) []string
	// LocalAddr is the address of this machine to connect from, without a port; "" lets the kernel choose.
	LocalAddr string
	// OnUp is told each time a connection to a site has come (back) up, also that for bulk, which comes last: only then can
	// everything be fetched. It must not block. Nil is fine.
	OnUp   func(event.SiteID)
	Now    func() time.Time
	Logger *slog.Logger
}

// Links keeps one connection to each site that is asked something, and a second one for bulk, so that a short answer is never
// behind a long one in one connection's buffers. A connection is made at the first request, and comes back by itself a
// sixth of a second after the other side or the line does. It implements eventlog.Link and is safe for concurrent use.
type Links struct {
	cfg   LinksConfig
	turns turns

	mu     sync.Mutex
	peers  map[linkKey]*Peer
	closed bool
}

// linkKey names a connection.
type linkKey struct {
	site event.SiteID
	bulk bool
}

var _ eventlog.Link = (*Links)(nil)

// maxLinks bounds the connections to other sites: 512 sites.
const maxLinks = 2 * 512

// NewLinks returns Links without any connection.
func NewLinks(cfg LinksConfig) *Links {
	return &Links{cfg: cfg, turns: newTurns(), peers: make(map[linkKey]*Peer)}
}

// Bulk returns the links over the second connections, for what can wait. It is as safe as Links, and is closed with it.
func (l *Links) Bulk() eventlog.Link { return bulkLinks{l} }

type bulkLinks struct{ links *Links }

// Request implements eventlog.Link.
func (b bulkLinks) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	return b.links.request(ctx, linkKey{to, true}, verb, body)
}

// Request implements eventlog.Link. It waits for a first connection, but not for a lost one to come back: then it returns
// a fault of kind Unavailable at once. A site that does not count us as a member answers with one of kind Forbidden.
func (l *Links) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	return l.request(ctx, linkKey{to, false}, verb, body)
}

func (l *Links) request(ctx context.Context, to linkKey, verb string, body []byte) ([]byte, error) {
	p, err := l.peer(to)
	if err != nil {
		return nil, err
	}
	return p.Request(ctx, verb, body)
}

func (l *Links) peer(to linkKey) (*Peer, error) {
	addresses := l.cfg.Addresses(to.site)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fault.New(fault.Unavailable, "peer.closed", "this site is shutting down", "try again in a moment")
	}
	p := l.peers[to]
	if p != nil && (p.Connected() || slices.Equal(p.addresses, addresses)) {
		return p, nil
	}
	if p != nil {
		delete(l.peers, to)
		go p.Close()
	}
	if len(addresses) == 0 {
		return nil, errNoAddress.Because("%s", to.site.Short())
	}
	if len(l.peers) >= maxLinks {
		return nil, fault.New(fault.Exhausted, "peer.too_many", "this site is connected to too many others", "remove sites that are gone")
	}
	cfg, ready := l.cfg, (func() bool)(nil)
	if to.bulk {
		ready = func() bool { return l.connected(to.site) }
	}
	p, err := newPeer(cfg, to.site, addresses, l.turns, ready)
	if err != nil {
		return nil, err
	}
	l.peers[to] = p
	return p, nil
}

// connected reports whether the connection for what cannot wait works, or there is none.
func (l *Links) connected(site event.SiteID) bool {
	l.mu.Lock()
	p := l.peers[linkKey{site, false}]
	l.mu.Unlock()
	return p == nil || p.Connected()
}

var errNoAddress = fault.New(fault.Unavailable, "peer.no_address", "no address of the site is known",
	"have its operator set the address for peers, or invite it again")

// Connected returns the sites that we have a working connection to, each once.
func (l *Links) Connected() []event.SiteID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sites []event.SiteID
	for to, p := range l.peers {
		if p.Connected() {
			sites = append(sites, to.site)
		}
	}
	slices.Sort(sites)
	return slices.Compact(sites)
}

// Keep closes the connections to all sites but those: call it when somebody has been removed.
func (l *Links) Keep(sites []event.SiteID) {
	l.mu.Lock()
	var gone []*Peer
	for to, p := range l.peers {
		if !slices.Contains(sites, to.site) {
			gone = append(gone, p)
			delete(l.peers, to)
		}
	}
	l.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range gone {
		wg.Go(p.Close)
	}
}

// Close closes all connections. Requests under way fail.
func (l *Links) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Keep(nil)
	return nil
}

// Dial connects once to a site that is not in any book yet, for joining. It returns when the connection works, or a fault
// of kind Unavailable. The caller closes the Peer.
func Dial(ctx context.Context, cfg LinksConfig, addresses []string, site event.SiteID) (*Peer, error) {
	p, err := newPeer(cfg, site, addresses, nil, nil)
	if err != nil {
		return nil, err
	}
	if err := p.ready(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func localAddr(s string) (net.Addr, error) {
	if s == "" {
		return nil, nil
	}
	ip := net.ParseIP(s)
	if ip == nil {
		return nil, fault.New(fault.Invalid, "peer.local_address", "the local address for peers is not an IP address",
			"write an address of this machine, for instance 192.0.2.7").With(errors.New(s))
	}
	return &net.TCPAddr{IP: ip}, nil
}
