-- SPDX-License-Identifier: EUPL-1.2
-- Accounts as lists and look-ups need them. Credentials are not in here: they stay sealed in the states.
-- Meaning of the fold: 3

CREATE TABLE IF NOT EXISTS identity_account (
  authority TEXT NOT NULL,
  person    TEXT NOT NULL,
  passkeys  INTEGER NOT NULL,            -- accepted ones
  hosts     TEXT NOT NULL,               -- JSON array of the names they are under
  codes     INTEGER NOT NULL,            -- recovery codes left
  invited   INTEGER NOT NULL,            -- the youngest invitation, seconds since 1970, 0 if there is none
  expires   INTEGER NOT NULL,            -- its end, 0 if it was used
  signed_in INTEGER NOT NULL,            -- milliseconds since 1970, 0 if never
  since     INTEGER NOT NULL,            -- first enrolment, milliseconds since 1970
  keys      TEXT NOT NULL,               -- JSON array of the account's keys
  PRIMARY KEY (authority, person)
) WITHOUT ROWID;

-- Invitations and links by the SHA-256 of their secret.
CREATE TABLE IF NOT EXISTS identity_secret (
  hash      BLOB NOT NULL,
  authority TEXT NOT NULL,
  person    TEXT NOT NULL,
  what      TEXT NOT NULL,               -- invitation, link
  id        TEXT NOT NULL,
  PRIMARY KEY (hash, authority, person, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS identity_secret_person ON identity_secret (authority, person);

-- Recovery codes by their first four characters: those of every sheet that is kept, used or not, so that one that was
-- used costs as much to check as one that was not.
CREATE TABLE IF NOT EXISTS identity_code (
  authority TEXT NOT NULL,
  code      TEXT NOT NULL,
  person    TEXT NOT NULL,
  code_set  TEXT NOT NULL,
  PRIMARY KEY (authority, code, person, code_set)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS identity_code_person ON identity_code (authority, person);

CREATE TABLE IF NOT EXISTS identity_vouched (
  authority TEXT NOT NULL,
  spoken    TEXT NOT NULL,
  person    TEXT NOT NULL,
  PRIMARY KEY (authority, spoken, person)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS identity_vouched_person ON identity_vouched (authority, person);

CREATE TABLE IF NOT EXISTS identity_warning (
  authority TEXT NOT NULL,
  person    TEXT NOT NULL,
  id        TEXT NOT NULL,
  at        INTEGER NOT NULL,            -- milliseconds since 1970
  told      INTEGER NOT NULL,
  warning   TEXT NOT NULL,               -- JSON
  PRIMARY KEY (authority, person, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS identity_warning_at ON identity_warning (authority, at);
