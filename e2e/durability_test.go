// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
)

// durabilityDir, when set, makes the test below the process that is looked at from outside.
const durabilityDir = "HOLDFAST_E2E_DURABILITY_DIR"

// openDisk starts a store on the directory. free nil asks the disk.
func openDisk(t *testing.T, dir string, reserve uint64, free func() (uint64, error)) *jetstream.Server {
	t.Helper()
	s, err := jetstream.Start(jetstream.Config{
		Identity: logtest.Identity(t, 1), Dir: dir, Reserve: reserve, Free: free, Patience: 3 * time.Second,
		Rand: rand.Reader, Now: time.Now, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// again runs one test of this binary in a process of its own.
func again(t *testing.T, test, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), durabilityDir+"="+dir)
	return cmd
}

const tracedPages = 200

// TestTracedWriter is what TestEveryAcknowledgementIsSynced runs under strace; by itself it does nothing.
func TestTracedWriter(t *testing.T) {
	dir := os.Getenv(durabilityDir)
	if dir == "" {
		return
	}
	s := openDisk(t, dir, 1, nil)
	w := logtest.NewWriter(t, 1, 1)
	for range tracedPages {
		p := w.Page(t, logtest.Large(900))
		if err := s.Store().Append(context.Background(), eventlog.Branch{LogID: w.Log}, p); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(os.Stdout, "ack %d\n", p.Number)
	}
}

// TestEveryAcknowledgementIsSynced looks at the system calls: between the writing of a page into its file and the
// acknowledgement of the page the file is synced. kill -9 cannot show that, since the kernel keeps what it was given.
func TestEveryAcknowledgementIsSynced(t *testing.T) {
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	child := again(t, "TestTracedWriter", filepath.Join(dir, "log"))
	child.Args = append([]string{"strace", "-f", "-y", "-s", "16", "-e", "trace=fsync,fdatasync,pwrite64,write", "-o", trace, child.Path}, child.Args[1:]...)
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("this test needs strace: %v", err)
	}
	child.Path = path
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w watcher
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := w.see(lines.Text()); err != nil {
			t.Fatal(err)
		}
	}
	if w.acks != tracedPages || w.syncs < tracedPages {
		t.Errorf("%d acknowledgements, %d syncs of page files; want %d and at least as many", w.acks, w.syncs, tracedPages)
	}
	t.Logf("%d acknowledgements, %d writes to page files, %d syncs of them", w.acks, w.writes, w.syncs)
}

// watcher follows the system calls of a traced writer.
type watcher struct {
	acks, writes, syncs int
	wrote, synced       bool
	under               map[string]bool // threads in a sync of a page file
}

var (
	pageWrite = regexp.MustCompile(`^\d+ +pwrite64\(\d+<[^>]*\.blk>`)
	syncBegin = regexp.MustCompile(`^(\d+) +f(?:data)?sync\(\d+<[^>]*\.blk> <unfinished`)
	syncEnd   = regexp.MustCompile(`^(\d+) +<\.\.\. f(?:data)?sync resumed>\) += 0`)
	syncWhole = regexp.MustCompile(`^\d+ +f(?:data)?sync\(\d+<[^>]*\.blk>\) += 0`)
	ackWrite  = regexp.MustCompile(`^\d+ +write\(1<[^>]*>, "ack \d+`)
)

func (w *watcher) see(line string) error {
	if w.under == nil {
		w.under = make(map[string]bool)
	}
	switch m := syncBegin.FindStringSubmatch(line); {
	case pageWrite.MatchString(line):
		w.writes++
		w.wrote, w.synced = true, false
	case m != nil:
		w.under[m[1]] = w.wrote // what is written after the sync has begun does not count
	case syncWhole.MatchString(line):
		w.syncs++
		w.synced = w.wrote
	case syncEnd.MatchString(line):
		thread := syncEnd.FindStringSubmatch(line)[1]
		if began, ok := w.under[thread]; ok {
			w.syncs++
			w.synced = began
			delete(w.under, thread)
		}
	case ackWrite.MatchString(line):
		w.acks++
		if !w.wrote || !w.synced {
			return fmt.Errorf("acknowledgement %d: written %v, synced %v", w.acks, w.wrote, w.synced)
		}
		w.wrote, w.synced = false, false
	}
	return nil
}

// inMountNamespace runs the test in a process with mounts of its own, in which dir is a small disk. It reports whether
// this is that process.
func inMountNamespace(t *testing.T, megabytes int) (dir string, inside bool) {
	t.Helper()
	if dir := os.Getenv(durabilityDir); dir != "" {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		return dir, true
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a small disk and needs root")
	}
	child := again(t, t.Name(), t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := child.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	return "", false
}

// disk is a store on a small disk with a file on it that takes up room.
type disk struct {
	*jetstream.Store
	filler string
	writer *logtest.Writer
	branch eventlog.Branch
	pages  []*eventlog.Page // acknowledged
}

func fillableDisk(t *testing.T, dir string, reserve uint64, free func() (uint64, error)) *disk {
	t.Helper()
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, bytes.Repeat([]byte{1}, 24<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w := logtest.NewWriter(t, 1, 1)
	s := openDisk(t, filepath.Join(dir, "log"), reserve, free)
	return &disk{Store: s.Store(), filler: filler, writer: w, branch: eventlog.Branch{LogID: w.Log}}
}

// write appends one page of about 400 KiB. A refused page is not lost to the writer's count.
func (d *disk) write(t *testing.T) error {
	t.Helper()
	next := *d.writer
	texts := make([]string, 7)
	for i := range texts {
		texts[i] = logtest.Large(60_000)
	}
	p := next.Page(t, texts...)
	if err := d.Append(t.Context(), d.branch, p); err != nil {
		return err
	}
	*d.writer, d.pages = next, append(d.pages, p)
	return nil
}

func (d *disk) wantAll(t *testing.T) {
	t.Helper()
	after := 0
	for after < len(d.pages) {
		pages, err := d.Read(t.Context(), d.branch, uint64(after), 4<<20)
		if err != nil || len(pages) == 0 {
			t.Fatalf("read after page %d: %d pages and %v", after, len(pages), err)
		}
		for _, p := range pages {
			if p.Number != uint64(after+1) || after >= len(d.pages) || p.Hash != d.pages[after].Hash {
				t.Fatalf("page %d is not the one that was acknowledged", p.Number)
			}
			after++
		}
	}
}

func (d *disk) resumes(t *testing.T) {
	t.Helper()
	if err := os.Remove(d.filler); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for end := begin.Add(30 * time.Second); ; {
		err := d.write(t)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("writing did not resume: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("writing resumed %s after there was room", time.Since(begin).Round(time.Millisecond))
	for range 3 {
		if err := d.write(t); err != nil {
			t.Fatal(err)
		}
	}
	d.wantAll(t)
}

// TestReserveIsKept writes until there is no room: refused with a clear error, the reserve untouched, reading goes on,
// writing resumes by itself.
func TestReserveIsKept(t *testing.T) {
	dir, inside := inMountNamespace(t, 64)
	if !inside {
		return
	}
	const reserve = 12 << 20
	d := fillableDisk(t, dir, reserve, nil)
	var err error
	for err == nil {
		err = d.write(t)
	}
	if !errors.Is(err, eventlog.ErrNoRoom) || fault.Of(err).WayOut == "" {
		t.Fatalf("got %v, want ErrNoRoom", err)
	}
	left, ferr := jetstream.FreeOf(dir)()
	if ferr != nil || left < reserve-(4<<20) {
		t.Errorf("%d bytes are left of a reserve of %d: %v", left, reserve, ferr)
	}
	t.Logf("%d pages of 400 KiB, then: %v; %d MiB left", len(d.pages), err, left>>20)
	d.wantAll(t)
	for range 20 {
		if err := d.write(t); !errors.Is(err, eventlog.ErrNoRoom) {
			t.Fatalf("got %v, want ErrNoRoom", err)
		}
	}
	d.resumes(t)
}

// TestReallyFullDisk lets the disk run full behind the reserve's back, as another program's log file would.
func TestReallyFullDisk(t *testing.T) {
	dir, inside := inMountNamespace(t, 64)
	if !inside {
		return
	}
	var honest atomic.Bool
	ask := jetstream.FreeOf(dir)
	d := fillableDisk(t, dir, 4<<20, func() (uint64, error) {
		if honest.Load() {
			return ask()
		}
		return 1 << 40, nil
	})
	for range 30 {
		if err := d.write(t); err != nil {
			t.Fatal(err)
		}
	}
	stuffFull(t, dir)
	err := d.write(t)
	for err == nil { // what fits into the file that is open already
		err = d.write(t)
	}
	honest.Store(true)
	t.Logf("%d pages, then: %v", len(d.pages), err)
	if fault.KindOf(err) == fault.Internal || fault.Of(err).WayOut == "" {
		t.Errorf("got %v, want a fault with a way out", err)
	}
	d.wantAll(t)
	begin := time.Now()
	if err := d.write(t); !errors.Is(err, eventlog.ErrNoRoom) {
		t.Errorf("got %v, want ErrNoRoom", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the refusal took %s", took)
	}
	d.wantAll(t)
	if err := os.Remove(filepath.Join(dir, "stuffing")); err != nil {
		t.Fatal(err)
	}
	d.resumes(t)
}

// stuffFull writes until nothing fits any more.
func stuffFull(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "stuffing"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4 << 10} {
		block := []byte(strings.Repeat("x", size))
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}
