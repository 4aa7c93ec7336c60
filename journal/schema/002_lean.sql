-- What costs each message a write and nobody asks for is gone: ids begin with their time, so
-- that seq finds them; outcomes stand in detail, but for what is searched.
CREATE TABLE lean (
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
) STRICT;
INSERT INTO lean SELECT seq, id, result, client, sender, sender_domain, message_id,
	coalesce((SELECT ' ' || group_concat(DISTINCT replace(rule, ',', '')) || ' ' FROM outcomes WHERE entry = seq AND rule <> ''), ''),
	coalesce((SELECT ' ' || group_concat(DISTINCT replace(class, ',', '')) || ' ' FROM outcomes WHERE entry = seq AND class <> ''), ''),
	replies, words, detail FROM entries;
UPDATE lean SET rules = replace(rules, ',', ' '), classes = replace(classes, ',', ' ');

CREATE TABLE recipients (
	rcpt  TEXT NOT NULL, -- in lower case
	entry INTEGER NOT NULL, -- lean.seq
	do    TEXT NOT NULL, -- what became of the copy
	PRIMARY KEY (rcpt, entry)
) STRICT, WITHOUT ROWID;
INSERT INTO recipients SELECT rcpt, entry, max(do) FROM outcomes GROUP BY rcpt, entry;

DROP TABLE outcomes;
DROP TABLE entries;
ALTER TABLE lean RENAME TO entries;
CREATE INDEX entries_sender ON entries (sender, seq);

-- Most mail walks through the rules in one of a few ways: each is kept once.
CREATE TABLE walks (
	id   TEXT PRIMARY KEY, -- of the text: SHA-256, the first 16 bytes in hex
	seen INTEGER NOT NULL, -- day since 1970 of the last entry that names it
	text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
