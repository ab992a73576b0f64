-- SPDX-License-Identifier: Apache-2.0
-- The directory in plain text, local to this machine and disposable. Everything in here comes from the logs and keys.
-- Meaning of the fold: 4

-- Each authority has a range of row numbers, so that a search by text reads only its own part of the index.
CREATE TABLE IF NOT EXISTS directory_authority (
  no        INTEGER PRIMARY KEY,
  authority TEXT NOT NULL UNIQUE
);

CREATE TABLE IF NOT EXISTS directory_person (
  n         INTEGER PRIMARY KEY,         -- authority's no << 32 | running number, never used twice
  authority TEXT NOT NULL,
  id        TEXT NOT NULL,
  status    TEXT NOT NULL,               -- readable, erased, not_yet, removed
  source    TEXT NOT NULL,
  key       TEXT NOT NULL,
  unit      TEXT NOT NULL,               -- the person's own unit: the first of units, '' if there is none
  units     TEXT NOT NULL,               -- JSON array of ids
  sort      TEXT NOT NULL,
  sms       INTEGER NOT NULL,
  email     INTEGER NOT NULL,
  record    TEXT NOT NULL,               -- JSON of the private fields, '' unless readable
  late      TEXT NOT NULL,               -- JSON array of an erased person's keys that still have to be destroyed, '' if none
  UNIQUE (authority, id)
);
CREATE INDEX IF NOT EXISTS directory_person_sort ON directory_person (authority, sort, id) WHERE status <> 'removed';

CREATE INDEX IF NOT EXISTS directory_person_late ON directory_person (authority) WHERE late <> '';

CREATE TABLE IF NOT EXISTS directory_membership (
  authority TEXT NOT NULL,
  unit      TEXT NOT NULL,
  n         INTEGER NOT NULL,
  PRIMARY KEY (authority, unit, n)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS directory_unit (
  authority TEXT NOT NULL,
  id        TEXT NOT NULL,
  parent    TEXT NOT NULL,
  status    TEXT NOT NULL,
  name      TEXT NOT NULL,
  PRIMARY KEY (authority, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS directory_unit_parent ON directory_unit (authority, parent);

CREATE TABLE IF NOT EXISTS directory_function (
  authority TEXT NOT NULL,
  id        TEXT NOT NULL,
  status    TEXT NOT NULL,
  name      TEXT NOT NULL,
  PRIMARY KEY (authority, id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS directory_assignment (
  authority TEXT NOT NULL,
  function  TEXT NOT NULL,
  deputy    INTEGER NOT NULL,            -- 0 holders, 1 deputies
  rank      INTEGER NOT NULL,
  person    TEXT NOT NULL,
  PRIMARY KEY (authority, function, deputy, rank)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS directory_assignment_person ON directory_assignment (authority, person);

-- The text is kept beside the index and 'secure-delete' is on, so that an erased name is really gone from both.
CREATE VIRTUAL TABLE IF NOT EXISTS directory_text USING fts5(words, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3');
INSERT INTO directory_text (directory_text, rank) VALUES ('secure-delete', 1);

-- Erased people with all keys of theirs that are known, and which site has confirmed which of them. Keys are sorted JSON.
CREATE TABLE IF NOT EXISTS directory_erased (
  authority TEXT NOT NULL,
  person    TEXT NOT NULL,
  at        INTEGER NOT NULL,            -- milliseconds since 1970
  by        TEXT NOT NULL,               -- the actor
  site      TEXT NOT NULL,               -- whose fact it was
  keys      TEXT NOT NULL,
  PRIMARY KEY (authority, person)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS directory_confirmed (
  authority TEXT NOT NULL,
  person    TEXT NOT NULL,
  site      TEXT NOT NULL,
  keys      TEXT NOT NULL,
  PRIMARY KEY (authority, person, site)
) WITHOUT ROWID;
