// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
)

// The form of a write-ahead log (SQLite, "WAL-mode File Format"): a header of 32 bytes, then frames of 24 bytes and one page.
// Frames of an earlier round have other salts. Every frame carries the checksum of everything before it and of itself.
const (
	walSuffix      = "-wal"
	walHeaderBytes = 32
	walFrameBytes  = 24
	walMagic       = 0x377f0682 // the lowest bit says that checksums run over big-endian words
)

// wal is an open write-ahead log.
type wal struct {
	f        *os.File
	pageSize int64
	order    binary.ByteOrder
	salts    [8]byte
	sum      [2]uint32
}

// openWAL opens the write-ahead log of a database. It returns nil without an error if there is none, or none that SQLite would
// read.
func openWAL(database string) (*wal, error) {
	f, err := os.Open(database + walSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w := &wal{f: f}
	ok, err := w.readHeader()
	if err == nil && ok {
		return w, nil
	}
	return nil, errors.Join(err, f.Close())
}

func (w *wal) readHeader() (ok bool, err error) {
	var h [walHeaderBytes]byte
	if _, err := w.f.ReadAt(h[:], 0); err != nil {
		return false, ignoreEnd(err)
	}
	magic := binary.BigEndian.Uint32(h[:])
	if magic&^1 != walMagic {
		return false, nil
	}
	w.order = binary.LittleEndian
	if magic&1 == 1 {
		w.order = binary.BigEndian
	}
	w.pageSize = int64(binary.BigEndian.Uint32(h[8:]))
	copy(w.salts[:], h[16:24])
	w.sum = w.add(w.sum, h[:24])
	return w.sum == [2]uint32{binary.BigEndian.Uint32(h[24:]), binary.BigEndian.Uint32(h[28:])} && validPageSize(w.pageSize), nil
}

func validPageSize(n int64) bool { return n >= 512 && n <= 65536 && n&(n-1) == 0 }

// ignoreEnd leaves out the error of a file that ends: a torn end is what a crash leaves.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// add continues a checksum over words of b, whose length is a multiple of eight.
func (w *wal) add(sum [2]uint32, b []byte) [2]uint32 {
	for ; len(b) >= 8; b = b[8:] {
		sum[0] += w.order.Uint32(b) + sum[1]
		sum[1] += w.order.Uint32(b[4:]) + sum[0]
	}
	return sum
}

// frames returns how many frames at least have the salts of the present round: those that count, and perhaps some behind them
// of a transaction that was rolled back. It reads a dozen headers, however long the file is.
func (w *wal) frames() (int64, error) {
	info, err := w.f.Stat()
	if err != nil {
		return 0, err
	}
	low, high := int64(0), (info.Size()-walHeaderBytes)/(walFrameBytes+w.pageSize)
	for low < high {
		middle := (low + high + 1) / 2
		var salts [8]byte
		if _, err := w.f.ReadAt(salts[:], w.offset(middle-1)+8); err != nil {
			return 0, err
		}
		if salts == w.salts {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low, nil
}

func (w *wal) offset(frame int64) int64 { return walHeaderBytes + frame*(walFrameBytes+w.pageSize) }

// committed returns the sum (see sumOf) that each page has after the last whole transaction, and how many frames those are. It
// stops, as SQLite does, at the first frame whose checksum is wrong.
func (w *wal) committed() (sums map[uint32]uint32, frames int64, err error) {
	sums, open := make(map[uint32]uint32), make(map[uint32]uint32)
	frame := make([]byte, walFrameBytes+w.pageSize)
	sum := w.sum
	for n := int64(0); ; n++ {
		if _, err := w.f.ReadAt(frame, w.offset(n)); err != nil {
			return sums, frames, ignoreEnd(err)
		}
		sum = w.add(w.add(sum, frame[:8]), frame[walFrameBytes:])
		found := [2]uint32{binary.BigEndian.Uint32(frame[16:]), binary.BigEndian.Uint32(frame[20:])}
		if [8]byte(frame[8:16]) != w.salts || found != sum {
			return sums, frames, nil
		}
		page := binary.BigEndian.Uint32(frame)
		open[page] = sumOf(page, frame[walFrameBytes:])
		if binary.BigEndian.Uint32(frame[4:]) == 0 {
			continue
		}
		maps.Copy(sums, open) // the frame ends a transaction
		clear(open)
		frames = n + 1
	}
}

// close releases the file. A nil wal has none.
func (w *wal) close() {
	if w != nil {
		_ = w.f.Close() // it was only read
	}
}
