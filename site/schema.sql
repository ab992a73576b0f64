-- SPDX-License-Identifier: EUPL-1.2
-- Meaning of the fold: 3

-- The foundings of authorities, by the log that they are in and along its chains: only the first ones of each chain
-- count, and only of authorities that are founded by one of these the states are read. Everything else about sites is
-- small and read as a whole.
CREATE TABLE IF NOT EXISTS site_founding (
  log       TEXT NOT NULL,             -- logKey
  place     BLOB NOT NULL,             -- mark.key
  fork      TEXT NOT NULL,             -- which branch has the page, by its name at this site
  authority TEXT NOT NULL,
  PRIMARY KEY (log, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS site_founding_along ON site_founding (log, fork, place);

-- How many foundings are in each log. Moved by difference, so that nobody has to count what a flood has left.
CREATE TABLE IF NOT EXISTS site_founder (
  log       TEXT PRIMARY KEY,
  foundings INTEGER NOT NULL
) WITHOUT ROWID;
