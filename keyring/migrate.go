// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
)

//go:embed schema.sql
var schema string

// migrate makes the tables, and brings those of a store that an earlier version has written to today's form, in one
// transaction. No secret moves: boxes and keys only point into the vault. The earlier version can open the store
// afterwards: what was added has a default.
func migrate(db *sql.DB, self event.SiteID) (err error) {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // a no-op after Commit; otherwise the first error is the one to tell
		}
	}()
	mixed, err := growSecret(tx)
	if err != nil {
		return fmt.Errorf("bring the keys to today's form: %w", err)
	}
	renamed, err := setOldBoxesAside(tx)
	if err != nil {
		return fmt.Errorf("bring the boxes to today's form: %w", err)
	}
	cosigners, err := formOf(tx, "cosigner")
	if err != nil {
		return err
	}
	if _, err := tx.Exec(schema); err != nil {
		return err
	}
	if cosigners == "" {
		if err := askForMarks(tx); err != nil {
			return fmt.Errorf("bring the demands to today's form: %w", err)
		}
	}
	if renamed {
		_, err := tx.Exec(`INSERT INTO box (authority, id, generation, site, slot, change)
			SELECT authority, id, generation, site, slot, change FROM box_before;
			DROP TABLE box_before`)
		if err != nil {
			return fmt.Errorf("bring the boxes to today's form: %w", err)
		}
	}
	if mixed {
		if err := sortKeys(tx, self); err != nil {
			return fmt.Errorf("bring the keys to today's form: %w", err)
		}
	}
	if err := noteRejected(tx); err != nil {
		return fmt.Errorf("look whose wishes were rejected: %w", err)
	}
	if err := noteGenuine(tx, self); err != nil {
		return fmt.Errorf("look which keys are those of their ids: %w", err)
	}
	return tx.Commit()
}

// growSecret adds to a table that does not tell who made a mark, and who gave a key that does not open. It reports
// whether keys that open and others are told apart for the first time.
func growSecret(tx *sql.Tx) (mixed bool, err error) {
	form, err := formOf(tx, "secret")
	if err != nil || form == "" {
		return false, err
	}
	if !strings.Contains(form, "maker") {
		_, err = tx.Exec(`ALTER TABLE secret ADD COLUMN maker TEXT NOT NULL DEFAULT '';
			ALTER TABLE secret ADD COLUMN signature BLOB NOT NULL DEFAULT x''`)
	}
	if err != nil || strings.Contains(form, "giver") {
		return false, err
	}
	_, err = tx.Exec(`ALTER TABLE secret ADD COLUMN giver TEXT NOT NULL DEFAULT ''`)
	return err == nil, err
}

// sortKeys finds the keys that do not open here, in a store that does not tell them apart. What was refused while they
// used up the room of those that open, or boxes that of other boxes, is asked for again.
func sortKeys(tx *sql.Tx, self event.SiteID) error {
	_, err := tx.Exec(`UPDATE secret SET giver = ?, change = 0 WHERE erased = 0 AND NOT EXISTS (
		SELECT 1 FROM box b WHERE b.authority = secret.authority AND b.id = secret.by AND b.site = ?)`, unknownGiver, self)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM cursor WHERE (authority, peer) IN (SELECT authority, peer FROM refusal WHERE reason IN (?, ?))`,
		refusedKeys, refusedBoxes)
	return err
}

// askForMarks has everything asked for again where keys are demanded, in a store that does not tell who else has signed a mark of
// them: that was left out.
func askForMarks(tx *sql.Tx) error {
	_, err := tx.Exec(`DELETE FROM cursor WHERE authority IN (SELECT authority FROM demand)`)
	return err
}

// noteRejected notes whose wish was rejected, of demands that a version without that note has turned.
func noteRejected(tx *sql.Tx) error {
	_, err := tx.Exec(`INSERT INTO rejected (authority, id, site) SELECT authority, id, `+askedBy+` FROM demand
		WHERE state = ? AND (authority, id) NOT IN (SELECT authority, id FROM rejected)`, Rejected)
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
