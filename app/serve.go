// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/portal"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

// Serve runs the site in a data folder until ctx ends. A site that still waits to be admitted asks until it is. ready is
// called once, when people can come in. A store that is found damaged while the site runs is repaired by opening the site anew.
func Serve(ctx context.Context, data string, ready func(cli.Ready)) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := finishJoining(ctx, data, logger); err != nil {
		return err
	}
	var once sync.Once
	first := func(r cli.Ready) { once.Do(func() { ready(r) }) }
	for reopenAfter := (time.Time{}); ; reopenAfter = time.Now().Add(reopenEvery) {
		if err := serveOnce(ctx, data, logger, reopenAfter, first); !errors.Is(err, errReopen) {
			return err
		}
		logger.Warn("the site opens its stores anew, because one of them must be repaired")
	}
}

func serveOnce(ctx context.Context, data string, logger *slog.Logger, reopenAfter time.Time, ready func(cli.Ready)) error {
	s, err := New(ctx, data, logger)
	if err != nil {
		return err
	}
	s.reopenAfter = reopenAfter
	if s.federation.Founder() == "" {
		return errors.Join(errHalfMade.Because("%s", data), s.Close())
	}
	return errors.Join(s.Run(ctx, ready), s.Close())
}

var errHalfMade = fault.New(fault.Conflict, "app.half_made", "the site in this folder belongs to no federation: making it was interrupted",
	"delete the folder and make the site again with 'holdfast init' or 'holdfast join'")

func (s *Site) openServices(ctx context.Context) (err error) {
	s.sites, err = site.New(ctx, site.Config{
		Identity: s.identity, Log: s.log, Model: s.model, Ring: s.ring, Local: s.local, Federation: s.federation,
		Now: s.now, Rand: rand.Reader, Logger: s.logger, Heads: s.log.Heads, Fetch: s.fetch,
	})
	if err != nil {
		return fmt.Errorf("read the federation: %w", err)
	}
	s.directory = directory.New(directory.Config{Log: s.log, Model: s.model, Keys: s.ring, Rand: rand.Reader, Logger: s.logger,
		MoreKeys: func(ctx context.Context, a event.AuthorityID, p directory.PersonID) ([]event.KeyID, error) {
			return s.accounts.KeysOf(ctx, a, p)
		}})
	watch := alarm.Watch{Clock: s.replicator.Clock, Timeline: &alarm.Timeline{}}
	s.alarms = alarm.NewService(alarm.Config{
		Self: s.identity.Site(), Log: s.log, Model: s.model, Directory: s.directory, Federation: alarm.Members{Federation: s.federation},
		Keys: s.ring, TakeoverAfter: s.config.Alarm.TakeoverAfter, Now: s.now, Rand: rand.Reader, Logger: s.logger, Watch: watch,
	})
	if s.drivers, err = channels(s.config.Channels); err != nil {
		return err
	}
	s.onClose(func() error { release(s.drivers); return nil })
	s.caller = alarm.NewCaller(alarm.CallerConfig{
		Self: s.identity.Site(), Log: s.log, Work: alarm.Desk{Model: s.model}, Directory: s.directory,
		Federation: alarm.Members{Federation: s.federation}, Keys: s.ring, Channels: s.drivers,
		Replication: s.neighbours(), CaughtUp: s.caughtUp, Now: s.now, Logger: s.logger, Watch: watch,
		Workers: s.config.Alarm.Workers,
	})
	return s.openPeople(ctx)
}

// caughtUp reports whether this site has folded what its own disk held when it started: settle does that first. What the others
// held is the replicator's to tell, after the start as after every later silence: see eventlog.Replicator.Fresh.
func (s *Site) caughtUp(context.Context) bool { return s.settled.Load() != nil }

// neighbours is how the caller knows the other sites. For how long it has heard nobody counts from when it knew whom to listen to:
// folding a read model anew takes minutes, and who counted them would call as if it stayed alone before it could hear anybody.
func (s *Site) neighbours() alarm.Neighbours {
	return alarm.Neighbours{
		Replicator: s.replicator, Policy: s.federation, Self: s.identity.Site(), Now: s.now,
		Since: func() time.Time {
			if at := s.settled.Load(); at != nil {
				return *at
			}
			return s.now()
		},
	}
}

// Run serves until ctx ends. It returns nil after an orderly end.
func (s *Site) Run(ctx context.Context, ready func(cli.Ready)) error {
	s.tellAtRest()
	// Before anybody can make this site append: people, other sites, or one of the loops.
	s.log.Hold()
	if err := s.answerPeers(); err != nil {
		return err
	}
	ln, _, err := web.Listen(ctx, web.ListenConfig{Address: s.config.Portal.Listen, CertFile: s.config.Portal.TLSCert,
		KeyFile: s.config.Portal.TLSKey, PlainAllowed: s.config.Portal.Plain})
	if err != nil {
		return err
	}
	control, err := s.listenControl()
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	people, operator, err := s.handlers()
	if err != nil {
		return errors.Join(err, ln.Close(), control.Close())
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, loop := range s.loops() {
		g.Go(func() error { loop(ctx); return nil })
	}
	g.Go(func() error { return web.Serve(ctx, ln, people, s.logger) })
	g.Go(func() error { return web.Serve(ctx, control, operator, s.logger) })
	g.Go(func() error { s.settle(ctx); return nil })
	g.Go(func() error { return s.followStores(ctx) })
	ready(cli.Ready{Site: string(s.identity.Site()), Portal: s.config.Portal.URL, Peer: s.server.Addr()})
	return g.Wait()
}

// answerPeers puts a handler behind every verb that other sites may use.
func (s *Site) answerPeers() error {
	verbs := map[string]eventlog.Handler{site.VerbJoin: s.sites.ServeJoin, keyring.Verb: s.syncer.Serve}
	for _, v := range eventlog.Verbs() {
		verbs[v] = s.replicator.Serve(v)
	}
	for verb, h := range verbs {
		if err := s.server.Handle(verb, h); err != nil {
			return err
		}
	}
	return nil
}

// loops are the site's doers, each a thin loop around a step.
func (s *Site) loops() []func(context.Context) {
	return []func(context.Context){
		s.model.Run, s.replicator.Run, s.sites.Run, s.caller.Run, s.wakeModel, s.followKeys, s.followMembers, s.sweep, s.scrub,
		func(ctx context.Context) { s.syncer.Run(ctx, s.federation.Peers, time.Second) },
		s.followClocks, s.describe, s.followPolicies, s.finishErasures, s.confirmErasures, s.judgeErasures, s.audit.Run, s.accounts.Run, s.forget,
	}
}

// settle decides at the start whether our logs may go on; appends wait until then. Run has put the log on hold. Whom to ask is
// in the read model, which is empty after a new version: it is folded first.
func (s *Site) settle(ctx context.Context) {
	defer s.log.Release()
	defer func() {
		now := s.now()
		s.settled.Store(&now)
	}()
	_, err := s.model.CatchUp(ctx)
	if err == nil {
		_, err = s.sites.Refresh(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.logger.Error("the site starts without knowing all others", "error", err)
	}
	s.replicator.Settle(ctx) // it tells why, when our logs go on under a new incarnation
}

// wakeModel folds what the log has taken, and looks for calls that are due.
func (s *Site) wakeModel(ctx context.Context) {
	changed, stop := s.log.Subscribe()
	defer stop()
	names, unwatch := s.model.Watch()
	defer unwatch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			s.model.Wake()
		case <-names:
			s.caller.Wake()
		}
	}
}

// followMembers opens and closes doors and links as members come and go.
func (s *Site) followMembers(ctx context.Context) {
	changed, stop := s.federation.Subscribe()
	defer stop()
	for {
		s.server.Refresh()
		s.links.Keep(s.federation.Peers())
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// describe tells the federation when the configuration has given this site another name or address.
func (s *Site) describe(ctx context.Context) {
	if err := s.sites.Describe(ctx, s.config.describe()); err != nil && ctx.Err() == nil {
		s.logger.Warn("other sites do not know of our present name and addresses yet", "error", err)
	}
}

func every(ctx context.Context, d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// sweep removes expired sessions and invitations.
func (s *Site) sweep(ctx context.Context) {
	every(ctx, 10*time.Minute, func() { _, _ = s.local.Sweep(ctx) })
}

// followClocks warns when a peer's clock and ours are far apart: one of the two misleads people about when things happened.
func (s *Site) followClocks(ctx context.Context) {
	told := make(map[event.SiteID]bool)
	every(ctx, 10*time.Second, func() {
		for _, l := range s.replicator.Lag() {
			wrong := l.Offset.Abs() > event.MaxDrift
			if wrong && !told[l.Peer] {
				s.logger.Warn("the clocks of two sites differ by more than five minutes; compare both with a clock you trust and set the wrong one",
					"site", l.Peer.Short(), "ahead", l.Offset.Round(time.Second))
			}
			told[l.Peer] = wrong
		}
	})
}

// listenControl opens the operator's socket; the file system says who may use it.
func (s *Site) listenControl() (net.Listener, error) {
	path := s.path(api.SocketFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove an old control socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket %s: %w", path, err)
	}
	return ln, os.Chmod(path, 0o600)
}

// handlers returns what stands behind the portal's port and behind the operator's socket.
func (s *Site) handlers() (people, operator http.Handler, err error) {
	once := &web.Once{Store: s.local, Rand: rand.Reader, Now: s.now}
	p, err := s.newPortal(once)
	if err != nil {
		return nil, nil, err
	}
	a := api.New(s.apiConfig(once))
	mux := http.NewServeMux()
	p.Mount(mux)
	a.Mount(mux, web.Bearer{Programs: s.programs, Otherwise: s.sessions, Attempts: web.NewAttempts(s.now, 100, time.Second, 10_000)})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.showReady)
	people = web.Handler(web.HandlerConfig{Errors: p.Errors(), BehindTLS: s.config.Portal.Plain, ClientHeader: s.config.Portal.Client, Strict: s.isName}, mux)
	control := http.NewServeMux()
	a.Mount(control, web.Fixed(s.console()))
	control.HandleFunc("GET /metrics", s.showMetrics)
	operator = web.Handler(web.HandlerConfig{Errors: p.Errors(), LargeBody: a.LargeBody}, control)
	return people, operator, nil
}

func (s *Site) newPortal(once *web.Once) (*portal.Portal, error) {
	return portal.New(portal.Config{
		Federation: portalSites{s.federation}, Directory: s.directory, Alarms: s.alarms, Model: s.model, Copies: s.replicator,
		Sessions: s.sessions, Judge: s.access, Access: s.access, Audit: s.audit, SignIn: s.signInConfig(), Admin: s.adminConfig(), Once: once, Health: s.health.List,
		Zone: zone(), Now: s.now, Logger: s.logger,
	})
}

// zone is where the people are: times are shown as they read them off the wall.
func zone() *time.Location {
	if l, err := time.LoadLocation("Europe/Berlin"); err == nil {
		return l
	}
	return time.Local
}
