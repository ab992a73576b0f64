-- SPDX-License-Identifier: EUPL-1.2
-- Disposable: built from the logs, rebuilt when this file changes. Times are milliseconds since 1970. A state keeps only the
-- closings that can count, and only the signs that a site gave of itself.

-- One row per alarm of which any part has arrived; event is '' until Raised has.
CREATE TABLE IF NOT EXISTS alarm (
  authority  TEXT NOT NULL,
  id         TEXT NOT NULL,
  event      TEXT NOT NULL DEFAULT '',
  raised_at  INTEGER NOT NULL DEFAULT 0, -- by the origin's clock
  listed_at  INTEGER NOT NULL DEFAULT 0, -- the same, corrected by what is known of that clock
  ending     TEXT NOT NULL DEFAULT '',
  closed_at  INTEGER NOT NULL DEFAULT 0,
  -- when Raised, and the closing, came to this site, by its own clock
  arrived        INTEGER NOT NULL DEFAULT 0,
  closed_arrived INTEGER NOT NULL DEFAULT 0,
  -- the youngest arrival among the facts that make sites call in the present wave: raising or closing, and orders
  start_arrived  INTEGER NOT NULL DEFAULT 0,
  start      TEXT NOT NULL DEFAULT '{}', -- Moment: that fact
  state      TEXT NOT NULL DEFAULT '{}', -- AlarmState
  caller     TEXT NOT NULL DEFAULT '{}', -- CallerState
  clocks     TEXT NOT NULL DEFAULT '{}', -- ClockState
  PRIMARY KEY (authority, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS alarm_recent ON alarm (authority, listed_at, id) WHERE event <> '';
CREATE INDEX IF NOT EXISTS alarm_fresh ON alarm (start_arrived) WHERE event <> '';

-- One row per person of an alarm, joined from the chunk that names them and their own subject, in whatever order.
CREATE TABLE IF NOT EXISTS alarm_person (
  authority TEXT NOT NULL,
  alarm     TEXT NOT NULL,
  person    TEXT NOT NULL,
  named     INTEGER NOT NULL,
  unit      TEXT NOT NULL,
  channels  TEXT NOT NULL, -- comma-separated
  state     TEXT NOT NULL, -- PersonState
  status    TEXT NOT NULL, -- '' until the person is named
  due_call    TEXT NOT NULL, -- channels due in wave Call, comma-separated
  due_closing TEXT NOT NULL, -- channels due in wave Closing
  PRIMARY KEY (authority, alarm, person)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS alarm_person_status ON alarm_person (authority, alarm, status, person) WHERE status <> '';
CREATE INDEX IF NOT EXISTS alarm_person_call ON alarm_person (authority, alarm, person) WHERE due_call <> '';
CREATE INDEX IF NOT EXISTS alarm_person_closing ON alarm_person (authority, alarm, person) WHERE due_closing <> '';

-- Counters: dim is 'total' (name ''), 'channel' or 'unit'. Moved by difference.
CREATE TABLE IF NOT EXISTS alarm_count (
  authority TEXT NOT NULL,
  alarm     TEXT NOT NULL,
  dim       TEXT NOT NULL,
  name      TEXT NOT NULL,
  recipients INTEGER NOT NULL, called  INTEGER NOT NULL, coming  INTEGER NOT NULL, cannot INTEGER NOT NULL,
  safe       INTEGER NOT NULL, silent  INTEGER NOT NULL, without INTEGER NOT NULL, pending INTEGER NOT NULL,
  failed     INTEGER NOT NULL, accepted INTEGER NOT NULL, refused INTEGER NOT NULL, doubled INTEGER NOT NULL,
  unsecured  INTEGER NOT NULL, due_call INTEGER NOT NULL, due_closing INTEGER NOT NULL,
  PRIMARY KEY (authority, alarm, dim, name)
) WITHOUT ROWID;
