-- Times are microseconds since 1970, UTC. Addresses are those that a digest goes to, in lower case.

-- Who wants a digest how often, when that is not what the site has set, and who got one when.
CREATE TABLE digest_readers (
	address TEXT PRIMARY KEY,
	every   TEXT NOT NULL,    -- '' is as the site has it
	by_whom TEXT NOT NULL,
	changed INTEGER NOT NULL,
	sent    INTEGER NOT NULL  -- 0: never
) STRICT, WITHOUT ROWID;

-- Until when it was looked for news, by interval.
CREATE TABLE digest_passes (every TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Digests that are to be sent: written before, removed after.
CREATE TABLE digest_owed (
	address TEXT PRIMARY KEY,
	since   INTEGER NOT NULL, -- what was held from then on
	tries   INTEGER NOT NULL,
	next    INTEGER NOT NULL  -- not before
) STRICT, WITHOUT ROWID;
CREATE INDEX digest_owed_next ON digest_owed (next);

-- What stood in a digest: it stands in no other.
CREATE TABLE digest_told (
	address TEXT NOT NULL,
	item    TEXT NOT NULL,
	at      INTEGER NOT NULL,
	PRIMARY KEY (address, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX digest_told_at ON digest_told (at);
