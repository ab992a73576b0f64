// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// maxCandidates bounds how many codes with the same first four characters are tried. With a million of those and ten codes
// a person, even 200,000 people have five in common once in ten thousand.
const maxCandidates = 8

// save writes the rows of one account anew. Nothing in them is sealed, so keys that come or go change nothing here.
func save(tx *readmodel.Tx, ref readmodel.Ref, _, is state) error {
	a, p := ref.Authority, ref.Subject.Part(1)
	if !tx.First() {
		for _, table := range []string{"secret", "code", "vouched", "warning"} {
			if _, err := tx.Exec(`DELETE FROM identity_`+table+` WHERE authority = ? AND person = ?`, a, p); err != nil {
				return err
			}
		}
	}
	sum := is.summary()
	_, err := tx.Exec(`INSERT OR REPLACE INTO identity_account (authority, person, passkeys, hosts, codes, invited, expires, signed_in, since, keys)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a, p, sum.passkeys, jsonOf(append([]string{}, sum.hosts...)), sum.codes, sum.invited, sum.expires,
		sum.signedIn, sum.since, jsonOf(append([]event.KeyID{}, is.Keys...)))
	if err != nil {
		return err
	}
	return errors.Join(saveSecrets(tx, a, p, is), saveCodes(tx, a, p, is), saveVouched(tx, a, p, is), saveWarnings(tx, a, p, is))
}

func saveSecrets(tx *readmodel.Tx, a event.AuthorityID, p string, is state) error {
	for _, x := range is.Secrets {
		if _, err := tx.Exec(`INSERT OR IGNORE INTO identity_secret (hash, authority, person, what, id) VALUES (?, ?, ?, ?, ?)`,
			x.Hash, a, p, x.What, x.ID); err != nil {
			return err
		}
	}
	return nil
}

func saveCodes(tx *readmodel.Tx, a event.AuthorityID, p string, is state) error {
	for _, set := range is.Sets {
		for _, c := range set.Codes {
			if _, err := tx.Exec(`INSERT OR IGNORE INTO identity_code (authority, code, person, code_set) VALUES (?, ?, ?, ?)`,
				a, c.ID, p, set.Set); err != nil {
				return err
			}
		}
	}
	return nil
}

func saveVouched(tx *readmodel.Tx, a event.AuthorityID, p string, is state) error {
	for _, x := range is.Vouched {
		if _, err := tx.Exec(`INSERT OR IGNORE INTO identity_vouched (authority, spoken, person) VALUES (?, ?, ?)`, a, x.Spoken, p); err != nil {
			return err
		}
	}
	return nil
}

func saveWarnings(tx *readmodel.Tx, a event.AuthorityID, p string, is state) error {
	for _, w := range is.warnings(directory.PersonID(p)) {
		if _, err := tx.Exec(`INSERT OR REPLACE INTO identity_warning (authority, person, id, at, told, warning) VALUES (?, ?, ?, ?, ?, ?)`,
			a, p, w.ID, w.At.UnixMilli(), w.ToldPerson, jsonOf(w)); err != nil {
			return err
		}
	}
	return nil
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(b)
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

// owner is whose something is.
type owner struct {
	authority event.AuthorityID
	person    directory.PersonID
	id        string
}

// findSecret returns whose invitation or link has the hash.
func findSecret(ctx context.Context, q readmodel.Query, what string, hash []byte) (o owner, found bool, err error) {
	err = q.QueryRowContext(ctx, `SELECT authority, person, id FROM identity_secret WHERE hash = ? AND what = ?`, hash, what).
		Scan(&o.authority, &o.person, &o.id)
	if errors.Is(err, sql.ErrNoRows) {
		return o, false, nil
	}
	return o, err == nil, err
}

// findCodes returns whose codes begin with the four characters; the owner's id is the set.
func findCodes(ctx context.Context, q readmodel.Query, authority event.AuthorityID, code string) (list []owner, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		o := owner{authority: authority}
		err := scan(&o.person, &o.id)
		list = append(list, o)
		return err
	}, `SELECT person, code_set FROM identity_code WHERE authority = ? AND code = ? ORDER BY person, code_set LIMIT ?`, authority, code, maxCandidates)
	return list, err
}

// codeTaken reports whether a code of the authority begins with the four characters.
func codeTaken(ctx context.Context, q readmodel.Query, authority event.AuthorityID, code string) (taken bool, err error) {
	err = q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM identity_code WHERE authority = ? AND code = ?)`, authority, code).Scan(&taken)
	return taken, err
}

// findVouched returns who was vouched for under the spoken characters.
func findVouched(ctx context.Context, q readmodel.Query, authority event.AuthorityID, spoken string) (list []directory.PersonID, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		var p directory.PersonID
		err := scan(&p)
		list = append(list, p)
		return err
	}, `SELECT person FROM identity_vouched WHERE authority = ? AND spoken = ? ORDER BY person LIMIT 20`, authority, spoken)
	return list, err
}

// summaries returns all accounts of an authority: some 100 bytes each.
func summaries(ctx context.Context, q readmodel.Query, authority event.AuthorityID) (map[directory.PersonID]summary, error) {
	all := make(map[directory.PersonID]summary)
	err := each(ctx, q, func(scan func(...any) error) error {
		var p directory.PersonID
		var x summary
		var names string
		if err := scan(&p, &x.passkeys, &names, &x.codes, &x.invited, &x.expires, &x.signedIn, &x.since); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(names), &x.hosts)
		all[p] = x
		return err
	}, `SELECT person, passkeys, hosts, codes, invited, expires, signed_in, since FROM identity_account WHERE authority = ?`, authority)
	return all, err
}

// keyed returns the accounts that have keys, with these.
func keyed(ctx context.Context, q readmodel.Query, authority event.AuthorityID) (map[directory.PersonID][]event.KeyID, error) {
	all := make(map[directory.PersonID][]event.KeyID)
	err := each(ctx, q, func(scan func(...any) error) error {
		var p directory.PersonID
		var keys string
		if err := scan(&p, &keys); err != nil {
			return err
		}
		var ids []event.KeyID
		err := json.Unmarshal([]byte(keys), &ids)
		all[p] = ids
		return err
	}, `SELECT person, keys FROM identity_account WHERE authority = ? AND keys <> '[]'`, authority)
	return all, err
}

// keyUses returns which people's accounts use the keys.
func keyUses(ctx context.Context, q readmodel.Query, authority event.AuthorityID, keys []event.KeyID) (map[event.KeyID][]directory.PersonID, error) {
	uses := make(map[event.KeyID][]directory.PersonID)
	err := each(ctx, q, func(scan func(...any) error) error {
		var key event.KeyID
		var person directory.PersonID
		err := scan(&key, &person)
		uses[key] = append(uses[key], person)
		return err
	}, `SELECT k.value, a.person FROM identity_account a, json_each(a.keys) k WHERE a.authority = ?
		AND k.value IN (SELECT value FROM json_each(?)) ORDER BY a.person`, authority, jsonOf(append([]event.KeyID{}, keys...)))
	return uses, err
}

// untoldWarnings returns the youngest warnings of which nobody was told. Those that somebody was invited again may be many, and
// people without an address are never told of them, so they have bounds of their own.
func untoldWarnings(ctx context.Context, q readmodel.Query, authority event.AuthorityID, now time.Time) ([]Warning, error) {
	const query = `SELECT warning FROM identity_warning WHERE authority = ? AND told = 0 AND `
	list, err := warningsBy(ctx, q, query+`id NOT GLOB ? ORDER BY at DESC, person, id LIMIT ?`, authority, againPrefix+"*", perStep)
	if err != nil {
		return nil, err
	}
	again, err := warningsBy(ctx, q, query+`id GLOB ? AND at > ? ORDER BY at DESC, person, id LIMIT ?`, authority, againPrefix+"*",
		now.Add(-againTold).UnixMilli(), MaxInvited)
	return append(list, again...), err
}

// listWarnings returns the youngest warnings of an authority.
func listWarnings(ctx context.Context, q readmodel.Query, authority event.AuthorityID, limit int) ([]Warning, error) {
	return warningsBy(ctx, q, `SELECT warning FROM identity_warning WHERE authority = ? ORDER BY at DESC, person, id LIMIT ?`, authority, limit)
}

func warningsBy(ctx context.Context, q readmodel.Query, query string, args ...any) (list []Warning, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		var w Warning
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(text), &w)
		list = append(list, w)
		return err
	}, query, args...)
	return list, err
}

func readState(ctx context.Context, q readmodel.Query, authority event.AuthorityID, person directory.PersonID) (s state, err error) {
	_, err = q.State(ctx, authority, accountSubject(person), &s)
	return s, err
}

func milli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func unix(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}
