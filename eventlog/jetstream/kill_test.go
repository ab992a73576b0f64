// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/seal"
)

// killDir, when set, turns the test binary into the process that is killed; killCipher makes it encrypt.
const (
	killDir    = "HOLDFAST_TEST_KILL_DIR"
	killCipher = "HOLDFAST_TEST_KILL_CIPHER"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := writeForEver(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const killLogs = 4

// writeForEver appends to a few logs at once, each from its head on, and prints "log page hash" after each
// acknowledgement. It ends only with an error.
func writeForEver(dir string, out io.Writer) error {
	t := &failing{}
	cfg := Config{Identity: logtest.Identity(t, 1), Dir: dir, Rand: rand.Reader, Now: time.Now, Logger: quiet()}
	if os.Getenv(killCipher) != "" {
		cfg.CipherKey = &cipherKey
	}
	s, err := Start(cfg)
	if err != nil {
		return err
	}
	heads, err := s.Store().Heads(context.Background())
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make(chan error, killLogs)
	for i := range byte(killLogs) {
		wg.Go(func() {
			w := logtest.NewWriter(t, 1, i)
			for _, h := range heads {
				if h.Branch.LogID == w.Log {
					w.Number, w.Prev = h.Page, h.Hash
				}
			}
			for {
				p := w.Page(t, logtest.Large(700))
				if err := s.Store().Append(context.Background(), eventlog.Branch{LogID: w.Log}, p); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				_, err := fmt.Fprintln(out, w.Log, p.Number, p.Hash)
				mu.Unlock()
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	return <-errs
}

// failing is a testing.TB for the child, which has no test.
type failing struct{ testing.TB }

func (*failing) Helper()           {}
func (*failing) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

type acked struct {
	pages  map[string][]string // by log: hashes of the pages in order
	cipher bool
}

// TestKillLosesNothingAcknowledged kills the writing process twenty times without warning. Each time every page it had
// reported is there once, unchanged and in order.
func TestKillLosesNothingAcknowledged(t *testing.T) { killed(t, nil, 20) }

func TestKillLosesNothingOfEncryptedLogs(t *testing.T) { killed(t, &cipherKey, 12) }

func killed(t *testing.T, key *seal.Key, rounds int) {
	dir := t.TempDir()
	seen := acked{make(map[string][]string), key != nil}
	for round := range rounds {
		seen.run(t, dir, 40+15*round)
	}
	s, err := Start(Config{Identity: logtest.Identity(t, 1), Dir: dir, CipherKey: key, Rand: rand.Reader, Now: time.Now, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	total := 0
	for i := range byte(killLogs) {
		total += seen.compare(t, s.Store(), eventlog.Branch{LogID: logtest.NewWriter(t, 1, i).Log})
	}
	t.Logf("%d acknowledged pages in %d rounds, none lost, doubled or changed", total, rounds)
}

// run lets a child write until it has acknowledged some pages, and kills it.
func (a *acked) run(t *testing.T, dir string, acks int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	if a.cipher {
		cmd.Env = append(cmd.Env, killCipher+"=1")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	n := 0
	for lines.Scan() {
		if n++; n == acks {
			_ = cmd.Process.Kill()
		}
		a.note(t, lines.Text())
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Exited() {
		t.Fatalf("the child ended by itself after %d pages: %v", n, err)
	}
}

// note remembers an acknowledgement. Pages written but not reported before the kill are skipped numbers.
func (a *acked) note(t *testing.T, line string) {
	t.Helper()
	var log, hash string
	var page int
	if n, err := fmt.Sscan(line, &log, &page, &hash); n != 3 || err != nil || len(hash) != 64 {
		return // cut off by the kill
	}
	for len(a.pages[log]) < page {
		a.pages[log] = append(a.pages[log], "")
	}
	if was := a.pages[log][page-1]; was != "" {
		t.Fatalf("page %d was acknowledged twice: %s and %s", page, was, hash)
	}
	a.pages[log][page-1] = hash
}

func (a *acked) compare(t *testing.T, s *Store, b eventlog.Branch) (confirmed int) {
	t.Helper()
	want := a.pages[b.LogID.String()]
	var prev eventlog.Hash
	number := 0
	for {
		pages, err := s.Read(t.Context(), b, uint64(number), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(pages) == 0 {
			break
		}
		for _, p := range pages {
			if p.Number != uint64(number+1) || p.Prev != prev {
				t.Fatalf("page %d does not follow page %d", p.Number, number)
			}
			if number < len(want) && want[number] != "" {
				if want[number] != p.Hash.String() {
					t.Fatalf("page %d is not the acknowledged one", p.Number)
				}
				confirmed++
			}
			number, prev = number+1, p.Hash
		}
	}
	if number < len(want) {
		t.Fatalf("%s: %d pages are there, %d were acknowledged", strings.Split(b.String(), "/")[3], number, len(want))
	}
	return confirmed
}
