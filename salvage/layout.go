// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"

	"codeberg.org/holdfast/holdfast/synced"
)

// layout are the pages of a database that list its tables and say where each begins; the first one has the file's header, too. They
// hold nothing of what is in the tables.
type layout []page

type page struct {
	number  uint32 // from 1
	content []byte
}

// headerBytes is the length of a database's header; it is followed by the list of tables, in the first page.
const headerBytes = 100

// KeepLayout keeps, beside the file, where its tables lie, so that a repair finds them when the pages that say so are damaged: how a
// file came to its tables (made by which version, brought to today's form or not, repaired once) decides where they are. Call it
// when the file was opened and is in order, and again when its tables were changed. It writes only when something is new, and nothing
// in the place of a good one if the tables turn out to be damaged. Without it a repair believes that they lie as in a new file.
func (f File) KeepLayout(ctx context.Context, db *sql.DB) error {
	if err := f.probe(ctx, db); err != nil {
		return err
	}
	if err := f.likeKept(ctx, db, smallDamage); err != nil {
		return err
	}
	path := f.Path + suffixLayout
	l, err := layoutOf(ctx, db)
	if err == nil {
		content := l.encode()
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
			return nil
		}
		err = (synced.Disk{}).Replace(path, content)
	}
	if err != nil {
		return errors.Join(err, f.dropLayout()) // one of before is worse than none
	}
	return nil
}

func (f File) dropLayout() error {
	if err := os.Remove(f.Path + suffixLayout); err != nil && !os.IsNotExist(err) {
		return err
	}
	return (synced.Disk{}).Folder(filepath.Dir(f.Path))
}

// layoutOf reads the layout as the database has it now, its write-ahead log included.
func layoutOf(ctx context.Context, db *sql.DB) (l layout, err error) {
	rows, err := db.QueryContext(ctx, `SELECT d.pageno, p.data FROM dbstat d CROSS JOIN sqlite_dbpage p ON p.pgno = d.pageno
		WHERE d.name = 'sqlite_schema' ORDER BY d.pageno`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var p page
		if err := rows.Scan(&p.number, &p.content); err != nil {
			return nil, err
		}
		l = append(l, p)
	}
	if len(l) == 0 || l[0].number != 1 || len(l[0].content) < headerBytes {
		return nil, errors.New("the database has no first page")
	}
	settle(l[0].content)
	return l, nil
}

// settle takes out of a header what changes with every write (Database File Format, 1.3). SQLite takes the number of pages from the
// file's size then, and does not look for free ones.
func settle(head []byte) {
	clear(head[24:40])
	clear(head[92:headerBytes])
	copy(head[18:20], []byte{2, 2}) // the write-ahead log belongs to it
}

var (
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	layoutMagic = []byte("holdfast layout 1\n")
)

// encode is a line that says what it is; of each page its number, its length, and the page; and the CRC-32C of all that.
func (l layout) encode() []byte {
	b := bytes.Clone(layoutMagic)
	for _, p := range l {
		b = binary.BigEndian.AppendUint32(b, p.number)
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.content)))
		b = append(b, p.content...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeLayout returns nil for what is not one, or is damaged itself.
func decodeLayout(b []byte) (l layout) {
	body, sum := b[:max(len(b)-4, 0)], b[max(len(b)-4, 0):]
	if len(sum) < 4 || binary.BigEndian.Uint32(sum) != crc32.Checksum(body, castagnoli) {
		return nil
	}
	rest, ok := bytes.CutPrefix(body, layoutMagic)
	for ok && len(rest) >= 8 {
		number, size := binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:])
		if rest = rest[8:]; number == 0 || uint64(size) > uint64(len(rest)) {
			return nil
		}
		l = append(l, page{number, rest[:size]})
		rest = rest[size:]
	}
	if len(rest) > 0 || len(l) == 0 || l[0].number != 1 || len(l[0].content) < headerBytes {
		return nil
	}
	return l
}

// keptLayout returns nil if there is none that can be used.
func (f File) keptLayout() layout {
	b, err := os.ReadFile(f.Path + suffixLayout)
	if err != nil {
		return nil // as if it were damaged
	}
	return decodeLayout(b)
}

// sampleLayout is where the tables of a new file lie. The sample is made at path.
func (f File) sampleLayout(path string) (l layout, err error) {
	db, err := openRaw(path)
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(f.Schema)
	if err == nil {
		l, err = layoutOf(context.Background(), db)
	}
	err = errors.Join(err, db.Close())
	f.done("make a sample")
	return l, errors.Join(err, os.Remove(path))
}

// parts are what is tried of a layout, one after the other: the header alone, the first page, all pages. The less is put into a
// damaged file, the more of it is its own.
func (l layout) parts() []layout {
	return []layout{{{1, l[0].content[:headerBytes]}}, l[:1], l}
}

// patch puts the pages into the file at path, whose pages are as large as the first of all says.
func (l layout) patch(path string, pageSize int) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for _, p := range l {
		if err == nil {
			_, err = file.WriteAt(p.content, int64(p.number-1)*int64(pageSize))
		}
	}
	return errors.Join(err, file.Close())
}
