// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Handler answers one verb. The peer has proved that it is that site. The answer is at most MaxBodyBytes; an error travels
// to the peer as a fault without its wrapped cause. ctx ends when the peer no longer waits, and when the server closes.
type Handler = eventlog.Handler

const (
	maxInFlight     = 256
	maxInFlightPeer = 64
)

// desk takes questions, within bounds, and has them answered.
type desk struct {
	logger *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	handlers map[string]Handler
	inFlight int
	byPeer   map[event.SiteID]int
}

func newDesk(logger *slog.Logger) *desk {
	d := &desk{logger: logger, handlers: make(map[string]Handler), byPeer: make(map[event.SiteID]int)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

func (d *desk) add(verb string, h Handler) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !verbPattern.MatchString(verb) || d.handlers[verb] != nil {
		return fmt.Errorf("%.30q is not a verb that is free", verb)
	}
	d.handlers[verb] = h
	return nil
}

func (d *desk) verbs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	verbs := make([]string, 0, len(d.handlers))
	for v := range d.handlers {
		verbs = append(verbs, v)
	}
	return verbs
}

// take is called by NATS, one message at a time. It never waits.
func (d *desk) take(m *nats.Msg) {
	part := strings.Split(m.Subject, ".")
	if len(part) != 3 {
		return
	}
	peer, verb := event.SiteID(part[1]), part[2]
	// The server has checked who publishes on this subject, but not where the answer shall go: without this check a peer
	// could have our answer put into another peer's inbox.
	if _, err := seal.KeyOf(peer); err != nil || !strings.HasPrefix(m.Reply, inboxOf(peer)+".") {
		return
	}
	h, err := d.enter(peer, verb)
	if err != nil {
		d.answer(m, nil, err)
		return
	}
	d.work.Go(func() {
		defer d.leave(peer)
		ctx, cancel := context.WithTimeout(d.ctx, waitOf(m))
		defer cancel()
		body, err := h(ctx, peer, m.Data)
		d.answer(m, body, err)
	})
}

var errBusy = fault.New(fault.Exhausted, "peer.busy", "this site has too many questions to answer", "try again in a moment")

var errLate = fault.New(fault.Unavailable, "peer.late", "the site could not answer in time", "try again in a moment")

func (d *desk) enter(peer event.SiteID, verb string) (Handler, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.handlers[verb]
	if h == nil || d.ctx.Err() != nil || d.inFlight >= maxInFlight || d.byPeer[peer] >= maxInFlightPeer {
		return nil, errBusy
	}
	d.inFlight++
	d.byPeer[peer]++
	return h, nil
}

func (d *desk) leave(peer event.SiteID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inFlight--
	if d.byPeer[peer]--; d.byPeer[peer] == 0 {
		delete(d.byPeer, peer)
	}
}

func (d *desk) answer(m *nats.Msg, body []byte, err error) {
	if err == nil {
		err = checkBody(body)
	}
	if fault.KindOf(err) == fault.Internal && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		err = errLate
	}
	reply := nats.NewMsg(m.Reply)
	reply.Data = body
	if err != nil {
		reply.Header.Set(faultHeader, "1")
		reply.Data = encodeFault(err)
		if fault.KindOf(err) == fault.Internal {
			d.logger.Warn("a peer's question failed", "subject", m.Subject, "error", err)
		}
	}
	if err := m.RespondMsg(reply); err != nil {
		d.logger.Debug("an answer was not sent", "subject", m.Subject, "error", err)
	}
}

// close waits for the handlers, whose context has ended.
func (d *desk) close() {
	d.cancel()
	d.work.Wait()
}
