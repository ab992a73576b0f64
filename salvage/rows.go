// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// salvage puts all rows that can be read of the file at from into a new file at to, with the note of that, and returns it. A
// page that cannot be read costs its own rows, and those that only it leads to, see copy.
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
	n, err := f.copyTables(src, dst, tables)
	if err != nil {
		return d, err
	}
	d.Rows += n
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

// copyTables makes all tables before it fills one.
func (f File) copyTables(src, dst *sql.DB, tables []table) (rows int, err error) {
	today, err := f.today()
	if err != nil {
		return 0, err
	}
	var copies []copying
	for _, t := range tables {
		to, columns := t.target(today, tables)
		if _, err := dst.Exec(to.form); err != nil {
			return 0, fmt.Errorf("make the table %s again: %w", to.name, err)
		}
		copies = append(copies, copying{t, to.name, columns})
	}
	for _, c := range copies {
		n, err := c.copy(src, dst)
		if err != nil {
			return 0, fmt.Errorf("copy the table %s: %w", c.to, err)
		}
		rows += n
		f.done("copy the table " + c.to)
	}
	return rows, nil
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

// openDamaged opens a damaged file as far as it goes. If the pages that list its tables are damaged it gets those that were kept
// when it was in order. Without them its own tables are taken as they are and, if none is listed, those of a new file.
func (f File) openDamaged(path string) (*sql.DB, []table, error) {
	db, tables, tried := openTables(path, f.fits)
	if tried == nil {
		return db, tables, nil
	}
	if kept := f.keptLayout(); kept != nil {
		if db, tables, err := f.openPatched(path, kept, f.fits); err == nil {
			return db, tables, nil
		}
		if err := errors.Join(f.burn(path), f.copyToRead(path)); err != nil {
			return nil, nil, err
		}
	}
	if db, tables, err := openTables(path, anyTables); err == nil {
		return db, tables, nil
	}
	sample, err := f.sampleLayout(path + suffixSample)
	if err != nil {
		return nil, nil, err
	}
	db, tables, err = f.openPatched(path, sample, anyTables)
	if err == nil {
		return db, tables, nil
	}
	return f.openEmptied(path, errors.Join(tried, err))
}

// copyToRead copies the damaged file, with its logs. One that was cut off to nothing gets the pages that list its tables:
// else SQLite would not read the log.
func (f File) copyToRead(path string) error {
	if err := f.copyDatabase(f.Path, path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 0 {
		return err
	}
	l := f.keptLayout()
	if l == nil {
		if l, err = f.sampleLayout(path + suffixSample); err != nil {
			return err
		}
	}
	err = l.patch(path, len(l[0].content))
	f.done("patch the empty copy")
	return err
}

func anyTables(*sql.DB) error { return nil }

// openPatched opens a damaged file with so much of the layout as it takes.
func (f File) openPatched(path string, l layout, fit func(*sql.DB) error) (*sql.DB, []table, error) {
	var tried error
	for _, part := range l.parts() {
		if err := part.patch(path, len(l[0].content)); err != nil {
			return nil, nil, err
		}
		f.done("patch the copy")
		db, tables, err := openTables(path, fit)
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

// openTables opens a file whose list of tables can be read, and is fit.
func openTables(path string, fit func(*sql.DB) error) (*sql.DB, []table, error) {
	db, err := openRaw(path)
	if err != nil {
		return nil, nil, err
	}
	tables, err := tablesOf(db)
	if err == nil && len(tables) == 0 {
		err = errors.New("no table is listed")
	}
	if err == nil {
		err = fit(db)
	}
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, tables, nil
}

// copying is a table, and the columns of another one that take what is in its own.
type copying struct {
	table
	to   string
	into []string
}

// copy takes the rows in the order of the primary key and, where that ends at a damaged page, in the opposite order. If
// that one ends as well, it takes page by page what may lie between two damaged ones.
func (c copying) copy(src, dst *sql.DB) (rows int, err error) {
	key, err := c.key(src)
	if err != nil {
		return 0, nil // what the table is made of cannot be read, so nothing of it can
	}
	for _, order := range []string{" ASC", " DESC"} {
		n, whole, err := c.copyIn(src, dst, strings.Join(key, order+", ")+order)
		rows += n
		if err != nil || whole {
			return rows, err
		}
	}
	n, err := c.copyPages(src, dst)
	return rows + n, err
}

// copyPages takes what its pages have of the table, whatever order SQLite finds in them. What is there already stays.
func (c copying) copyPages(src, dst *sql.DB) (rows int, err error) {
	s, err := c.stored(src)
	if err != nil || s.root == 0 {
		return 0, nil // as in copy
	}
	t, err := newTree(src, s.rowids, func(rowid int64, values []any) error {
		if len(values) == 0 || len(values) > len(s.into) {
			return nil // it is another table's
		}
		if s.alias >= 0 && s.alias < len(values) {
			values[s.alias] = rowid
		}
		n, err := c.put(dst, s.into[:len(values)], values) // what the table has got since it was written has a default
		rows += n
		return err
	})
	if err != nil {
		return 0, nil // as above
	}
	return rows, t.walk(s.root)
}

// stored is how a table lies in its pages.
type stored struct {
	root   uint32
	rowids bool
	into   []string // the columns of the other table, in the order in which this one keeps its own
	alias  int      // which of them is the rowid, -1 if none is
}

// stored leaves the root out of a table without a primary key: its rows would be taken twice.
func (c copying) stored(src *sql.DB) (s stored, err error) {
	var withoutRowid bool
	s.alias = -1
	err = src.QueryRow(`SELECT s.rootpage, l.wr FROM sqlite_schema s JOIN pragma_table_list(?1) l ON l.schema = 'main'
		WHERE s.type = 'table' AND s.name = ?1`, c.name).Scan(&s.root, &withoutRowid)
	if err != nil {
		return s, err
	}
	s.rowids = !withoutRowid
	order := `cid`
	if withoutRowid {
		order = `pk = 0, pk, cid`
	}
	names, err := column(src, `SELECT name FROM pragma_table_info(?) ORDER BY `+order, c.name)
	if err != nil {
		return s, err
	}
	for _, name := range names {
		s.into = append(s.into, c.into[slices.Index(c.columns, name)])
	}
	key, err := column(src, `SELECT name FROM pragma_table_info(?) WHERE pk > 0`, c.name)
	if err != nil || len(key) == 0 {
		return stored{}, err
	}
	numbered, err := column(src, `SELECT name FROM pragma_table_info(?) WHERE pk > 0 AND upper(type) = 'INTEGER'`, c.name)
	if len(key) == 1 && len(numbered) == 1 && s.rowids {
		s.alias = slices.Index(names, key[0])
	}
	return s, err
}

// key returns the columns of the table's primary key.
func (t table) key(src *sql.DB) ([]string, error) {
	key, err := column(src, `SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk`, t.name)
	for i, name := range key {
		key[i] = quoted(name)
	}
	if len(key) == 0 {
		key = []string{"rowid"}
	}
	return key, err
}

// copyIn copies rows until one cannot be read; whole says that all could.
func (c copying) copyIn(src, dst *sql.DB, order string) (rows int, whole bool, err error) {
	from, err := src.Query(`SELECT ` + quoted(c.columns...) + ` FROM ` + quoted(c.name) + ` ORDER BY ` + order)
	if err != nil {
		return 0, false, nil
	}
	defer func() { _ = from.Close() }() // its errors are what is expected here
	values, into := make([]any, len(c.into)), make([]any, len(c.into))
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
		n, err := c.put(dst, c.into, values)
		if err != nil {
			return rows, false, err
		}
		rows += n
	}
	return rows, from.Err() == nil, nil
}

// put adds a row, unless there is one of its key, and returns how many were added.
func (c copying) put(dst *sql.DB, into []string, values []any) (rows int, err error) {
	res, err := dst.Exec(`INSERT OR IGNORE INTO `+quoted(c.to)+` (`+quoted(into...)+`) VALUES (?`+
		strings.Repeat(`, ?`, len(into)-1)+`)`, values...)
	if err != nil && strings.Contains(err.Error(), "constraint") {
		return 0, nil // a row that was never written that way
	}
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
