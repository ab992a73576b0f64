-- SPDX-License-Identifier: EUPL-1.2

-- What is secret lies in a table of its own, is only ever added at its end and overwritten in place: SQLite then never
-- moves it between pages, where a copy could outlive it. Rows of the other tables only point here.
CREATE TABLE IF NOT EXISTS vault (
	slot   INTEGER PRIMARY KEY AUTOINCREMENT,
	sealed BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS secret (
	authority TEXT NOT NULL,
	id        TEXT NOT NULL,
	name      TEXT NOT NULL,    -- of a shared key, else ''
	by        TEXT NOT NULL,    -- the authority key that seals it, '' if erased before it came
	slot      INTEGER NOT NULL, -- in the vault, 0 if erased
	erased    INTEGER NOT NULL, -- when, in milliseconds since 1970; 0: not
	change    INTEGER NOT NULL,
	maker     TEXT NOT NULL DEFAULT '',  -- of a mark: the site that signed it, '' for one of before marks were signed
	signature BLOB NOT NULL DEFAULT x'',
	giver     TEXT NOT NULL DEFAULT '',  -- of a key that does not open here yet: who gave it, '?' if nobody knows; its change is 0
	PRIMARY KEY (authority, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS secret_giver ON secret (authority, giver) WHERE giver <> '';
CREATE INDEX IF NOT EXISTS secret_change ON secret (authority, change);
CREATE INDEX IF NOT EXISTS secret_name ON secret (authority, name) WHERE name <> '';
CREATE INDEX IF NOT EXISTS secret_by ON secret (authority, by);

-- Boxes of other sites are kept when a site is forbidden: they are how everybody knows which authority keys it has. Each
-- site that has a key makes a box of its own for every other one, so that nobody can take a place before them.
CREATE TABLE IF NOT EXISTS box (
	authority  TEXT NOT NULL,
	id         TEXT NOT NULL, -- of the authority key
	generation INTEGER NOT NULL,
	site       TEXT NOT NULL,
	slot       INTEGER NOT NULL,
	change     INTEGER NOT NULL,
	maker      TEXT NOT NULL DEFAULT '',  -- the site that signed the box, '' for one of before boxes were signed
	signature  BLOB NOT NULL DEFAULT x'',
	origin     TEXT NOT NULL DEFAULT '',  -- the site that drew the key, '' if nobody has signed for that
	digest     BLOB NOT NULL DEFAULT x'', -- of the key, signed by its origin together with the generation
	birth      BLOB NOT NULL DEFAULT x'', -- that signature
	PRIMARY KEY (authority, id, site, maker)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS box_change ON box (authority, change);

CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (1, 0);

-- The changes of an epoch are those above its base, up to the base of the next one.
CREATE TABLE IF NOT EXISTS epoch (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, base INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS cursor (
	peer      TEXT NOT NULL,
	authority TEXT NOT NULL,
	epoch     TEXT NOT NULL,
	after     INTEGER NOT NULL,
	PRIMARY KEY (peer, authority)
) WITHOUT ROWID;

-- Marks that do not count here (yet), see Demand. They hold nothing secret and are never handed on.
CREATE TABLE IF NOT EXISTS demand (
	authority TEXT NOT NULL,
	id        TEXT NOT NULL,
	erased    INTEGER NOT NULL, -- as in secret
	maker     TEXT NOT NULL,    -- as in secret
	signature BLOB NOT NULL,
	peer      TEXT NOT NULL,    -- the site that handed it over
	since     INTEGER NOT NULL, -- when it came, in milliseconds since 1970
	state     TEXT NOT NULL,    -- waiting, held, released, rejected
	ordered   TEXT NOT NULL,    -- the site whose fact it follows, if it is held, '' before
	PRIMARY KEY (authority, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS demand_state ON demand (authority, state, id);
CREATE INDEX IF NOT EXISTS demand_peer ON demand (authority, peer);

-- How many keys were destroyed here because of a site's facts, by the hour.
CREATE TABLE IF NOT EXISTS toll (
	authority TEXT NOT NULL,
	site      TEXT NOT NULL,
	hour      INTEGER NOT NULL, -- since 1970
	keys      INTEGER NOT NULL,
	PRIMARY KEY (authority, site, hour)
) WITHOUT ROWID;

-- What a site sent and this one did not take, and how often.
CREATE TABLE IF NOT EXISTS refusal (
	authority TEXT NOT NULL,
	peer      TEXT NOT NULL,
	reason    TEXT NOT NULL,
	times     INTEGER NOT NULL,
	last      INTEGER NOT NULL, -- in milliseconds since 1970
	PRIMARY KEY (authority, peer, reason)
) WITHOUT ROWID;

-- Of which peers something was refused that is asked for again when there is room: keys, or boxes of a room. A row
-- without a peer says that keys which do not open yet have to be looked at again, or ('again') that everything is to
-- be asked for again.
CREATE TABLE IF NOT EXISTS crowded (
	authority TEXT NOT NULL,
	peer      TEXT NOT NULL,
	reason    TEXT NOT NULL, -- as in refusal, or 'unsettled'
	maker     TEXT NOT NULL, -- the room, of boxes
	origin    TEXT NOT NULL,
	PRIMARY KEY (authority, peer, reason, maker, origin)
) WITHOUT ROWID;

-- Whose bytes a slot's are. Last, so that the tables before them stay where they were in new files.
CREATE INDEX IF NOT EXISTS secret_slot ON secret (slot) WHERE slot > 0;
CREATE INDEX IF NOT EXISTS box_slot ON box (slot);

-- Authority keys of which this site has had a secret that gives the id. Under such an id no other one counts, also when the box is
-- lost; a row goes when neither a box nor a key needs it.
CREATE TABLE IF NOT EXISTS genuine (
	authority TEXT NOT NULL,
	id        TEXT NOT NULL,
	PRIMARY KEY (authority, id)
) WITHOUT ROWID;

-- Who else has signed a mark of a key that is demanded. It goes with the demand.
CREATE TABLE IF NOT EXISTS cosigner (
	authority TEXT NOT NULL,
	id        TEXT NOT NULL,
	maker     TEXT NOT NULL,
	peer      TEXT NOT NULL, -- the site that handed it over
	PRIMARY KEY (authority, id, maker)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cosigner_peer ON cosigner (authority, peer);

-- What was burnt and has room for other bytes of the same length.
CREATE INDEX IF NOT EXISTS vault_burnt ON vault (length(sealed)) WHERE sealed = zeroblob(length(sealed));

-- Authority keys for this site that do not open any more and may be the only copy, see damaged.go. The slot is nobody else's.
CREATE TABLE IF NOT EXISTS damaged_box (
	slot       INTEGER PRIMARY KEY,
	authority  TEXT NOT NULL, -- this and all others as in box
	id         TEXT NOT NULL,
	generation INTEGER NOT NULL,
	site       TEXT NOT NULL,
	maker      TEXT NOT NULL,
	signature  BLOB NOT NULL,
	origin     TEXT NOT NULL,
	digest     BLOB NOT NULL,
	birth      BLOB NOT NULL
);

-- Of which sites a person has rejected the wish to have a key erased. It goes with the demand.
CREATE TABLE IF NOT EXISTS rejected (
	authority TEXT NOT NULL,
	id        TEXT NOT NULL,
	site      TEXT NOT NULL, -- as Demand.Site
	PRIMARY KEY (authority, id, site)
) WITHOUT ROWID;
