// SPDX-License-Identifier: EUPL-1.2

package fault

import (
	"errors"
	"syscall"
)

// What a disk can do to a request. Every store tells it in the same words, because the person in front of the screen can do the
// same about it.
var (
	ErrDiskFull = New(Exhausted, "disk.full", "the disk of this site is full; writing is refused until there is room",
		"make room on the data disk or use another site; writing resumes by itself")
	ErrDiskFails = New(Unavailable, "disk.fails", "the disk of this site refuses to read or write",
		"use another site; the operator of this one looks at its disk: it may be broken, or mounted read-only")
	ErrFileDamaged = New(Unavailable, "disk.damaged", "a file of this site is damaged",
		"use another site; the operator of this one runs 'holdfast status', which names the file")
)

// The result codes by which SQLite tells of the disk (sqlite.org/rescode.html). The ground knows no driver, so it knows them by
// their numbers.
const (
	sqliteReadOnly = 8
	sqliteIOErr    = 10
	sqliteCorrupt  = 11
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqliteNotADB   = 26

	sqliteIOErrShmSize = sqliteIOErr | 19<<8 // no room for the index of the write-ahead log
)

// OfDisk returns ErrDiskFull, ErrDiskFails or ErrFileDamaged, wrapping err, if err comes from the system or from SQLite and says
// that. It returns nil for any other error, for a Fault too, unless it wraps such an error and is Internal.
func OfDisk(err error) *Fault {
	if k := KindOf(err); k != "" && k != Internal {
		return nil
	}
	for errno, f := range map[syscall.Errno]*Fault{syscall.ENOSPC: ErrDiskFull, syscall.EDQUOT: ErrDiskFull,
		syscall.EROFS: ErrDiskFails, syscall.EIO: ErrDiskFails} {
		if errors.Is(err, errno) {
			return f.With(err)
		}
	}
	coded, ok := errors.AsType[interface {
		error
		Code() int
	}](err)
	if !ok {
		return nil
	}
	if f := ofSQLite(coded.Code()); f != nil {
		return f.With(err)
	}
	return nil
}

func ofSQLite(code int) *Fault {
	if code == sqliteIOErrShmSize {
		return ErrDiskFull
	}
	switch code & 0xff {
	case sqliteFull:
		return ErrDiskFull
	case sqliteIOErr, sqliteReadOnly, sqliteCantOpen:
		return ErrDiskFails
	case sqliteCorrupt, sqliteNotADB:
		return ErrFileDamaged
	}
	return nil
}
