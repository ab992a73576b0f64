-- SPDX-License-Identifier: EUPL-1.2
-- Disposable: built from the logs, rebuilt when this file changes. Times are milliseconds since 1970.
-- Meaning of the fold: 2

-- One row per guest whose invitation has arrived. name is in plain text, '' if it cannot be read.
CREATE TABLE IF NOT EXISTS guest_guest (
  authority  TEXT NOT NULL,
  id         TEXT NOT NULL,
  name       TEXT NOT NULL,
  status     TEXT NOT NULL,    -- readable, not_yet, erased
  until_ms   INTEGER NOT NULL,
  away       INTEGER NOT NULL, -- 1 if sent away
  mark       TEXT NOT NULL,    -- finds the current code
  invited_ms INTEGER NOT NULL,
  state      TEXT NOT NULL,
  PRIMARY KEY (authority, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS guest_guest_mark ON guest_guest (authority, mark);
CREATE INDEX IF NOT EXISTS guest_guest_until ON guest_guest (authority, status, until_ms);
