// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"database/sql"
	"encoding/binary"
	"math"
)

// SQLite stops at a damaged page: in both orders, it reads nothing of what lies between two of them. So what belongs to a
// table is read page by page here (https://www.sqlite.org/fileformat2.html#b_tree_pages). A page, or a row, that is none is
// left out. Only what the table leads to is read: a page that is free may have rows that were deleted.

// The kinds of pages.
const (
	interiorIndex = 2 // a table WITHOUT ROWID is kept as an index is
	interiorTable = 5
	leafIndex     = 10
	leafTable     = 13
)

// tree is a table as its pages have it.
type tree struct {
	page   func(number uint32) []byte // nil if it cannot be read
	pages  int
	rowids bool
	seen   map[uint32]bool
	take   func(rowid int64, values []any) error
}

func newTree(src *sql.DB, rowids bool, take func(int64, []any) error) (*tree, error) {
	t := &tree{rowids: rowids, seen: make(map[uint32]bool), take: take}
	t.page = func(number uint32) (content []byte) {
		if src.QueryRow(`SELECT data FROM sqlite_dbpage WHERE pgno = ?`, number).Scan(&content) != nil {
			return nil
		}
		return content
	}
	return t, src.QueryRow(`PRAGMA page_count`).Scan(&t.pages)
}

// walk takes the rows of a page, and of those that it leads to. It returns the error of take only.
func (t *tree) walk(number uint32) error {
	if t.seen[number] {
		return nil
	}
	t.seen[number] = true
	p := t.page(number)
	if len(p) < 512 { // the smallest there is
		return nil
	}
	leaf := p[0] == leafTable && t.rowids || p[0] == leafIndex && !t.rowids
	if leads := p[0] == interiorTable && t.rowids || p[0] == interiorIndex && !t.rowids; !leads && !leaf {
		return nil
	}
	head := 8
	if !leaf {
		head = 12
	}
	cells := int(binary.BigEndian.Uint16(p[3:]))
	for i := range min(cells, (len(p)-head)/2) {
		at := int(binary.BigEndian.Uint16(p[head+2*i:]))
		if at < head || at+4 > len(p) {
			continue
		}
		if err := t.cell(p[at:], leaf, len(p)); err != nil {
			return err
		}
	}
	if leaf {
		return nil
	}
	return t.walk(binary.BigEndian.Uint32(p[8:]))
}

// cell takes what begins here in a page: a row, a page that comes before it, or both.
func (t *tree) cell(c []byte, leaf bool, pageSize int) error {
	if !leaf {
		if err := t.walk(binary.BigEndian.Uint32(c)); err != nil || t.rowids {
			return err
		}
		c = c[4:]
	}
	size, c, ok := varint(c)
	rowid := int64(0)
	if t.rowids && ok {
		rowid, c, ok = varint(c)
	}
	if !ok {
		return nil
	}
	payload, ok := t.payload(c, size, pageSize)
	if !ok {
		return nil
	}
	values, ok := record(payload)
	if !ok {
		return nil
	}
	return t.take(rowid, values)
}

// payload returns a row, with what of it lies in pages of its own. No bytes at a page's end are kept free in our files.
func (t *tree) payload(c []byte, size int64, pageSize int) (payload []byte, ok bool) {
	if size < 0 || size > int64(t.pages)*int64(pageSize) {
		return nil, false
	}
	total, most := int(size), (pageSize-12)*64/255-23
	if t.rowids {
		most = pageSize - 35
	}
	here := total
	if total > most {
		least := (pageSize-12)*32/255 - 23
		if here = least + (total-least)%(pageSize-4); here > most {
			here = least
		}
	}
	if here > len(c) || here < total && here+4 > len(c) {
		return nil, false
	}
	payload = append(payload, c[:here]...)
	for c = c[here:]; len(payload) < total; {
		if c = t.page(binary.BigEndian.Uint32(c)); len(c) != pageSize {
			return nil, false
		}
		payload = append(payload, c[4:min(pageSize, 4+total-len(payload))]...)
	}
	return payload, true
}

// record returns the values of a row. It is none if they do not fill it.
func record(payload []byte) (values []any, ok bool) {
	size, _, ok := varint(payload)
	if !ok || size < 1 || size > int64(len(payload)) {
		return nil, false
	}
	kinds, body := payload[:size], payload[size:]
	_, kinds, _ = varint(kinds)
	for len(kinds) > 0 {
		var kind int64
		if kind, kinds, ok = varint(kinds); !ok {
			return nil, false
		}
		n := lengthOf(kind)
		if n < 0 || n > int64(len(body)) {
			return nil, false
		}
		values = append(values, valueOf(kind, body[:n]))
		body = body[n:]
	}
	return values, len(body) == 0
}

// lengthOf returns how many bytes a value of the kind has, -1 if there is no such kind.
func lengthOf(kind int64) int64 {
	switch {
	case kind < 0 || kind == 10 || kind == 11:
		return -1
	case kind >= 12:
		return (kind - 12) / 2
	}
	return []int64{0, 1, 2, 3, 4, 6, 8, 8, 0, 0}[kind]
}

func valueOf(kind int64, b []byte) any {
	switch {
	case kind == 0:
		return nil
	case kind == 8 || kind == 9:
		return kind - 8
	case kind >= 12 && kind%2 == 0:
		return append([]byte{}, b...)
	case kind >= 12:
		return string(b)
	}
	n := int64(int8(b[0]))
	for _, next := range b[1:] {
		n = n<<8 | int64(next)
	}
	if kind == 7 {
		return math.Float64frombits(uint64(n))
	}
	return n
}

// varint reads a number of one to nine bytes, and returns what follows it.
func varint(b []byte) (n int64, rest []byte, ok bool) {
	for i := range min(len(b), 9) {
		if i == 8 {
			return n<<8 | int64(b[i]), b[9:], true
		}
		if n = n<<7 | int64(b[i]&0x7f); b[i] < 0x80 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}
