CREATE INDEX entries_sender ON entries (sender, seq);
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE "entries" (
	seq           INTEGER PRIMARY KEY,
	id            TEXT NOT NULL,
	result        TEXT NOT NULL,
	client        TEXT NOT NULL,
	sender        TEXT NOT NULL, -- in lower case
	sender_domain TEXT NOT NULL,
	message_id    TEXT NOT NULL,
	rules         TEXT NOT NULL, -- " rule rule " of all outcomes, "" when none decided
	classes       TEXT NOT NULL, -- " class class "
	replies       TEXT NOT NULL, -- words: what was said to the client and by the internal server
	words         TEXT NOT NULL, -- words: subject (the first line), From, sender, recipients, sentences
	detail        BLOB NOT NULL  -- JSON, or an S and that in S2
, pack INTEGER NOT NULL DEFAULT 0, place INTEGER NOT NULL DEFAULT 0, proven INTEGER NOT NULL DEFAULT -1, size INTEGER NOT NULL DEFAULT -1) STRICT;
CREATE TABLE packs (
	last    INTEGER PRIMARY KEY, -- seq of the last of its entries: packs are removed by age, as entries are
	details BLOB NOT NULL        -- S2 of: length (uvarint) and JSON of each, one behind the other
) STRICT;
CREATE TABLE recipients (
	rcpt  TEXT NOT NULL, -- in lower case
	entry INTEGER NOT NULL, -- lean.seq
	do    TEXT NOT NULL, -- what became of the copy
	PRIMARY KEY (rcpt, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
CREATE TABLE sketches (
	last  INTEGER PRIMARY KEY, -- seq of the last of its entries: all from first on are in it
	first INTEGER NOT NULL,
	bits  BLOB NOT NULL        -- one for each four bytes in a row, by their hash; empty: it may contain anything
) STRICT;
CREATE TABLE walks (
	id   TEXT PRIMARY KEY, -- of the text: SHA-256, the first 16 bytes in hex
	seen INTEGER NOT NULL, -- day since 1970 of the last entry that names it
	text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
