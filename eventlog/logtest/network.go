// SPDX-License-Identifier: EUPL-1.2

package logtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// maxMessageBytes is the bound of a real link, see eventlog.Link.
const maxMessageBytes = 768 << 10

// Network joins sites of one process, for tests and for the simulator. A request runs the other side's handler in the
// caller's goroutine, so that a single-threaded test stays in order. Pairs can be cut, sites can be down, lines can be slow
// (see SetRate), and messages get lost at random, each pair from its own seeded source: a request before it was handled, or
// an answer after it was. It is safe for concurrent use.
type Network struct {
	seed uint64

	mu    sync.Mutex
	ports map[event.SiteID]*Port
	cuts  map[pair]bool
	loss  float64
	dice  map[pair]*rand.Rand
	watch func(Message)
	lines lines
}

// Message is what a Network's observer sees of one request: what went to a site, and what it got back.
type Message struct {
	From, To event.SiteID
	Verb     string
	Body     []byte
	Answer   []byte
	Err      error
}

// Port is a site's end of a Network; it is an eventlog.Link.
type Port struct {
	network *Network
	site    event.SiteID

	mu       sync.Mutex
	handlers map[string]eventlog.Handler
	down     bool
}

var _ eventlog.Link = (*Port)(nil)

// pair is two sites, the direction counts.
type pair struct{ from, to event.SiteID }

// NewNetwork returns a network without sites, cuts or losses. The seed decides what gets lost once Lose is called.
func NewNetwork(seed uint64) *Network {
	return &Network{
		seed: seed, ports: make(map[event.SiteID]*Port), cuts: make(map[pair]bool), dice: make(map[pair]*rand.Rand),
	}
}

// Join returns the site's port, the same one each time.
func (n *Network) Join(site event.SiteID) *Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[site]
	if p == nil {
		p = &Port{network: n, site: site, handlers: make(map[string]eventlog.Handler)}
		n.ports[site] = p
	}
	return p
}

// Cut makes two sites unable to reach each other until Heal.
func (n *Network) Cut(a, b event.SiteID) { n.setCut(a, b, true) }

// Heal ends a cut.
func (n *Network) Heal(a, b event.SiteID) { n.setCut(a, b, false) }

func (n *Network) setCut(a, b event.SiteID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[pair{a, b}], n.cuts[pair{b, a}] = cut, cut
}

// IsCut reports whether a cannot reach b because of a Cut.
func (n *Network) IsCut(a, b event.SiteID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[pair{a, b}]
}

// CutOneWay makes requests of one site to another fail until Heal; those of the other one still come through.
func (n *Network) CutOneWay(from, to event.SiteID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[pair{from, to}] = true
}

// HealAll ends all cuts and losses. Rates of lines stay.
func (n *Network) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	n.loss = 0
}

// Lose makes that share (0 to 1) of all messages get lost.
func (n *Network) Lose(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// Watch makes the network tell observe every request that was handled. It runs in the caller's goroutine.
func (n *Network) Watch(observe func(Message)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watch = observe
}

// way returns the port of the other side, and which of the two messages get lost.
func (n *Network) way(from, to event.SiteID) (port *Port, requestLost, answerLost bool, watch func(Message)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := pair{from, to}
	if n.cuts[p] {
		return nil, false, false, n.watch
	}
	if n.loss > 0 {
		if n.dice[p] == nil {
			n.dice[p] = rand.New(rand.NewPCG(n.seed, hash(from)^hash(to)*31))
		}
		requestLost, answerLost = n.dice[p].Float64() < n.loss, n.dice[p].Float64() < n.loss
	}
	return n.ports[to], requestLost, answerLost, n.watch
}

func hash(site event.SiteID) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(site) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// Handle makes the port answer a verb. A nil handler takes the verb away.
func (p *Port) Handle(verb string, h eventlog.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[verb] = h
}

// Serve makes the port answer the verbs of a replicator.
func (p *Port) Serve(r *eventlog.Replicator) {
	for _, verb := range eventlog.Verbs() {
		p.Handle(verb, r.Serve(verb))
	}
}

// SetDown makes the site answer nothing and reach nobody, or ends that.
func (p *Port) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *Port) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

func (p *Port) handler(verb string) eventlog.Handler {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil
	}
	return p.handlers[verb]
}

// Request implements eventlog.Link. It fails at once where a real link would wait for ctx to end.
func (p *Port) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, unreachable(to).With(err)
	}
	if len(body) > maxMessageBytes {
		return nil, fault.New(fault.TooLarge, "link.too_large", fmt.Sprintf("a request of %d bytes", len(body)), "")
	}
	port, requestLost, answerLost, watch := p.network.way(p.site, to)
	if port == nil || requestLost || p.isDown() {
		return nil, unreachable(to)
	}
	left, arrived := p.network.carry(pair{p.site, to}, len(body), patienceOf(ctx))
	if !arrived {
		return nil, unreachable(to)
	}
	h := port.handler(verb)
	if h == nil {
		return nil, unreachable(to)
	}
	answer, err := h(ctx, p.site, body)
	if err == nil && len(answer) > maxMessageBytes {
		err = fault.New(fault.TooLarge, "link.too_large", fmt.Sprintf("an answer of %d bytes", len(answer)), "")
	}
	if watch != nil {
		watch(Message{From: p.site, To: to, Verb: verb, Body: body, Answer: answer, Err: err})
	}
	if _, arrived = p.network.carry(pair{to, p.site}, len(answer), left); !arrived {
		answerLost = true
	}
	switch {
	case answerLost || p.isDown():
		return nil, unreachable(to)
	case err != nil:
		return nil, fault.Of(err) // as a real link carries it: kind, code, message
	}
	return answer, nil
}

func unreachable(to event.SiteID) *fault.Fault {
	return fault.New(fault.Unavailable, "link.unreachable", "the site "+to.Short()+" cannot be reached", "it is tried again")
}
