// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/synced"
	"codeberg.org/holdfast/holdfast/web"
)

// signInLife is how long a printed sign-in link is good for.
const signInLife = 24 * time.Hour

// siteFiles are what a site makes in its data folder, besides its lock and its socket.
var siteFiles = []string{ConfigFile, localstore.IdentityFile, localFile, keyringFile, modelFile, logFolder}

// makeFolder makes a data folder with a configuration and a new key. It replaces nothing that is there.
func makeFolder(set cli.SiteSettings) (Config, *seal.Identity, error) {
	c := Config{
		Name: set.Name, Operator: set.Operator, Box: set.Box,
		Portal: Portal{Listen: set.PortalListen, URL: orElse(set.PortalURL, "http://"+set.PortalListen)},
		Peer:   Peer{Listen: set.PeerListen, DialFrom: set.PeerFrom},
		Disk:   Disk{KeyFile: set.KeyFile},
	}
	if set.PeerAdvertise != "" {
		c.Peer.Advertise = []string{set.PeerAdvertise}
	}
	c.setDefaults()
	if err := c.check(); err != nil {
		return c, nil, err
	}
	if err := (synced.Disk{}).MakeFolder(set.Data); err != nil {
		return c, nil, fmt.Errorf("make the data folder: %w", err)
	}
	for _, name := range siteFiles {
		if _, err := os.Lstat(filepath.Join(set.Data, name)); !errors.Is(err, os.ErrNotExist) {
			return c, nil, errFolderUsed.Because("%s", filepath.Join(set.Data, name)).With(err)
		}
	}
	if err := WriteConfig(set.Data, c); err != nil {
		return c, nil, err
	}
	v, err := c.Disk.newVault()
	if err != nil {
		return c, nil, errors.Join(err, undo(set.Data))
	}
	id, err := v.createIdentity(set.Data)
	if err != nil {
		return c, nil, errors.Join(err, undo(set.Data))
	}
	return c, id, nil
}

var errFolderUsed = fault.New(fault.Conflict, "app.folder_used", "there is a site in this folder already",
	"choose another folder with --data, or start this one with 'holdfast serve'")

// undo removes what a site has made in a folder that was empty of sites, so that it can be made again in the same folder.
func undo(data string) error {
	var errs []error
	for _, name := range siteFiles {
		for _, suffix := range []string{"", "-wal", "-shm", "-sum", ".layout"} {
			errs = append(errs, os.RemoveAll(filepath.Join(data, name+suffix)))
		}
	}
	return errors.Join(errs...)
}

func (c Config) describe() site.Description {
	d := site.Description{Name: c.Name, Kind: site.Provider, Addresses: c.Peer.Advertise, PortalURL: c.Portal.URL, Names: c.hostNames(),
		Channels: c.Channels.kinds()}
	if c.Box {
		d.Kind = site.Box
	}
	return d
}

// Init makes the first site of a federation: folder, key, configuration, the founding fact, a sign-in link. If it fails, the
// folder is as it was.
func Init(ctx context.Context, set cli.SiteSettings) (cli.InitResult, error) {
	_, id, err := makeFolder(set)
	if err != nil {
		return cli.InitResult{}, err
	}
	link, err := found(ctx, set.Data)
	if err != nil {
		return cli.InitResult{}, errors.Join(byFlag(err), undo(set.Data))
	}
	return cli.InitResult{Site: string(id.Site()), SignIn: link}, nil
}

// byFlag has a refused address point to the flag: while a site is being made there is no configuration to change.
func byFlag(err error) error {
	f := fault.Of(err)
	if f.Code != codePeerListen {
		return err
	}
	return fault.New(f.Kind, f.Code, f.Message, "stop the program that uses this address, or name another one with --peer-listen").With(f.Err)
}

// codePeerListen is the code of the fault that a site cannot listen for others.
const codePeerListen = "peer.listen"

// found opens a new site, founds a federation with it and returns a sign-in link.
func found(ctx context.Context, data string) (link string, err error) {
	s, err := New(ctx, data, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	folding, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); s.model.Run(folding) }()
	defer func() { stop(); <-done }()
	if err := s.sites.Found(ctx, s.config.Operator, s.config.describe()); err != nil {
		return "", err
	}
	return s.signInLink(ctx)
}

// signInLink returns a new link with which the operator signs in once.
func (s *Site) signInLink(ctx context.Context) (string, error) {
	return newSignInLink(ctx, s.local, s.config)
}

func newSignInLink(ctx context.Context, local *localstore.Store, c Config) (string, error) {
	links := web.Sessions{Store: local, Rand: rand.Reader, Now: time.Now}
	path, _, err := links.NewLink(ctx, signInLife)
	return c.Portal.URL + path, err
}

const keyToken = "join-token"

// Join makes a site and brings its invitation to the inviter. While a second operator's word is missing the result is
// Pending: the token is kept, and serving goes on asking. If it is refused, the folder is as it was. If the answer did not
// come, the site's key stays, because the inviter may have taken note of it: joining again with the same token goes on.
func Join(ctx context.Context, token string, set cli.SiteSettings) (cli.JoinResult, error) {
	return joinAt(ctx, token, set, time.Now)
}

// joinAt is Join by the given clock.
func joinAt(ctx context.Context, token string, set cli.SiteSettings, now func() time.Time) (cli.JoinResult, error) {
	t, err := site.ParseToken(token)
	if err != nil {
		return cli.JoinResult{}, err
	}
	set.Name, set.Operator = orElse(set.Name, t.Name), orElse(set.Operator, t.Operator)
	j := joiner{token: token, expires: t.ExpiresAt(), data: set.Data, now: now}
	if !j.resume(ctx) {
		if j.config, j.identity, err = makeFolder(set); err != nil {
			return cli.JoinResult{}, err
		}
	}
	r := cli.JoinResult{Site: string(j.identity.Site())}
	if r.Pending, r.SignIn, err = j.enter(ctx); isRefusal(err) {
		err = errors.Join(err, undo(set.Data))
	}
	return r, err
}

// isRefusal reports whether err is a final word; other errors leave open whether the inviter has heard of the site.
func isRefusal(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Forbidden, fault.NotFound, fault.Conflict, fault.TooLarge:
		return true
	}
	return err != nil && fault.Of(err).Code == codeOtherSite
}

// codeOtherSite is the code of the fault that another site answers where the inviter should.
const codeOtherSite = "peer.other_site"

// joiner is a site that wants to join.
type joiner struct {
	token    string
	expires  time.Time
	data     string
	config   Config
	identity *seal.Identity
	now      func() time.Time
}

// resume reports whether the folder holds a site that has begun to join with the same token, and takes it up.
func (j *joiner) resume(ctx context.Context) bool {
	if _, err := os.Stat(filepath.Join(j.data, localFile)); err != nil {
		return false
	}
	config, err := LoadConfig(j.data)
	if err != nil {
		return false
	}
	v, err := config.Disk.vault()
	if err != nil {
		return false
	}
	local, err := v.openLocal(j.data, j.now)
	if err != nil {
		return false
	}
	defer local.Close()
	if kept, err := local.Get(ctx, bucketMeta, keyToken); err != nil || string(kept) != j.token {
		return false
	}
	j.config = config
	j.identity, err = v.loadIdentity(j.data)
	return err == nil
}

// enter keeps the token, asks to be admitted, and makes a sign-in link.
func (j *joiner) enter(ctx context.Context) (pending bool, link string, err error) {
	v, err := j.config.Disk.vault()
	if err != nil {
		return false, "", err
	}
	local, err := v.openLocal(j.data, j.now)
	if err != nil {
		return false, "", err
	}
	defer func() { err = errors.Join(err, local.Close()) }()
	if err := local.Put(ctx, bucketMeta, keyToken, []byte(j.token), j.expires.Add(site.MaxTTL)); err != nil {
		return false, "", err
	}
	if pending, err = j.join(ctx, local); err != nil {
		return false, "", err
	}
	link, err = newSignInLink(ctx, local, j.config)
	return pending, link, err
}

// join asks the inviter once. When this site is a member it pins the members it is told of and forgets the token.
func (j *joiner) join(ctx context.Context, local *localstore.Store) (pending bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	a, err := site.Join(ctx, site.JoinConfig{
		Token: j.token, Identity: j.identity, Now: j.now, Name: j.config.Name, Kind: j.config.describe().Kind,
		Addresses: j.config.Peer.Advertise, PortalURL: j.config.Portal.URL, Channels: j.config.Channels.kinds(),
		Request: func(ctx context.Context, to event.SiteID, addresses []string, body []byte) ([]byte, error) {
			return askToJoin(ctx, jetstream.LinksConfig{Identity: j.identity, LocalAddr: j.config.Peer.DialFrom, Now: j.now,
				Logger: slog.New(slog.DiscardHandler)}, to, addresses, body)
		},
	})
	if err != nil || a.Pending {
		return a.Pending, err
	}
	if err := site.Pin(ctx, local, a); err != nil {
		return false, err
	}
	return false, local.Delete(ctx, bucketMeta, keyToken)
}

// askToJoin carries the request to the inviter. A line that is down for a moment is tried again until ctx ends: asking
// twice is harmless.
func askToJoin(ctx context.Context, cfg jetstream.LinksConfig, to event.SiteID, addresses []string, body []byte) ([]byte, error) {
	for {
		answer, err := askOnce(ctx, cfg, to, addresses, body)
		if fault.KindOf(err) != fault.Unavailable || fault.Of(err).Code == codeOtherSite {
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
	v, err := c.Disk.vault()
	if err != nil {
		return err
	}
	id, err := v.loadIdentity(data)
	if err != nil {
		return err
	}
	local, err := v.openLocal(data, time.Now)
	if err != nil {
		return err
	}
	defer local.Close()
	for told := ""; ; {
		token, err := local.Get(ctx, bucketMeta, keyToken)
		if errors.Is(err, localstore.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		j := joiner{token: string(token), data: data, config: c, identity: id, now: time.Now}
		pending, err := j.join(ctx, local)
		if err == nil && !pending {
			return nil
		}
		if code := codeOf(err); ctx.Err() == nil && told != code {
			if told = code; err != nil {
				logger.Warn("joining is tried again", "site", id.Site(), "error", err)
			} else {
				logger.Info("waiting to be admitted by a second operator: there, run 'holdfast admit'", "site", id.Site())
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// codeOf tells one trouble from another, so that each is told once and not every second.
func codeOf(err error) string {
	if err == nil {
		return "pending"
	}
	return fault.Of(err).Code
}
