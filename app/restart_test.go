// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"codeberg.org/holdfast/holdfast/cli"
)

// serveForTest makes this process the site in a folder, until it is killed or its standard input ends.
func serveForTest(data string) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err := Serve(ctx, data, func(r cli.Ready) { _ = json.NewEncoder(os.Stdout).Encode(r) })
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process runs the station's site as a process of its own, so that it can be killed.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func (s *station) startProcess() *process {
	t := s.w.t
	t.Helper()
	self, err := os.Executable()
	s.w.must(err)
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), serveEnv+"="+s.data)
	p.cmd.Stderr = t.Output()
	p.stdin, err = p.cmd.StdinPipe() // it ends with this process, however that ends
	s.w.must(err)
	out, err := p.cmd.StdoutPipe()
	s.w.must(err)
	s.w.must(p.cmd.Start())
	t.Cleanup(func() { _ = p.stdin.Close(); p.kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	s.w.must(err)
	var r cli.Ready
	s.w.must(json.Unmarshal(line, &r))
	s.relay.forward(r.Peer)
	return p
}

// kill ends the process as a power cut would, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
