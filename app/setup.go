// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

// signInLife is how long a printed sign-in link is good for.
const signInLife = 24 * time.Hour

// makeFolder makes a data folder with a configuration and a new key. It replaces nothing that is there.
func makeFolder(set cli.SiteSettings) (Config, *seal.Identity, error) {
	c := Config{
		Name: set.Name, Operator: set.Operator, Box: set.Box,
		Portal: Portal{Listen: set.PortalListen, URL: orElse(set.PortalURL, "http://"+set.PortalListen)},
		Peer:   Peer{Listen: set.PeerListen, DialFrom: set.PeerFrom},
	}
	if set.PeerAdvertise != "" {
		c.Peer.Advertise = []string{set.PeerAdvertise}
	}
	c.setDefaults()
	if err := c.check(); err != nil {
		return c, nil, err
	}
	if err := os.MkdirAll(set.Data, 0o700); err != nil {
		return c, nil, fmt.Errorf("make the data folder: %w", err)
	}
	if err := WriteConfig(set.Data, c); err != nil {
		return c, nil, err
	}
	id, err := localstore.CreateIdentity(set.Data, rand.Reader)
	return c, id, err
}

func (c Config) describe() site.Description {
	d := site.Description{Name: c.Name, Kind: site.Provider, Addresses: c.Peer.Advertise, PortalURL: c.Portal.URL}
	if c.Box {
		d.Kind = site.Box
	}
	return d
}

// Init makes the first site of a federation: folder, key, configuration, the founding fact, a sign-in link.
func Init(ctx context.Context, set cli.SiteSettings) (cli.InitResult, error) {
	c, id, err := makeFolder(set)
	if err != nil {
		return cli.InitResult{}, err
	}
	s, err := New(ctx, set.Data, slog.New(slog.DiscardHandler))
	if err != nil {
		return cli.InitResult{}, err
	}
	defer s.Close()
	folding, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); s.model.Run(folding) }()
	defer func() { stop(); <-done }()
	if err := s.sites.Found(ctx, c.Operator, c.describe()); err != nil {
		return cli.InitResult{}, err
	}
	link, err := s.signInLink(ctx)
	return cli.InitResult{Site: string(id.Site()), SignIn: link}, err
}

// signInLink returns a new link with which the operator signs in once.
func (s *Site) signInLink(ctx context.Context) (string, error) {
	return newSignInLink(ctx, s.sessions, s.config)
}

func newSignInLink(ctx context.Context, sessions *web.Sessions, c Config) (string, error) {
	path, _, err := sessions.NewLink(ctx, web.Actor{ID: "operator"}, signInLife)
	return c.Portal.URL + path, err
}

const keyToken = "join-token"

// Join makes a site and brings its invitation to the inviter. While a second operator's word is missing the result is
// Pending: the token is kept, and serving goes on asking.
func Join(ctx context.Context, token string, set cli.SiteSettings) (cli.JoinResult, error) {
	t, err := site.ParseToken(token)
	if err != nil {
		return cli.JoinResult{}, err
	}
	set.Name, set.Operator = orElse(set.Name, t.Name), orElse(set.Operator, t.Operator)
	c, id, err := makeFolder(set)
	if err != nil {
		return cli.JoinResult{}, err
	}
	local, err := localstore.Open(set.Data+"/"+localFile, time.Now)
	if err != nil {
		return cli.JoinResult{}, err
	}
	defer local.Close()
	pending, err := join(ctx, token, c, id, local)
	if err != nil {
		return cli.JoinResult{}, errors.Join(err, undo(set.Data))
	}
	if pending {
		err = local.Put(ctx, bucketMeta, keyToken, []byte(token), t.ExpiresAt().Add(site.MaxTTL))
	}
	if err != nil {
		return cli.JoinResult{}, err
	}
	link, err := newSignInLink(ctx, newSessions(local, c), c)
	return cli.JoinResult{Site: string(id.Site()), Pending: pending, SignIn: link}, err
}

// undo removes the two files that a refused join has made, so that it can be tried again in the same folder.
func undo(data string) error {
	return errors.Join(os.Remove(data+"/"+ConfigFile), os.Remove(data+"/"+localstore.IdentityFile))
}

// join asks the inviter once, and pins the members it names.
func join(ctx context.Context, token string, c Config, id *seal.Identity, local *localstore.Store) (pending bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	a, err := site.Join(ctx, site.JoinConfig{
		Token: token, Identity: id, Now: time.Now, Name: c.Name, Kind: c.describe().Kind,
		Addresses: c.Peer.Advertise, PortalURL: c.Portal.URL,
		Request: func(ctx context.Context, to event.SiteID, addresses []string, body []byte) ([]byte, error) {
			return askToJoin(ctx, jetstream.LinksConfig{Identity: id, LocalAddr: c.Peer.DialFrom, Now: time.Now,
				Logger: slog.New(slog.DiscardHandler)}, to, addresses, body)
		},
	})
	if err != nil || a.Pending {
		return a.Pending, err
	}
	return false, site.Pin(ctx, local, a)
}

// askToJoin carries the request to the inviter. A line that is down for a moment is tried again until ctx ends: asking
// twice is harmless.
func askToJoin(ctx context.Context, cfg jetstream.LinksConfig, to event.SiteID, addresses []string, body []byte) ([]byte, error) {
	for {
		answer, err := askOnce(ctx, cfg, to, addresses, body)
		if fault.KindOf(err) != fault.Unavailable {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, "join.unreachable", "the inviting site cannot be reached at "+strings.Join(addresses, ", "),
				"check that it runs and that a firewall lets this machine through; then join again with the same invitation").With(err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func askOnce(ctx context.Context, cfg jetstream.LinksConfig, to event.SiteID, addresses []string, body []byte) ([]byte, error) {
	peer, err := jetstream.Dial(ctx, cfg, addresses, to)
	if err != nil {
		return nil, err
	}
	defer peer.Close()
	return peer.Request(ctx, site.VerbJoin, body)
}

// finishJoining asks again and again until a second operator has admitted this site. It returns at once for a site that
// is a member already.
func finishJoining(ctx context.Context, data string, logger *slog.Logger) error {
	c, err := LoadConfig(data)
	if err != nil {
		return err
	}
	id, err := localstore.LoadIdentity(data)
	if err != nil {
		return err
	}
	local, err := localstore.Open(data+"/"+localFile, time.Now)
	if err != nil {
		return err
	}
	defer local.Close()
	for told := false; ; told = true {
		token, err := local.Get(ctx, bucketMeta, keyToken)
		if errors.Is(err, localstore.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		pending, err := join(ctx, string(token), c, id, local)
		if err == nil && !pending {
			return local.Delete(ctx, bucketMeta, keyToken)
		}
		if !told {
			logger.Info("waiting to be admitted by a second operator: there, run 'holdfast admit'", "site", id.Site(), "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func newSessions(local *localstore.Store, c Config) *web.Sessions {
	return &web.Sessions{Store: local, Rand: rand.Reader, Now: time.Now, Secure: c.Portal.TLSCert != "" || c.Portal.Plain}
}
