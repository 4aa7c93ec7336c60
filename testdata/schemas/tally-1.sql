CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
CREATE TABLE tally_hours (
	domain TEXT NOT NULL,
	hour   INTEGER NOT NULL, -- since 1970
	counts TEXT NOT NULL,    -- JSON
	PRIMARY KEY (domain, hour)
) STRICT, WITHOUT ROWID;
CREATE TABLE tally_state (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	settled INTEGER NOT NULL, -- 1: nothing was left uncounted at the last stop
	flushed INTEGER NOT NULL, -- microseconds since 1970: when the hours were last written
	since   INTEGER NOT NULL  -- the first hour that is counted; 0: all of the journal is
) STRICT;
