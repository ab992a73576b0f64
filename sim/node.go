// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
)

// node is one site: what survives a crash, and what runs while it is up.
type node struct {
	w        *World
	no       int
	id       *seal.Identity
	site     event.SiteID
	operator string
	rnd      *rand.ChaCha8
	skew     time.Duration // how wrong its clock is

	disk        *disk
	memory      *eventlog.Memory  // nil on a real store
	srv         *jetstream.Server // nil in memory, and while it is down
	ring        *keyring.Ring
	news        <-chan []keyring.Changed // what the read model has not been told of yet
	local       *localstore.Store
	incarnation string
	gone        bool // has vanished for good

	up      bool
	settled bool // the read model has been brought up to the disk since the start
	log     *eventlog.Log
	copies  eventlog.Copies
	rep     *eventlog.Replicator
	syncer  *keyring.Syncer
	model   *readmodel.Model
	fed     *site.Federation
	sites   *site.Service
	port    *logtest.Port
	people  *domains

	image    *image // a backup
	twin     *twin  // a clone that runs in its place
	disks    int    // how often it got another disk; the read model is on it, too
	rotten   bool   // a page of it was damaged; until everything heals the read model may know more than the disk
	lastLine string // what it logged last: said once, not a hundred times
}

// image is a backup of a node's disk.
type image struct {
	disk        eventlog.Image
	incarnation string
}

// twin is what is kept of the original while its clone runs.
type twin struct {
	memory      *eventlog.Memory
	incarnation string
}

func (n *node) String() string { return fmt.Sprintf("s%d", n.no) }

// clock is the node's own wall clock, right or wrong.
func (n *node) clock() time.Time { return n.w.now.Add(n.skew) }

// steady is the clock that nobody turns.
func (n *node) steady() time.Time { return n.w.now }

// start opens the site on what its disks hold. With settle it first asks the others whether they confirm its logs, as a
// real start does; a machine resumed from a snapshot does not know that it should.
func (n *node) start(ctx context.Context, settle bool) error {
	logger := n.w.logger(n)
	if n.w.js && n.srv == nil {
		if err := n.openStreams(); err != nil {
			return err
		}
	}
	n.settled = false
	n.fed = site.NewFederation(n.site)
	log, err := eventlog.Open(ctx, eventlog.Config{
		Identity: n.id, Store: n.disk, Clock: event.NewClock(n.clock), Rand: n.rnd, Policy: n.fed, Keys: n.ring,
		Now: n.clock, Logger: logger, Incarnation: n.incarnation,
		OnIncarnation: func(i string) error { n.incarnation = i; return nil },
		Elsewhere:     func(h eventlog.Head) bool { return n.rep.Elsewhere(h) },
		Vouched:       func(id eventlog.LogID) bool { return n.rep.Vouched(id) },
	})
	if err != nil {
		return fmt.Errorf("open the log of %v: %w", n, err)
	}
	n.log, n.copies = log, log
	if n.w.plant.Copies != nil {
		n.copies = n.w.plant.Copies(n.w.rnd, log)
	}
	n.port = n.w.net.Join(n.site)
	n.syncer = &keyring.Syncer{Ring: n.ring, Link: n.port, Policy: n.fed, Authorities: n.fed.AuthorityIDs, Needed: n.log.MissingKeys,
		Urgent: n.log.UrgentKeys,
		Paced: func(ctx context.Context, peer event.SiteID, urgent bool, ask func(context.Context, int) (int, error)) error {
			return n.rep.Paced(ctx, peer, urgent, ask)
		},
	}
	n.rep, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: n.copies, Link: n.port, Policy: n.fed, Self: n.site, Peers: n.fed.Peers, Now: n.clock, Rand: n.rnd, Logger: logger,
		Steady: n.steady, Folded: func(b eventlog.Branch) uint64 { return n.model.Folded(b) },
		NeedKeys: func(ctx context.Context, peer event.SiteID) error { _, err := n.syncer.Step(ctx, peer); return err },
	})
	if err != nil {
		return err
	}
	if err := n.openModel(ctx, logger); err != nil {
		return fmt.Errorf("open the read model of %v: %w", n, err)
	}
	n.port.Serve(n.rep)
	n.port.Handle(keyring.Verb, unpacked(n.syncer.Serve))
	if n.isRogue() {
		n.w.rogue.corrupt()
	}
	n.port.SetDown(false)
	n.up = true
	if settle {
		n.w.parallel = true
		n.rep.Settle(ctx)
		n.w.parallel = false
	}
	return nil
}

func (n *node) openModel(ctx context.Context, logger *slog.Logger) (err error) {
	path := ":memory:"
	if n.w.dir != "" && n.w.onFile {
		path = filepath.Join(n.w.dir, fmt.Sprintf("model-%d-%d.db", n.no, n.disks))
	}
	var source readmodel.Source = eventlog.Counted{Log: n.log}
	if n.w.plant.Source != nil {
		source = n.w.plant.Source(rand.New(rand.NewPCG(n.w.seed, uint64(n.no))), eventlog.Counted{Log: n.log})
	}
	n.model, err = readmodel.Open(ctx, readmodel.Config{
		Path: path, Folds: n.w.folds(), Source: source, Keys: n.ring, Self: n.site, Now: n.clock, Logger: logger,
	})
	if err != nil {
		return err
	}
	if err := n.openFederation(ctx, logger); err != nil {
		return err
	}
	return n.openDomains(ctx, logger)
}

// stop ends the process as kill -9 does: nothing is said, nothing is finished. With power, what was not synced is gone.
func (n *node) stop(power bool) {
	if !n.up {
		return
	}
	n.up = false
	n.port.SetDown(true)
	_ = n.model.Close()
	if power && n.memory != nil {
		n.memory.Crash()
	}
	n.closeStreams()
}

// mayHold returns the authorities whose logs the node may hold, as far as it knows.
func (n *node) mayHold() []event.AuthorityID { return n.fed.AuthorityIDs() }

// unpacked has questions for keys answered as they are. A box is sealed with randomness that no seed decides, so how long it is
// when it is packed, and how long that takes on a slow line, would not follow from the seed.
func unpacked(serve eventlog.Handler) eventlog.Handler {
	return func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
		return serve(ctx, peer, bytes.Replace(body, []byte(`,"pack":true`), nil, 1))
	}
}
