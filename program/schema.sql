-- SPDX-License-Identifier: EUPL-1.2
-- Disposable: built from the logs, rebuilt when this file changes. Times are milliseconds since 1970.
-- Meaning of the fold: 1

-- One row per program that has arrived. name is in plain text, '' if it cannot be read.
CREATE TABLE IF NOT EXISTS program_program (
  authority  TEXT NOT NULL,
  id         TEXT NOT NULL,
  name       TEXT NOT NULL,
  status     TEXT NOT NULL,    -- readable, not_yet, erased
  owner      TEXT NOT NULL,    -- a person, '' for none
  expires_ms INTEGER NOT NULL,
  withdrawn  INTEGER NOT NULL,
  made_ms    INTEGER NOT NULL,
  state      TEXT NOT NULL,
  PRIMARY KEY (authority, id)
) WITHOUT ROWID;
-- A token names the program, not the authority.
CREATE INDEX IF NOT EXISTS program_program_id ON program_program (id);
CREATE INDEX IF NOT EXISTS program_program_owner ON program_program (authority, owner);
