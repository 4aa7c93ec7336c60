CREATE INDEX versions_print ON versions (print);
CREATE TABLE breakers (
	rule  TEXT PRIMARY KEY,
	state TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE orders (
	n        INTEGER PRIMARY KEY AUTOINCREMENT,
	at       INTEGER NOT NULL,
	who      TEXT NOT NULL,
	what     TEXT NOT NULL, -- reload, reset
	arg      TEXT NOT NULL,
	answered INTEGER NOT NULL, -- 0: not yet
	problem  TEXT NOT NULL     -- why it was refused; empty: it was done
) STRICT;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
CREATE TABLE sqlite_sequence(name,seq);
CREATE TABLE versions (
	n      INTEGER PRIMARY KEY AUTOINCREMENT,
	at     INTEGER NOT NULL, -- microseconds since 1970
	who    TEXT NOT NULL,
	how    TEXT NOT NULL,    -- apply rollback reload start
	note   TEXT NOT NULL,
	policy TEXT NOT NULL,    -- the compiled version, as journal entries name it
	rules  INTEGER NOT NULL,
	print  TEXT NOT NULL,    -- of the rule files
	forced INTEGER NOT NULL, -- somebody took it though its tests fail
	files  BLOB NOT NULL     -- gzip of JSON: path to base64
) STRICT;
