// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/salvage"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/session"
	"codeberg.org/holdfast/holdfast/site"
)

// Site is a site with everything in it, opened but not yet serving. Close it when it is not needed any more.
type Site struct {
	data     string
	config   Config
	identity *seal.Identity
	logger   *slog.Logger
	now      func() time.Time
	vault    vault
	closers  []func() error
	health   *health.Board
	ailing   ailing
	// newKeyring is set if there was no keyring.db when the site was opened, and nothing to repair.
	newKeyring bool
	// checked wakes followStores after a check; before reopenAfter it does not have the site opened anew.
	checked     chan struct{}
	reopenAfter time.Time

	local      *localstore.Store
	ring       *keyring.Ring
	server     *jetstream.Server
	links      *jetstream.Links
	log        *eventlog.Log
	model      *readmodel.Model
	replicator *eventlog.Replicator
	syncer     *keyring.Syncer
	federation *site.Federation
	sites      *site.Service
	directory  *directory.Service
	alarms     *alarm.Service
	caller     *alarm.Caller
	drivers    []alarm.Channel
	people
	settled atomic.Pointer[time.Time] // when settle was done: since then this site knows whom to ask; nil before
	// keysEnd and keysKept are how far the keyring was at the last look, and how far the local store says; see keepKeysShown.
	keysEnd, keysKept keyring.Cursor
}

// folds is the table of what is folded into the read model: one line per domain.
func folds() []readmodel.Fold {
	return []readmodel.Fold{site.Fold(), directory.Fold(), alarm.Fold(), access.Fold(), session.Fold(), identity.Fold(), guest.Fold(),
		program.Fold(), audit.Fold()}
}

// New opens the site in a data folder. It takes the locks of its files, so a second process at the same folder gets a
// fault. It reads, but neither listens for people nor talks to other sites before Run.
func New(ctx context.Context, data string, logger *slog.Logger) (*Site, error) {
	return NewAt(ctx, data, logger, time.Now)
}

// NewAt is New by the given clock: what a site does in ten years can be seen today.
func NewAt(ctx context.Context, data string, logger *slog.Logger, now func() time.Time) (*Site, error) {
	config, err := LoadConfig(data)
	if err != nil {
		return nil, err
	}
	s := &Site{data: data, config: config, logger: logger, now: now, health: health.NewBoard(now, logger), checked: make(chan struct{}, 1),
		ailing: ailing{logs: make(map[eventlog.Branch]eventlog.Damage), keys: make(map[event.AuthorityID]time.Time)}}
	for _, open := range []func(context.Context) error{s.openStores, s.openLog, s.openModel, s.openServices} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close releases everything in the opposite order of its opening. What was acknowledged stays.
func (s *Site) Close() error {
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *Site) path(name string) string { return filepath.Join(s.data, name) }

func (s *Site) onClose(c func() error) { s.closers = append(s.closers, c) }

func (s *Site) openStores(ctx context.Context) (err error) {
	if err := s.lockFolder(); err != nil {
		return err
	}
	if s.vault, err = s.config.Disk.vault(); err != nil {
		return err
	}
	if s.identity, err = s.vault.loadIdentity(s.data); err != nil {
		return err
	}
	if s.local, err = s.vault.openLocal(s.data, s.now); err != nil {
		return fmt.Errorf("open the local store: %w", err)
	}
	s.onClose(s.local.Close)
	if err := s.checkSelf(ctx); err != nil {
		return err
	}
	if err := s.noticeRepairedLocal(ctx); err != nil {
		return fmt.Errorf("open the local store: %w", err)
	}
	missing := s.keyringIsMissing()
	s.federation = site.NewFederation(s.identity.Site())
	var repaired *salvage.Damage
	s.ring, repaired, err = keyring.OpenChecked(s.path(keyringFile), keyring.Config{Identity: s.identity, Rand: rand.Reader,
		Now: s.now, Logger: s.logger, Allowed: s.federation.Allowed, Grounds: s.grounds}, s.health)
	if err != nil {
		return fmt.Errorf("open the keyring: %w", err)
	}
	s.newKeyring = missing && repaired == nil // a file that was cut off to nothing is told of as damaged
	s.onClose(s.ring.Close)
	return nil
}

func (s *Site) openLog(ctx context.Context) (err error) {
	s.server, err = jetstream.Start(jetstream.Config{
		Identity: s.identity, Dir: s.path(logFolder), Listen: s.config.Peer.Listen, Admit: s.admit,
		Reserve: uint64(s.config.Disk.ReserveMiB) << 20, CipherKey: s.vault.logKey(), Rand: rand.Reader, Now: s.now, Logger: s.logger,
	})
	if err != nil {
		return err
	}
	s.onClose(s.server.Close)
	s.links = jetstream.NewLinks(jetstream.LinksConfig{
		Identity: s.identity, Addresses: s.addresses, LocalAddr: s.config.Peer.DialFrom,
		// A line that comes back is used at once, not at the next tick: that is most of the time a cut takes to heal.
		OnUp: func(peer event.SiteID) { s.replicator.Meet(peer) },
		Now:  s.now, Logger: s.logger,
	})
	s.onClose(s.links.Close)
	incarnation, err := s.keptIncarnation(ctx)
	if err != nil {
		return err
	}
	s.log, err = eventlog.Open(ctx, eventlog.Config{
		Identity: s.identity, Store: s.server.Store(), Clock: event.NewClock(s.now), Rand: rand.Reader,
		Policy: s.federation, Keys: s.ring, Now: s.now, Logger: s.logger,
		Incarnation: incarnation, OnIncarnation: s.keepIncarnation, OnFork: s.tellFork, OnSkew: s.tellSkew,
		Elsewhere: s.elsewhere, Vouched: s.vouched, Space: s.server.Store().Space,
	})
	if err != nil {
		return fmt.Errorf("open the logs: %w", err)
	}
	s.noticeLostKeyring()
	return nil
}

func (s *Site) openModel(ctx context.Context) (err error) {
	s.model, err = readmodel.Open(ctx, readmodel.Config{
		Path: s.modelPath(), Folds: folds(), Source: eventlog.Counted{Log: s.log}, Keys: s.ring, Self: s.identity.Site(), Now: s.now, Logger: s.logger,
		Health: s.health,
	})
	if err != nil {
		return fmt.Errorf("open the read model: %w", err)
	}
	s.onClose(s.model.Close)
	s.syncer = &keyring.Syncer{Ring: s.ring, Link: s.links, Policy: s.federation, Authorities: s.federation.AuthorityIDs,
		Needed: s.log.MissingKeys, Urgent: s.log.UrgentKeys, Bulk: s.links.Bulk(),
		Paced: func(ctx context.Context, peer event.SiteID, urgent bool, ask func(context.Context, int) (int, error)) error {
			return s.replicator.Paced(ctx, peer, urgent, ask)
		}}
	s.replicator, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: s.log, Link: s.links, Bulk: s.links.Bulk(), Policy: s.federation, Self: s.identity.Site(), Peers: s.federation.Peers,
		NeedKeys: s.needKeys, Folded: s.model.Folded, Now: s.now, Rand: rand.Reader, Logger: s.logger,
	})
	return err
}

func (s *Site) needKeys(ctx context.Context, peer event.SiteID) error {
	_, err := s.syncer.Fetch(ctx, peer)
	return err
}

// admit tells the door for peers what a site is to us.
func (s *Site) admit(peer event.SiteID) jetstream.Role {
	if s.federation.Member(peer) {
		return jetstream.Member
	}
	return jetstream.Stranger
}

func (s *Site) addresses(peer event.SiteID) []string {
	m, _ := s.federation.MemberOf(peer)
	return m.Addresses
}

const (
	bucketMeta     = "app.meta"
	keyIncarnation = "incarnation"
)

// keySelf is under which the local store keeps whose folder this is.
const keySelf = "self"

// errOtherKey is returned for a folder in which site.key holds another key than the one it was made with. A flipped bit turns a key
// into another one that looks just as good, and the site would start as somebody else.
var errOtherKey = fault.New(fault.Invalid, "identity.other", "site.key does not hold the key of the site in this folder",
	"put site.key back from its backup; if there is none, make a new site and have this one removed")

func (s *Site) checkSelf(ctx context.Context) error {
	self := string(s.identity.Site())
	kept, err := s.local.Get(ctx, bucketMeta, keySelf)
	switch {
	case errors.Is(err, localstore.ErrNotFound):
		return s.local.Put(ctx, bucketMeta, keySelf, []byte(self), time.Time{})
	case err != nil:
		return err
	case string(kept) != self:
		return errOtherKey.Because("it holds %s, the folder belongs to %s", s.identity.Site().Short(), event.SiteID(kept).Short())
	}
	return nil
}

func (s *Site) keptIncarnation(ctx context.Context) (string, error) {
	b, err := s.local.Get(ctx, bucketMeta, keyIncarnation)
	if errors.Is(err, localstore.ErrNotFound) {
		return "", nil
	}
	return string(b), err
}

// keepIncarnation is called before the first page that uses the word, so it must be on the disk when it returns.
func (s *Site) keepIncarnation(incarnation string) error {
	return s.local.Put(context.Background(), bucketMeta, keyIncarnation, []byte(incarnation), time.Time{})
}

func (s *Site) tellFork(f eventlog.Fork) {
	s.logger.Error("a site signed two different pages of one number; both are kept and folded, the log is closed",
		"log", f.Branch.LogID.String(), "page", f.Page)
}

func (s *Site) tellSkew(k eventlog.Skew) {
	s.logger.Warn("the clock of a site is wrong; compare it with a clock you trust", "site", k.Site.Short(), "ahead", k.Ahead.Round(time.Second))
}

// elsewhere reports whether a peer has said that it holds the branch at least up to head.
func (s *Site) elsewhere(h eventlog.Head) bool { return s.replicator.Elsewhere(h) }

// vouched reports whether a site of another operator than the origin's holds the log.
func (s *Site) vouched(id eventlog.LogID) bool { return s.replicator.Vouched(id) }

// lockFolder makes sure that one process at a time uses the data folder.
func (s *Site) lockFolder() error {
	f, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the data folder's lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return fault.New(fault.Conflict, "app.locked", "another process runs the site in "+s.data,
			"end it first, or use its commands: they talk to the running site")
	}
	s.onClose(f.Close)
	return nil
}

// readSecret returns the trimmed content of a file that a configuration refers to.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open the secret's file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		return "", fmt.Errorf("read the secret's file: %w", err)
	}
	return trimSecret(b), nil
}
