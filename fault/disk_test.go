// SPDX-License-Identifier: EUPL-1.2

package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

type coded int

func (c coded) Error() string { return fmt.Sprintf("sqlite says %d", int(c)) }
func (c coded) Code() int     { return int(c) }

func TestOfDiskTellsWhatADiskHasDone(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want *Fault
	}{
		"no room in a file":        {&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, ErrDiskFull},
		"over the quota":           {syscall.EDQUOT, ErrDiskFull},
		"read-only":                {&fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS}, ErrDiskFails},
		"broken":                   {syscall.EIO, ErrDiskFails},
		"SQLITE_FULL, wrapped":     {fmt.Errorf("store a session: %w", coded(13)), ErrDiskFull},
		"no room for the index":    {coded(4874), ErrDiskFull},
		"SQLITE_IOERR_READ":        {coded(266), ErrDiskFails},
		"SQLITE_READONLY":          {coded(8), ErrDiskFails},
		"SQLITE_CORRUPT":           {coded(11), ErrFileDamaged},
		"SQLITE_CORRUPT_INDEX":     {coded(779), ErrFileDamaged},
		"SQLITE_NOTADB":            {coded(26), ErrFileDamaged},
		"SQLITE_CONSTRAINT":        {coded(19), nil},
		"something else":           {errors.New("no"), nil},
		"a fault that says enough": {New(Unavailable, "log.unanswered", "no", "wait").With(syscall.ENOSPC), nil},
		"an internal fault":        {New(Internal, "x", "no", "wait").With(syscall.ENOSPC), ErrDiskFull},
		"nil":                      {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := OfDisk(c.err)
			if c.want == nil {
				if got != nil {
					t.Errorf("got %v", got)
				}
				return
			}
			if got == nil || got.Code != c.want.Code || !errors.Is(got, c.err) || got.WayOut == "" {
				t.Errorf("got %v, want %v that wraps the cause", got, c.want)
			}
		})
	}
}
