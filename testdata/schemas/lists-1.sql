CREATE INDEX list_entries_until ON list_entries (until) WHERE until > 0;
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE list_entries (
	value           TEXT NOT NULL,
	scope           TEXT NOT NULL,    -- '' is everybody
	allow           INTEGER NOT NULL,
	unauthenticated INTEGER NOT NULL,
	until           INTEGER NOT NULL, -- 0: for ever
	added           INTEGER NOT NULL,
	by_whom         TEXT NOT NULL,
	note            TEXT NOT NULL,
	PRIMARY KEY (value, scope)
) STRICT, WITHOUT ROWID;
CREATE TABLE list_generation (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL) STRICT;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
