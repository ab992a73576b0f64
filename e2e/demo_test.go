// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/demo"
)

// TestDemo tells the stories with the built binary and holds their result against what is promised.
func TestDemo(t *testing.T) {
	holdfast := build(t)
	for _, c := range []struct {
		scenario     string
		people, seed int
	}{{"provider-loss", 600, 1}, {"provider-loss", 600, 2}, {"partition", 600, 3}, {"provider-loss", 5000, 4}} {
		t.Run(fmt.Sprintf("%s/%d-people/seed-%d", c.scenario, c.people, c.seed), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), holdfast, "demo", "--people", strconv.Itoa(c.people), "--scenario", c.scenario,
				"--seed", strconv.Itoa(c.seed), "--exit", "--json")
			cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
			var said strings.Builder
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			var r demo.Result
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatalf("%v in %q", err, out)
			}
			t.Logf("%s", out)
			judge(t, r, c.people)
		})
	}
}

func judge(t *testing.T, r demo.Result, people int) {
	t.Helper()
	want := func(ok bool, what string) {
		t.Helper()
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	want(r.People == people, "everybody is counted")
	want(r.WithoutChannel > 0 && r.Called == r.People-r.WithoutChannel, "everybody with a channel is called, and some have none")
	want(r.Unreached == 0, "nobody is unreached")
	want(r.Replies > 0 && r.RepliesLost == 0, "replies are taken and none is lost")
	want(r.Converged && len(r.StateHashes) == 3 && oneValue(r.StateHashes), "three sites have one state")
	switch r.Scenario {
	case "provider-loss":
		want(r.CalledBeforeKillPercent >= 20 && r.CalledBeforeKillPercent <= 80, "the site dies in the middle of calling")
		want(r.TakeoverSeconds > 0, "another site takes over")
	case "partition":
		want(r.MergedEvents > 0, "something is merged")
	}
	if people >= 5000 { // few people make a few doubles many per cent
		want(r.DuplicatesPercent < 2, "less than 2 % is handed over twice")
	}
}

func oneValue(m map[string]string) bool {
	values := make(map[string]bool)
	for _, v := range m {
		values[v] = v != ""
	}
	return len(values) == 1 && !values[""]
}

// TestDemoLeavesNobodyBehind kills the demonstration with SIGKILL, which it cannot catch: its children must notice.
func TestDemoLeavesNobodyBehind(t *testing.T) {
	d := startDemo(t, build(t), "--people", "40", "--scenario", "none")
	wantGone(t, d.cmd, 4) // three sites and the phones
}

// TestGoRunLeavesNobodyBehind kills the go command that runs the demonstration, as the README has it.
func TestGoRunLeavesNobodyBehind(t *testing.T) {
	d := startDemo(t, "go", "--people", "40", "--scenario", "none")
	wantGone(t, d.cmd, 5) // and the demonstration itself
}

// running is a demonstration that stays up.
type running struct {
	cmd    *exec.Cmd
	result demo.Result
	up     demo.Up
}

// startDemo runs the demonstration until its story is told; it ends with the test. program "go" means go run.
func startDemo(t *testing.T, program string, args ...string) running {
	t.Helper()
	args = append([]string{"demo", "--json"}, args...)
	if program == "go" {
		args = append([]string{"run", "../cmd/holdfast"}, args...)
	}
	d := running{cmd: exec.Command(program, args...)}
	d.cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	d.cmd.Stderr = t.Output()
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(d.cmd) })
	read := make(chan error, 1)
	go func() {
		lines := json.NewDecoder(bufio.NewReader(out))
		read <- errors.Join(lines.Decode(&d.result), lines.Decode(&d.up))
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case err := <-read:
		if err != nil || len(d.up.Sites) != 3 {
			t.Fatalf("the demonstration did not get up: %v", err)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("the demonstration did not get up within three minutes")
	}
	return d
}

// end lets a demonstration end in order, and kills it if it does not.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGINT)
	killer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	_ = cmd.Wait()
}

// wantGone kills cmd and wants all that it has started to be gone within ten seconds.
func wantGone(t *testing.T, cmd *exec.Cmd, atLeast int) {
	t.Helper()
	left := descendants(t, cmd.Process.Pid)
	if len(left) < atLeast {
		t.Fatalf("%d processes were started, want %d: %v", len(left), atLeast, left)
	}
	killed := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for time.Since(killed) < 10*time.Second {
		for p := range left {
			if !p.lives() {
				delete(left, p)
			}
		}
		if len(left) == 0 {
			t.Logf("all gone %v after the kill", time.Since(killed).Round(time.Millisecond))
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	for p, command := range left {
		t.Errorf("process %d is still there: %s", p.pid, command)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// proc is one process; the moment of its start tells it from a later one with the same number.
type proc struct {
	pid     int
	started string
}

func (p proc) lives() bool {
	_, state, started, err := stat(p.pid)
	return err == nil && started == p.started && state != "Z"
}

// descendants returns the processes below pid with their command lines.
func descendants(t *testing.T, pid int) map[proc]string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	children := make(map[int][]proc)
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, state, started, err := stat(n); err == nil && state != "Z" {
			children[parent] = append(children[parent], proc{n, started})
		}
	}
	found := make(map[proc]string)
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, c := range children[next[0]] {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.pid))
			found[c] = strings.ReplaceAll(string(b), "\x00", " ")
			next = append(next, c.pid)
		}
	}
	return found
}

// stat reads a process's parent, state and start from /proc (proc(5): the name in brackets may hold anything).
func stat(pid int) (parent int, state, started string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", "", err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return 0, "", "", fmt.Errorf("process %d: unknown format of stat", pid)
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, fields[0], fields[19], err
}
