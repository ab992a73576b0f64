// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/demo/phones"
	"codeberg.org/holdfast/holdfast/e2e/net/router"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/seal"
)

// place is where a site stands.
type place struct {
	label, name, operator string
	addr                  netip.Addr
}

var (
	siteA = place{"a", "Rechenzentrum Nordwolke", "Nordwolke eG", netip.MustParseAddr("10.77.1.2")}
	siteB = place{"b", "Rechenzentrum Südrechen", "Südrechen GmbH", netip.MustParseAddr("10.77.2.2")}
	siteC = place{"c", "Box im Landratsamt Nordtal", "Landkreis Nordtal", netip.MustParseAddr("10.77.3.2")}
	siteD = place{"d", "Rechenzentrum Westend", "Westend AG", netip.MustParseAddr("10.77.4.2")} // the rogue

	gateways = netip.MustParseAddr("10.77.9.2")
)

// station is one site: a namespace, a folder, and a process while it runs.
type station struct {
	place
	holdfast string
	host     *router.Host
	data     string
	id       event.SiteID
	client   *api.Client
	clock    time.Duration // how far its clock is ahead of this machine's
	rogue    bool          // it is played by this test, see rogue_test.go
	proc     *process
}

// process is a child that ends when its standard input does, so with the test, however that ends.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}
}

// patience bounds every wait for something that takes a second on a quiet machine.
const patience = 90 * time.Second

// command runs one command of the binary to its end in the site's namespace, and reads its JSON.
func (s *station) command(into any, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.holdfast, append(args, "--data", s.data, "--json")...)
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	err := s.host.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("holdfast %s at %s: %w: %s", args[0], s.label, err, said.String())
	}
	return json.Unmarshal([]byte(out.String()), into)
}

// make sets the site up: verb is init, or join with its token.
func (s *station) make(verb ...string) error {
	peer := netip.AddrPortFrom(s.addr, 8601).String()
	args := append(verb, "--name", s.name, "--operator", s.operator, "--portal-listen", "127.0.0.1:8600",
		"--portal-url", "http://127.0.0.1:8600", "--peer-listen", peer, "--peer-advertise", peer)
	return s.command(&struct{}{}, args...)
}

// channels is the part of a configuration that names the gateways.
const channels = `channels:
  sms:
    url: %s
    headers: {X-Sender: %s}
  email:
    server: %s
    from: %s@alarm.example
    plain: true
`

// identity returns the key of a site that has been made.
func (s *station) identity() (*seal.Identity, error) { return localstore.LoadIdentity(s.data) }

// setGateways writes the gateways' addresses into the configuration, in the place of those that are there. It goes by
// the text, since an older binary knows fewer keys than this test.
func (s *station) setGateways(g phones.Addresses) error {
	path := filepath.Join(s.data, "config.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, _, _ := strings.Cut(string(b), "channels:")
	text += fmt.Sprintf(channels, g.SMS, s.label, g.Mail, s.label)
	return os.WriteFile(path, []byte(text), 0o600)
}

// start runs the site and waits until it listens.
func (s *station) start() error {
	cmd := exec.Command(s.holdfast, "serve", "--data", s.data, "--attached", "--json")
	if s.clock != 0 {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cmd = exec.Command(self)
		cmd.Env = append(os.Environ(), playSite+"="+s.data, playClock+"="+s.clock.String())
	}
	var ready struct {
		Site event.SiteID `json:"site"`
	}
	err := s.run(cmd, &ready)
	s.id, s.client = ready.Site, api.NewClient(s.data)
	return err
}

// turnClock starts the site anew by a clock that is ahead of this machine's by that much. Then this test's own code
// serves, and not the binary that HOLDFAST_E2E_BINARY may name.
func (s *station) turnClock(ahead time.Duration) error {
	s.stop()
	s.clock = ahead
	return s.start()
}

// run starts a process in the site's namespace and reads one line of JSON from it.
func (s *station) run(cmd *exec.Cmd, ready any) error {
	log, err := os.OpenFile(s.data+".stderr", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	// A group of its own: when the test is gone, the kernel wakes and ends a process that is stopped (SIGHUP, SIGCONT).
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.host.Start(cmd); err != nil {
		return err
	}
	s.proc = &process{cmd: cmd, stdin: stdin, ended: make(chan struct{})}
	first := make(chan error, 1)
	go s.proc.follow(out, ready, first)
	select {
	case err = <-first:
	case <-time.After(patience):
		err = errors.New("it takes too long")
	}
	if err != nil {
		said, _ := os.ReadFile(s.data + ".stderr")
		return fmt.Errorf("site %s did not get ready: %w\n%s", s.label, err, said)
	}
	return nil
}

func (p *process) follow(out io.Reader, ready any, first chan<- error) {
	defer close(p.ended)
	b := bufio.NewReader(out)
	line, err := b.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, ready)
	}
	first <- err
	_, _ = io.Copy(io.Discard, b)
	_ = p.cmd.Wait()
}

// kill ends the site as a power cut would, whatever state it is in.
func (s *station) kill() {
	if s.proc == nil {
		return
	}
	_ = s.proc.cmd.Process.Kill()
	<-s.proc.ended
	_ = s.proc.stdin.Close()
	s.proc = nil
}

// stop lets the site end in order.
func (s *station) stop() {
	if s.proc == nil {
		return
	}
	_ = s.proc.stdin.Close()
	select {
	case <-s.proc.ended:
		s.proc = nil
	case <-time.After(patience):
		s.kill()
	}
}

// pause stops the process where it stands, or lets it go on: as when a virtual machine is moved.
func (s *station) pause(stopped bool) error {
	signal := syscall.SIGCONT
	if stopped {
		signal = syscall.SIGSTOP
	}
	return s.proc.cmd.Process.Signal(signal)
}
