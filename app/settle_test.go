// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
)

// A new version folds the read model anew, and until that is done a site knows nobody whom it could ask.
func TestASiteThatFoldsItsModelAnewStillAsksTheOthersBeforeItGoesOn(t *testing.T) {
	ctx, data := t.Context(), filepath.Join(t.TempDir(), "a")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := Init(ctx, cli.SiteSettings{Data: data, Name: "a", Operator: "Nordwolke eG", PeerListen: "127.0.0.1:0", PeerAdvertise: "127.0.0.1:1", PortalListen: "127.0.0.1:0"})
	must(err)
	s, err := New(ctx, data, slog.New(slog.DiscardHandler))
	must(err)
	other, err := seal.NewIdentity(rand.Reader)
	must(err)
	token, err := s.sites.Invite(ctx, "b", "Südrechen GmbH", time.Hour)
	must(err)
	_, err = site.Join(ctx, site.JoinConfig{
		Token: token, Identity: other, Now: time.Now, Kind: site.Provider, Addresses: []string{"127.0.0.1:1"},
		Request: func(ctx context.Context, _ event.SiteID, _ []string, body []byte) ([]byte, error) {
			return s.sites.ServeJoin(ctx, other.Site(), body)
		},
	})
	must(err)
	if len(s.federation.Peers()) != 1 || s.log.Incarnation() == "" {
		t.Fatalf("the site knows %v and writes under %q", s.federation.Peers(), s.log.Incarnation())
	}
	must(s.Close())

	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(data, modelFile+suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	s, err = New(ctx, data, slog.New(slog.DiscardHandler))
	must(err)
	defer s.Close()
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
