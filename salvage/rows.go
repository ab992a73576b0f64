// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
)

// salvage puts all rows that can be read of the file at from into a new file at to, with the note of that, and returns it. A
// page that cannot be read costs its own rows: the others are read from the beginning up to it, and from the end down to it.
func (f File) salvage(from, to string, d Damage) (_ Damage, err error) {
	src, tables, err := f.openDamaged(from)
	if err != nil {
		return d, err
	}
	defer func() { _ = src.Close() }() // it was only read
	dst, err := makeRaw(to)
	if err != nil {
		return d, err
	}
	f.done("make the fresh file")
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := dst.Exec(`PRAGMA journal_mode = DELETE; BEGIN`); err != nil {
		return d, err
	}
	for _, t := range tables {
		if _, err := dst.Exec(t.form); err != nil {
			return d, fmt.Errorf("make the table %s again: %w", t.name, err)
		}
	}
	for _, t := range tables {
		n, err := t.copy(src, dst)
		if err != nil {
			return d, fmt.Errorf("copy the table %s: %w", t.name, err)
		}
		d.Rows += n
		f.done("copy the table " + t.name)
	}
	if d.Aside, err = f.nameAside(dst, d.Aside); err != nil {
		return d, err
	}
	if _, err := dst.Exec(f.Finish); err != nil {
		return d, err
	}
	if err := f.note(dst, d); err != nil {
		return d, err
	}
	_, err = dst.Exec(`COMMIT`)
	f.done("commit")
	return d, err
}

// nameAside adds to the damaged file's name that nothing was read of what it is kept for.
func (f File) nameAside(dst *sql.DB, aside string) (string, error) {
	if f.Unread == "" {
		return aside, nil
	}
	var unread bool
	if err := dst.QueryRow(f.Unread).Scan(&unread); err != nil || !unread {
		return aside, err
	}
	return aside + suffixUnread, nil
}

// table is a table of the damaged file.
type table struct {
	name, form string
	columns    int
}

// openDamaged opens a damaged file as far as it goes. If the pages that list its tables are unreadable it gets those that were kept
// when it was in order, and without them those of a new file.
func (f File) openDamaged(path string) (*sql.DB, []table, error) {
	db, tables, tried := openTables(path)
	if tried == nil {
		return db, tables, nil
	}
	if kept := f.keptLayout(); kept != nil {
		if db, tables, err := f.openPatched(path, kept); err == nil {
			return db, tables, nil
		}
	}
	sample, err := f.sampleLayout(path + suffixSample)
	if err != nil {
		return nil, nil, err
	}
	db, tables, err = f.openPatched(path, sample)
	if err == nil {
		return db, tables, nil
	}
	return f.openEmptied(path, errors.Join(tried, err))
}

// openPatched opens a damaged file with so much of the layout as it takes.
func (f File) openPatched(path string, l layout) (*sql.DB, []table, error) {
	var tried error
	for _, part := range l.parts() {
		if err := part.patch(path, len(l[0].content)); err != nil {
			return nil, nil, err
		}
		f.done("patch the copy")
		db, tables, err := openTables(path)
		if err == nil {
			return db, tables, nil
		}
		tried = errors.Join(tried, err)
	}
	return nil, nil, tried
}

// openEmptied makes a new, empty file of one of which nothing can be read: it gives its tables.
func (f File) openEmptied(path string, tried error) (*sql.DB, []table, error) {
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

// openTables opens a file whose list of tables can be read.
func openTables(path string) (*sql.DB, []table, error) {
	db, err := openRaw(path)
	if err != nil {
		return nil, nil, err
	}
	tables, err := tablesOf(db)
	if err == nil && len(tables) == 0 {
		err = errors.New("no table is listed")
	}
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, tables, nil
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
