// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/synced"
)

// syncs notes what is synced below a folder, as paths relative to it.
type syncs struct {
	root string
	mu   sync.Mutex
	list []string
	told chan string
}

func (r *syncs) disk() synced.Disk {
	return synced.Disk{Fsync: func(f *os.File) error {
		path, err := filepath.Rel(r.root, f.Name())
		if err == nil {
			r.mu.Lock()
			r.list = append(r.list, path)
			r.mu.Unlock()
			select {
			case r.told <- path:
			default:
			}
		}
		return f.Sync()
	}}
}

func (r *syncs) has(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.list, path)
}

func startRecorded(t *testing.T, dir string, tendEvery time.Duration) (*Server, *syncs) {
	t.Helper()
	r := &syncs{root: dir, told: make(chan string, 1000)}
	s, err := Start(Config{Identity: logtest.Identity(t, 1), Dir: dir, Rand: rand.Reader, Now: time.Now, Reserve: 1,
		Logger: quiet(), disk: r.disk(), tendEvery: tendEvery})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, r
}

// A page that is synced in a folder whose name is not is gone after a power cut. Nothing else shows that: kill -9 does not.
func TestTheFoldersOfANewStreamAreSyncedBeforeItsFirstPageIsAcknowledged(t *testing.T) {
	s, r := startRecorded(t, filepath.Join(t.TempDir(), "log"), time.Hour)
	w := logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	mustAppend(t, s.Store(), b, w.Page(t, "one"))
	stream := filepath.Join("jetstream", storeAccount, "streams", streamOf(b))
	for folder := filepath.Join(stream, "msgs"); ; folder = filepath.Dir(folder) {
		if !r.has(folder) {
			t.Errorf("the folder %s was not synced; synced were %q", folder, r.list)
		}
		if folder == "." {
			return
		}
	}
}

// The engine that runs syncs every page, and no stream has it otherwise.
func TestTheRunningEngineSyncsEveryPage(t *testing.T) {
	s, _ := startRecorded(t, t.TempDir(), time.Hour)
	w := logtest.NewWriter(t, 1, 1)
	mustAppend(t, s.Store(), eventlog.Branch{LogID: w.Log}, w.Page(t, "one"))
	e, err := s.current()
	if err != nil {
		t.Fatal(err)
	}
	if c := e.ns.JetStreamConfig(); !c.SyncAlways {
		t.Errorf("the engine acknowledges before it syncs: it syncs every %s", c.SyncInterval)
	}
	infos, err := e.list(t.Context())
	if err != nil || len(infos) != 1 {
		t.Fatalf("%d streams, %v", len(infos), err)
	}
	if c := infos[0].Config; c.PersistMode != natsjs.DefaultPersistMode || c.Storage != natsjs.FileStorage {
		t.Errorf("the stream has persist mode %v, storage %v", c.PersistMode, c.Storage)
	}
}

// Pages that are cut off after kill -9 are noticed too: the tails are written down while the site runs.
func TestTailsAreWrittenWhileTheSiteRuns(t *testing.T) {
	s, r := startRecorded(t, filepath.Join(t.TempDir(), "log"), time.Hour)
	w := logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	var last *eventlog.Page
	for range 5 {
		last = w.Page(t, logtest.Large(300))
		mustAppend(t, s.Store(), b, last)
	}
	s.tendOnce(t.Context())
	if !r.has("tails.json.new") {
		t.Fatal("the tails were not written down")
	}

	// kill -9 leaves the folder as it is now. Then its last page is cut off.
	image := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(image, os.DirFS(r.root)); err != nil {
		t.Fatal(err)
	}
	cutOff(t, image, last.Raw())
	after, err := Start(Config{Identity: logtest.Identity(t, 1), Dir: image, Rand: rand.Reader, Now: time.Now, Reserve: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = after.Close() }()
	if why := after.Store().Damaged()[b]; !strings.Contains(why, "page 5 is missing") {
		t.Errorf("the cut-off page is not noticed: %q", why)
	}
	if err := after.Store().Append(t.Context(), b, w.Page(t, "six")); !errors.Is(err, eventlog.ErrDamaged) {
		t.Errorf("the log goes on behind the lost page: %v", err)
	}
}

// Nobody has to ask for it: the server tends itself.
func TestTheServerIsTended(t *testing.T) {
	s, r := startRecorded(t, t.TempDir(), 10*time.Millisecond)
	w := logtest.NewWriter(t, 1, 1)
	mustAppend(t, s.Store(), eventlog.Branch{LogID: w.Log}, w.Page(t, "one"))
	deadline := time.After(10 * time.Second)
	for {
		select {
		case path := <-r.told:
			if path == "tails.json.new" {
				return
			}
		case <-deadline:
			t.Fatal("after ten seconds the tails are not written down")
		}
	}
}

// cutOff cuts the block file that holds the bytes short before them, and takes the index away.
func cutOff(t *testing.T, dir string, raw []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", storeAccount, "streams", "*", "msgs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(content, raw); filepath.Ext(f) == ".blk" && i >= 0 {
			err = os.Truncate(f, int64(i)-30)
		} else if filepath.Base(f) == "index.db" {
			err = os.Remove(f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
