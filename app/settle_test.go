// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
)

// withPeer makes a site that has written under an incarnation and knows one other site, which cannot be reached, and returns its
// data folder.
func withPeer(t *testing.T) string {
	t.Helper()
	ctx, data := t.Context(), filepath.Join(t.TempDir(), "a")
	_, err := Init(ctx, cli.SiteSettings{Data: data, Name: "a", Operator: "Nordwolke eG", PeerListen: "127.0.0.1:0", PeerAdvertise: "127.0.0.1:1", PortalListen: "127.0.0.1:0"})
	mustWork(t, err)
	s := opened(t, data)
	other, err := seal.NewIdentity(rand.Reader)
	mustWork(t, err)
	token, err := s.sites.Invite(ctx, "b", "Südrechen GmbH", time.Hour)
	mustWork(t, err)
	_, err = site.Join(ctx, site.JoinConfig{
		Token: token, Identity: other, Now: time.Now, Kind: site.Provider, Addresses: []string{"127.0.0.1:1"},
		Request: func(ctx context.Context, _ event.SiteID, _ []string, body []byte) ([]byte, error) {
			return s.sites.ServeJoin(ctx, other.Site(), body)
		},
	})
	mustWork(t, err)
	if len(s.federation.Peers()) != 1 || s.log.Incarnation() == "" {
		t.Fatalf("the site knows %v and writes under %q", s.federation.Peers(), s.log.Incarnation())
	}
	mustWork(t, s.Close())
	return data
}

// opened opens a site; what is left open at the test's end is closed.
func opened(t *testing.T, data string) *Site {
	t.Helper()
	s, err := New(t.Context(), data, slog.New(slog.DiscardHandler))
	mustWork(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustWork(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A new version folds the read model anew, and until that is done a site knows nobody whom it could ask.
func TestASiteThatFoldsItsModelAnewStillAsksTheOthersBeforeItGoesOn(t *testing.T) {
	ctx, data := t.Context(), withPeer(t)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(data, modelFile+suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	s := opened(t, data)
	if s.caughtUp(ctx) {
		t.Error("it has caught up with others of whom it does not know yet")
	}
	s.settle(ctx)
	if got := s.log.Incarnation(); got != "" {
		t.Errorf("nobody could confirm its logs, and it goes on with %q", got)
	}
	if got := s.federation.Peers(); len(got) != 1 {
		t.Errorf("after it settled it knows %v", got)
	}
	if !s.caughtUp(ctx) || s.replicator.CaughtUp() {
		t.Error("it has caught up with a site that it has not asked")
	}
}

// For how long nobody was heard counts from when the site knew whom to listen to, not from its start: else a site that folds its model anew
// would use up, before it could hear anybody, the time in which it calls on as if the others were only slow.
func TestASiteThatFoldsItsModelAnewHasNotBeenAloneMeanwhile(t *testing.T) {
	ctx, data := t.Context(), withPeer(t)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(data, modelFile+suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	start := time.Now()
	var passed atomic.Int64
	s, err := NewAt(ctx, data, slog.New(slog.DiscardHandler), func() time.Time { return start.Add(time.Duration(passed.Load())) })
	mustWork(t, err)
	t.Cleanup(func() { _ = s.Close() })
	passed.Store(int64(time.Minute)) // which the folding takes
	s.settle(ctx)
	passed.Add(int64(3 * time.Second))
	if alone := s.neighbours().Unheard(event.Federation); alone != 3*time.Second {
		t.Errorf("three seconds after it knew the others it takes it that it has been alone for %v", alone)
	}
}

// Another site's question can make this one write: who asks to join is proposed. So no question is answered before appends wait for
// what the others say of our logs. Here the first verb is taken already, and Run ends there.
func TestNoPeerIsAnsweredBeforeAppendsWait(t *testing.T) {
	s := opened(t, withPeer(t))
	for _, verb := range append(eventlog.Verbs(), site.VerbJoin, keyring.Verb) {
		mustWork(t, s.server.Handle(verb, func(context.Context, event.SiteID, []byte) ([]byte, error) { return nil, nil }))
	}
	if err := s.Run(t.Context(), func(cli.Ready) { t.Error("people can come in") }); err == nil {
		t.Fatal("it runs although its verbs are taken: the test proves nothing")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.log.Append(ended, event.Federation, event.Register, event.Draft{Subject: "note/1", Kind: "note.Written", Mode: event.Test})
	if err == nil || !strings.Contains(err.Error(), "wait for other sites to confirm our logs") {
		t.Errorf("an append at that moment does not wait: %v", err)
	}
}

// When people can come in, either the others have been asked, or appends wait for it.
func TestNobodyComesInBeforeAppendsWait(t *testing.T) {
	s := opened(t, withPeer(t))
	ctx, end := context.WithCancel(t.Context())
	given := s.log.Incarnation()
	mustWork(t, s.Run(ctx, func(cli.Ready) {
		defer end()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err := s.log.Append(ended, event.Federation, event.Register, event.Draft{Subject: "note/1", Kind: "note.Written", Mode: event.Test})
		waits := err != nil && strings.Contains(err.Error(), "wait for other sites to confirm our logs")
		if !waits && s.log.Incarnation() == given {
			t.Errorf("an append goes on with logs that nobody has confirmed: %v", err)
		}
	}))
}

// A site that starts again and again while nobody can be reached begins a log only when it has something to write: each costs all
// others a stream, and they take a bounded number of them.
func TestASiteThatStartsAgainAndAgainAloneBeginsNoLogs(t *testing.T) {
	data := withPeer(t)
	var before int
	for n := range 4 {
		s := opened(t, data)
		if n == 0 {
			before = len(s.log.Heads())
		}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, func(cli.Ready) {}) }()
		eventually(t, "it has asked the others", func() error {
			if s.settled.Load() == nil || s.model.Behind() > 0 {
				return errors.New("it has not")
			}
			return nil
		})
		end()
		mustWork(t, <-ended)
		if heads := s.log.Heads(); len(heads) != before {
			t.Errorf("after start %d it has %d logs, want %d: %v", n+1, len(heads), before, heads[len(heads)-1].Branch)
		}
		mustWork(t, s.Close())
	}
}
