CREATE INDEX digest_owed_next ON digest_owed (next);
CREATE INDEX digest_told_at ON digest_told (at);
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE digest_owed (
	address TEXT PRIMARY KEY,
	since   INTEGER NOT NULL, -- what was held from then on
	tries   INTEGER NOT NULL,
	next    INTEGER NOT NULL  -- not before
) STRICT, WITHOUT ROWID;
CREATE TABLE digest_passes (every TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE digest_readers (
	address TEXT PRIMARY KEY,
	every   TEXT NOT NULL,    -- '' is as the site has it
	by_whom TEXT NOT NULL,
	changed INTEGER NOT NULL,
	sent    INTEGER NOT NULL  -- 0: never
) STRICT, WITHOUT ROWID;
CREATE TABLE digest_told (
	address TEXT NOT NULL,
	item    TEXT NOT NULL,
	at      INTEGER NOT NULL,
	PRIMARY KEY (address, item)
) STRICT, WITHOUT ROWID;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
