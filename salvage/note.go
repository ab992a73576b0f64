// SPDX-License-Identifier: EUPL-1.2

package salvage

import (
	"context"
	"database/sql"
	"strings"
)

// noteTable is where a fresh file says that it is one. It is made last, so that the owner's tables lie where a new file has them.
const noteTable = "salvaged"

// note writes into the fresh file what became of the damaged one. It takes the place of a note that the damaged file had.
func (f File) note(db *sql.DB, d Damage) error {
	if _, err := db.Exec(`CREATE TABLE ` + noteTable + ` (reason TEXT NOT NULL, aside TEXT NOT NULL, kept INTEGER NOT NULL)`); err != nil {
		return err
	}
	// Without the folder: that may be moved.
	_, err := db.Exec(`INSERT INTO `+noteTable+` VALUES (?, ?, ?)`, d.Reason, strings.TrimPrefix(d.Aside, f.Path), d.Rows)
	return err
}

// Noted returns what the last repair of the file has found, nil if there was none or it was forgotten.
func (f File) Noted(ctx context.Context, q Querier) (*Damage, error) {
	var there int
	err := q.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = ?`, noteTable).Scan(&there)
	if err != nil || there == 0 {
		return nil, err
	}
	var d Damage
	err = q.QueryRowContext(ctx, `SELECT reason, aside, kept FROM `+noteTable).Scan(&d.Reason, &d.Aside, &d.Rows)
	d.Aside = f.Path + d.Aside
	return &d, err
}

// Forget removes the note of a repair, once its owner has done what follows from it.
func Forget(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `DROP TABLE IF EXISTS `+noteTable)
	return err
}
