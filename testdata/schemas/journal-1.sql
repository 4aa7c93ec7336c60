CREATE INDEX entries_sender ON entries (sender, seq);
CREATE INDEX outcomes_rcpt ON outcomes (rcpt, entry);
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE entries (
	seq           INTEGER PRIMARY KEY,
	id            TEXT NOT NULL UNIQUE,
	result        TEXT NOT NULL,
	client        TEXT NOT NULL,
	sender        TEXT NOT NULL, -- in lower case
	sender_domain TEXT NOT NULL,
	message_id    TEXT NOT NULL,
	replies       TEXT NOT NULL, -- words: what was said to the client and by the internal server
	words         TEXT NOT NULL, -- words: subject (the first line), From, sender, recipients, sentences
	detail        BLOB NOT NULL  -- JSON, or an S and that in S2
) STRICT;
CREATE TABLE outcomes (
	entry  INTEGER NOT NULL REFERENCES entries (seq) ON DELETE CASCADE,
	n      INTEGER NOT NULL,
	rcpt   TEXT NOT NULL, -- in lower case
	domain TEXT NOT NULL,
	do     TEXT NOT NULL,
	rule   TEXT NOT NULL,
	class  TEXT NOT NULL,
	held   TEXT NOT NULL,
	PRIMARY KEY (entry, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
