// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// rowShift separates the wall clock from the bits that keep lines of one millisecond apart. A wall clock has at most 46
// bits (eventlog.MaxStamp), so a row number fits into a signed integer.
const (
	rowShift = 17
	rowMask  = 1<<rowShift - 1
)

// maxText and maxWords bound a search, in bytes and in words. Of a word maxPrefix characters count, see schema.sql.
const (
	maxText   = 200
	maxWords  = 8
	maxPrefix = 16
)

func authorityNumber(tx *readmodel.Tx, authority event.AuthorityID) (no int64, err error) {
	const find = `SELECT no FROM audit_authority WHERE authority = ?`
	err = tx.QueryRow(find, authority).Scan(&no)
	if !errors.Is(err, sql.ErrNoRows) {
		return no, err
	}
	if _, err := tx.Exec(`INSERT INTO audit_authority (authority) VALUES (?)`, authority); err != nil {
		return 0, err
	}
	return no, tx.QueryRow(find, authority).Scan(&no)
}

func saveMonth(tx *readmodel.Tx, ref readmodel.Ref, keys []event.KeyID) error {
	month := ref.Subject.Part(1)
	if _, err := tx.Exec(`DELETE FROM audit_month WHERE authority = ? AND month = ?`, ref.Authority, month); err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := tx.Exec(`INSERT INTO audit_month (authority, month, key) VALUES (?, ?, ?)`, ref.Authority, month, k); err != nil {
			return err
		}
	}
	return nil
}

func deleteLine(tx *readmodel.Tx, no int64, ref readmodel.Ref, l stated) error {
	var n int64
	err := tx.QueryRow(`DELETE FROM audit_line WHERE authority = ? AND subject = ? AND site = ? AND event = ? RETURNING n`,
		no, ref.Subject.Part(1), l.Site, l.Event).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = tx.Exec(`DELETE FROM audit_text WHERE rowid = ?`, n)
	}
	return err
}

func saveLine(tx *readmodel.Tx, no int64, ref readmodel.Ref, l stated) error {
	n, err := freeNumber(tx, l)
	if err != nil {
		return err
	}
	fact, err := json.Marshal(l.Fact)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO audit_line (n, authority, subject, site, event, stamp, wall, actor, given, fact) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		n, no, ref.Subject.Part(1), l.Site, l.Event, int64(l.Stamp), l.Wall, l.Actor, l.Grant, string(fact))
	if err == nil {
		_, err = tx.Exec(`INSERT INTO audit_text (rowid, words) VALUES (?, ?)`, n, wordsOf(no, l))
	}
	return err
}

// freeNumber returns a row number of the line's millisecond that nobody has. The counter of the stamp keeps the lines of one
// site in their order.
func freeNumber(tx *readmodel.Tx, l stated) (int64, error) {
	n := l.Wall<<rowShift | int64(l.Stamp)<<1&rowMask
	for range rowMask + 1 {
		var taken bool
		if err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM audit_line WHERE n = ?)`, n).Scan(&taken); err != nil || !taken {
			return n, err
		}
		n = n&^rowMask | (n+1)&rowMask
	}
	return 0, errors.New("too many lines of one millisecond")
}

// field returns the one word that stands for a field's whole value. It begins with a character that nobody can search for.
func field(mark rune, value string) string {
	h := sha256.Sum256([]byte(value))
	return string(mark) + hex.EncodeToString(h[:8])
}

// The marks of fields, in the order of matchOf: characters for private use, which the tokenizer takes for letters and
// wordsIn leaves out.
const (
	markAuthority rune = '\ue000' + iota
	markActor
	markDeed
	markGrant
	markOutcome
)

func authorityWord(no int64) string {
	return field(markAuthority, string(binary.BigEndian.AppendUint64(nil, uint64(no))))
}

func wordsOf(no int64, l stated) string {
	words := []string{authorityWord(no), field(markActor, l.Actor), field(markDeed, l.Fact.Deed), field(markOutcome, string(l.Fact.Outcome))}
	if l.Grant != "" {
		words = append(words, field(markGrant, l.Grant))
	}
	for _, s := range []string{l.Fact.Deed, l.Actor, l.Fact.Way, l.Fact.Object, l.Fact.Code} {
		words = append(words, wordsIn(s)...)
	}
	return strings.Join(words, " ")
}

// wordsIn cuts a text into lower-case words of plain letters and digits; deeds, ids and codes have no others. The tokenizer
// never cuts such a word again, which the index could not search for.
func wordsIn(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

// bounded cuts what somebody typed to a length that no search needs.
func bounded(text string) string { return plain(text, maxText) }

// matchOf turns a query into a search for words; restricted says whether it asks for anything but the authority.
func matchOf(no int64, q Query) (match string, restricted bool) {
	parts := []string{`"` + authorityWord(no) + `"`}
	for i, value := range []string{q.Actor, q.Deed, q.Grant, q.Outcome} {
		if value != "" {
			parts = append(parts, `"`+field(markActor+rune(i), value)+`"`)
		}
	}
	words := wordsIn(bounded(q.Text))
	for _, w := range words[:min(len(words), maxWords)] {
		parts = append(parts, `"`+w[:min(len(w), maxPrefix)]+`" *`)
	}
	return strings.Join(parts, " AND "), len(parts) > 1
}

const lineColumns = `l.n, l.subject, l.site, l.event, l.stamp, l.wall, l.actor, l.given, l.fact`

func listLines(ctx context.Context, v readmodel.Query, authority event.AuthorityID, q Query) ([]Line, error) {
	var no int64
	err := v.QueryRowContext(ctx, `SELECT no FROM audit_authority WHERE authority = ?`, authority).Scan(&no)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	first, end, err := rangeOf(ctx, v, no, q)
	if err != nil {
		return nil, err
	}
	if match, restricted := matchOf(no, q); restricted {
		return queryLines(ctx, v, authority, `SELECT `+lineColumns+` FROM (SELECT rowid AS n FROM audit_text WHERE audit_text MATCH ? AND rowid >= ? AND rowid < ?
			ORDER BY rowid DESC LIMIT ?) t CROSS JOIN audit_line l ON l.n = t.n ORDER BY l.n DESC`, match, first, end, q.Limit)
	}
	return queryLines(ctx, v, authority, `SELECT `+lineColumns+` FROM audit_line l WHERE l.authority = ? AND l.n >= ? AND l.n < ?
		ORDER BY l.n DESC LIMIT ?`, no, first, end, q.Limit)
}

// rangeOf returns the row numbers between which the query looks.
func rangeOf(ctx context.Context, v readmodel.Query, no int64, q Query) (first, end int64, err error) {
	end = 1<<63 - 1
	if !q.From.IsZero() {
		first = max(0, q.From.UnixMilli()) << rowShift
	}
	if !q.Until.IsZero() {
		end = max(0, q.Until.UnixMilli()) << rowShift
	}
	if q.After == "" {
		return first, end, nil
	}
	subject, id, _ := strings.Cut(q.After, ".")
	var n int64
	err = v.QueryRowContext(ctx, `SELECT n FROM audit_line WHERE authority = ? AND subject = ? AND event = ? ORDER BY n LIMIT 1`, no, subject, id).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, ErrAfter
	}
	return first, min(end, n), err
}

// linesUnder returns what was done under a grant after the stamp of its withdrawal.
func linesUnder(ctx context.Context, v readmodel.Query, authority event.AuthorityID, w Withdrawn) ([]Line, error) {
	return queryLines(ctx, v, authority, `SELECT `+lineColumns+` FROM audit_line l JOIN audit_authority a ON a.no = l.authority
		WHERE a.authority = ? AND l.given = ? AND l.given <> '' AND l.stamp > ? AND json_extract(l.fact, '$.outcome') = ?
		ORDER BY l.stamp DESC LIMIT ?`, authority, w.Grant, int64(w.Stamp), Done, MaxLimit)
}

func queryLines(ctx context.Context, v readmodel.Query, authority event.AuthorityID, query string, args ...any) (lines []Line, err error) {
	rows, err := v.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		l, err := scanLine(v, authority, rows.Scan)
		if err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
	return lines, rows.Err()
}

func scanLine(v readmodel.Query, authority event.AuthorityID, scan func(...any) error) (Line, error) {
	var l Line
	var n, stamp, wall int64
	var subject, id, fact string
	if err := scan(&n, &subject, &l.Site, &id, &stamp, &wall, &l.Actor, &l.Grant, &fact); err != nil {
		return l, err
	}
	var f Recorded
	if err := json.Unmarshal([]byte(fact), &f); err != nil {
		return l, err
	}
	l.ID, l.Stamp, l.At = subject+"."+id, event.Stamp(stamp), time.UnixMilli(wall).UTC()
	if f.Since > 0 {
		l.Since = time.UnixMilli(f.Since).UTC()
	}
	l.Deed, l.Way, l.Object, l.Outcome, l.Code, l.Count = f.Deed, f.Way, f.Object, f.Outcome, f.Code, max(1, f.Count)
	return l, l.open(v, authority, subjectOf(subject), f)
}

// open reads the address, if it can be read. An address that does not open with the key that it names is somebody's
// mistake; the line is shown without it.
func (l *Line) open(v readmodel.Query, authority event.AuthorityID, subject event.Subject, f Recorded) error {
	switch {
	case f.Key == "" && f.Source != "":
		l.From, l.Readable = f.Source, Pseudonym
		return nil
	case f.Key == "":
		l.Readable = Readable
		return nil
	}
	from, err := v.Open(authority, f.Key, sealContext(subject), f.Sealed)
	switch {
	case err == nil:
		l.From, l.Readable = string(from), Readable
	case errors.Is(err, keyring.ErrErased), errors.Is(err, seal.ErrOpen):
		l.Readable = Erased
	case unreadable(err):
		l.Readable = NotYet
	default:
		return err
	}
	return nil
}

func sortNewestFirst(lines []Line) {
	slices.SortFunc(lines, func(a, b Line) int { return -cmp.Or(cmp.Compare(a.Stamp, b.Stamp), strings.Compare(a.ID, b.ID)) })
}

func listMonths(ctx context.Context, v readmodel.Query, authority event.AuthorityID) (keys []monthKey, err error) {
	rows, err := v.QueryContext(ctx, `SELECT month, key FROM audit_month WHERE authority = ? ORDER BY month, key`, authority)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k monthKey
		if err := rows.Scan(&k.month, &k.id); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}
