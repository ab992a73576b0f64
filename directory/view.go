// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// statusRemoved is the status of a person who is not in the register any more; the row keeps number and key.
const statusRemoved = "removed"

// lastInList sorts behind every name: people who cannot be read stand at the end.
const lastInList = "\U0010ffff"

// rowShift separates the authority's number from the person's in a row number.
const rowShift = 32

type personRow struct {
	status Readability
	sort   string
	record []byte
	plain  private
}

func savePerson(tx *readmodel.Tx, authority event.AuthorityID, id PersonID, was, is personState) error {
	row, err := openPerson(tx, authority, id, is)
	if err != nil {
		return err
	}
	n, err := personNumber(tx, authority, id)
	if err != nil {
		return err
	}
	late := ""
	if keys := is.late(); len(keys) > 0 {
		late = jsonOf(keys)
	}
	_, err = tx.Exec(`UPDATE directory_person SET status = ?, source = ?, key = ?, unit = ?, units = ?, sort = ?, sms = ?, email = ?, record = ?, late = ? WHERE n = ?`,
		row.status, is.Source, is.Key, firstOf(is.Units), jsonOf(append([]UnitID{}, is.Units...)), row.sort, row.plain.Mobile != "", row.plain.Email != "", string(row.record), late, n)
	if err != nil {
		return err
	}
	if err := saveWords(tx, n, row, !tx.First()); err != nil {
		return err
	}
	if err := saveErased(tx, authority, id, was, is); err != nil {
		return err
	}
	return saveMembership(tx, authority, n, was, is)
}

// openPerson decides what is shown of a person.
func openPerson(tx *readmodel.Tx, authority event.AuthorityID, id PersonID, is personState) (personRow, error) {
	row := personRow{sort: lastInList}
	switch {
	case is.Erased:
		row.status = Erased
		return row, nil
	case is.Removed || is.Sealed == nil:
		row.status = statusRemoved
		return row, nil
	}
	var err error
	row.record, row.status, err = readable(tx, authority, is.Key, personContext(id), is.Sealed)
	if err != nil || row.status != Readable {
		return row, err
	}
	if err := json.Unmarshal(row.record, &row.plain); err != nil {
		return row, fmt.Errorf("read the fields of a person: %w", err)
	}
	row.sort = sortName(row.plain)
	return row, nil
}

// personNumber returns the person's row number, making the row if there is none.
func personNumber(tx *readmodel.Tx, authority event.AuthorityID, id PersonID) (n int64, err error) {
	err = tx.QueryRow(`SELECT n FROM directory_person WHERE authority = ? AND id = ?`, authority, id).Scan(&n)
	if !errors.Is(err, sql.ErrNoRows) {
		return n, err
	}
	if _, err = tx.Exec(`INSERT INTO directory_authority (authority) VALUES (?) ON CONFLICT DO NOTHING`, authority); err != nil {
		return 0, err
	}
	var no int64
	if err = tx.QueryRow(`SELECT no FROM directory_authority WHERE authority = ?`, authority).Scan(&no); err != nil {
		return 0, err
	}
	first, end := no<<rowShift, (no+1)<<rowShift
	err = tx.QueryRow(`INSERT INTO directory_person (n, authority, id, status, source, key, unit, units, sort, sms, email, record, late)
		VALUES ((SELECT coalesce(max(n), ?) + 1 FROM directory_person WHERE n >= ? AND n < ?), ?, ?, ?, '', '', '', '[]', '', 0, 0, '', '') RETURNING n`,
		first, first, end, authority, id, statusRemoved).Scan(&n)
	return n, err
}

func saveWords(tx *readmodel.Tx, n int64, row personRow, again bool) error {
	if again {
		if _, err := tx.Exec(`DELETE FROM directory_text WHERE rowid = ?`, n); err != nil {
			return err
		}
	}
	if row.status != Readable {
		return nil
	}
	p := row.plain
	words := strings.Join([]string{p.Title, p.Given, p.Family, p.Display, p.Position, p.Email}, " ")
	_, err := tx.Exec(`INSERT INTO directory_text (rowid, words) VALUES (?, ?)`, n, searchText(words))
	return err
}

func saveMembership(tx *readmodel.Tx, authority event.AuthorityID, n int64, was, is personState) error {
	for _, u := range append(slices.Clone(was.Units), is.Units...) {
		if _, err := tx.Exec(`DELETE FROM directory_membership WHERE authority = ? AND unit = ? AND n = ?`, authority, u, n); err != nil {
			return err
		}
	}
	if is.Removed {
		return nil
	}
	for _, u := range is.Units {
		if _, err := tx.Exec(`INSERT INTO directory_membership (authority, unit, n) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, authority, u, n); err != nil {
			return err
		}
	}
	return nil
}

func saveUnit(tx *readmodel.Tx, authority event.AuthorityID, id UnitID, is unitState) error {
	if is.Removed {
		_, err := tx.Exec(`DELETE FROM directory_unit WHERE authority = ? AND id = ?`, authority, id)
		return err
	}
	name, status, err := readable(tx, authority, is.Key, unitContext(id), is.Sealed)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT OR REPLACE INTO directory_unit (authority, id, parent, status, name) VALUES (?, ?, ?, ?, ?)`,
		authority, id, is.Parent, status, string(name))
	return err
}

func saveFunction(tx *readmodel.Tx, authority event.AuthorityID, id FunctionID, is functionState) error {
	for _, table := range []string{`DELETE FROM directory_assignment WHERE authority = ? AND function = ?`,
		`DELETE FROM directory_function WHERE authority = ? AND id = ?`} {
		if _, err := tx.Exec(table, authority, id); err != nil {
			return err
		}
	}
	if is.Removed {
		return nil
	}
	name, status, err := readable(tx, authority, is.Key, functionContext(id), is.Sealed)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO directory_function (authority, id, status, name) VALUES (?, ?, ?, ?)`, authority, id, status, string(name)); err != nil {
		return err
	}
	for deputy, people := range [][]PersonID{is.Holders, is.Deputies} {
		for rank, p := range people {
			if _, err := tx.Exec(`INSERT INTO directory_assignment (authority, function, deputy, rank, person) VALUES (?, ?, ?, ?, ?)`,
				authority, id, deputy, rank, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// personColumns is what scanPerson reads.
const personColumns = `p.id, p.status, p.units, p.record,
	(SELECT group_concat(DISTINCT a.function) FROM directory_assignment a WHERE a.authority = p.authority AND a.person = p.id)`

func scanPerson(scan func(...any) error) (Person, error) {
	var p Person
	var units, record string
	var functions sql.NullString
	if err := scan(&p.ID, &p.Readable, &units, &record, &functions); err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(units), &p.Units); err != nil {
		return p, err
	}
	for f := range strings.SplitSeq(functions.String, ",") {
		if f != "" {
			p.Functions = append(p.Functions, FunctionID(f))
		}
	}
	if p.Readable != Readable {
		return p, nil
	}
	var f private
	if err := json.Unmarshal([]byte(record), &f); err != nil {
		return p, err
	}
	p.DisplayName, p.GivenName, p.FamilyName, p.Title, p.Position = f.displayName(), f.Given, f.Family, f.Title, f.Position
	p.Phone, p.Language, p.Manager, p.Reachability = f.Phone, f.Language, f.Manager, f.reachability()
	return p, nil
}

func findPerson(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id PersonID) (Person, error) {
	return scanPerson(q.QueryRowContext(ctx, `SELECT `+personColumns+` FROM directory_person p
		WHERE p.authority = ? AND p.id = ? AND p.status <> 'removed'`, authority, id).Scan)
}

// subtree is a common table expression "tree": the given units (a JSON array) with everything below them. UNION, not
// UNION ALL, ends a circle.
const subtree = `WITH RECURSIVE tree(unit) AS (SELECT value FROM json_each(?) UNION
	SELECT u.id FROM directory_unit u JOIN tree ON u.parent = tree.unit WHERE u.authority = ?) `

// listing is a search put into SQL. Its parts are constants; everything a person typed is an argument.
type listing struct {
	with, where string
	withArgs    []any
	args        []any
}

func (l *listing) and(where string, args ...any) {
	l.where += " AND " + where
	l.args = append(l.args, args...)
}

func (l *listing) allArgs(more ...any) []any { return slices.Concat(l.withArgs, l.args, more) }

// listPeople returns a page of people and how many there are; the total of a text stops at CountLimit+1.
func listPeople(ctx context.Context, q readmodel.Query, authority event.AuthorityID, s Search) ([]Person, int, error) {
	var l listing
	if s.Unit != "" {
		l.with, l.withArgs = subtree, []any{jsonOf([]UnitID{s.Unit}), authority}
	}
	if strings.TrimSpace(s.Text) != "" {
		return searchPeople(ctx, q, authority, s, l)
	}
	l.where, l.args = "p.authority = ? AND p.status <> 'removed'", []any{authority}
	l.inUnit(authority, s.Unit, "p.n")
	total, err := countPeople(ctx, q, authority, s.Unit, l)
	if err != nil {
		return nil, 0, err
	}
	people, err := pageByName(ctx, q, authority, s, l)
	return people, total, err
}

// countPeople counts a unit's people by its membership alone, which removed and erased people have none of.
func countPeople(ctx context.Context, q readmodel.Query, authority event.AuthorityID, unit UnitID, l listing) (n int, err error) {
	if unit == "" {
		return n, q.QueryRowContext(ctx, `SELECT count(*) FROM directory_person p WHERE `+l.where, l.args...).Scan(&n)
	}
	return n, q.QueryRowContext(ctx, l.with+`SELECT count(DISTINCT m.n) FROM directory_membership m JOIN tree ON m.unit = tree.unit
		WHERE m.authority = ?`, append(l.withArgs, authority)...).Scan(&n)
}

// inUnit keeps the unit's people. The plus keeps SQLite from looking every one of them up by number: walking what is
// ordered or matched already, and asking whether it is in the set, is a hundred times faster.
func (l *listing) inUnit(authority event.AuthorityID, unit UnitID, n string) {
	if unit != "" {
		l.and(`+`+n+` IN (SELECT m.n FROM directory_membership m JOIN tree ON m.unit = tree.unit WHERE m.authority = ?)`, authority)
	}
}

func pageByName(ctx context.Context, q readmodel.Query, authority event.AuthorityID, s Search, l listing) ([]Person, error) {
	if s.After != "" {
		l.and(`(p.sort, p.id) > ((SELECT sort FROM directory_person WHERE authority = ? AND id = ?), ?)`, authority, s.After, s.After)
	}
	return queryPeople(ctx, q, l.with+`SELECT `+personColumns+` FROM directory_person p WHERE `+l.where+` ORDER BY p.sort, p.id LIMIT ?`, l.allArgs(s.Limit)...)
}

// searchPeople finds by text. Few matches come by name; of many only a page is looked at, as they lie in the index,
// because ordering all matches of a short beginning would cost more than it helps.
func searchPeople(ctx context.Context, q readmodel.Query, authority event.AuthorityID, s Search, l listing) ([]Person, int, error) {
	match := matchOf(s.Text)
	if match == "" {
		return nil, 0, nil
	}
	var no int64
	err := q.QueryRowContext(ctx, `SELECT no FROM directory_authority WHERE authority = ?`, authority).Scan(&no)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	first, end := no<<rowShift, (no+1)<<rowShift
	l.where, l.args = `t.words MATCH ? AND t.rowid BETWEEN ? AND ?`, []any{match, first, end}
	l.inUnit(authority, s.Unit, "t.rowid")
	var total int
	if err := q.QueryRowContext(ctx, l.with+`SELECT count(*) FROM (SELECT 1 FROM directory_text t WHERE `+l.where+` LIMIT ?)`,
		l.allArgs(CountLimit+1)...).Scan(&total); err != nil {
		return nil, 0, err
	}
	if total <= CountLimit {
		l.where = `p.n IN (SELECT t.rowid FROM directory_text t WHERE ` + l.where + `)`
		people, err := pageByName(ctx, q, authority, s, l)
		return people, total, err
	}
	if s.After != "" {
		l.and(`t.rowid > (SELECT n FROM directory_person WHERE authority = ? AND id = ?)`, authority, s.After)
	}
	people, err := queryPeople(ctx, q, l.with+`SELECT `+personColumns+` FROM (SELECT t.rowid AS n FROM directory_text t WHERE `+l.where+` LIMIT ?) f
		CROSS JOIN directory_person p ON p.n = f.n`, l.allArgs(s.Limit)...)
	return people, total, err
}

// matchOf turns what somebody typed into an FTS5 query: every word, each as a beginning. It returns "" if there is no word.
func matchOf(text string) string {
	if r := []rune(text); len(r) > maxSearchText {
		text = string(r[:maxSearchText])
	}
	words := strings.FieldsFunc(spelled(clean(text)), func(r rune) bool { return !unicode.In(r, unicode.L, unicode.N, unicode.Mn, unicode.Co) })
	for i, w := range words {
		words[i] = `"` + w + `"*`
	}
	return strings.Join(words[:min(len(words), 8)], " ")
}

func queryPeople(ctx context.Context, q readmodel.Query, query string, args ...any) (people []Person, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		p, err := scanPerson(scan)
		people = append(people, p)
		return err
	}, query, args...)
	return people, err
}

// each calls read for every row.
func each(ctx context.Context, q readmodel.Query, read func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func listUnits(ctx context.Context, q readmodel.Query, authority event.AuthorityID) (units []Unit, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		var u Unit
		err := scan(&u.ID, &u.Parent, &u.Name, &u.Readable, &u.People)
		units = append(units, u)
		return err
	}, `SELECT u.id, u.parent, u.name, u.status,
			(SELECT count(*) FROM directory_membership m WHERE m.authority = u.authority AND m.unit = u.id)
		FROM directory_unit u WHERE u.authority = ?`, authority)
	slices.SortFunc(units, func(a, b Unit) int { return compareNames(a.Name, b.Name, string(a.ID), string(b.ID)) })
	return units, err
}

// stillThere is the condition that leaves out people who are not in the register any more.
const stillThere = `EXISTS (SELECT 1 FROM directory_person p WHERE p.authority = a.authority AND p.id = a.person
	AND p.status IN ('readable', 'not_yet'))`

// listFunctions lists the people for whom the condition holds.
func listFunctions(ctx context.Context, q readmodel.Query, authority event.AuthorityID, condition string) (functions []Function, err error) {
	at := make(map[FunctionID]int)
	err = each(ctx, q, func(scan func(...any) error) error {
		var f Function
		err := scan(&f.ID, &f.Name, &f.Readable)
		f.Code = StaffCode(f.Name)
		at[f.ID] = len(functions)
		functions = append(functions, f)
		return err
	}, `SELECT id, name, status FROM directory_function WHERE authority = ?`, authority)
	if err != nil {
		return nil, err
	}
	err = each(ctx, q, func(scan func(...any) error) error {
		var id FunctionID
		var p PersonID
		var deputy bool
		if err := scan(&id, &deputy, &p); err != nil {
			return err
		}
		if f := &functions[at[id]]; deputy {
			f.Deputies = append(f.Deputies, p)
		} else {
			f.Holders = append(f.Holders, p)
		}
		return nil
	}, `SELECT a.function, a.deputy, a.person FROM directory_assignment a
		WHERE a.authority = ? AND `+condition+` ORDER BY a.function, a.deputy, a.rank`, authority)
	slices.SortFunc(functions, compareFunctions)
	return functions, err
}

func firstOf(units []UnitID) UnitID {
	if len(units) == 0 {
		return ""
	}
	return units[0]
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "[]"
	}
	return string(b)
}

// loadRegister reads everything that an import compares with, 200,000 people at most.
func loadRegister(ctx context.Context, q readmodel.Query, authority event.AuthorityID) (register, error) {
	r := register{people: make(map[PersonID]recorded), units: make(map[UnitID]Unit), functions: make(map[FunctionID]Function)}
	err := each(ctx, q, func(scan func(...any) error) error {
		var id PersonID
		var p recorded
		err := scan(&id, &p.status, &p.source, &p.key, &p.units, &p.record)
		r.people[id] = p
		return err
	}, `SELECT id, status, source, key, units, record FROM directory_person WHERE authority = ?`, authority)
	if err != nil {
		return r, err
	}
	units, err := listUnits(ctx, q, authority)
	if err != nil {
		return r, err
	}
	for _, u := range units {
		r.units[u.ID] = u
	}
	functions, err := listFunctions(ctx, q, authority, "true")
	for _, f := range functions {
		r.functions[f.ID] = f
	}
	return r, err
}
