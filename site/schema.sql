-- SPDX-License-Identifier: EUPL-1.2
-- Meaning of the fold: 2

-- The foundings of authorities, by the log that they are in and along its chain: only the first ones of each log count, and only
-- of authorities that are founded by one of these the states are read. Everything else about sites is small and read as a whole.
CREATE TABLE IF NOT EXISTS site_founding (
  log       TEXT NOT NULL,             -- logKey
  place     BLOB NOT NULL,             -- mark.key
  authority TEXT NOT NULL,
  PRIMARY KEY (log, place)
) WITHOUT ROWID;

-- How many foundings are in each log. Moved by difference, so that nobody has to count what a flood has left.
CREATE TABLE IF NOT EXISTS site_founder (
  log       TEXT PRIMARY KEY,
  foundings INTEGER NOT NULL
) WITHOUT ROWID;
