// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/app"
	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/site"
)

// TestASiteOnAReallyFullDisk fills the disk of a whole site to the last byte, behind the reserve's back. Every write is refused
// with what a person can do, reading goes on, /readyz says no, and all resumes by itself when there is room.
func TestASiteOnAReallyFullDisk(t *testing.T) {
	// The site is made with the usual reserve of 256 MiB.
	dir, inside := inMountNamespace(t, 300)
	if !inside {
		return
	}
	data := filepath.Join(dir, "site")
	const portal = "127.0.0.1:18611"
	if _, err := app.Init(t.Context(), cli.SiteSettings{Data: data, Name: "Klein", Operator: "Nordwolke eG", PeerListen: "127.0.0.1:0",
		PeerAdvertise: "127.0.0.1:1", PortalListen: portal}); err != nil {
		t.Fatal(err)
	}
	shrinkReserve(t, data)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan cli.Ready, 1), make(chan error, 1)
	go func() { ended <- app.Serve(ctx, data, func(r cli.Ready) { ready <- r }) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-ready
	c := api.NewClient(data)
	status, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := func(id event.AuthorityID) error {
		return c.AddAuthority(ctx, site.AuthorityDraft{ID: id, NameDE: string(id), NameEN: string(id), Sites: append(site.AuthorityDraft{}.Sites, status.Self)})
	}
	if err := found(nordtal); err != nil {
		t.Fatal(err)
	}
	untilReady(t, portal, http.StatusOK)

	stuffFull(t, dir)
	for name, write := range map[string]func() error{
		"a sign-in link": func() error { return exhausts(func() error { _, err := c.SignInLink(ctx); return err }) },
		"an invitation":  func() error { return exhausts(func() error { _, err := c.Invite(ctx, "x", "y", 1); return err }) },
		"a fact":         func() error { return found("st-suedheim") },
	} {
		err := write()
		t.Logf("%s: %v", name, err)
		if f := fault.Of(err); err == nil || f.Kind != fault.Exhausted || f.WayOut == "" {
			t.Errorf("%s is answered with %v", name, err)
		}
	}
	if _, err := c.People(ctx, nordtal, directory.Search{}); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	untilReady(t, portal, http.StatusServiceUnavailable)
	status, err = c.Status(ctx)
	if err != nil || len(status.Conditions) == 0 || !status.Conditions[0].Open() {
		t.Errorf("status tells %+v, %v", status.Conditions, err)
	}

	if err := os.Remove(filepath.Join(dir, "stuffing")); err != nil {
		t.Fatal(err)
	}
	untilReady(t, portal, http.StatusOK)
	if _, err := c.SignInLink(ctx); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := found("st-suedheim"); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// exhausts writes until it is refused: a few rows may fit into pages that the file has already.
func exhausts(write func() error) error {
	for range 2000 {
		if err := write(); err != nil {
			return err
		}
	}
	return errors.New("2000 writes were taken")
}

func shrinkReserve(t *testing.T, data string) {
	t.Helper()
	c, err := app.LoadConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	c.Disk.ReserveMiB = 16
	if err := errors.Join(os.Remove(filepath.Join(data, app.ConfigFile)), app.WriteConfig(data, c)); err != nil {
		t.Fatal(err)
	}
}

// untilReady waits until /readyz answers with the status.
func untilReady(t *testing.T, portal string, want int) {
	t.Helper()
	said := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		r, err := http.Get("http://" + portal + "/readyz")
		if err != nil {
			said = err.Error()
			continue
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if said = fmt.Sprint(r.StatusCode, " ", string(body)); r.StatusCode == want {
			return
		}
	}
	t.Fatalf("/readyz answers %s, want %d", said, want)
}
