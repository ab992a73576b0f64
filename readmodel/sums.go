// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"

	"codeberg.org/holdfast/holdfast/fault"
)

// SQLite keeps no checksum of its pages: it shows a flipped digit as somebody's number. So the model keeps one for each page in
// a file of its own beside the database, and compares them when it opens the database, and now and then while it runs.
//
// A database in WAL mode changes only at checkpoints, and every page that a checkpoint writes is in the write-ahead log, which
// has checksums. The model makes all checkpoints itself. The invariant is:
//
//	the sum of a page is right, unless the write-ahead log has the page in a whole transaction.
//
// What a crash leaves keeps to it: the log begins a new round only after the sums of its pages are on the disk.
//
// The form of the file: "HFSUM 1\n", then four bytes a page, big-endian, in order: the CRC-32C of the page's number and bytes.
const (
	sumsSuffix = "-sum"
	sumsMagic  = "HFSUM 1\n"
	sumBytes   = 4
)

// errDamaged is what is said of a database whose pages are not what was written.
var errDamaged = fault.New(fault.Unavailable, "readmodel.damaged", "the read model on this site's disk is damaged",
	"use another site for a moment: it is made anew from the logs by itself; check this machine's disk and memory")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf is over the number too, so that a page that was written in another's place is found.
func sumOf(page uint32, content []byte) uint32 {
	var number [4]byte
	binary.BigEndian.PutUint32(number[:], page)
	return crc32.Update(crc32.Checksum(number[:], castagnoli), castagnoli, content)
}

// writeSums records sums in the file, which is synced when it returns. A crash in the middle harms nothing: the write-ahead
// log still has all of these pages.
func writeSums(path string, sums map[uint32]uint32) error {
	if len(sums) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(recordSums(f, sums), f.Sync(), f.Close())
}

func recordSums(f *os.File, sums map[uint32]uint32) error {
	if _, err := f.WriteAt([]byte(sumsMagic), 0); err != nil {
		return err
	}
	for page, sum := range sums {
		var b [sumBytes]byte
		binary.BigEndian.PutUint32(b[:], sum)
		if _, err := f.WriteAt(b[:], sumOffset(page)); err != nil {
			return err
		}
	}
	return nil
}

func sumOffset(page uint32) int64 { return int64(len(sumsMagic)) + int64(page-1)*sumBytes }

// readSums returns the sums by page number less one.
func readSums(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (len(b) < len(sumsMagic) || string(b[:len(sumsMagic)]) != sumsMagic) {
		return nil, errDamaged.Because("the sums of its pages are missing")
	}
	if err != nil {
		return nil, err
	}
	return b[len(sumsMagic):], nil
}

// checker compares the pages of a database with their sums.
type checker struct {
	path     string
	pageSize int64
	sums     []byte
	// inLog are the pages whose present content is in the write-ahead log.
	inLog map[uint32]uint32
}

// newChecker returns a checker of the database at path, nil for one that is empty. The database must not change at the same time.
func newChecker(path string) (*checker, error) {
	size, err := pageSizeOf(path)
	if err != nil || size == 0 {
		return nil, err
	}
	c := &checker{path: path, pageSize: size}
	w, err := openWAL(path)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if w != nil {
		if c.inLog, _, err = w.committed(); err != nil {
			return nil, err
		}
	}
	c.sums, err = readSums(path + sumsSuffix)
	return c, err
}

// pageSizeOf reads the size of a page from the database's header (SQLite, "Database File Format", 1.3), 0 if it is empty.
func pageSizeOf(path string) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	var h [18]byte
	if n, err := f.ReadAt(h[:], 0); err != nil && n < len(h) {
		if n == 0 {
			return 0, ignoreEnd(err)
		}
		return 0, errors.Join(ignoreEnd(err), errDamaged.Because("its header is cut off"))
	}
	size := int64(binary.BigEndian.Uint16(h[16:]))
	if size == 1 {
		size = 65536
	}
	if !validPageSize(size) {
		return 0, errDamaged.Because("its header names no size of pages")
	}
	return size, nil
}

// checkedAtOnce is how many bytes are compared between two looks at whether to go on.
const checkedAtOnce = 4 << 20

// check compares up to checkedAtOnce bytes after a page, and returns the last page that it has compared; done says that this
// was the last of all. It returns errDamaged with the page that is not what was written.
func (c *checker) check(after uint32) (last uint32, done bool, err error) {
	f, err := os.Open(c.path)
	if err != nil {
		return after, false, err
	}
	defer func() { _ = f.Close() }() // it was only read
	buf := make([]byte, checkedAtOnce/c.pageSize*c.pageSize)
	n, err := f.ReadAt(buf, int64(after)*c.pageSize)
	if err = ignoreEnd(err); err != nil {
		return after, false, err
	}
	last = after
	for rest := buf[:n]; int64(len(rest)) >= c.pageSize; rest = rest[c.pageSize:] {
		last++
		if err := c.checkPage(last, rest[:c.pageSize]); err != nil {
			return last, false, err
		}
	}
	if n == len(buf) {
		return last, false, nil
	}
	return last, true, c.checkEnd(last, int64(n)%c.pageSize)
}

func (c *checker) checkPage(page uint32, content []byte) error {
	if _, ok := c.inLog[page]; ok {
		return nil
	}
	at := int64(page-1) * sumBytes
	if at+sumBytes > int64(len(c.sums)) || binary.BigEndian.Uint32(c.sums[at:]) != sumOf(page, content) {
		return errDamaged.Because("page %d is not what was written", page)
	}
	return nil
}

// checkEnd finds a database that was cut off: it never becomes shorter by itself.
func (c *checker) checkEnd(pages uint32, torn int64) error {
	for page := pages + 1; int64(page-1)*sumBytes < int64(len(c.sums)); page++ {
		if _, ok := c.inLog[page]; !ok {
			return errDamaged.Because("it ends after page %d", pages)
		}
	}
	if _, ok := c.inLog[pages+1]; torn > 0 && !ok {
		return errDamaged.Because("its last page is cut off")
	}
	return nil
}

// checkAll compares all pages of the database at path.
func checkAll(path string) error {
	c, err := newChecker(path)
	if c == nil || err != nil {
		return err
	}
	for page, done := uint32(0), false; !done; {
		if page, done, err = c.check(page); err != nil {
			return err
		}
	}
	return nil
}
