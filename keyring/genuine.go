// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"database/sql"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// Anybody can seal a false key to this site under an authority key's id, without an origin: nothing tells an older key, of a random id,
// from it. Where a secret was here that gives the id, every other one is false. That is noted, or a site that loses the true box would
// judge all keys by the false one. A box for another site proves nothing: a digest that no secret has fits every id.

// noteGenuine notes it of boxes that the version before has taken, and forgets what nothing needs.
func noteGenuine(tx *sql.Tx, self event.SiteID) error {
	_, err := tx.Exec(`DELETE FROM genuine WHERE `+needless, self)
	if err == nil { // a box for this site with an origin is stored only if its secret has the digest, which begins with the id
		_, err = tx.Exec(`INSERT OR IGNORE INTO genuine SELECT authority, id FROM box
			WHERE site = ? AND origin <> '' AND id = lower(hex(substr(digest, 1, 8)))`, self)
	}
	return err
}

const needless = `NOT EXISTS (SELECT 1 FROM box b WHERE b.authority = genuine.authority AND b.id = genuine.id AND b.site = ?)
	AND NOT EXISTS (SELECT 1 FROM secret s WHERE s.authority = genuine.authority AND s.by = genuine.id)`

// noteGenuine notes it of a box that is stored.
func (w *writer) noteGenuine(authority event.AuthorityID, rec Record) error {
	if rec.Site != w.ring.self || rec.Origin == "" {
		return nil
	}
	_, err := w.ExecContext(w.ctx, `INSERT OR IGNORE INTO genuine (authority, id) VALUES (?, ?)`, authority, rec.ID)
	return err
}

// forgetGenuine forgets it of a box that has given way, if no key needs it.
func (w *writer) forgetGenuine(authority event.AuthorityID, id event.KeyID) error {
	_, err := w.ExecContext(w.ctx, `DELETE FROM genuine WHERE authority = ? AND id = ? AND `+needless, authority, id, w.ring.self)
	return err
}

// gives reports whether the id is made of the authority key.
func gives(authority event.AuthorityID, secret seal.Key, id event.KeyID) bool {
	return idOf(digestOf(authority, secret)) == id
}

// isFalse reports whether a secret is known not to be the one of its id.
func (w *writer) isFalse(authority event.AuthorityID, id event.KeyID, secret seal.Key) (bool, error) {
	if gives(authority, secret, id) {
		return false, nil
	}
	return exists(w.ctx, w, `SELECT 1 FROM genuine WHERE authority = ? AND id = ?`, authority, id)
}
