-- All of an entry stands in detail; the other columns are what people search by, in lower
-- case where it says words. seq is the time of receipt in microseconds since 1970, moved on
-- by one where that is taken: rows lie in the order of time without an index for it.
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
CREATE INDEX entries_sender ON entries (sender, seq);

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
CREATE INDEX outcomes_rcpt ON outcomes (rcpt, entry);
