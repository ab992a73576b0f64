-- What the read model itself keeps; every domain adds tables of its own (Fold.Schema). All times are milliseconds since 1970.
CREATE TABLE rm_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- How far each branch has been folded. It is written in the transaction of the states, so it is never ahead of them.
CREATE TABLE rm_cursor (
  no INTEGER PRIMARY KEY, authority TEXT NOT NULL, class TEXT NOT NULL, site TEXT NOT NULL, incarnation TEXT NOT NULL,
  fork TEXT NOT NULL, page INTEGER NOT NULL, hash BLOB NOT NULL,
  UNIQUE (authority, class, site, incarnation, fork));

-- state: what Apply returned (NULL: nothing yet). last: the highest place seen. aside: 0 no, 1 Apply failed, 2 Save failed.
CREATE TABLE rm_subject (
  no INTEGER PRIMARY KEY, authority TEXT NOT NULL, subject TEXT NOT NULL,
  state BLOB, last BLOB NOT NULL, arrived INTEGER NOT NULL, aside INTEGER NOT NULL,
  UNIQUE (authority, subject));

-- The events again, by subject, so that a late one can fold its subject anew. One row per id and site that states it: the
-- lowest place wins. With the id alone a site could put an event of its own in the place of another site's.
CREATE TABLE rm_event (
  subject INTEGER NOT NULL, id TEXT NOT NULL, site TEXT NOT NULL, place BLOB NOT NULL, branch INTEGER NOT NULL,
  arrived INTEGER NOT NULL, fact BLOB NOT NULL, data BLOB, PRIMARY KEY (subject, id, site)) WITHOUT ROWID;

-- Which subjects are to be saved again when a key arrives or is erased.
CREATE TABLE rm_key (
  authority TEXT NOT NULL, key TEXT NOT NULL, subject INTEGER NOT NULL, PRIMARY KEY (authority, key, subject)) WITHOUT ROWID;

-- Subjects set aside. shown: what Save last wrote, where that is not the state.
CREATE TABLE rm_trouble (
  subject INTEGER PRIMARY KEY, place BLOB, kind TEXT NOT NULL, event TEXT NOT NULL, reason TEXT NOT NULL,
  since INTEGER NOT NULL, shown BLOB);

-- What a fold leaves out of a subject because a site has said more than the fold's bound.
CREATE TABLE rm_apart (
  subject INTEGER NOT NULL, site TEXT NOT NULL, reason TEXT NOT NULL, since INTEGER NOT NULL,
  PRIMARY KEY (subject, site)) WITHOUT ROWID;

-- Observations of this site, which the logs cannot tell again: merges, and since when it holds pages of an authority.
CREATE TABLE rm_merge (
  no INTEGER PRIMARY KEY, authority TEXT NOT NULL, site TEXT NOT NULL, first_copy INTEGER NOT NULL,
  first_wall INTEGER NOT NULL, last_wall INTEGER NOT NULL, arrived INTEGER NOT NULL, until INTEGER NOT NULL,
  events INTEGER NOT NULL, late INTEGER NOT NULL);
CREATE INDEX rm_merge_by_site ON rm_merge (authority, site, until);
CREATE TABLE rm_first (authority TEXT PRIMARY KEY, stored INTEGER NOT NULL) WITHOUT ROWID;
