// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

// Package net_test is the ring of bad networks: real site processes in network namespaces behind a router that delays,
// loses, limits and cuts (package router), and everybody's phones at the end of a clean way.
//
// # Terms
//
//   - A world is three sites of three operators, A, B and C, with an authority that allows all three. It is set up once
//     on good lines; every scenario starts from a copy of its folders, with namespaces of its own.
//   - A scenario has conditions that lie on the lines before the alarm is raised at A, and perhaps a stroke that falls
//     when a share of the people has been called. When everybody is called and calling is quiet, everything is mended.
//   - A change of caller is that another site takes over calling: a fact, and seen by the phones as well.
//
// # What every scenario wants
//
// Nobody unreached, at most fifty hand-overs doubled for each change of caller, and the same state at all sites after
// mending. Times are printed and fail nothing: they belong to this machine.
//
// HOLDFAST_E2E_BINARY names a binary to try instead of one built from this tree.
package net_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/app"
	"codeberg.org/holdfast/holdfast/cli"
)

// The roles that this test binary plays as a child of itself.
const (
	playSite  = "HOLDFAST_NET_SITE"  // a site in that folder, by a clock that differs by playClock
	playClock = "HOLDFAST_NET_CLOCK" // a duration
	playRogue = "HOLDFAST_NET_ROGUE" // a hostile member with these orders, see rogue_test.go
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(playSite) != "":
		err = serveByAnotherClock(os.Getenv(playSite), os.Getenv(playClock))
	case os.Getenv(playRogue) != "":
		err = beRogue(os.Getenv(playRogue))
	default:
		code := m.Run()
		_ = os.RemoveAll(made.dir)
		os.Exit(code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// untilInputEnds returns a context that ends when standard input does: when the test is gone.
func untilInputEnds() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	return ctx, cancel
}

// serveByAnotherClock is 'holdfast serve --attached --json' with a clock that is ahead, or behind.
func serveByAnotherClock(data, ahead string) error {
	by, err := time.ParseDuration(ahead)
	if err != nil {
		return err
	}
	ctx, cancel := untilInputEnds()
	defer cancel()
	now := func() time.Time { return time.Now().Add(by) }
	s, err := app.NewAt(ctx, data, slog.New(slog.NewTextHandler(os.Stderr, nil)), now)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx, func(r cli.Ready) { _ = json.NewEncoder(os.Stdout).Encode(r) }), s.Close())
}

// builtBinary, when set, is where the binary is already.
const builtBinary = "HOLDFAST_E2E_BINARY"

// made is what all tests share, which run one after the other: a folder, and the binary in it.
var made struct{ dir, binary string }

// sharedFolder returns a folder that goes when all tests are over.
func sharedFolder(t *testing.T) string {
	t.Helper()
	if made.dir == "" {
		var err error
		if made.dir, err = os.MkdirTemp("", "holdfast-net-"); err != nil {
			t.Fatal(err)
		}
	}
	return made.dir
}

// build makes the binary that everybody gets.
func build(t *testing.T) string {
	t.Helper()
	if made.binary == "" {
		made.binary = os.Getenv(builtBinary)
	}
	if made.binary == "" {
		path := filepath.Join(sharedFolder(t), "holdfast")
		said, err := exec.Command("go", "build", "-trimpath", "-o", path, "../../cmd/holdfast").CombinedOutput()
		if err != nil {
			t.Fatalf("build: %v\n%s", err, said)
		}
		made.binary = path
	}
	return made.binary
}
