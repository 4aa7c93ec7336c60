CREATE INDEX review_act_items_act ON review_act_items (act);
CREATE INDEX review_acts_at ON review_acts (at);
CREATE INDEX review_acts_open ON review_acts (state, due) WHERE state IN ('waiting', 'running');
CREATE INDEX review_requests_item ON review_requests (item, n);
CREATE UNIQUE INDEX review_requests_open ON review_requests (item, rcpt) WHERE state = 'asked';
CREATE INDEX review_requests_state ON review_requests (state, n);
CREATE INDEX review_requests_untold ON review_requests (decided) WHERE told = 0 AND state <> 'asked';
CREATE INDEX review_spam_sha256 ON review_spam (sha256);
CREATE INDEX review_taken_by ON review_taken (by, item);
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE review_act_items (
	item   TEXT NOT NULL,
	act    TEXT NOT NULL,
	result TEXT NOT NULL, -- '' while it waits
	words  TEXT NOT NULL,
	at     INTEGER NOT NULL,
	PRIMARY KEY (item, act)
) STRICT, WITHOUT ROWID;
CREATE TABLE review_acts (
	id     TEXT PRIMARY KEY,
	state  TEXT NOT NULL, -- waiting running done undone
	do     TEXT NOT NULL,
	person TEXT NOT NULL, -- id of who wanted it
	login  TEXT NOT NULL,
	actor  TEXT NOT NULL, -- JSON, people.Actor as it was then
	act    TEXT NOT NULL, -- JSON
	at     INTEGER NOT NULL,
	due    INTEGER NOT NULL,
	lease  INTEGER NOT NULL, -- while it runs: until when nobody else takes it up
	many   INTEGER NOT NULL, -- 1: everything that matches
	cursor TEXT NOT NULL,    -- how far an act on everything has come
	done   TEXT NOT NULL     -- JSON, counts by result
) STRICT;
CREATE TABLE review_requests (
	n       INTEGER PRIMARY KEY,
	item    TEXT NOT NULL,
	rcpt    TEXT NOT NULL,
	by      TEXT NOT NULL,
	at      INTEGER NOT NULL,
	comment TEXT NOT NULL,
	state   TEXT NOT NULL, -- asked approved denied
	answer  TEXT NOT NULL,
	decider TEXT NOT NULL,
	decided INTEGER NOT NULL
, told INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE review_seen (
	item  TEXT NOT NULL,
	whose TEXT NOT NULL,
	by    TEXT NOT NULL,
	at    INTEGER NOT NULL,
	PRIMARY KEY (item, whose)
) STRICT, WITHOUT ROWID;
CREATE TABLE review_spam (
	item   TEXT NOT NULL,
	rcpt   TEXT NOT NULL,
	sha256 TEXT NOT NULL,
	sender TEXT NOT NULL,
	rule   TEXT NOT NULL,
	class  TEXT NOT NULL,
	by     TEXT NOT NULL,
	at     INTEGER NOT NULL,
	PRIMARY KEY (item, rcpt)
) STRICT, WITHOUT ROWID;
CREATE TABLE review_taken (
	item TEXT PRIMARY KEY,
	by   TEXT NOT NULL,
	at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE review_views (
	person TEXT NOT NULL,
	name   TEXT NOT NULL,
	find   TEXT NOT NULL, -- JSON
	PRIMARY KEY (person, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
