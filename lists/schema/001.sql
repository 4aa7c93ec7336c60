-- What people allow and deny. value and scope are in the one form that ParseEntry and
-- ParseScope give; times are microseconds since 1970, UTC.
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
CREATE INDEX list_entries_until ON list_entries (until) WHERE until > 0;

-- One row: raised by every change, so that whoever keeps the entries in memory sees it.
CREATE TABLE list_generation (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL) STRICT;
INSERT INTO list_generation VALUES (1, 1);
