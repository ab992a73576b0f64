-- SPDX-License-Identifier: EUPL-1.2
-- Meaning of the fold: 1

-- Of which authorities there are facts. Everything else about sites is small and read from the states as a whole.
CREATE TABLE IF NOT EXISTS site_authority (
	id TEXT PRIMARY KEY
) WITHOUT ROWID;
