// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/synced"
)

// FreeOf returns a function that tells how many bytes an ordinary process may still write below dir.
func FreeOf(dir string) func() (uint64, error) {
	return func() (uint64, error) {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return 0, fmt.Errorf("ask for the room in %s: %w", dir, err)
		}
		return st.Bavail * uint64(st.Bsize), nil
	}
}

// room refuses writing before the disk is full.
type room struct {
	free    func() (uint64, error)
	reserve uint64
	now     func() time.Time

	mu      sync.Mutex
	checked time.Time
	left    uint64 // what was free at checked, less what was taken since
}

const roomInterval = 100 * time.Millisecond

// take returns ErrNoRoom if n more bytes would cut into the reserve. The disk is asked when the last answer is older than
// 100 ms, and before refusing. A disk that cannot be asked is taken to have room: a write will tell.
func (r *room) take(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	need := r.reserve + uint64(n)
	if since := r.now().Sub(r.checked); since < 0 || since >= roomInterval || r.left < need {
		left, err := r.free()
		if err != nil {
			return nil
		}
		r.checked, r.left = r.now(), left
	}
	if r.left < need {
		return eventlog.ErrNoRoom
	}
	r.left -= uint64(n)
	return nil
}

// space returns what is free, by an answer of the disk that is at most 100 ms old.
func (r *room) space() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if since := r.now().Sub(r.checked); since < 0 || since >= roomInterval {
		left, err := r.free()
		if err != nil {
			return math.MaxUint64
		}
		r.checked, r.left = r.now(), left
	}
	return r.left
}

// lockDir takes the directory for this process. Closing the file gives it back, and so does the end of the process.
func lockDir(d synced.Disk, dir string) (*os.File, error) {
	if err := d.MakeFolder(dir); err != nil {
		return nil, fmt.Errorf("make the directory of the logs: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the logs: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.New(fault.Conflict, "log.in_use", "another process is using the logs in "+dir,
			"stop the other one, or give this one a data directory of its own").With(err)
	}
	return f, nil
}
