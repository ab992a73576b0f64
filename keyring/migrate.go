// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

//go:embed schema.sql
var schema string

// migrate makes the tables, and brings those of a store that an earlier version has written to today's form, in one
// transaction. No secret moves: boxes and keys only point into the vault. The earlier version can open the store
// afterwards: what was added has a default.
func migrate(db *sql.DB) (err error) {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // a no-op after Commit; otherwise the first error is the one to tell
		}
	}()
	if err := growSecret(tx); err != nil {
		return fmt.Errorf("bring the keys to today's form: %w", err)
	}
	renamed, err := setOldBoxesAside(tx)
	if err != nil {
		return fmt.Errorf("bring the boxes to today's form: %w", err)
	}
	if _, err := tx.Exec(schema); err != nil {
		return err
	}
	if renamed {
		_, err := tx.Exec(`INSERT INTO box (authority, id, generation, site, slot, change)
			SELECT authority, id, generation, site, slot, change FROM box_before;
			DROP TABLE box_before`)
		if err != nil {
			return fmt.Errorf("bring the boxes to today's form: %w", err)
		}
	}
	return tx.Commit()
}

// growSecret adds who made a mark to a table that does not tell.
func growSecret(tx *sql.Tx) error {
	form, err := formOf(tx, "secret")
	if err != nil || form == "" || strings.Contains(form, "maker") {
		return err
	}
	_, err = tx.Exec(`ALTER TABLE secret ADD COLUMN maker TEXT NOT NULL DEFAULT '';
		ALTER TABLE secret ADD COLUMN signature BLOB NOT NULL DEFAULT x''`)
	return err
}

// setOldBoxesAside renames a table of boxes that has room for only one box of a key and site. Its index goes first:
// indexes have names of their own.
func setOldBoxesAside(tx *sql.Tx) (bool, error) {
	form, err := formOf(tx, "box")
	if err != nil || form == "" || strings.Contains(form, "maker") {
		return false, err
	}
	_, err = tx.Exec(`DROP INDEX IF EXISTS box_change; ALTER TABLE box RENAME TO box_before`)
	return err == nil, err
}

// formOf returns the statement that made a table, "" if there is none of the name.
func formOf(tx *sql.Tx, table string) (form string, err error) {
	err = tx.QueryRow(`SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?`, table).Scan(&form)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return form, err
}
