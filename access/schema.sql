-- SPDX-License-Identifier: EUPL-1.2
-- Disposable: built from the logs, rebuilt when this file changes. Times are milliseconds since 1970.
-- Meaning of the fold: 1

-- One row per grant of which any part has arrived. live is 1 once it was granted and until it is withdrawn; whether it is in
-- force besides is a question of the time of asking.
CREATE TABLE IF NOT EXISTS access_grant (
  authority  TEXT NOT NULL,
  id         TEXT NOT NULL,
  granted    INTEGER NOT NULL,           -- 0 if only the withdrawal has arrived
  live       INTEGER NOT NULL,
  granted_at INTEGER NOT NULL,
  role       TEXT NOT NULL,
  unit       TEXT NOT NULL,              -- '' is the whole authority
  person     TEXT NOT NULL,              -- '' for a grant to a function
  function   TEXT NOT NULL,              -- '' for a grant to a person
  from_ms    INTEGER NOT NULL,
  until_ms   INTEGER NOT NULL,           -- 0 is no end
  state      TEXT NOT NULL,              -- grantState
  PRIMARY KEY (authority, id)
) WITHOUT ROWID;
-- The two questions of every judgement; the indexes hold the whole answer.
CREATE INDEX IF NOT EXISTS access_grant_person ON access_grant (authority, person, id, role, unit, from_ms, until_ms) WHERE live = 1 AND person <> '';
CREATE INDEX IF NOT EXISTS access_grant_function ON access_grant (authority, function, id, role, unit, from_ms, until_ms) WHERE live = 1 AND function <> '';
CREATE INDEX IF NOT EXISTS access_grant_recent ON access_grant (authority, live, granted_at, id) WHERE granted = 1;

-- One row per request that has arrived.
CREATE TABLE IF NOT EXISTS access_approval (
  authority TEXT NOT NULL,
  id        TEXT NOT NULL,
  same      TEXT NOT NULL,               -- SHA-256 of deed and arguments
  asked_by  TEXT NOT NULL,               -- an actor
  asked_at  INTEGER NOT NULL,
  expires   INTEGER NOT NULL,
  decided   INTEGER NOT NULL,
  state     TEXT NOT NULL,               -- approvalState
  PRIMARY KEY (authority, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS access_approval_open ON access_approval (authority, decided, expires, asked_by);
CREATE INDEX IF NOT EXISTS access_approval_same ON access_approval (authority, same, asked_at);
CREATE INDEX IF NOT EXISTS access_approval_recent ON access_approval (authority, asked_at, id);
