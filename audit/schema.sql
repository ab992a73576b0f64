-- SPDX-License-Identifier: EUPL-1.2
-- The audit of all authorities that this site holds. Addresses stay sealed in it. Meaning of the fold: 1

CREATE TABLE IF NOT EXISTS audit_authority (
  no        INTEGER PRIMARY KEY,
  authority TEXT NOT NULL UNIQUE
);

-- n is the origin's wall clock in milliseconds << 17 with some bits that keep lines of one millisecond apart: so the
-- index of words, too, gives the newest lines first without sorting.
CREATE TABLE IF NOT EXISTS audit_line (
  n         INTEGER PRIMARY KEY,
  authority INTEGER NOT NULL,
  subject   TEXT NOT NULL,              -- without "audit/"
  site      TEXT NOT NULL,
  event     TEXT NOT NULL,
  stamp     INTEGER NOT NULL,
  wall      INTEGER NOT NULL,
  actor     TEXT NOT NULL,
  given     TEXT NOT NULL,              -- the grant
  fact      TEXT NOT NULL,              -- JSON of Recorded
  UNIQUE (authority, subject, site, event)
);
CREATE INDEX IF NOT EXISTS audit_line_newest ON audit_line (authority, n);
CREATE INDEX IF NOT EXISTS audit_line_grant ON audit_line (authority, given, stamp) WHERE given <> '';

-- Words of a line, and one word for each field that is compared as a whole. They hold no personal data but keyed ids. Every
-- length of a beginning that can be searched for has an index: without one, a search would read all lines that have it.
CREATE VIRTUAL TABLE IF NOT EXISTS audit_text USING fts5(words, content = '', contentless_delete = 1, detail = none,
  tokenize = 'unicode61', prefix = '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16');

CREATE TABLE IF NOT EXISTS audit_month (
  authority TEXT NOT NULL,
  month     TEXT NOT NULL,
  key       TEXT NOT NULL,
  PRIMARY KEY (authority, month, key)
) WITHOUT ROWID;
