// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a child of the demonstration. It ends when its standard input does, so it dies with the demonstration however
// that ends, even by kill -9.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   *os.File
	done  chan struct{}
}

// start runs this very binary with args and reads one line of JSON from its standard output into ready. What it writes to
// standard error goes to a file. It blocks until the line is there, the child has ended, or ctx has.
func start(ctx context.Context, logPath string, ready any, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own binary: %w", err)
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a child's log: %w", err)
	}
	p := &process{cmd: exec.Command(self, args...), log: log, done: make(chan struct{})}
	p.cmd.Stderr = log
	// A group of its own: Ctrl-C reaches only the demonstration, which then ends its children in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.Join(args, " "), err)
	}
	return p, p.awaitReady(ctx, out, ready, args)
}

func (p *process) awaitReady(ctx context.Context, out io.Reader, ready any, args []string) error {
	first := make(chan error, 1)
	go func() {
		defer close(p.done)
		r := bufio.NewReader(out)
		line, err := r.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, ready)
		}
		first <- err
		_, _ = io.Copy(io.Discard, r)
		_ = p.cmd.Wait()
	}()
	select {
	case err := <-first:
		if err != nil {
			p.kill()
			return fmt.Errorf("%s did not become ready: %w; its last words: %s", args[0], err, lastLines(p.log.Name()))
		}
		return nil
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	case <-time.After(60 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not become ready within a minute; its last words: %s", args[0], lastLines(p.log.Name()))
	}
}

// kill ends the child as a power cut would, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	_ = p.log.Close()
}

// stop lets the child end in order, and kills it after five seconds.
func (p *process) stop() {
	_ = p.stdin.Close()
	select {
	case <-p.done:
		_ = p.log.Close()
	case <-time.After(5 * time.Second):
		p.kill()
	}
}

// run executes this binary to its end and returns its standard output; the error holds what it said.
func run(ctx context.Context, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find our own binary: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("holdfast %s: %w: %s", args[0], err, strings.TrimSpace(said.String())) // a join's token stays out of it
	}
	return string(out), nil
}

func lastLines(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return "(none)"
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " / ")
}

// orphaned returns a channel that is closed when the "go run" we were started by is gone: the go command does not pass
// its own end on to us. Under any other parent it never closes: a demonstration may outlive the shell that began it.
func orphaned(ctx context.Context) <-chan struct{} {
	gone := make(chan struct{})
	parent := os.Getppid()
	comm, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(parent), "comm"))
	if err != nil || strings.TrimSpace(string(comm)) != "go" {
		return gone
	}
	go func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for os.Getppid() == parent {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		close(gone)
	}()
	return gone
}

var errOrphaned = errors.New("the go command that started the demonstration is gone")
