-- What became of mail in one hour: of all of it (domain ''), or of that for one domain of recipients.
CREATE TABLE tally_hours (
	domain TEXT NOT NULL,
	hour   INTEGER NOT NULL, -- since 1970
	counts TEXT NOT NULL,    -- JSON
	PRIMARY KEY (domain, hour)
) STRICT, WITHOUT ROWID;

-- Up to where the hours can be believed.
CREATE TABLE tally_state (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	settled INTEGER NOT NULL, -- 1: nothing was left uncounted at the last stop
	flushed INTEGER NOT NULL, -- microseconds since 1970: when the hours were last written
	since   INTEGER NOT NULL  -- the first hour that is counted; 0: all of the journal is
) STRICT;
