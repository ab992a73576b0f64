// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
)

// table is a table of a file.
type table struct {
	name, form string // form is "" if the list of tables has it under another name
	columns    []string
}

// tablesOf returns the owner's tables, as SQLite understands them.
func tablesOf(db *sql.DB) ([]table, error) {
	list, err := namesOf(db)
	for i := range list {
		if err == nil {
			list[i].columns, err = column(db, `SELECT name FROM pragma_table_info(?) ORDER BY cid`, list[i].name)
		}
	}
	return list, err
}

func namesOf(db *sql.DB) (list []table, err error) {
	rows, err := db.Query(`SELECT l.name, coalesce(s.sql, '') FROM pragma_table_list l LEFT JOIN sqlite_schema s ON s.type = 'table' AND s.name = l.name
		WHERE l.schema = 'main' AND l.type = 'table' AND l.name NOT LIKE 'sqlite_%' AND l.name <> ? ORDER BY s.rowid`, noteTable)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var t table
		if err := rows.Scan(&t.name, &t.form); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// column returns what a query answers that asks for one.
func column(db *sql.DB, query string, args ...any) (list []string, err error) {
	rows, err := db.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// today returns the tables of a new file.
func (f File) today() (list []table, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // it lives in its connection
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.Exec(f.Schema); err != nil {
		return nil, err
	}
	return tablesOf(db)
}

func named(list []table, name string) (table, bool) {
	i := slices.IndexFunc(list, func(t table) bool { return t.name == name })
	if i < 0 {
		return table{}, false
	}
	return list[i], true
}

// todays returns which of today's tables it is; not ok if it is none of them. Damage may have given it another name: then it has all
// columns of one that is not there.
func (t table) todays(today, have []table) (_ table, ok bool) {
	if want, ok := named(today, t.name); ok {
		return want, true
	}
	for _, want := range today {
		if _, there := named(have, want.name); !there && slices.Equal(want.columns, t.columns) {
			return want, true
		}
	}
	return table{}, false
}

// without returns what is not in the other list.
func without(list, other []string) (rest []string) {
	for _, s := range list {
		if !slices.Contains(other, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

// target returns the table that takes the rows, and as which of its columns it takes each. Where nothing but names and conditions can
// be different from those of today, today's are right. Otherwise another version has made the table, and what is left of it damage.
func (t table) target(today, have []table) (to table, columns []string) {
	columns = slices.Clone(t.columns)
	want, ok := t.todays(today, have)
	if !ok {
		return t, columns
	}
	to = table{want.name, t.form, nil}
	missing, unknown := without(want.columns, t.columns), without(t.columns, want.columns)
	for i, c := range columns {
		if i < len(want.columns) && slices.Contains(unknown, c) && slices.Contains(missing, want.columns[i]) {
			columns[i] = want.columns[i]
			to.form = strings.ReplaceAll(to.form, c, columns[i])
		}
	}
	if to.form == "" || len(without(want.columns, columns)) == 0 && len(without(columns, want.columns)) == 0 {
		to.form = want.form
	}
	return to, columns
}

// quoted makes a name of what may hold anything.
func quoted(names ...string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = "`" + strings.ReplaceAll(n, "`", "``") + "`"
	}
	return strings.Join(list, ", ")
}
