CREATE INDEX recall_taken_at ON recall_taken (at);
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE recall_poison (
	sum   BLOB PRIMARY KEY, -- SHA-256 of the message
	size  INTEGER NOT NULL, -- bytes
	tries INTEGER NOT NULL, -- that ended in a panic
	at    INTEGER NOT NULL  -- of the last
) STRICT;
CREATE TABLE recall_taken (
	n        INTEGER PRIMARY KEY, -- grows: the oldest go first
	client   TEXT NOT NULL,
	size     INTEGER NOT NULL,    -- bytes
	content  INTEGER NOT NULL,    -- CRC-32C of them
	envelope INTEGER NOT NULL,    -- CRC-32C of sender and recipients
	id       TEXT NOT NULL,       -- of the transaction that the internal server took
	at       INTEGER NOT NULL
) STRICT;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
