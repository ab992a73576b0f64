-- SPDX-License-Identifier: EUPL-1.2
-- The authorities of the federation. Everything else about sites is small and read from the states as a whole.
CREATE TABLE IF NOT EXISTS site_authority (
	id      TEXT PRIMARY KEY,
	name_de TEXT NOT NULL,
	name_en TEXT NOT NULL,
	sites   TEXT NOT NULL -- JSON list of the allowed sites
) WITHOUT ROWID;
