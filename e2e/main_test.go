// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

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
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/app"
	"codeberg.org/holdfast/holdfast/cli"
)

// serveData makes the test binary a site: the folder that it serves, by a clock that is ahead by serveAhead.
const (
	serveData  = "HOLDFAST_E2E_SERVE"
	serveAhead = "HOLDFAST_E2E_AHEAD"
)

func TestMain(m *testing.M) {
	if data := os.Getenv(serveData); data != "" {
		if err := serveByAnotherClock(data, os.Getenv(serveAhead)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// serveByAnotherClock is 'holdfast serve --attached --json' with a clock that is ahead.
func serveByAnotherClock(data, ahead string) error {
	by, err := time.ParseDuration(ahead)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	s, err := app.NewAt(ctx, data, slog.New(slog.NewTextHandler(os.Stderr, nil)), func() time.Time { return time.Now().Add(by) })
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx, func(r cli.Ready) { _ = json.NewEncoder(os.Stdout).Encode(r) }), s.Close())
}

// builtBinary, when set, is where the binary is already.
const builtBinary = "HOLDFAST_E2E_BINARY"

// built is the binary, made once for all tests.
var built struct {
	once sync.Once
	dir  string
	path string
	said []byte
	err  error
}

// build makes the binary that everybody gets.
func build(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.path = os.Getenv(builtBinary); built.path != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "holdfast-e2e-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "holdfast")
		built.said, built.err = exec.Command("go", "build", "-trimpath", "-o", built.path, "../cmd/holdfast").CombinedOutput()
	})
	if built.err != nil {
		t.Fatalf("build: %v\n%s", built.err, built.said)
	}
	return built.path
}
