-- SPDX-License-Identifier: EUPL-1.2

-- What is secret lies in a table of its own, is only ever added at its end and overwritten in place: SQLite then never
-- moves it between pages, where a copy could outlive it. Rows of the other tables only point here.
CREATE TABLE IF NOT EXISTS vault (
	slot   INTEGER PRIMARY KEY AUTOINCREMENT,
	sealed BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS secret (
	authority TEXT NOT NULL,
	id        TEXT NOT NULL,
	name      TEXT NOT NULL,    -- of a shared key, else ''
	by        TEXT NOT NULL,    -- the authority key that seals it, '' if erased before it came
	slot      INTEGER NOT NULL, -- in the vault, 0 if erased
	erased    INTEGER NOT NULL, -- when, in milliseconds since 1970; 0: not
	change    INTEGER NOT NULL,
	PRIMARY KEY (authority, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS secret_change ON secret (authority, change);
CREATE INDEX IF NOT EXISTS secret_name ON secret (authority, name) WHERE name <> '';

-- Boxes of other sites are kept when a site is forbidden: they are how everybody knows which authority keys it has.
CREATE TABLE IF NOT EXISTS box (
	authority  TEXT NOT NULL,
	id         TEXT NOT NULL, -- of the authority key
	generation INTEGER NOT NULL,
	site       TEXT NOT NULL,
	slot       INTEGER NOT NULL,
	change     INTEGER NOT NULL,
	PRIMARY KEY (authority, id, site)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS box_change ON box (authority, change);

CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (1, 0);

-- The changes of an epoch are those above its base, up to the base of the next one.
CREATE TABLE IF NOT EXISTS epoch (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, base INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS cursor (
	peer      TEXT NOT NULL,
	authority TEXT NOT NULL,
	epoch     TEXT NOT NULL,
	after     INTEGER NOT NULL,
	PRIMARY KEY (peer, authority)
) WITHOUT ROWID;
