// SPDX-License-Identifier: EUPL-1.2

// Command holdfast is the whole product: a site, its operator's tools and a demonstration, in one binary.
//
// This file is the door: it turns signals into the end of a context and errors into an exit code (see cli.ExitCode).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"codeberg.org/holdfast/holdfast/app"
	"codeberg.org/holdfast/holdfast/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], app.Commands(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
