// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lockFile takes an exclusive lock that the kernel releases when the process ends, however it ends.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

func trimSecret(b []byte) string { return strings.TrimRight(string(b), "\r\n") }
