// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
)

// salvage puts all rows that can be read of the file at from into a new file at to, with the note of that, and returns how many. A
// page that cannot be read costs its own rows: the others are read from the beginning up to it, and from the end down to it.
func (f File) salvage(from, to string, d Damage) (rows int, err error) {
	src, tables, err := f.openDamaged(from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = src.Close() }() // it was only read
	dst, err := makeRaw(to)
	if err != nil {
		return 0, err
	}
	f.done("make the fresh file")
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := dst.Exec(`PRAGMA journal_mode = DELETE; BEGIN`); err != nil {
		return 0, err
	}
	for _, t := range tables {
		if _, err := dst.Exec(t.form); err != nil {
			return 0, fmt.Errorf("make the table %s again: %w", t.name, err)
		}
	}
	for _, t := range tables {
		n, err := t.copy(src, dst)
		if err != nil {
			return 0, fmt.Errorf("copy the table %s: %w", t.name, err)
		}
		d.Rows += n
		f.done("copy the table " + t.name)
	}
	if _, err := dst.Exec(f.Finish); err != nil {
		return 0, err
	}
	if err := f.note(dst, d); err != nil {
		return 0, err
	}
	_, err = dst.Exec(`COMMIT`)
	f.done("commit")
	return d.Rows, err
}

// table is a table of the damaged file.
type table struct {
	name, form string
	columns    int
}

// headerBytes is the length of a database's header; it is followed by the list of tables, in the first page.
const headerBytes = 100

// openDamaged opens a damaged file as far as it goes. If its header is unreadable it gets that of a new one, and if its list of
// tables is, the whole first page: today's tables lie where a new file has them.
func (f File) openDamaged(path string) (*sql.DB, []table, error) {
	var tried error
	for _, patch := range []int{0, headerBytes, 4096} {
		if patch > 0 {
			if err := f.patchHead(path, patch); err != nil {
				return nil, nil, err
			}
		}
		db, err := openRaw(path)
		if err != nil {
			return nil, nil, err
		}
		tables, err := tablesOf(db)
		if err == nil && len(tables) > 0 {
			return db, tables, nil
		}
		tried = errors.Join(tried, err, db.Close())
	}
	// Nothing can be read. A new, empty file gives its tables.
	if err := errors.Join(os.Truncate(path, 0), f.burnFile(path+suffixWAL), f.burnFile(path+suffixIndex)); err != nil {
		return nil, nil, errors.Join(tried, err)
	}
	db, err := openRaw(path)
	if err != nil {
		return nil, nil, err
	}
	if _, err := db.Exec(f.Schema); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	tables, err := tablesOf(db)
	return db, tables, err
}

// patchHead overwrites the beginning of a file with that of a new one.
func (f File) patchHead(path string, n int) error {
	sample := path + suffixSample
	db, err := openRaw(sample)
	if err != nil {
		return err
	}
	_, err = db.Exec(f.Schema)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	f.done("make a sample")
	head, err := os.ReadFile(sample)
	if err := errors.Join(err, os.Remove(sample)); err != nil {
		return err
	}
	// Zero for "version valid for" has SQLite take the number of pages from the file's size (Database File Format, 1.3.8).
	copy(head[92:96], []byte{0, 0, 0, 0})
	copy(head[18:20], []byte{2, 2}) // the write-ahead log belongs to it
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(head[:n], 0)
	err = errors.Join(err, file.Close())
	f.done("patch the copy")
	return err
}

// tablesOf returns the owner's tables.
func tablesOf(db *sql.DB) (list []table, err error) {
	rows, err := db.Query(`SELECT name, sql, (SELECT count(*) FROM pragma_table_info(s.name)) FROM sqlite_schema s
		WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> ?`, noteTable)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var t table
		if err := rows.Scan(&t.name, &t.form, &t.columns); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// copy takes the rows in the order of the primary key and, where that ends at a damaged page, in the opposite order.
func (t table) copy(src, dst *sql.DB) (rows int, err error) {
	key, err := t.key(src)
	if err != nil {
		return 0, nil // what the table is made of cannot be read, so nothing of it can
	}
	for _, order := range []string{" ASC", " DESC"} {
		n, whole, err := t.copyIn(src, dst, strings.Join(key, order+", ")+order)
		rows += n
		if err != nil || whole {
			return rows, err
		}
	}
	return rows, nil
}

// key returns the columns of the table's primary key.
func (t table) key(src *sql.DB) (key []string, err error) {
	rows, err := src.Query(`SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk`, t.name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		key = append(key, name)
	}
	if len(key) == 0 {
		key = []string{"rowid"}
	}
	return key, nil
}

// copyIn copies rows until one cannot be read; whole says that all could.
func (t table) copyIn(src, dst *sql.DB, order string) (rows int, whole bool, err error) {
	from, err := src.Query(`SELECT * FROM ` + t.name + ` ORDER BY ` + order)
	if err != nil {
		return 0, false, nil
	}
	defer func() { _ = from.Close() }() // its errors are what is expected here
	put := `INSERT OR IGNORE INTO ` + t.name + ` VALUES (?` + strings.Repeat(`, ?`, t.columns-1) + `)`
	values, into := make([]any, t.columns), make([]any, t.columns)
	for i := range values {
		into[i] = &values[i]
	}
	for from.Next() {
		if err := from.Scan(into...); err != nil {
			return rows, false, nil
		}
		for i, v := range values {
			if b, is := v.([]byte); is {
				values[i] = append([]byte{}, b...) // the driver takes nil for NULL, also where it has read no bytes
			}
		}
		res, err := dst.Exec(put, values...)
		if err != nil {
			if strings.Contains(err.Error(), "constraint") {
				continue // a row that was never written that way
			}
			return rows, false, err
		}
		if n, err := res.RowsAffected(); err == nil {
			rows += int(n)
		}
	}
	return rows, from.Err() == nil, nil
}
